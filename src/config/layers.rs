//! `[[model.layers]]`: the layers of a backbone, as listed in a recipe.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::architecture::{self, Activation, Convolution, Groups, Listed, Norm, Pool, PoolKind};

/// A layer of the list. Its kind is told by its first key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a table with conv, separable_conv, max_pool, average_pool, norm or \
                 dropout"
)]
pub enum LayerRecipe {
    /// A convolution.
    Conv(ConvRecipe),
    /// A depthwise convolution followed by a 1x1 convolution.
    SeparableConv(SeparableConvRecipe),
    /// Max pooling.
    MaxPool(MaxPoolRecipe),
    /// Average pooling.
    AveragePool(AveragePoolRecipe),
    /// A norm by itself.
    Norm(NormRecipe),
    /// Dropout.
    Dropout(DropoutRecipe),
}

/// A convolution with its batch norm and activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConvRecipe {
    /// Number of output channels (Keras's `filters`).
    pub conv: usize,
    /// Height and width of the kernel, 1 to 7.
    #[serde(default = "three")]
    pub kernel: usize,
    /// Step of the kernel in pixels, 1 to 7.
    #[serde(default = "one")]
    pub stride: usize,
    /// Zeros around the image, by Keras's rules.
    #[serde(default = "same")]
    pub padding: Around,
    /// Batch normalization before the activation; the convolution then has no bias.
    #[serde(default)]
    pub batch_norm: bool,
    /// Activation after the convolution; `model.activation` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Function>,
}

/// A depthwise convolution followed by a 1x1 convolution (Keras's `SeparableConv2D`), with batch
/// norm and activation after both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeparableConvRecipe {
    /// Number of output channels.
    pub separable_conv: usize,
    /// Height and width of the kernel, 1 to 7.
    #[serde(default = "three")]
    pub kernel: usize,
    /// Step of the kernel in pixels, 1 to 7.
    #[serde(default = "one")]
    pub stride: usize,
    /// Zeros around the image, by Keras's rules.
    #[serde(default = "same")]
    pub padding: Around,
    /// Batch normalization before the activation; the 1x1 convolution then has no bias.
    #[serde(default)]
    pub batch_norm: bool,
    /// Activation after the convolution; `model.activation` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Function>,
}

/// Max pooling: the largest value of each window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaxPoolRecipe {
    /// Height and width of the window, 1 to 64.
    pub max_pool: usize,
    /// Step of the window in pixels; the window's side by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// How far windows may reach beyond the edge; values outside never win.
    #[serde(default = "valid")]
    pub padding: Around,
}

/// Average pooling: the mean of each window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AveragePoolRecipe {
    /// Height and width of the window, 1 to 64.
    pub average_pool: usize,
    /// Step of the window in pixels; the window's side by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// How far windows may reach beyond the edge; values outside don't count.
    #[serde(default = "valid")]
    pub padding: Around,
}

/// A norm by itself, such as one behind an activation or a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NormRecipe {
    /// Kind of the norm.
    pub norm: NormKind,
}

/// Kind of a norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// Batch normalization.
    Batch,
}

/// Dropout: sets values to zero in training and scales up the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropoutRecipe {
    /// Fraction of the values that is set to zero in each training step.
    pub dropout: f64,
}

/// Padding of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Around {
    /// Zeros so that the output's side is the input's divided by the stride, rounded up; an odd row
    /// or column is added after the image.
    Same,
    /// No padding.
    Valid,
}

/// Activation function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// max(x, 0).
    #[default]
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x above 0, else x / 100 (PyTorch's slope).
    LeakyRelu,
    /// x above 0, else exp(x) - 1.
    Elu,
    /// x times the normal cumulative distribution function of x.
    Gelu,
    /// x times sigmoid(x), also known as swish.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// No activation.
    None,
}

/// How weights are initialized that come from no file; biases are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// From a normal distribution with a standard deviation of sqrt(2 / inputs); sqrt(1 / inputs)
    /// for the output layer.
    #[default]
    He,
    /// From a uniform distribution up to sqrt(6 / (inputs + outputs)): Keras's default.
    GlorotUniform,
}

fn one() -> usize {
    1
}

fn three() -> usize {
    3
}

fn same() -> Around {
    Around::Same
}

fn valid() -> Around {
    Around::Valid
}

/// Maximum number of kernel weights of a list's convolutions, 1 GiB.
pub const MOST_KERNEL_WEIGHTS: u128 = 1 << 28;

impl LayerRecipe {
    /// Returns the description of the layer. `function` and `norm` are the recipe's settings for
    /// all layers.
    pub(super) fn listed(&self, function: Function, norm: Norm) -> Listed {
        let pool = |kind, kernel, stride: Option<usize>, padding: Around| {
            Listed::Pool(Pool {
                kind,
                kernel,
                stride: stride.unwrap_or(kernel),
                padding: padding.described(),
                ceil: false,
            })
        };
        match self {
            Self::Conv(conv) => conv.listed(function, norm, false),
            Self::SeparableConv(conv) => conv.as_dense().listed(function, norm, true),
            Self::MaxPool(MaxPoolRecipe {
                max_pool,
                stride,
                padding,
            }) => pool(PoolKind::Max, *max_pool, *stride, *padding),
            Self::AveragePool(AveragePoolRecipe {
                average_pool,
                stride,
                padding,
            }) => pool(PoolKind::AverageInside, *average_pool, *stride, *padding),
            Self::Norm(NormRecipe {
                norm: NormKind::Batch,
            }) => Listed::Norm(norm),
            Self::Dropout(DropoutRecipe { dropout }) => Listed::Dropout(*dropout),
        }
    }

    /// Returns the key of the first value that can't work, the value, and what was expected.
    pub(super) fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        const CHANNELS: (&str, usize) = ("1 to 65536 channels", 65536);
        const SIDE: (&str, usize) = ("1 to 7 pixels", 7);
        const WINDOW: (&str, usize) = ("1 to 64 pixels", 64);
        let outside =
            |(key, found, (expected, most)): (&'static str, usize, (&'static str, usize))| {
                (!(1..=most).contains(&found)).then(|| (key, found.to_string(), expected))
            };
        let conv = |key, channels, conv: &ConvRecipe| {
            let values = [
                (key, channels, CHANNELS),
                ("kernel", conv.kernel, SIDE),
                ("stride", conv.stride, SIDE),
            ];
            values.into_iter().find_map(outside)
        };
        let pool = |key, window, stride: Option<usize>| {
            [
                (key, window, WINDOW),
                ("stride", stride.unwrap_or(1), WINDOW),
            ]
            .into_iter()
            .find_map(outside)
        };
        match self {
            Self::Conv(layer) => conv("conv", layer.conv, layer),
            Self::SeparableConv(layer) => {
                conv("separable_conv", layer.separable_conv, &layer.as_dense())
            }
            Self::MaxPool(layer) => pool("max_pool", layer.max_pool, layer.stride),
            Self::AveragePool(layer) => pool("average_pool", layer.average_pool, layer.stride),
            Self::Norm(_) => None,
            Self::Dropout(DropoutRecipe { dropout }) => {
                (!(0.0..1.0).contains(dropout)).then(|| {
                    (
                        "dropout",
                        dropout.to_string(),
                        "a fraction from 0 to below 1",
                    )
                })
            }
        }
    }

    /// Returns whether the layer is a convolution.
    pub(super) fn is_conv(&self) -> bool {
        matches!(self, Self::Conv(_) | Self::SeparableConv(_))
    }

    /// Returns whether the layer is or has a batch norm.
    pub(super) fn has_norm(&self) -> bool {
        matches!(
            self,
            Self::Norm(_)
                | Self::Conv(ConvRecipe {
                    batch_norm: true,
                    ..
                })
                | Self::SeparableConv(SeparableConvRecipe {
                    batch_norm: true,
                    ..
                })
        )
    }
}

impl ConvRecipe {
    fn listed(&self, function: Function, norm: Norm, is_separable: bool) -> Listed {
        let shape = architecture::Conv {
            outputs: self.conv,
            kernel: [self.kernel; 2],
            stride: self.stride,
            padding: self.padding.described(),
            groups: Groups::One,
            bias: !self.batch_norm,
        };
        let activation = self.activation.unwrap_or(function).described();
        Listed::Conv(Convolution {
            shape,
            is_separable,
            norm: self.batch_norm.then_some(norm),
            activation,
        })
    }
}

impl SeparableConvRecipe {
    /// Returns the dense convolution with the same settings.
    fn as_dense(&self) -> ConvRecipe {
        let Self {
            separable_conv,
            kernel,
            stride,
            padding,
            batch_norm,
            activation,
        } = *self;
        ConvRecipe {
            conv: separable_conv,
            kernel,
            stride,
            padding,
            batch_norm,
            activation,
        }
    }
}

impl Around {
    fn described(self) -> architecture::Padding {
        match self {
            Self::Same => architecture::Padding::Same,
            Self::Valid => architecture::Padding::Valid,
        }
    }
}

impl Function {
    fn described(self) -> Option<Activation> {
        Some(match self {
            Self::Relu => Activation::Relu,
            Self::Relu6 => Activation::Relu6,
            Self::LeakyRelu => Activation::LeakyRelu,
            Self::Elu => Activation::Elu,
            Self::Gelu => Activation::Gelu,
            Self::Silu => Activation::Silu,
            Self::Tanh => Activation::Tanh,
            Self::None => return None,
        })
    }
}
