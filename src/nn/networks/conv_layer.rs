//! The building block of every backbone: a convolution, its bias or batch norm, and an activation.

use burn::{
    module::{Module, Param},
    nn::{
        BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor},
};
use conv_block::Tail;

use crate::nn::cpu::conv_op::{Block, conv_block, conv_norm_block};

/// The hyperparameters of a convolution.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct ConvShape {
    /// Number of input channels.
    pub(in crate::nn) inputs: usize,
    /// Number of output channels.
    pub(in crate::nn) outputs: usize,
    /// Height and width of the kernel.
    pub(in crate::nn) kernel: usize,
    /// Step of the kernel, in pixels.
    pub(in crate::nn) stride: usize,
    /// Zeros added on each side of the image.
    pub(in crate::nn) padding: usize,
    /// Whether batch norm takes the place of a bias.
    pub(in crate::nn) batch_norm: bool,
}

/// A convolution of a network that has not been built.
#[derive(Clone, Debug)]
pub(in crate::nn) struct Planned {
    /// Path the layer will have, such as `backbone.blocks.0`.
    pub(in crate::nn) name: String,
    /// Index of its layer group, counted from the input.
    pub(in crate::nn) group: usize,
    /// The convolution's hyperparameters.
    pub(in crate::nn) conv: ConvShape,
    /// Height and width of the input, of the convolution's output, and of that output after the
    /// layer's own pooling.
    pub(in crate::nn) sizes: [[usize; 2]; 3],
}

impl Planned {
    /// Plans a layer for an input of the given height and width, with or without 2x2 pooling.
    pub(in crate::nn) fn new(name: String, group: usize, conv: ConvShape, input: [usize; 2], is_pooled: bool) -> Self {
        let output = input.map(|side| conv.side(side));
        let pooled = if is_pooled { output.map(|side| side / 2) } else { output };
        Self { name: format!("backbone.{name}"), group, conv, sizes: [input, output, pooled] }
    }
}

impl ConvShape {
    /// Returns the output height or width, before pooling, for an input of `side` pixels.
    pub(in crate::nn) fn side(&self, side: usize) -> usize {
        out_side(side, self.kernel, self.stride, self.padding)
    }
}

/// A convolution followed by a bias or batch norm.
#[derive(Module, Debug)]
pub(in crate::nn) struct ConvLayer {
    conv: Conv2d,
    norm: Option<BatchNorm>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    padding: usize,
}

impl ConvLayer {
    /// Creates the layer with zero kernels and biases; a batch norm starts as the identity.
    pub(in crate::nn) fn new(shape: ConvShape, device: &Device) -> Self {
        let ConvShape { inputs, outputs, kernel, stride, padding, batch_norm } = shape;
        let conv = Conv2dConfig::new([inputs, outputs], [kernel; 2])
            .with_stride([stride; 2])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .with_bias(!batch_norm)
            .with_initializer(Initializer::Zeros)
            .init(device);
        Self { conv, norm: batch_norm.then(|| BatchNormConfig::new(outputs).init(device)), stride, padding }
    }

    /// Runs the convolution, its bias or batch norm, and the tail.
    ///
    /// # Shapes
    /// `[batch, inputs, height, width]` to `[batch, outputs, rows, columns]`, with rows and columns
    /// halved (rounded down) by a pooling tail.
    pub(in crate::nn) fn forward(&self, x: Tensor<4>, tail: Tail) -> Tensor<4> {
        let block = Block { stride: self.stride, padding: self.padding, tail };
        match &self.norm {
            Some(norm) => conv_norm_block(x, self.conv.weight.val(), norm, block),
            None => conv_block(x, self.conv.weight.val(), self.conv.bias.as_ref().map(Param::val), block),
        }
    }

    /// Returns the number of output channels.
    pub(in crate::nn) fn outputs(&self) -> usize {
        self.conv.weight.dims()[0]
    }

    /// Whether the layer has batch norm.
    pub(in crate::nn) fn has_norm(&self) -> bool {
        self.norm.is_some()
    }

    /// Returns the output height or width, before pooling, for an input of `side` pixels.
    pub(in crate::nn) fn side(&self, side: usize) -> usize {
        out_side(side, self.conv.weight.dims()[2], self.stride, self.padding)
    }
}

/// Returns the height or width of a convolution's output. An input smaller than the kernel gives 1
/// instead of an underflow; such images are refused by the configuration.
fn out_side(side: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    (side + 2 * padding).saturating_sub(kernel) / stride + 1
}
