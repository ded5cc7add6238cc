//! Weights that others trained, put into a backbone: torchvision's and timm's names, Keras's, our own. All that is missing, superfluous or
//! of another shape is told at once, before anything is read.

mod archive;
pub mod fetch;
mod files;
mod published;

use std::{collections::BTreeMap, path::Path};

use burn::tensor::Device;

use self::files::Entry;
use super::{
    NnError,
    networks::{
        classifier::Classifier,
        groups::LayerName,
        params::{self, Named},
    },
    optim::flat,
};

pub use fetch::FetchError;
pub use published::{PUBLISHED, Published, locate, published};

/// Who named the tensors of a file; with it goes what the network expects of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// torchvision or timm: RGB, mean and deviation of ImageNet.
    Torch,
    /// Keras: blue first, the mean of ImageNet subtracted.
    Keras,
    /// A checkpoint of this program.
    Own,
}

/// What is looked for in a file.
struct Chosen {
    origin: Origin,
    /// What stands before all names of the network's state; the rest of the file is somebody else's.
    prefix: String,
    wanted: Vec<Wanted>,
}

/// How a tensor of a file becomes ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// As it is.
    None,
    /// `[height, width, inputs, outputs]` to `[outputs, inputs, height, width]`.
    KerasKernel,
    /// Subtracted: a bias before a batch norm, which our layer doesn't have, moves the norm's mean.
    BiasBeforeNorm,
}

/// One tensor that is looked for.
struct Wanted {
    /// Our parameter.
    path: String,
    /// Its name in the file.
    name: String,
    /// Its shape in the file.
    shape: Vec<usize>,
    turn: Turn,
    is_optional: bool,
}

/// `model` with its backbone's weights from the file at `path`; whatever of a head the file holds is left there.
///
/// # Errors
/// A file that can't be read, or that is of another network, with every tensor that is missing, superfluous or of another shape.
pub fn load(model: Classifier, path: &Path) -> Result<(Classifier, Origin), NnError> {
    let failed = |message: String| NnError::Weights(format!("{message}: {}", path.display()));
    let file = files::open(path).map_err(failed)?;
    let layers = model.layer_names();
    let params: BTreeMap<String, Named> = params::collect(&model).into_iter().map(|param| (param.path.clone(), param)).collect();
    let chosen = choose(&layers, &params, &file).ok_or_else(|| failed(unknown_names(&file)))?;
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
            Turn::KerasKernel => _ = values.insert(wanted.path.clone(), turn_kernel(&read, &wanted.shape)),
            Turn::BiasBeforeNorm => {
                let mean = values.get_mut(&wanted.path).expect("a norm's mean comes before the bias that moves it");
                mean.iter_mut().zip(read).for_each(|(mean, bias)| *mean -= bias);
            }
        }
    }
    let device = params.values().next().map_or_else(Device::flex, |param| param.values.device());
    Ok((params::replace(model, values.into_iter().map(|(path, values)| (path, flat(values, &device))).collect()), chosen.origin))
}

/// `[height, width, inputs, outputs]` to `[outputs, inputs, height, width]`.
fn turn_kernel(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let (area, channels) = (shape[0] * shape[1], shape[2]);
    let outputs = shape[3];
    let at = |index: usize| (index % area, index / area % channels, index / area / channels);
    (0..values.len())
        .map(|index| {
            let (place, input, output) = at(index);
            values[(place * channels + input) * outputs + output]
        })
        .collect()
}

/// The names that the file uses, with what is looked for under them.
fn choose(layers: &[LayerName], params: &BTreeMap<String, Named>, file: &BTreeMap<String, Entry>) -> Option<Chosen> {
    let chosen = |origin, prefix: &str, wanted| Some(Chosen { origin, prefix: prefix.to_owned(), wanted });
    let own = own(layers, params);
    if own.first().is_some_and(|first| file.contains_key(&first.name)) {
        return chosen(Origin::Own, "", own);
    }
    let first = layers.first()?.elsewhere.as_ref()?;
    // Checkpoints put their state under a key, parallel training under another; a backbone saved by itself has no name of its own.
    let ending = format!("features.{}.weight", first.torch);
    if let Some(prefix) = file.keys().find_map(|name| name.strip_suffix(&ending)) {
        return chosen(Origin::Torch, prefix, torch(layers, params, &format!("{prefix}features.")));
    }
    if file.contains_key(&format!("{}.weight", first.torch)) {
        return chosen(Origin::Torch, "", torch(layers, params, ""));
    }
    let keras = keras(layers, params, file);
    if keras.is_empty() { None } else { chosen(Origin::Keras, "", keras) }
}

fn wanted(path: String, name: String, params: &BTreeMap<String, Named>) -> Option<Wanted> {
    let shape = params.get(&path)?.dims.clone();
    Some(Wanted { path, name, shape, turn: Turn::None, is_optional: false })
}

fn own(layers: &[LayerName], params: &BTreeMap<String, Named>) -> Vec<Wanted> {
    // As a checkpoint names them: the norm's gamma and beta are PyTorch's weight and bias.
    const PARTS: [(&str, &str); 6] = [
        ("conv.weight", "conv.weight"),
        ("conv.bias", "conv.bias"),
        ("norm.gamma", "norm.weight"),
        ("norm.beta", "norm.bias"),
        ("norm.running_mean", "norm.running_mean"),
        ("norm.running_var", "norm.running_var"),
    ];
    let of_layer =
        |layer: &LayerName| PARTS.map(|(path, name)| wanted(format!("{}.{path}", layer.ours), format!("{}.{name}", layer.ours), params));
    layers.iter().flat_map(of_layer).flatten().collect()
}

/// `prefix` ends with what stands before torchvision's numbers.
fn torch(layers: &[LayerName], params: &BTreeMap<String, Named>, prefix: &str) -> Vec<Wanted> {
    let mut found = Vec::new();
    for layer in layers {
        let Some(names) = &layer.elsewhere else { continue };
        let conv = format!("{prefix}{}", names.torch);
        let path = |part: &str| format!("{}.{part}", layer.ours);
        found.extend(wanted(path("conv.weight"), format!("{conv}.weight"), params));
        found.extend(wanted(path("conv.bias"), format!("{conv}.bias"), params));
        let Some(norm) = &names.torch_norm else { continue };
        for (part, name) in [("gamma", "weight"), ("beta", "bias"), ("running_mean", "running_mean"), ("running_var", "running_var")] {
            found.extend(wanted(path(&format!("norm.{part}")), format!("{prefix}{norm}.{name}"), params));
        }
        let bias = wanted(path("norm.running_mean"), format!("{conv}.bias"), params);
        found.extend(bias.map(|bias| Wanted { turn: Turn::BiasBeforeNorm, is_optional: true, ..bias }));
    }
    found
}

/// Empty where no name of the file is one of Keras's for this network.
fn keras(layers: &[LayerName], params: &BTreeMap<String, Named>, file: &BTreeMap<String, Entry>) -> Vec<Wanted> {
    let known = layers.iter().enumerate().filter_map(|(index, layer)| Some((index, layer, layer.elsewhere.as_ref()?.keras.as_deref()?)));
    let known: Vec<_> = known.collect();
    let mut names: BTreeMap<(usize, bool), &String> = BTreeMap::new();
    let found: Vec<_> = file.keys().filter_map(|name| Some((name, keras_layer(name)?))).collect();
    // Files without names of layers (`.weights.h5`) number the convolutions instead.
    let has_names = found.iter().any(|(_, (layer, _))| known.iter().any(|(.., keras)| keras == layer));
    for (name, (layer, is_kernel)) in found {
        let is_it = |(index, _, keras): &&(usize, &LayerName, &str)| {
            if has_names { *keras == layer } else { keras_number(layer) == Some(*index) }
        };
        if let Some((index, ..)) = known.iter().find(is_it) {
            names.insert((*index, is_kernel), name);
        }
    }
    if names.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, layer, keras) in known {
        for (part, is_kernel, word) in [("conv.weight", true, "kernel"), ("conv.bias", false, "bias")] {
            let name = names.get(&(index, is_kernel)).map_or_else(|| format!("{keras}/{word}"), |name| (*name).clone());
            found.extend(wanted(format!("{}.{part}", layer.ours), name, params).map(|wanted| match wanted.shape[..] {
                [outputs, inputs, height, width] => {
                    Wanted { shape: vec![height, width, inputs, outputs], turn: Turn::KerasKernel, ..wanted }
                }
                _ => wanted,
            }));
        }
    }
    found
}

/// The convolution layer that a name of an HDF5 file belongs to, and whether it is its kernel. Files of all Keras versions:
/// `block1_conv1/block1_conv1_W_1:0`, `model_weights/vgg16/block1_conv1/kernel`, `layers/conv2d_1/vars/0`.
fn keras_layer(name: &str) -> Option<(&str, bool)> {
    let (groups, tensor) = name.rsplit_once('/')?;
    if groups.starts_with("optimizer") {
        return None;
    }
    let is_number = |text: &str| text.parse::<usize>().is_ok();
    let is_block = |layer: &str| {
        let numbers = layer.strip_prefix("block").and_then(|rest| rest.split_once("_conv"));
        numbers.is_some_and(|(block, conv)| is_number(block) && is_number(conv))
    };
    let layer = groups.rsplit('/').find(|group| is_block(group) || keras_number(group).is_some())?;
    let is_kernel = tensor.starts_with("kernel") || tensor.contains("_W") || tensor == "0";
    let is_bias = tensor.starts_with("bias") || tensor.contains("_b") || tensor == "1";
    (is_kernel || is_bias).then_some((layer, is_kernel))
}

/// `conv2d` is the first convolution, `conv2d_7` the eighth.
fn keras_number(layer: &str) -> Option<usize> {
    match layer.strip_prefix("conv2d")? {
        "" => Some(0),
        rest => rest.strip_prefix('_')?.parse().ok(),
    }
}

/// Every tensor that isn't as it should be, in words.
fn faults(Chosen { origin, prefix, wanted }: &Chosen, file: &BTreeMap<String, Entry>) -> Vec<String> {
    let mut faults = Vec::new();
    for wanted in wanted {
        match file.get(&wanted.name) {
            None if !wanted.is_optional => faults.push(format!("{} {:?} is missing", wanted.name, wanted.shape)),
            Some(entry) if entry.shape != wanted.shape => {
                faults.push(format!("{} has the shape {:?}, expected {:?}", wanted.name, entry.shape, wanted.shape));
            }
            _ => {}
        }
    }
    let is_known = |name: &str| wanted.iter().any(|wanted| wanted.name == name);
    let superfluous = file.iter().filter(|(name, entry)| {
        name.strip_prefix(prefix.as_str()).is_some_and(|name| !is_of_head(*origin, name, entry)) && !is_known(name.as_str())
    });
    faults.extend(superfluous.map(|(name, _)| format!("{name} is superfluous")));
    faults
}

/// Belongs to a head or to counters that nobody needs?
fn is_of_head(origin: Origin, name: &str, entry: &Entry) -> bool {
    match origin {
        Origin::Own => name.starts_with("head."),
        Origin::Torch => {
            ["classifier.", "pre_logits.", "head."].iter().any(|head| name.starts_with(head)) || name.ends_with("num_batches_tracked")
        }
        // Dense layers of any name, and what an optimiser keeps.
        Origin::Keras => name.starts_with("optimizer") || entry.shape.len() <= 2 && keras_layer(name).is_none(),
    }
}

fn unknown_names(file: &BTreeMap<String, Entry>) -> String {
    let some: Vec<_> = file.keys().take(3).map(String::as_str).collect();
    format!(
        "found {} tensors named like {}, expected torchvision's or timm's names (features.0.weight), Keras's (block1_conv1) or those of a \
         checkpoint of this program, for the architecture of the recipe",
        file.len(),
        if some.is_empty() { "nothing".to_owned() } else { some.join(", ") }
    )
}

#[cfg(test)]
pub(crate) mod tests;
