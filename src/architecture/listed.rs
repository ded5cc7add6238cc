//! The `layers` architecture: the network that a recipe lists, entry by entry.

use super::{
    builder::{activation, conv, pool},
    layer::{Activation, Conv, ForeignNames, Groups, Kind, Layer, Pool},
    network::Network,
};

/// An entry of a recipe's list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Listed {
    /// A convolution, its norm and its activation.
    Conv(Convolution),
    /// A pool.
    Pool(Pool),
    /// A norm by itself.
    Norm(Norm),
    /// Dropout with this probability.
    Dropout(f64),
}

/// A convolution, its norm and its activation. With a norm it has no bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convolution {
    /// The convolution as if it were dense.
    pub shape: Conv,
    /// Whether the kernel acts on each channel by itself, and a 1x1 convolution follows (Keras's
    /// `SeparableConv2D`).
    pub is_separable: bool,
    /// The norm.
    pub norm: Option<Norm>,
    /// The activation after it.
    pub activation: Option<Activation>,
}

/// The settings of batch norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Value added to the variance.
    pub epsilon: f64,
    /// Weight of a batch in the running statistics, as PyTorch counts it.
    pub momentum: f64,
}

impl Norm {
    fn kind(self) -> Kind {
        let Self { epsilon, momentum } = self;
        Kind::BatchNorm { epsilon, momentum }
    }
}

/// Returns the network of a recipe's list, for images of `inputs` channels. A convolution after a
/// pool begins a layer group, so that a dropout after a pool belongs to the pool's group.
pub fn listed(inputs: usize, entries: &[Listed]) -> Network {
    let mut groups: Vec<Vec<Layer>> = Vec::new();
    let (mut channels, mut place, mut is_pooled) = (inputs, 0, false);
    for (index, entry) in entries.iter().enumerate() {
        let is_conv = matches!(entry, Listed::Conv(_));
        if groups.is_empty() || is_conv && is_pooled && has_conv(&groups) {
            groups.push(Vec::new());
            place = 0;
        }
        is_pooled = matches!(entry, Listed::Pool(_)) || is_pooled && !is_conv;
        let path = format!("blocks.{}.{place}", groups.len() - 1);
        let layers = entry
            .layers(&path, channels)
            .into_iter()
            .map(|layer| Layer {
                entry: Some(index + 1),
                ..layer
            });
        groups.last_mut().expect("a group was begun").extend(layers);
        if let Listed::Conv(conv) = entry {
            channels = conv.shape.outputs;
        }
        place += 1;
    }
    Network { inputs, groups }
}

/// Returns whether the last group has a convolution. Layers before the first convolution belong to
/// its group.
fn has_conv(groups: &[Vec<Layer>]) -> bool {
    groups.last().is_some_and(|layers| {
        layers
            .iter()
            .any(|layer| matches!(layer.kind, Kind::Conv(_)))
    })
}

impl Listed {
    /// Returns the layers of the entry at `path`, whose input has `channels` channels.
    fn layers(&self, path: &str, channels: usize) -> Vec<Layer> {
        let at = |name: &str| format!("{path}.{name}");
        let plain = |name: &str, kind| Layer {
            name: at(name),
            foreign_names: ForeignNames::default(),
            entry: None,
            kind,
        };
        match *self {
            Self::Pool(shape) => vec![pool(at("pool"), shape)],
            Self::Norm(norm) => vec![plain("norm", norm.kind())],
            Self::Dropout(probability) => vec![plain("dropout", Kind::Dropout(probability))],
            Self::Conv(Convolution {
                shape,
                is_separable,
                norm,
                activation: function,
            }) => {
                let bias = norm.is_none();
                let mut layers = Vec::new();
                let dense = if is_separable {
                    let depthwise = Conv {
                        outputs: channels,
                        groups: Groups::Depthwise,
                        bias: false,
                        ..shape
                    };
                    layers.push(conv(at("depthwise"), ForeignNames::default(), depthwise));
                    Conv::new(shape.outputs, 1)
                } else {
                    shape
                };
                layers.push(conv(
                    at("conv"),
                    ForeignNames::default(),
                    Conv { bias, ..dense },
                ));
                layers.extend(norm.map(|norm| plain("norm", norm.kind())));
                layers.extend(function.map(activation));
                layers
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Padding, PoolKind};

    fn conv(outputs: usize, kernel: usize, stride: usize, padding: Padding) -> Listed {
        let shape = Conv {
            stride,
            padding,
            ..Conv::new(outputs, kernel)
        };
        Listed::Conv(Convolution {
            shape,
            is_separable: false,
            norm: None,
            activation: Some(Activation::Relu),
        })
    }

    fn same(outputs: usize) -> Listed {
        conv(outputs, 3, 1, Padding::Same)
    }

    fn pool(kernel: usize, stride: usize, padding: Padding) -> Listed {
        Listed::Pool(Pool {
            kind: PoolKind::Max,
            kernel,
            stride,
            padding,
            ceil: false,
        })
    }

    const HALVE: Listed = Listed::Pool(Pool::HALVE);

    #[test]
    fn shapes_and_weights_follow_keras() {
        let separable = Convolution {
            shape: Conv::new(8, 5),
            is_separable: true,
            norm: None,
            activation: None,
        };
        for (entries, image, features, weights) in [
            (
                vec![same(4), HALVE, same(8), HALVE],
                [31, 20],
                [8, 7, 5],
                3 * 4 * 9 + 4 * 8 * 9,
            ),
            (
                vec![
                    conv(4, 3, 1, Padding::Valid),
                    HALVE,
                    conv(8, 3, 1, Padding::Valid),
                ],
                [31, 20],
                [8, 12, 7],
                3 * 4 * 9 + 4 * 8 * 9,
            ),
            (
                vec![conv(4, 7, 2, Padding::Same), pool(3, 2, Padding::Same)],
                [31, 20],
                [4, 8, 5],
                3 * 4 * 49,
            ),
            (
                vec![conv(4, 4, 3, Padding::Same), conv(2, 2, 1, Padding::Valid)],
                [31, 20],
                [2, 10, 6],
                3 * 4 * 16 + 4 * 2 * 4,
            ),
            (
                vec![pool(3, 2, Padding::Valid), conv(4, 1, 2, Padding::Valid)],
                [31, 20],
                [4, 8, 5],
                3 * 4,
            ),
            (
                vec![Listed::Conv(separable), Listed::Dropout(0.1), same(2)],
                [9, 9],
                [2, 9, 9],
                3 * 25 + 3 * 8 + 8 * 2 * 9,
            ),
        ] {
            let network = listed(3, &entries);
            assert_eq!(
                network.features(image).expect("large enough"),
                features,
                "{entries:?}"
            );
            assert_eq!(network.num_kernel_weights(), weights, "{entries:?}");
        }
    }

    #[test]
    fn a_convolution_behind_a_pool_begins_a_group_and_every_group_has_weights() {
        let drop = Listed::Dropout(0.5);
        for (entries, firsts) in [
            (vec![same(1), HALVE, same(1), HALVE], vec!["0.0", "1.0"]),
            (
                vec![same(1), same(1), HALVE, drop, same(1), HALVE, drop],
                vec!["0.0", "1.0"],
            ),
            (
                vec![same(1), HALVE, HALVE, drop, same(1), same(1)],
                vec!["0.0", "1.0"],
            ),
            (
                vec![drop, HALVE, same(1), same(1), drop, same(1)],
                vec!["0.0"],
            ),
        ] {
            let groups = listed(1, &entries).groups;
            let found: Vec<_> = groups
                .iter()
                .map(|layers| {
                    layers[0]
                        .name
                        .rsplit_once('.')
                        .expect("a path")
                        .0
                        .to_owned()
                })
                .collect();
            let expected: Vec<_> = firsts
                .iter()
                .map(|first| format!("blocks.{first}"))
                .collect();
            assert_eq!(found, expected, "{entries:?}");
            assert!(
                groups.iter().all(|layers| layers
                    .iter()
                    .any(|layer| matches!(layer.kind, Kind::Conv(_)))),
                "{entries:?}"
            );
        }
    }

    #[test]
    fn layers_are_named_by_group_and_place_and_count_the_recipe_s_entries() {
        let normed = Convolution {
            shape: Conv::new(4, 3),
            is_separable: true,
            norm: Some(Norm {
                epsilon: 1e-3,
                momentum: 0.01,
            }),
            activation: Some(Activation::Elu),
        };
        let network = listed(
            2,
            &[same(3), HALVE, Listed::Dropout(0.5), Listed::Conv(normed)],
        );
        let found: Vec<_> = network
            .groups
            .iter()
            .flatten()
            .map(|layer| (layer.name.as_str(), layer.entry))
            .collect();
        let expected = [
            ("blocks.0.0.conv", 1),
            ("", 1),
            ("blocks.0.1.pool", 2),
            ("blocks.0.2.dropout", 3),
            ("blocks.1.0.depthwise", 4),
            ("blocks.1.0.conv", 4),
            ("blocks.1.0.norm", 4),
            ("", 4),
        ];
        assert_eq!(found, expected.map(|(name, entry)| (name, Some(entry))));
        assert!(network.modules().iter().all(
            |(layer, _)| !matches!(&layer.kind, Kind::Conv(conv) if conv.bias && conv.outputs == 4)
        ));
    }
}
