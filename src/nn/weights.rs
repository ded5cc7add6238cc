//! Weights as safetensors with PyTorch's names and layouts, and an optimiser's state in the same format. The same weights
//! always give the same bytes.

use super::networks::paths;
use std::collections::{BTreeMap, HashMap};

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use burn_store::{BurnToPyTorchAdapter, ModuleSnapshot, PathFilter, SafetensorsStore};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    NnError,
    networks::{classifier::Classifier, params},
    optim::{Slot, flat},
};

/// Which of a network's tensors a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first so many layer groups.
    Frozen(usize),
    /// All but the first so many layer groups.
    Rest(usize),
}

impl Part {
    /// All of them.
    pub const ALL: Self = Self::Rest(0);

    fn holds(self, path: &str) -> bool {
        match self {
            Self::Frozen(groups) => paths::is_frozen(path, groups),
            Self::Rest(groups) => !paths::is_frozen(path, groups),
        }
    }

    fn filter(self, model: &Classifier) -> PathFilter {
        // Files are filtered by PyTorch's names, networks by ours.
        let both = |path: String| [torch_name(&path), path];
        let paths = params::collect(model).into_iter().map(|param| param.path).filter(|path| self.holds(path));
        PathFilter::new().with_full_paths(paths.flat_map(both))
    }
}

/// Weights and statistics of a part: `torch.nn.Linear`'s `[out, in]`, norm layers' `weight` and `bias`.
///
/// # Errors
/// The device can't be read.
pub fn to_bytes(model: &Classifier, part: Part) -> Result<Vec<u8>, NnError> {
    // One metadata entry: more would be written in the random order of a hash map.
    let mut store = SafetensorsStore::from_bytes(None)
        .filter(part.filter(model))
        .with_to_adapter(BurnToPyTorchAdapter)
        .skip_enum_variants(true)
        .clear_metadata()
        .metadata("format", "pt");
    model.valid().save_into(&mut store).map_err(|error| NnError::Weights(format!("can't collect the weights: {error}")))?;
    store.get_bytes().map_err(|error| NnError::Weights(format!("can't write the weights: {error}")))
}

/// `model` with the weights of `bytes`, which holds a part, on its own device. Beside `bytes`, memory is taken for the weights once.
///
/// # Errors
/// Not safetensors; or every tensor that is missing, superfluous or of another shape, in one message.
pub fn from_bytes(model: Classifier, bytes: &[u8], part: Part) -> Result<Classifier, NnError> {
    check(&model, bytes, part.filter(&model))?;
    let failed = |error: safetensors::SafeTensorError| NnError::Weights(format!("not a whole safetensors file: {error}"));
    let file = SafeTensors::deserialize(bytes).map_err(failed)?;
    let mut values = BTreeMap::new();
    for param in params::collect(&model).into_iter().filter(|param| part.holds(&param.path)) {
        let name = torch_name(&param.path);
        let view = file.tensor(&name).map_err(failed)?;
        if view.dtype() != Dtype::F32 {
            return Err(NnError::Weights(format!("{name} holds {:?}, expected F32", view.dtype())));
        }
        let read = match param.dims[..] {
            [inputs, outputs] => transposed(view.data(), inputs, outputs),
            _ => floats_of(view.data()),
        };
        let device = param.values.device();
        values.insert(param.path, flat(read, &device));
    }
    Ok(params::replace(model, values))
}

/// What PyTorch calls a parameter or statistic of ours.
fn torch_name(path: &str) -> String {
    path.replace(".gamma", ".weight").replace(".beta", ".bias")
}

/// PyTorch's `[outputs, inputs]` as our `[inputs, outputs]`.
fn transposed(bytes: &[u8], inputs: usize, outputs: usize) -> Vec<f32> {
    // Small squares, so that neither side jumps through memory.
    const SIDE: usize = 32;
    let mut values = vec![0.0; inputs * outputs];
    for first_input in (0..inputs).step_by(SIDE) {
        for first_output in (0..outputs).step_by(SIDE) {
            for input in first_input..(first_input + SIDE).min(inputs) {
                for output in first_output..(first_output + SIDE).min(outputs) {
                    let at = (output * inputs + input) * size_of::<f32>();
                    values[input * outputs + output] = f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                }
            }
        }
    }
    values
}

/// Compares names and shapes before anything is loaded.
fn check(model: &Classifier, bytes: &[u8], filter: PathFilter) -> Result<(), NnError> {
    let found = SafeTensors::deserialize(bytes).map_err(|error| NnError::Weights(format!("not a whole safetensors file: {error}")))?;
    let found: BTreeMap<_, _> = found.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect();
    let expected = model.valid().collect(Some(filter), Some(Box::new(BurnToPyTorchAdapter)), true);
    let expected: BTreeMap<_, _> = expected.iter().map(|tensor| (tensor.name.clone(), tensor.shape.to_vec())).collect();
    let mut faults = Vec::new();
    for (name, shape) in &expected {
        match found.get(name) {
            None => faults.push(format!("{name} {shape:?} is missing")),
            Some(other) if other != shape => faults.push(format!("{name} has the shape {other:?}, expected {shape:?}")),
            Some(_) => {}
        }
    }
    faults.extend(found.keys().filter(|name| !expected.contains_key(*name)).map(|name| format!("{name} is superfluous")));
    if faults.is_empty() { Ok(()) } else { Err(NnError::Weights(format!("the weights don't fit the network: {}", faults.join("; ")))) }
}

/// What training goes on with, beside the weights that are evaluated.
#[derive(Clone, Debug, Default)]
pub struct TrainingState {
    /// The optimiser's, by parameter name.
    pub slots: BTreeMap<String, Slot>,
    /// The trained values behind a moving average, by parameter name; empty where there is none.
    pub raw: BTreeMap<String, Tensor<1>>,
}

/// The state as safetensors: `optimizer.NAME.steps`, `.first`, `.second`, and `raw.NAME`.
///
/// # Errors
/// The device can't be read.
pub fn state_to_bytes(state: &TrainingState) -> Result<Vec<u8>, NnError> {
    let mut tensors: BTreeMap<String, (Dtype, Vec<u8>)> = BTreeMap::new();
    let floats = |tensor: &Tensor<1>| {
        let values = super::infer::read(tensor.clone())?;
        Ok((Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
    };
    for (name, slot) in &state.slots {
        tensors.insert(format!("optimizer.{name}.steps"), (Dtype::U64, slot.steps.to_le_bytes().to_vec()));
        for (part, tensor) in [("first", &slot.first), ("second", &slot.second)] {
            if let Some(tensor) = tensor {
                tensors.insert(format!("optimizer.{name}.{part}"), floats(tensor)?);
            }
        }
    }
    for (name, tensor) in &state.raw {
        tensors.insert(format!("raw.{name}"), floats(tensor)?);
    }
    let failed = |error: safetensors::SafeTensorError| NnError::Weights(format!("can't write the optimiser's state: {error}"));
    let views = tensors.iter().map(|(name, (dtype, bytes))| {
        let count = bytes.len() / (dtype.bitsize() / 8);
        Ok((name.as_str(), TensorView::new(*dtype, vec![count], bytes)?))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    safetensors::serialize(views, None::<HashMap<String, String>>).map_err(failed)
}

/// What [`state_to_bytes`] wrote, on `device`.
///
/// # Errors
/// Not safetensors, or not one of ours.
pub fn state_from_bytes(bytes: &[u8], device: &Device) -> Result<TrainingState, NnError> {
    let broken = |what: &str| NnError::Weights(format!("the optimiser's state is damaged: {what}"));
    let file = SafeTensors::deserialize(bytes).map_err(|error| broken(&error.to_string()))?;
    let mut state = TrainingState::default();
    for (name, view) in file.iter() {
        if let Some(name) = name.strip_prefix("raw.") {
            state.raw.insert(name.to_owned(), flat(floats_of(view.data()), device));
            continue;
        }
        let path = name.strip_prefix("optimizer.").ok_or_else(|| broken(name))?;
        let (path, part) = path.rsplit_once('.').ok_or_else(|| broken(name))?;
        let slot = state.slots.entry(path.to_owned()).or_default();
        match part {
            "steps" => slot.steps = u64::from_le_bytes(view.data().try_into().map_err(|_| broken(name))?),
            "first" => slot.first = Some(flat(floats_of(view.data()), device)),
            "second" => slot.second = Some(flat(floats_of(view.data()), device)),
            _ => return Err(broken(name)),
        }
    }
    Ok(state)
}

fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()
}
