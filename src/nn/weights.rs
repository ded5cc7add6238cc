//! Converts weights and the optimizer's state to and from safetensors, with PyTorch's names and
//! layouts. Equal weights always give equal bytes.

use crate::base::io::bytes::{from_f32, to_f32};
use std::collections::{BTreeMap, HashMap};

use burn::tensor::{Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    NnError,
    networks::{
        classifier::Classifier,
        params::{self, Named},
        paths,
    },
    optim::{Slot, flat},
};

/// The part of a network's tensors that a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The given number of first layer groups.
    Frozen(usize),
    /// Everything but the given number of first layer groups.
    Rest(usize),
}

impl Part {
    /// All tensors.
    pub const ALL: Self = Self::Rest(0);

    /// Whether the tensor at `path` belongs to this part.
    fn holds(self, path: &str) -> bool {
        match self {
            Self::Frozen(groups) => paths::is_frozen(path, groups),
            Self::Rest(groups) => !paths::is_frozen(path, groups),
        }
    }

    /// Returns the tensors of this part with their names in a file.
    fn of(self, model: &Classifier) -> impl Iterator<Item = (String, Named)> {
        let held = params::collect(model)
            .into_iter()
            .filter(move |param| self.holds(&param.path));
        held.map(|param| (torch_name(&param.path), param))
    }
}

/// Serializes the weights and statistics of a part, with `torch.nn.Linear`'s `[outputs, inputs]`
/// layout and norm layers' `weight` and `bias`.
///
/// # Errors
/// Returns an error if the device can't be read.
pub fn to_bytes(model: &Classifier, part: Part) -> Result<Vec<u8>, NnError> {
    let mut tensors = Vec::new();
    for (name, param) in part.of(model) {
        let bytes = from_f32(&super::infer::read(param.values)?);
        let bytes = match param.dims[..] {
            [inputs, outputs] => from_f32(&transposed(&bytes, outputs, inputs)),
            _ => bytes,
        };
        tensors.push((name, torch_shape(&param.dims), bytes));
    }
    let failed = |error: safetensors::SafeTensorError| {
        NnError::Weights(format!("can't write the weights: {error}"))
    };
    let views = tensors.iter().map(|(name, shape, bytes)| {
        Ok((
            name.as_str(),
            TensorView::new(Dtype::F32, shape.clone(), bytes)?,
        ))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    // A single metadata entry: several would be written in the random order of a hash map.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(failed)
}

/// Returns the shape of a tensor in a file.
fn torch_shape(dims: &[usize]) -> Vec<usize> {
    match dims {
        [inputs, outputs] => vec![*outputs, *inputs],
        _ => dims.to_vec(),
    }
}

/// Returns `model` with the weights of `bytes`, which hold the given part, on the model's own
/// device. Needs memory for the weights once, beside `bytes`.
///
/// # Errors
/// Returns an error if `bytes` are not a complete safetensors file of `f32` values, or one that
/// lists every tensor that is missing, superfluous or of another shape.
pub fn from_bytes(model: Classifier, bytes: &[u8], part: Part) -> Result<Classifier, NnError> {
    check(&model, bytes, part)?;
    let failed = |error: safetensors::SafeTensorError| {
        NnError::Weights(format!("not a complete safetensors file: {error}"))
    };
    let file = SafeTensors::deserialize(bytes).map_err(failed)?;
    let mut values = BTreeMap::new();
    for (name, param) in part.of(&model) {
        let view = file.tensor(&name).map_err(failed)?;
        if view.dtype() != Dtype::F32 {
            return Err(NnError::Weights(format!(
                "{name} holds {:?}, expected F32",
                view.dtype()
            )));
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

/// Returns PyTorch's name for the parameter or statistic at `path`.
fn torch_name(path: &str) -> String {
    match path.rsplit_once('.') {
        Some((layer, "gamma")) => format!("{layer}.weight"),
        Some((layer, "beta")) => format!("{layer}.bias"),
        _ => path.to_owned(),
    }
}

/// Transposes PyTorch's `[outputs, inputs]` to `[inputs, outputs]`.
fn transposed(bytes: &[u8], inputs: usize, outputs: usize) -> Vec<f32> {
    // Tiles keep both the reads and the writes within the cache.
    const SIDE: usize = 32;
    let mut values = vec![0.0; inputs * outputs];
    for first_input in (0..inputs).step_by(SIDE) {
        for first_output in (0..outputs).step_by(SIDE) {
            for input in first_input..(first_input + SIDE).min(inputs) {
                for output in first_output..(first_output + SIDE).min(outputs) {
                    let at = (output * inputs + input) * size_of::<f32>();
                    values[input * outputs + output] = f32::from_le_bytes([
                        bytes[at],
                        bytes[at + 1],
                        bytes[at + 2],
                        bytes[at + 3],
                    ]);
                }
            }
        }
    }
    values
}

/// Compares names and shapes before any tensor is loaded, and reports all differences at once.
fn check(model: &Classifier, bytes: &[u8], part: Part) -> Result<(), NnError> {
    let found = SafeTensors::deserialize(bytes)
        .map_err(|error| NnError::Weights(format!("not a complete safetensors file: {error}")))?;
    let found: BTreeMap<_, _> = found
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.shape().to_vec()))
        .collect();
    let expected: BTreeMap<_, _> = part
        .of(model)
        .map(|(name, param)| (name, torch_shape(&param.dims)))
        .collect();
    let mut faults = Vec::new();
    for (name, shape) in &expected {
        match found.get(name) {
            None => faults.push(format!("{name} {shape:?} is missing")),
            Some(other) if other != shape => faults.push(format!(
                "{name} has the shape {other:?}, expected {shape:?}"
            )),
            Some(_) => {}
        }
    }
    faults.extend(
        found
            .keys()
            .filter(|name| !expected.contains_key(*name))
            .map(|name| format!("{name} is superfluous")),
    );
    if faults.is_empty() {
        Ok(())
    } else {
        Err(NnError::Weights(format!(
            "the weights don't fit the network: {}",
            faults.join("; ")
        )))
    }
}

/// The state that training resumes from, beside the weights that are evaluated.
#[derive(Clone, Debug, Default)]
pub struct TrainingState {
    /// Optimizer state, by parameter name.
    pub slots: BTreeMap<String, Slot>,
    /// Trained values, by parameter name, where the weights are their moving average; else empty.
    pub raw: BTreeMap<String, Tensor<1>>,
}

/// Serializes the state as `optimizer.NAME.steps`, `optimizer.NAME.first`, `optimizer.NAME.second`
/// and `raw.NAME`.
///
/// # Errors
/// Returns an error if the device can't be read.
pub fn state_to_bytes(state: &TrainingState) -> Result<Vec<u8>, NnError> {
    let mut tensors: BTreeMap<String, (Dtype, Vec<u8>)> = BTreeMap::new();
    let floats = |tensor: &Tensor<1>| {
        let values = super::infer::read(tensor.clone())?;
        Ok((Dtype::F32, from_f32(&values)))
    };
    for (name, slot) in &state.slots {
        tensors.insert(
            format!("optimizer.{name}.steps"),
            (Dtype::U64, slot.steps.to_le_bytes().to_vec()),
        );
        for (part, tensor) in [("first", &slot.first), ("second", &slot.second)] {
            if let Some(tensor) = tensor {
                tensors.insert(format!("optimizer.{name}.{part}"), floats(tensor)?);
            }
        }
    }
    for (name, tensor) in &state.raw {
        tensors.insert(format!("raw.{name}"), floats(tensor)?);
    }
    let failed = |error: safetensors::SafeTensorError| {
        NnError::Weights(format!("can't write the optimizer's state: {error}"))
    };
    let views = tensors.iter().map(|(name, (dtype, bytes))| {
        let count = bytes.len() / (dtype.bitsize() / 8);
        Ok((name.as_str(), TensorView::new(*dtype, vec![count], bytes)?))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    safetensors::serialize(views, None::<HashMap<String, String>>).map_err(failed)
}

/// Reads what [`state_to_bytes`] wrote, onto `device`.
///
/// # Errors
/// Returns an error if `bytes` are not a complete safetensors file or have a tensor of another
/// name.
pub fn state_from_bytes(bytes: &[u8], device: &Device) -> Result<TrainingState, NnError> {
    let broken = |what: &str| NnError::Weights(format!("the optimizer's state is damaged: {what}"));
    let file = SafeTensors::deserialize(bytes).map_err(|error| broken(&error.to_string()))?;
    let mut state = TrainingState::default();
    for (name, view) in file.iter() {
        if let Some(name) = name.strip_prefix("raw.") {
            state
                .raw
                .insert(name.to_owned(), flat(floats_of(view.data()), device));
            continue;
        }
        let path = name
            .strip_prefix("optimizer.")
            .ok_or_else(|| broken(name))?;
        let (path, part) = path.rsplit_once('.').ok_or_else(|| broken(name))?;
        let slot = state.slots.entry(path.to_owned()).or_default();
        match part {
            "steps" => {
                slot.steps = u64::from_le_bytes(view.data().try_into().map_err(|_| broken(name))?)
            }
            "first" => slot.first = Some(flat(floats_of(view.data()), device)),
            "second" => slot.second = Some(flat(floats_of(view.data()), device)),
            _ => return Err(broken(name)),
        }
    }
    Ok(state)
}

/// Decodes little-endian `f32` values.
fn floats_of(bytes: &[u8]) -> Vec<f32> {
    to_f32(bytes).collect()
}
