//! The table that Keras prints as `model.summary()`: layer, output shape, parameters, trainable.

use super::paths;
use std::collections::BTreeMap;

use super::{classifier::Classifier, params};

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// As it is called in the weights.
    pub name: String,
    /// Without the batch.
    pub output_shape: Vec<usize>,
    /// Numbers that training changes.
    pub trainable: usize,
    /// Statistics that are measured, and what is frozen.
    pub others: usize,
}

/// The layers of a network on pictures of `[channels, height, width]`, the first `frozen` layer groups frozen.
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
