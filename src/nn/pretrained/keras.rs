//! Layer and tensor names in files of all Keras versions: `block1_conv1/block1_conv1_W_1:0`,
//! `model_weights/vgg16/block1_conv1/kernel`, and `layers/conv2d_1/vars/0`, which only numbers the
//! layers of each kind.

use std::collections::BTreeMap;

use super::{
    files::Entry,
    wanted::{Part, Turn, Wanted, bias_before, is_depthwise, parts, path},
};
use crate::architecture::{Kind, Layer, Network};

/// Names of layers with kernels after the last feature map.
const HEADS: [&str; 5] = ["conv_preds", "conv_2", "logits", "predictions", "Logits"];

/// Lists the tensors of the network under Keras's names. The list is empty if the file has none of
/// them.
pub(super) fn wanted(network: &Network, file: &BTreeMap<String, Entry>) -> Vec<Wanted> {
    let by_name = by_name(file);
    let modules = network.modules();
    let has_names = modules.iter().any(|(layer, _)| {
        layer
            .foreign_names
            .keras
            .as_ref()
            .is_some_and(|name| by_name.contains_key(&(name.as_str(), "kernel")))
    });
    let numbers = if has_names {
        Vec::new()
    } else {
        numbers(&modules)
    };
    let mut found = Vec::new();
    let mut count = 0;
    for (at, (layer, inputs)) in modules.iter().enumerate() {
        let Some(name) = &layer.foreign_names.keras else {
            continue;
        };
        let numbered = numbers.get(at).map(String::as_str);
        let find = |part: &str| {
            let known = by_name.get(&(numbered.unwrap_or(name), part));
            known.map_or_else(|| format!("{name}/{part}"), |name| (*name).to_owned())
        };
        for (part, shape) in parts(layer, *inputs) {
            count += usize::from(by_name.contains_key(&(numbered.unwrap_or(name), part.keras)));
            let (shape, turn) = match shape[..] {
                [channels, _, height, width] if is_depthwise(layer) => {
                    (vec![height, width, channels, 1], Turn::KerasDepthwise)
                }
                [outputs, inputs, height, width] => {
                    (vec![height, width, inputs, outputs], Turn::KerasKernel)
                }
                _ => (shape, Turn::None),
            };
            found.push(Wanted {
                path: path(layer, &part),
                name: find(part.keras),
                shape,
                turn,
                is_optional: false,
            });
        }
        found.extend(bias_before(&modules, at, find(Part::BIAS.keras)));
    }
    if count == 0 {
        return Vec::new();
    }
    found.sort_by_key(|wanted| wanted.turn == Turn::BiasBeforeNorm);
    found
}

/// Returns the tensors of a file by layer and parameter.
fn by_name(file: &BTreeMap<String, Entry>) -> BTreeMap<(&str, &'static str), &str> {
    let mut found = BTreeMap::new();
    for name in file.keys() {
        let Some((groups, tensor)) = name.rsplit_once('/') else {
            continue;
        };
        if groups.starts_with("optimizer") {
            continue;
        }
        // A tensor may lie in groups of its model's, its layer's and once more its layer's name.
        for layer in groups.split('/') {
            let part = match part(tensor) {
                Some(part) => part,
                None => match (tensor.parse(), layer.starts_with("batch_norm")) {
                    (Ok(index), true) => ["gamma", "beta", "moving_mean", "moving_variance"]
                        .get::<usize>(index)
                        .copied()
                        .unwrap_or(""),
                    (Ok(index), false) => ["kernel", "bias"]
                        .get::<usize>(index)
                        .copied()
                        .unwrap_or(""),
                    _ => "",
                },
            };
            found.insert((layer, part), name.as_str());
        }
    }
    found
}

/// Returns the parameter that a tensor of a layer holds.
fn part(tensor: &str) -> Option<&'static str> {
    let name = tensor.strip_suffix(":0").unwrap_or(tensor);
    let known = [
        "kernel",
        "bias",
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    ];
    let found = known.into_iter().find(|part| {
        name == *part
            || name
                .strip_suffix(part)
                .is_some_and(|rest| rest.ends_with('_'))
    });
    // Keras gives the weights of ConvNeXt's scales no name.
    let found = found.or_else(|| {
        name.to_lowercase()
            .starts_with("variable")
            .then_some("gamma")
    });
    // Before Keras 2: `block1_conv1_W_1`.
    found
        .or_else(|| name.contains("_W").then_some("kernel"))
        .or_else(|| name.contains("_b").then_some("bias"))
}

/// Returns the names of layers in a file that numbers them: `conv2d`, `conv2d_1`, and so on for
/// each kind. The list is empty for networks with parallel paths, whose layers Keras numbers in
/// another order.
fn numbers(modules: &[(&Layer, usize)]) -> Vec<String> {
    if modules
        .iter()
        .any(|(layer, _)| layer.name.contains("shortcut"))
    {
        return Vec::new();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut number = |(layer, _): &(&Layer, usize)| {
        let kind = match layer.kind {
            Kind::Conv(_) if is_depthwise(layer) => "depthwise_conv2d",
            Kind::Conv(_) => "conv2d",
            Kind::BatchNorm { .. } => "batch_normalization",
            _ => "other",
        };
        let count = counts.entry(kind).or_default();
        *count += 1;
        if *count == 1 {
            kind.to_owned()
        } else {
            format!("{kind}_{}", *count - 1)
        }
    };
    modules.iter().map(&mut number).collect()
}

/// Returns whether a tensor that isn't needed belongs to a head: dense layers of any name, the
/// optimizer's state, and layers that normalize images.
pub(super) fn is_of_head(name: &str, shape: &[usize]) -> bool {
    let is_named = |heads: &[&str]| name.split('/').any(|group| heads.contains(&group));
    let is_convolution = name
        .split('/')
        .any(|group| group.contains("conv") || group.contains("Conv"));
    name.starts_with("optimizer") || is_named(&HEADS) || shape.len() <= 2 && !is_convolution
}
