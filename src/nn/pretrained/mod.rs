//! Weights that others trained, put into a backbone: torchvision's and timm's names, Keras's, our
//! own. All tensors that are missing, superfluous or of another shape are told at once, before
//! anything is read.

mod archive;
pub mod dialect;
pub mod fetch;
mod files;
mod keras;
mod names;
mod published;
mod wanted;

use std::{collections::BTreeMap, path::Path};

use burn::tensor::Device;

use self::{files::Entry, names::Chosen, wanted::Turn};
use super::{
    NnError,
    networks::{
        classifier::Classifier,
        params::{self, Named},
    },
    optim::flat,
};

pub use dialect::{Found, find};
pub use fetch::FetchError;
pub use names::Origin;
pub use published::{locate, place, published};

/// Returns `model` with its backbone's weights from the file at `path`, and whose names they have.
/// A head in the file is left there.
///
/// # Errors
/// Returns an error if the file can't be read or is of another network, with every tensor that is
/// missing, superfluous or of another shape.
pub fn load(model: Classifier, path: &Path) -> Result<(Classifier, Origin), NnError> {
    let failed = |message: String| NnError::Weights(format!("{message}: {}", path.display()));
    let file = files::open(path).map_err(failed)?;
    let params: BTreeMap<String, Named> = params::collect(&model).into_iter().map(|param| (param.path.clone(), param)).collect();
    let chosen = names::choose(model.network(), &file).ok_or_else(|| failed(names::unknown(&file)))?;
    let faults = faults(&chosen, &file);
    if !faults.is_empty() {
        return Err(failed(format!("the weights don't fit the network: {}", faults.join("; "))));
    }
    let mut values: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for wanted in &chosen.wanted {
        let Some(entry) = file.get(&wanted.name) else { continue };
        let read = entry.read().map_err(|error| failed(format!("{}: {error}", wanted.name)))?;
        if let Some(bad) = read.iter().find(|value| !value.is_finite()) {
            return Err(failed(format!("{} holds {bad}", wanted.name)));
        }
        match wanted.turn {
            Turn::None => _ = values.insert(wanted.path.clone(), read),
            Turn::KerasKernel => _ = values.insert(wanted.path.clone(), turned(&read, &wanted.shape)),
            Turn::KerasDepthwise => {
                let [height, width, channels, _] = wanted.shape[..] else { unreachable!("a depthwise kernel has four sides") };
                _ = values.insert(wanted.path.clone(), turned(&read, &[height, width, 1, channels]));
            }
            Turn::BiasBeforeNorm => {
                let mean = values.get_mut(&wanted.path).expect("a norm's mean comes before the bias that moves it");
                mean.iter_mut().zip(read).for_each(|(mean, bias)| *mean -= bias);
            }
        }
    }
    let device = params.values().next().map_or_else(Device::flex, |param| param.values.device());
    Ok((params::replace(model, values.into_iter().map(|(path, values)| (path, flat(values, &device))).collect()), chosen.origin))
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

/// Whether a tensor of a file has the values of one of another shape in the same order: kernels of
/// 1x1 convolutions are also kept as matrices, factors of channels with sides of 1.
fn is_same_shape(found: &[usize], expected: &[usize]) -> bool {
    let sides = |shape: &[usize]| shape.iter().copied().filter(|side| *side != 1).collect::<Vec<_>>();
    sides(found) == sides(expected)
}

/// Lists every tensor that isn't as it should be, in words.
fn faults(chosen: &Chosen, file: &BTreeMap<String, Entry>) -> Vec<String> {
    let mut faults = Vec::new();
    for wanted in &chosen.wanted {
        match file.get(&wanted.name) {
            None if !wanted.is_optional => faults.push(format!("{} {:?} is missing", wanted.name, wanted.shape)),
            Some(entry) if !is_same_shape(&entry.shape, &wanted.shape) => {
                faults.push(format!("{} has the shape {:?}, expected {:?}", wanted.name, entry.shape, wanted.shape));
            }
            _ => {}
        }
    }
    let is_known = |name: &str| chosen.wanted.iter().any(|wanted| wanted.name == name);
    let superfluous = file.iter().filter(|(name, entry)| {
        let own = name.strip_prefix(chosen.prefix.as_str());
        own.is_some_and(|name| !names::is_of_head(chosen.origin, name, &entry.shape)) && !is_known(name)
    });
    faults.extend(superfluous.map(|(name, _)| format!("{name} is superfluous")));
    faults
}

#[cfg(test)]
mod parity;
#[cfg(test)]
pub(crate) mod tests;
