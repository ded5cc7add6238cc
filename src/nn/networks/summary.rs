//! Layers, output shapes and parameter counts of a network, as in Keras's `model.summary()`.

use super::paths;
use std::collections::BTreeMap;

use super::{classifier::Classifier, params};

/// A row of the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Path of the layer, as in the weights.
    pub name: String,
    /// Output shape without the batch dimension.
    pub output_shape: Vec<usize>,
    /// Number of trained parameters.
    pub trainable: usize,
    /// Number of running statistics and frozen parameters.
    pub others: usize,
}

/// Most rows of a backbone. One with more layers is summarized by layer group.
const MOST_ROWS: usize = 40;

/// Summarizes a network for images of `[channels, height, width]`, with the first `frozen` layer
/// groups frozen.
pub fn summary(model: &Classifier, input: [usize; 3], frozen: usize) -> Vec<Layer> {
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for param in params::collect(model) {
        let layer = param.path.rsplit_once('.').map_or("", |(layer, _)| layer).to_owned();
        let is_fixed = param.is_statistic() || paths::is_frozen(&param.path, frozen) || model.has_frozen_norm(&layer);
        counts.entry(layer).or_default()[usize::from(is_fixed)] += param.dims.iter().product::<usize>();
    }
    let line = |(name, output_shape): (String, Vec<usize>)| {
        let [trainable, others] = counts.get(&name).copied().unwrap_or_default();
        Layer { name, output_shape, trainable, others }
    };
    let layers: Vec<Layer> = model.layers(input).into_iter().map(line).collect();
    let is_long = layers.iter().filter(|layer| paths::group(&layer.name).is_some()).count() > MOST_ROWS;
    if is_long { by_group(layers) } else { layers }
}

/// Joins the layers of each group.
fn by_group(layers: Vec<Layer>) -> Vec<Layer> {
    let mut joined: Vec<Layer> = Vec::new();
    for layer in layers {
        let Some(group) = paths::group(&layer.name) else {
            joined.push(layer);
            continue;
        };
        let name = format!("backbone.blocks.{group}");
        match joined.last_mut().filter(|last| last.name == name) {
            Some(last) => {
                last.trainable += layer.trainable;
                last.others += layer.others;
                last.output_shape = layer.output_shape;
            }
            None => joined.push(Layer { name, ..layer }),
        }
    }
    joined
}
