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
        let layer = param
            .path
            .rsplit_once('.')
            .map_or("", |(layer, _)| layer)
            .to_owned();
        let is_fixed = param.is_statistic()
            || paths::is_frozen(&param.path, frozen)
            || model.has_frozen_norm(&layer);
        counts.entry(layer).or_default()[usize::from(is_fixed)] +=
            param.dims.iter().product::<usize>();
    }
    let line = |(name, output_shape): (String, Vec<usize>)| {
        let [trainable, others] = counts.get(&name).copied().unwrap_or_default();
        Layer {
            name,
            output_shape,
            trainable,
            others,
        }
    };
    let layers: Vec<Layer> = model.layers(input).into_iter().map(line).collect();
    let is_long = layers
        .iter()
        .filter(|layer| paths::group(&layer.name).is_some())
        .count()
        > MOST_ROWS;
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{
        config::Model,
        nn::networks::{
            classifier::{Design, Output},
            empty,
        },
    };

    /// The network of Keras's first notebooks on cats and dogs, whose `model.summary()` ends in
    /// "Total params: 3,453,121".
    #[test]
    fn the_classic_notebook_has_the_rows_of_keras_summary() {
        let text: String = [32, 64, 128, 128]
            .map(|channels| {
                format!(
                    "[[layers]]\nconv = {channels}\npadding = 'valid'\n[[layers]]\nmax_pool = 2\n"
                )
            })
            .concat();
        let model: Model =
            toml::from_str(&format!("architecture = 'layers'\nhidden = 512\n{text}"))
                .expect("a table");
        let design = Design {
            model,
            input: [3, 150, 150],
            num_classes: 2,
            output: Output::Sigmoid,
        };
        let rows = summary(&empty(&design, &Device::flex()), design.input, 1);
        let expected: [(&str, &[usize], usize); 11] = [
            ("input", &[3, 150, 150], 0),
            (
                "backbone.blocks.0.0.conv",
                &[32, 148, 148],
                (3 * 9 + 1) * 32,
            ),
            ("backbone.blocks.0.1.pool", &[32, 74, 74], 0),
            ("backbone.blocks.1.0.conv", &[64, 72, 72], (32 * 9 + 1) * 64),
            ("backbone.blocks.1.1.pool", &[64, 36, 36], 0),
            (
                "backbone.blocks.2.0.conv",
                &[128, 34, 34],
                (64 * 9 + 1) * 128,
            ),
            ("backbone.blocks.2.1.pool", &[128, 17, 17], 0),
            (
                "backbone.blocks.3.0.conv",
                &[128, 15, 15],
                (128 * 9 + 1) * 128,
            ),
            ("backbone.blocks.3.1.pool", &[128, 7, 7], 0),
            ("head.flatten", &[6272], 0),
            ("head.hidden.0", &[512], (6272 + 1) * 512),
        ];
        for (row, (name, shape, count)) in rows.iter().zip(expected) {
            assert_eq!(
                (
                    row.name.as_str(),
                    row.output_shape.as_slice(),
                    row.trainable + row.others
                ),
                (name, shape, count)
            );
        }
        assert_eq!(
            rows.iter()
                .map(|row| row.trainable + row.others)
                .sum::<usize>(),
            3_453_121
        );
        // The first layer group is frozen, and nothing else.
        assert_eq!(rows.iter().map(|row| row.others).sum::<usize>(), 896);
    }
}
