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

/// Summarizes a network for images of `[channels, height, width]`, with the first `frozen` layer
/// groups frozen.
pub fn summary(model: &Classifier, input: [usize; 3], frozen: usize) -> Vec<Layer> {
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for param in params::collect(model) {
        let layer = param.path.rsplit_once('.').map_or("", |(layer, _)| layer).to_owned();
        counts.entry(layer).or_default()[usize::from(param.is_statistic() || paths::is_frozen(&param.path, frozen))] +=
            param.dims.iter().product::<usize>();
    }
    let line = |(name, output_shape): (String, Vec<usize>)| {
        let [trainable, others] = counts.get(&name).copied().unwrap_or_default();
        Layer { name, output_shape, trainable, others }
    };
    model.layers(input).into_iter().map(line).collect()
}
