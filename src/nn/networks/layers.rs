//! The layers of a backbone that have parameters or act in training only.

use burn::{
    module::{Initializer, Module, Param},
    nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig},
    tensor::{Device, Tensor},
};

use crate::architecture::{Conv, Kind, Network};

/// A layer of a backbone.
#[derive(Module, Debug)]
pub(super) enum Layer {
    /// A convolution.
    Conv(Convolution),
    /// Batch norm.
    BatchNorm(BatchNorm),
    /// Layer norm.
    LayerNorm(LayerNorm),
    /// A factor for each channel.
    Scale(Scale),
    /// Dropout of values, or of whole images (stochastic depth).
    Dropout(Dropout),
}

/// The parameters of a convolution.
#[derive(Module, Debug)]
pub(super) struct Convolution {
    /// Kernel, `[outputs, inputs, height, width]`.
    pub(super) weight: Param<Tensor<4>>,
    /// Bias, `[outputs]`.
    pub(super) bias: Option<Param<Tensor<1>>>,
}

/// Layer norm over the channels of each position.
#[derive(Module, Debug)]
pub(super) struct LayerNorm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    epsilon: f64,
}

/// A learned factor for each channel.
#[derive(Module, Debug)]
pub(super) struct Scale {
    scale: Param<Tensor<1>>,
}

/// Creates the layers of a network with zero kernels and biases; norms start as the identity,
/// scales at 1. In the order of [`Network::modules`].
pub(super) fn create(network: &Network, device: &Device) -> Vec<Layer> {
    let create = |(layer, inputs): (&crate::architecture::Layer, usize)| match &layer.kind {
        Kind::Conv(conv) => Layer::Conv(Convolution::new(conv, inputs, device)),
        Kind::BatchNorm { epsilon, momentum } => Layer::BatchNorm(
            BatchNormConfig::new(inputs)
                .with_epsilon(*epsilon)
                .with_momentum(*momentum)
                .init(device),
        ),
        Kind::LayerNorm { epsilon } => Layer::LayerNorm(LayerNorm {
            gamma: Initializer::Ones.init([inputs], device),
            beta: Initializer::Zeros.init([inputs], device),
            epsilon: *epsilon,
        }),
        Kind::Scale => Layer::Scale(Scale {
            scale: Initializer::Ones.init([inputs], device),
        }),
        Kind::DropPath(probability) | Kind::Dropout(probability) => {
            Layer::Dropout(DropoutConfig::new(*probability).init())
        }
        other => unreachable!("{other:?} is not one of the network's modules"),
    };
    network.modules().into_iter().map(create).collect()
}

impl Convolution {
    fn new(conv: &Conv, inputs: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Zeros.init(conv.weight_shape(inputs), device),
            bias: conv
                .bias
                .then(|| Initializer::Zeros.init([conv.outputs], device)),
        }
    }
}

impl LayerNorm {
    /// Brings the channels of each position to mean 0 and variance 1, then scales and shifts them.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = x.dims()[1];
        let centered = x.clone() - x.mean_dim(1);
        let variance = centered.clone().square().mean_dim(1);
        let affine = |param: &Param<Tensor<1>>| param.val().reshape([1, channels, 1, 1]);
        centered / (variance + self.epsilon).sqrt() * affine(&self.gamma) + affine(&self.beta)
    }
}

impl Scale {
    /// Multiplies each channel by its factor.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = x.dims()[1];
        x * self.scale.val().reshape([1, channels, 1, 1])
    }
}
