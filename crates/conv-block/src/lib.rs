//! Convolution blocks for training on the CPU: convolution, bias, ReLU and 2x2 max-pooling as one operation, forward and
//! backward, on plain `f32` slices in the order `[images, channels, rows, columns]`.
//!
//! What a block keeps for its backward pass is small: one byte for each pooled cell, or its own result; never what lay between.
//! The values are the same for any number of threads, and differ in their last bits between instruction sets.
//!
//! A NaN or infinity in the input reaches the output. In the backward pass a gradient that is zero adds nothing, whatever it
//! would be multiplied with.

#![expect(clippy::needless_range_loop, reason = "register tiles are arrays of arrays that are walked side by side")]

mod dense;
mod groups;
mod norm;
mod pooled;
mod rows;
mod scratch;
mod shape;
mod simd;
mod tile;
mod weight;

pub use norm::{Norm, NormForward, NormGradients, NormSaved, norm_backward, norm_forward};
pub use shape::{Conv, Tail};
pub use simd::Isa;

use dense::Dense;
use pooled::Pooled;
use rows::{Plain, PoolGrad, ReluGrad, Rows};

/// The code of a pooled cell none of whose values is above zero. Other codes are the place of the largest: 0 and 1 in the
/// upper row, 2 and 3 in the lower; the first of equals, as PyTorch has it.
pub const DEAD: u8 = 4;

/// What comes out of [`forward`].
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// `[images, outputs, rows, columns]` after the tail.
    pub output: Vec<f32>,
    /// One a value of `output` with [`Tail::ReluPool`], else empty.
    pub codes: Vec<u8>,
}

/// What comes out of [`backward`].
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// As the input, if it was wanted.
    pub input: Option<Vec<f32>>,
    /// As the weights.
    pub weight: Vec<f32>,
    /// One an output channel.
    pub bias: Vec<f32>,
}

/// What [`backward`] needs beside the gradient.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// `[images, inputs, height, width]`.
    pub input: &'a [f32],
    /// `[outputs, inputs, kernel, kernel]`.
    pub weight: &'a [f32],
    /// What [`forward`] gave; not looked at with [`Tail::Linear`] and [`Tail::ReluPool`].
    pub output: &'a [f32],
    /// What [`forward`] gave with [`Tail::ReluPool`].
    pub codes: &'a [u8],
}

/// The block's output.
///
/// # Panics
/// The shape is not supported (see [`Conv::is_supported`]) or a slice is not as long as it says.
pub fn forward(isa: Isa, conv: &Conv, tail: Tail, input: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Forward {
    assert!(conv.is_supported(), "{conv:?} is not supported");
    assert_eq!(input.len(), conv.input_len(), "input of {conv:?}");
    assert_eq!(weight.len(), conv.weight_len(), "weight of {conv:?}");
    assert!(bias.is_none_or(|bias| bias.len() == conv.outputs), "bias of {conv:?}");
    let mut output = vec![0.0; conv.output_len(tail)];
    let mut codes = vec![0; if tail == Tail::ReluPool { output.len() } else { 0 }];
    let kernel = conv.kernel;
    let packed = dense::pack_weights(isa, [conv.outputs, conv.inputs, kernel], |output, input, row, column| {
        weight[((output * conv.inputs + input) * kernel + row) * kernel + column]
    });
    let mut padded_bias = bias.unwrap_or_default().to_vec();
    padded_bias.resize(conv.outputs.next_multiple_of(isa.block()), 0.0);
    let (rows, columns) = conv.result_size();
    let dense = Dense {
        images: conv.images,
        inputs: conv.inputs,
        in_size: (conv.height, conv.width),
        dilation: 1,
        outputs: conv.outputs,
        out_size: if tail == Tail::ReluPool { (rows & !1, columns & !1) } else { (rows, columns) },
        kernel,
        stride: conv.stride,
        padding: conv.padding as isize,
        source: &Plain { values: input, channels: conv.inputs, height: conv.height, width: conv.width },
        weights: &packed,
        bias: &padded_bias,
        tail,
    };
    dense::run(isa, &dense, &mut output, &mut codes);
    Forward { output, codes }
}

/// The gradients of weights and bias, and that of the input if it `is_input_wanted`, for the output's gradient `grad`.
///
/// # Panics
/// The shape is not supported (see [`Conv::is_supported`]) or a slice is not as long as it says.
pub fn backward(isa: Isa, conv: &Conv, tail: Tail, saved: Saved<'_>, grad: &[f32], is_input_wanted: bool) -> Gradients {
    assert!(conv.is_supported(), "{conv:?} is not supported");
    assert_eq!(saved.input.len(), conv.input_len(), "input of {conv:?}");
    assert_eq!(saved.weight.len(), conv.weight_len(), "weight of {conv:?}");
    assert_eq!(grad.len(), conv.output_len(tail), "gradient of {conv:?}");
    let (height, width) = conv.output_size(tail);
    let grad = Plain { values: grad, channels: conv.outputs, height, width };
    match tail {
        Tail::Linear => backward_dense(isa, conv, &saved, &grad, is_input_wanted),
        Tail::Relu => {
            assert_eq!(saved.output.len(), grad.values.len(), "output of {conv:?}");
            backward_dense(isa, conv, &saved, &ReluGrad { grad, output: saved.output }, is_input_wanted)
        }
        Tail::ReluPool => {
            assert_eq!(saved.codes.len(), grad.values.len(), "codes of {conv:?}");
            if conv.kernel == 3 && conv.stride == 1 {
                let pooled = Pooled { conv, input: saved.input, weight: saved.weight, codes: saved.codes, grad: grad.values };
                let mut input = is_input_wanted.then(|| vec![0.0; conv.input_len()]);
                let (weight, bias) = pooled::run(isa, &pooled, input.as_deref_mut());
                Gradients { input, weight, bias }
            } else {
                backward_dense(isa, conv, &saved, &PoolGrad { grad, codes: saved.codes }, is_input_wanted)
            }
        }
    }
}

/// For a gradient of the convolution's result of any kind.
fn backward_dense(isa: Isa, conv: &Conv, saved: &Saved<'_>, grad: &dyn Rows, is_input_wanted: bool) -> Gradients {
    let source = Plain { values: saved.input, channels: conv.inputs, height: conv.height, width: conv.width };
    let (weight, bias) = weight::run(isa, conv, &source, grad);
    let input = is_input_wanted.then(|| {
        let kernel = conv.kernel;
        let turned = dense::pack_weights(isa, [conv.inputs, conv.outputs, kernel], |input, output, row, column| {
            saved.weight[((output * conv.inputs + input) * kernel + kernel - 1 - row) * kernel + kernel - 1 - column]
        });
        let mut out = vec![0.0; conv.input_len()];
        let dense = Dense {
            images: conv.images,
            inputs: conv.outputs,
            in_size: conv.result_size(),
            dilation: conv.stride,
            outputs: conv.inputs,
            out_size: (conv.height, conv.width),
            kernel,
            stride: 1,
            padding: kernel as isize - 1 - conv.padding as isize,
            source: grad,
            weights: &turned,
            bias: &vec![0.0; conv.inputs.next_multiple_of(isa.block())],
            tail: Tail::Linear,
        };
        dense::run(isa, &dense, &mut out, &mut []);
        out
    });
    Gradients { input, weight, bias }
}
