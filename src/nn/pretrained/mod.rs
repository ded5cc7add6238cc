//! Loads pretrained weights into a backbone, under the names of torchvision, timm, Keras or this
//! program. All tensors that are missing, superfluous or of another shape are reported at once,
//! before any is read.

mod archive;
pub mod at_hand;
pub mod dialect;
pub mod fetch;
mod files;
mod keras;
mod names;
mod saved;
mod wanted;

use std::{collections::BTreeMap, path::Path};

use burn::tensor::Device;

use self::{
    files::Entry,
    wanted::{Turn, Wanted},
};
use super::{
    NnError,
    networks::{
        classifier::Classifier,
        params::{self, Named},
    },
    optim::flat,
};

pub use at_hand::{AtHand, at_hand, identify};
pub use dialect::{Found, find};
pub use fetch::{FetchError, locate, published};
pub use names::Origin;
pub use saved::Saved;

/// A tensor of a file with weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// Its values, in the file's order.
    pub values: Vec<f32>,
}

/// Returns all tensors of the file at `path` by their names, whatever network they are of, each
/// with the reason if it has more than `most_values` values, isn't whole, or isn't of floats.
/// [`load`] reads only what its network asks for.
///
/// # Errors
/// Returns an error if the file can't be read or is in no format with weights.
pub fn tensors(
    path: &Path,
    most_values: usize,
) -> Result<BTreeMap<String, Result<Tensor, String>>, NnError> {
    let file = files::open(path)
        .map_err(|message| NnError::Weights(format!("{message}: {}", path.display())))?;
    let read = |entry: Entry| match entry.num_values() {
        Some(count) if count <= most_values => {
            let values = entry.read()?;
            let shape = entry.shape;
            Ok(Tensor { shape, values })
        }
        _ => Err(format!(
            "found the shape {:?}, expected {most_values} values at most",
            entry.shape
        )),
    };
    Ok(file
        .into_iter()
        .map(|(name, entry)| (name, read(entry)))
        .collect())
}

/// Returns `model` with its backbone's weights from the file at `path`, and the origin of their
/// names. A head in the file is ignored.
///
/// # Errors
/// Returns an error if the file can't be read or belongs to another network, with every tensor that
/// is missing, superfluous or of another shape.
pub fn load(model: Classifier, path: &Path) -> Result<(Classifier, Origin), NnError> {
    let failed = |message: String| NnError::Weights(format!("{message}: {}", path.display()));
    let file = files::open(path).map_err(failed)?;
    let params: BTreeMap<String, Named> = params::collect(&model)
        .into_iter()
        .map(|param| (param.path.clone(), param))
        .collect();
    let chosen =
        names::choose(model.network(), &file).ok_or_else(|| failed(names::unknown(&file)))?;
    let faults = chosen.faults(&file);
    if !faults.is_empty() {
        return Err(failed(format!(
            "the weights don't fit the network: {}",
            faults.join("; ")
        )));
    }
    let values = values_of(&chosen.wanted, &file).map_err(failed)?;
    let device = params
        .values()
        .next()
        .map_or_else(Device::flex, |param| param.values.device());
    Ok((
        params::replace(
            model,
            values
                .into_iter()
                .map(|(path, values)| (path, flat(values, &device)))
                .collect(),
        ),
        chosen.origin,
    ))
}

/// Reads the wanted tensors of a file in the layout of our parameters, by path.
fn values_of(
    wanted: &[Wanted],
    file: &BTreeMap<String, Entry>,
) -> Result<BTreeMap<String, Vec<f32>>, String> {
    let mut values: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for wanted in wanted {
        let Some(entry) = file.get(&wanted.name) else {
            continue;
        };
        let read = entry
            .read()
            .map_err(|error| format!("{}: {error}", wanted.name))?;
        if let Some(bad) = read.iter().find(|value| !value.is_finite()) {
            return Err(format!("{} holds {bad}", wanted.name));
        }
        let path = wanted.path.clone();
        match wanted.turn {
            Turn::None => _ = values.insert(path, read),
            Turn::KerasKernel => _ = values.insert(path, turned(&read, &wanted.shape)),
            Turn::KerasDepthwise => {
                let [height, width, channels, _] = wanted.shape[..] else {
                    unreachable!("a depthwise kernel has four sides")
                };
                let shape = [height, width, 1, channels];
                _ = values.insert(path, turned(&read, &shape));
            }
            Turn::BiasBeforeNorm => {
                let mean = values
                    .get_mut(&path)
                    .expect("a norm's mean comes before the bias that moves it");
                mean.iter_mut()
                    .zip(read)
                    .for_each(|(mean, bias)| *mean -= bias);
            }
        }
    }
    Ok(values)
}

/// Transposes `[height, width, inputs, outputs]`, or `[inputs, outputs]`, to `[outputs, inputs,
/// height, width]`.
fn turned(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let (outputs, inputs) = (shape[shape.len() - 1], shape[shape.len() - 2]);
    let area: usize = shape[..shape.len() - 2].iter().product();
    let at = |index: usize| (index % area, index / area % inputs, index / area / inputs);
    let value = |index: usize| {
        let (place, input, output) = at(index);
        values[(place * inputs + input) * outputs + output]
    };
    (0..values.len()).map(value).collect()
}

#[cfg(test)]
mod formats;
#[cfg(test)]
mod formula;
#[cfg(test)]
mod parity;
#[cfg(test)]
pub(crate) mod tests;
