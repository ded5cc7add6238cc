//! The hyperparameters of a convolution block, and which kernels of `crates/conv-block` or
//! operations of Burn compute it.

use burn::{
    backend::tensor::FloatTensor,
    tensor::{
        DType, Shape, Tensor,
        activation::relu,
        module,
        ops::{ConvOptions, MaxPoolOptions},
    },
};
use conv_block::{
    Conv, Depthwise, Gradients, Isa, Saved, Tail, backward, depthwise_backward, depthwise_forward,
    forward, infer,
};

use super::{
    backend::{HostBackend, algorithm, has_kernels},
    pool::pad,
};

/// The hyperparameters of a block.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Block {
    pub(in crate::nn) stride: usize,
    /// Zeros above and below, and left and right.
    pub(in crate::nn) padding: [[usize; 2]; 2],
    /// Number of parts that the channels are divided into.
    pub(in crate::nn) groups: usize,
    pub(in crate::nn) tail: Tail,
}

impl Block {
    /// Whether our kernels support this shape and can access these tensors.
    ///
    /// # Shapes
    /// `x` is `[batch, inputs, height, width]`, `weight` is `[outputs, inputs / groups, height,
    /// width]`.
    pub(super) fn has_kernel(self, x: &Tensor<4>, weight: &Tensor<4>) -> bool {
        let [outputs, _, kernel_height, kernel_width] = weight.dims();
        let is_supported = || {
            if self.groups == 1 {
                let [[above, below], [left, right]] = self.padding;
                [below, left, right] == [above; 3]
                    && conv_of(x.dims(), weight.dims(), self).is_supported()
            } else {
                let is_depthwise =
                    [x.dims()[1], outputs] == [self.groups; 2] && self.tail != Tail::ReluPool;
                is_depthwise && depthwise_of(x.dims(), weight.dims(), self).is_supported()
            }
        };
        has_kernels(&x.device())
            && kernel_height == kernel_width
            && [x.dtype(), weight.dtype()] == [DType::F32; 2]
            && is_supported()
    }

    /// Pads an image whose sides are padded unequally, as TensorFlow does before a stride of 2,
    /// since our kernels pad all sides alike. Returns what is left to do.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]`; returns the same with the rows and columns of the
    /// padding.
    pub(super) fn evenly_padded(self, x: Tensor<4>) -> (Tensor<4>, Self) {
        let [[above, below], [left, right]] = self.padding;
        let is_even = [below, left, right] == [above; 3];
        if self.groups != 1 || is_even || !has_kernels(&x.device()) {
            return (x, self);
        }
        let padded = pad(x, self.padding[0], self.padding[1]);
        let padding = [[0; 2]; 2];
        (padded, Self { padding, ..self })
    }

    /// Computes the output, the codes of pooled values, and the output's rows and columns.
    pub(super) fn forward(
        self,
        x: [usize; 4],
        weight: [usize; 4],
        [input, weights, bias]: [&[f32]; 3],
    ) -> (Vec<f32>, Vec<u8>, [usize; 4]) {
        if self.groups == 1 {
            let conv = conv_of(x, weight, self);
            let found = forward(Isa::best(), &conv, self.tail, input, weights, Some(bias));
            return (found.output, found.codes, output_dims(&conv, self.tail));
        }
        let shape = depthwise_of(x, weight, self);
        let (rows, columns) = shape.result_size();
        let output = depthwise_forward(Isa::best(), &shape, self.tail, input, weights, Some(bias));
        (
            output,
            Vec::new(),
            [shape.images, shape.channels, rows, columns],
        )
    }

    /// Computes the output and its shape where no gradient will be asked for.
    pub(super) fn infer(
        self,
        x: [usize; 4],
        weight: [usize; 4],
        [input, weights, bias]: [&[f32]; 3],
    ) -> (Vec<f32>, [usize; 4]) {
        if self.groups == 1 {
            let conv = conv_of(x, weight, self);
            return (
                infer(Isa::best(), &conv, self.tail, input, weights, Some(bias)),
                output_dims(&conv, self.tail),
            );
        }
        let (output, _, shape) = self.forward(x, weight, [input, weights, bias]);
        (output, shape)
    }

    /// Computes the gradients.
    pub(super) fn backward(
        self,
        x: [usize; 4],
        weight: [usize; 4],
        saved: Saved<'_>,
        grad: &mut [f32],
        is_input_wanted: bool,
    ) -> Gradients {
        if self.groups == 1 {
            return backward(
                Isa::best(),
                &conv_of(x, weight, self),
                self.tail,
                saved,
                grad,
                is_input_wanted,
            );
        }
        depthwise_backward(
            Isa::best(),
            &depthwise_of(x, weight, self),
            self.tail,
            saved,
            grad,
            is_input_wanted,
        )
    }

    /// Runs the convolution with Burn's operations.
    ///
    /// # Shapes
    /// As [`super::conv_op::conv_block`], without pooling.
    pub(super) fn convolve(
        self,
        x: Tensor<4>,
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
    ) -> Tensor<4> {
        let [[above, below], [left, right]] = self.padding;
        // Burn pads both ends alike.
        let (x, padding) = if above == below && left == right {
            (x, [above, left])
        } else {
            (pad(x, self.padding[0], self.padding[1]), [0, 0])
        };
        module::conv2d(
            x,
            weight,
            bias,
            ConvOptions::new([self.stride; 2], padding, [1, 1], self.groups),
        )
    }

    /// Runs the tail with Burn's operations; see [`follow`].
    ///
    /// # Shapes
    /// `[batch, channels, rows, columns]` in and out, with rows and columns halved by pooling.
    pub(super) fn follow(self, x: Tensor<4>) -> Tensor<4> {
        follow(self.tail, x)
    }
}

/// Runs a tail with Burn's operations.
///
/// # Shapes
/// `[batch, channels, rows, columns]` in and out, with rows and columns halved by pooling.
pub(super) fn follow(tail: Tail, x: Tensor<4>) -> Tensor<4> {
    match tail {
        Tail::Linear => x,
        Tail::Relu => relu(x),
        Tail::Relu6 => x.clamp(0.0, 6.0),
        Tail::ReluPool => module::max_pool2d(relu(x), MaxPoolOptions::new([2, 2])),
    }
}

/// Returns the output if the backward pass of `tail` reads it, else an empty tensor, so that the
/// output's memory is freed with its last user.
///
/// # Shapes
/// Any; returns the same or `[0]`.
pub(super) fn output_to_keep<B: HostBackend>(
    output: &FloatTensor<B>,
    tail: Tail,
) -> FloatTensor<B> {
    match tail {
        Tail::Relu | Tail::Relu6 => output.clone(),
        Tail::Linear | Tail::ReluPool => B::tensor(Vec::new(), Shape::new([0])),
    }
}

/// Describes a convolution to `conv_block`, from the shapes of its input and weights.
pub(super) fn conv_of(
    [images, inputs, height, width]: [usize; 4],
    [outputs, _, kernel, _]: [usize; 4],
    block: Block,
) -> Conv {
    Conv {
        images,
        inputs,
        height,
        width,
        outputs,
        kernel,
        stride: block.stride,
        padding: block.padding[0][0],
        algorithm: algorithm(),
    }
}

/// As [`conv_of`], for a depthwise convolution.
fn depthwise_of(
    [images, channels, height, width]: [usize; 4],
    [_, _, kernel, _]: [usize; 4],
    block: Block,
) -> Depthwise {
    Depthwise {
        images,
        channels,
        height,
        width,
        kernel,
        stride: block.stride,
        padding: block.padding,
    }
}

/// Returns the shape of the block's output, `[batch, outputs, rows, columns]`.
fn output_dims(conv: &Conv, tail: Tail) -> [usize; 4] {
    let (rows, columns) = conv.output_size(tail);
    [conv.images, conv.outputs, rows, columns]
}
