//! A convolution with its bias or its batch norm, and what follows: the brick of every backbone here.

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

/// The shape of a layer.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct ConvShape {
    /// Channels in.
    pub(in crate::nn) inputs: usize,
    /// Channels out.
    pub(in crate::nn) outputs: usize,
    /// Rows and columns of the kernel.
    pub(in crate::nn) kernel: usize,
    /// Pixels from one place of the kernel to the next.
    pub(in crate::nn) stride: usize,
    /// Zeros around the picture.
    pub(in crate::nn) padding: usize,
    /// With batch norm instead of a bias?
    pub(in crate::nn) batch_norm: bool,
}

/// A layer of a network that isn't built yet.
#[derive(Clone, Debug)]
pub(in crate::nn) struct Planned {
    /// As it will be called, `backbone.blocks.0`.
    pub(in crate::nn) name: String,
    /// The layer group it belongs to.
    pub(in crate::nn) group: usize,
    pub(in crate::nn) conv: ConvShape,
    /// Rows and columns in, out, and out of the pooling that is a part of the layer.
    pub(in crate::nn) sizes: [[usize; 2]; 3],
}

impl Planned {
    /// For pictures of this size; with 2x2 pooling or without.
    pub(in crate::nn) fn new(name: String, group: usize, conv: ConvShape, input: [usize; 2], is_pooled: bool) -> Self {
        let output = input.map(|side| conv.side(side));
        let pooled = if is_pooled { output.map(|side| side / 2) } else { output };
        Self { name: format!("backbone.{name}"), group, conv, sizes: [input, output, pooled] }
    }
}

impl ConvShape {
    /// Rows or columns out of so many in, before any pooling.
    pub(in crate::nn) fn side(&self, side: usize) -> usize {
        out_side(side, self.kernel, self.stride, self.padding)
    }
}

/// Convolution, then a bias or batch norm.
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
    /// With all parameters zero.
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

    /// # Shapes
    /// `[batch, inputs, height, width]` to `[batch, outputs, rows, columns]`, halved (rounded down) by a pooling tail.
    pub(in crate::nn) fn forward(&self, x: Tensor<4>, tail: Tail) -> Tensor<4> {
        let block = Block { stride: self.stride, padding: self.padding, tail };
        match &self.norm {
            Some(norm) => conv_norm_block(x, self.conv.weight.val(), norm, block),
            None => conv_block(x, self.conv.weight.val(), self.conv.bias.as_ref().map(Param::val), block),
        }
    }

    /// Channels out.
    pub(in crate::nn) fn outputs(&self) -> usize {
        self.conv.weight.dims()[0]
    }

    /// Is there a batch norm?
    pub(in crate::nn) fn has_norm(&self) -> bool {
        self.norm.is_some()
    }

    /// Rows or columns out of so many in, before any pooling.
    pub(in crate::nn) fn side(&self, side: usize) -> usize {
        out_side(side, self.conv.weight.dims()[2], self.stride, self.padding)
    }
}

/// Rows or columns of a convolution's result.
fn out_side(side: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    (side + 2 * padding).saturating_sub(kernel) / stride + 1
}
