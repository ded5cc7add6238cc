//! Convolution blocks for training on the CPU: convolution, bias, ReLU and 2x2 max-pooling as one
//! operation, and batch norm, ReLU and pooling as another, forward and backward, on plain `f32`
//! slices of `[images, channels, rows, columns]`. The crate depends on no framework.
//!
//! A block keeps little for its backward pass: one byte per pooled value, or its own output, but
//! nothing in between. A norm keeps what it normalized. Results are the same for any number of
//! threads, and differ in their last bits between instruction sets.
//!
//! A NaN or infinity in the input reaches the output. In the backward pass a gradient of zero is
//! left out, whatever it is multiplied by, by 3x3 blocks with stride 1 that pool; all others
//! multiply it.

#![expect(
    clippy::needless_range_loop,
    reason = "register tiles are arrays of arrays that are walked side by side"
)]

mod activation;
mod attention;
mod dense;
mod depthwise;
mod groups;
mod inverted;
mod norm;
mod pointwise;
mod pooled;
mod rows;
mod scratch;
mod shape;
mod simd;
mod strided;
mod tile;
mod weight;
mod winograd;

pub use activation::{Activation, activate, scale_and_activate};
pub use attention::attention;
pub use depthwise::{Depthwise, depthwise_backward, depthwise_forward};
pub use inverted::{
    GateWeights, Images, InvertedResidual, InvertedWeights, PackedInverted, Weights,
};
pub use norm::{
    Norm, NormForward, NormGradients, NormSaved, layer_norm, norm_backward, norm_forward,
};
pub use pointwise::{Before, infer_normed};
pub use rows::tail_gradient;
pub use shape::{Algorithm, Conv, DEAD, Tail};
pub use simd::Isa;

use dense::Dense;
use pooled::Pooled;
use rows::{Plain, PoolGrad, Rows};

/// The result of [`forward`].
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Output after the tail, `[images, outputs, rows, columns]`.
    pub output: Vec<f32>,
    /// A code per value of `output` with [`Tail::ReluPool`], else empty.
    pub codes: Vec<u8>,
}

/// The result of [`backward`].
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// Gradient of the input, `[images, inputs, height, width]`, if requested.
    pub input: Option<Vec<f32>>,
    /// Gradient of the weights, `[outputs, inputs, kernel, kernel]`.
    pub weight: Vec<f32>,
    /// Gradient of the bias, `[outputs]`.
    pub bias: Vec<f32>,
}

/// What [`backward`] needs of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// Input, `[images, inputs, height, width]`.
    pub input: &'a [f32],
    /// Weights, `[outputs, inputs, kernel, kernel]`.
    pub weight: &'a [f32],
    /// Output of [`forward`]; read with [`Tail::Relu`] and [`Tail::Relu6`] only.
    pub output: &'a [f32],
    /// Codes of [`forward`]; read with [`Tail::ReluPool`] only.
    pub codes: &'a [u8],
}

/// Computes the block's output.
///
/// # Shapes
/// `input` `[images, inputs, height, width]`, `weight` `[outputs, inputs, kernel, kernel]` and
/// `bias` `[outputs]`; see [`Forward`] for the result.
///
/// # Panics
/// Panics if the shape is not supported (see [`Conv::is_supported`]) or a slice has another length
/// than it says.
pub fn forward(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Forward {
    check_lengths(conv, input, weight, bias);
    if pointwise::is_supported(conv, tail) {
        let weight = |output: usize, input: usize| weight[output * conv.inputs + input];
        let output = pointwise::run(isa, conv, tail, input, weight, bias.unwrap_or_default());
        return Forward {
            output,
            codes: Vec::new(),
        };
    }
    if tail != Tail::ReluPool && winograd::is_faster(conv, conv.images) {
        let weights = winograd::Weights::new(conv, weight);
        return Forward {
            output: winograd::run(isa, conv, tail, input, weights, bias.unwrap_or_default()),
            codes: Vec::new(),
        };
    }
    forward_dense(isa, conv, tail, input, weight, bias)
}

/// Does the work of [`forward`] for any shape.
fn forward_dense(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Forward {
    let is_pooled = tail == Tail::ReluPool;
    let mut codes = vec![0; if is_pooled { conv.output_len(tail) } else { 0 }];
    let kernel = conv.kernel;
    let packed = dense::pack_weights(
        isa,
        [conv.outputs, conv.inputs, kernel],
        |output, input, row, column| {
            weight[((output * conv.inputs + input) * kernel + row) * kernel + column]
        },
    );
    let mut padded_bias = bias.unwrap_or_default().to_vec();
    padded_bias.resize(conv.outputs.next_multiple_of(isa.block()), 0.0);
    let (rows, columns) = conv.result_size();
    let dense = Dense {
        images: conv.images,
        inputs: conv.inputs,
        in_size: (conv.height, conv.width),
        outputs: conv.outputs,
        // An odd last row or column is not pooled, so it isn't computed either.
        out_size: if is_pooled {
            (rows & !1, columns & !1)
        } else {
            (rows, columns)
        },
        kernel,
        stride: conv.stride,
        padding: [conv.padding as isize; 2],
        source: &Plain {
            values: input,
            channels: conv.inputs,
            height: conv.height,
            width: conv.width,
        },
        weights: &packed,
        bias: &padded_bias,
        tail,
    };
    let output = dense::run(isa, &dense, &mut codes);
    Forward { output, codes }
}

/// Computes the block's output alone, for networks that don't learn. [`Algorithm::Fastest`] then
/// takes Winograd's algorithm before pooling, too, and the same one for any number of images.
///
/// # Shapes
/// As [`forward`]; returns `[images, outputs, rows, columns]` after the tail.
///
/// # Panics
/// As [`forward`].
pub fn infer(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    if !winograd::is_faster(conv, winograd::BATCH) {
        let direct = Conv {
            algorithm: Algorithm::Direct,
            ..*conv
        };
        return forward(isa, &direct, tail, input, weight, bias).output;
    }
    check_lengths(conv, input, weight, bias);
    let weights = winograd::Weights::new(conv, weight);
    winograd::run(isa, conv, tail, input, weights, bias.unwrap_or_default())
}

/// Panics unless the kernels support the shape and the slices have its lengths.
fn check_lengths(conv: &Conv, input: &[f32], weight: &[f32], bias: Option<&[f32]>) {
    assert!(conv.is_supported(), "{conv:?} is not supported");
    assert_eq!(input.len(), conv.input_len(), "input of {conv:?}");
    assert_eq!(weight.len(), conv.weight_len(), "weight of {conv:?}");
    assert!(
        bias.is_none_or(|bias| bias.len() == conv.outputs),
        "bias of {conv:?}"
    );
}

/// Computes the gradients of weights and bias, and of the input if `is_input_wanted`, from the
/// gradient `grad` of the output. Behind a ReLU, `grad` becomes the gradient before it.
///
/// # Shapes
/// `grad` is `[images, outputs, rows, columns]` after the tail; see [`Gradients`] for the results.
///
/// # Panics
/// Panics if the shape is not supported (see [`Conv::is_supported`]) or a slice has another length
/// than it says.
pub fn backward(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    saved: Saved<'_>,
    grad: &mut [f32],
    is_input_wanted: bool,
) -> Gradients {
    assert!(conv.is_supported(), "{conv:?} is not supported");
    assert_eq!(saved.input.len(), conv.input_len(), "input of {conv:?}");
    assert_eq!(saved.weight.len(), conv.weight_len(), "weight of {conv:?}");
    assert_eq!(grad.len(), conv.output_len(tail), "gradient of {conv:?}");
    tail_gradient(isa, tail, saved.output, grad);
    let (height, width) = conv.output_size(tail);
    let grad = Plain {
        values: grad,
        channels: conv.outputs,
        height,
        width,
    };
    match tail {
        Tail::Linear | Tail::Relu | Tail::Relu6 => {
            backward_dense(isa, conv, &saved, &grad, is_input_wanted)
        }
        Tail::ReluPool => {
            assert_eq!(saved.codes.len(), grad.values.len(), "codes of {conv:?}");
            // Only a quarter of this gradient can be nonzero, which the sparse kernel makes use of.
            if conv.kernel == 3 && conv.stride == 1 {
                let pooled = Pooled {
                    conv,
                    input: saved.input,
                    weight: saved.weight,
                    codes: saved.codes,
                    grad: grad.values,
                };
                let mut input = is_input_wanted.then(|| vec![0.0; conv.input_len()]);
                let (weight, bias) = pooled::run(isa, &pooled, input.as_deref_mut());
                Gradients {
                    input,
                    weight,
                    bias,
                }
            } else {
                backward_dense(
                    isa,
                    conv,
                    &saved,
                    &PoolGrad {
                        grad,
                        codes: saved.codes,
                    },
                    is_input_wanted,
                )
            }
        }
    }
}

/// Computes the gradients from any gradient of the convolution's own result.
fn backward_dense(
    isa: Isa,
    conv: &Conv,
    saved: &Saved<'_>,
    grad: &dyn Rows,
    is_input_wanted: bool,
) -> Gradients {
    let source = Plain {
        values: saved.input,
        channels: conv.inputs,
        height: conv.height,
        width: conv.width,
    };
    let (weight, bias) = match grad.values() {
        Some(grad) if pointwise::is_supported(conv, Tail::Linear) => {
            pointwise::weight_gradients(isa, conv, saved.input, grad)
        }
        Some(grad) if winograd::is_faster_for_weights(conv) => {
            winograd::weight_gradients(isa, conv, saved.input, grad)
        }
        _ => weight::run(isa, conv, &source, grad),
    };
    let input = is_input_wanted.then(|| input_gradient(isa, conv, saved.weight, grad));
    Gradients {
        input,
        weight,
        bias,
    }
}

/// Computes the gradient of the input from that of the convolution's own result.
fn input_gradient(isa: Isa, conv: &Conv, weight: &[f32], grad: &dyn Rows) -> Vec<f32> {
    if conv.stride == 2 {
        return strided::input_gradient(isa, conv, weight, grad);
    }
    let (height, width) = conv.result_size();
    let turned = Conv {
        inputs: conv.outputs,
        outputs: conv.inputs,
        height,
        width,
        ..*conv
    };
    if let Some(values) = grad.values()
        && pointwise::is_supported(&turned, Tail::Linear)
    {
        let weight = |input: usize, output: usize| weight[output * conv.inputs + input];
        return pointwise::run(isa, &turned, Tail::Linear, values, weight, &[]);
    }
    let kernel = conv.kernel;
    let turned = Conv {
        padding: (kernel - 1).saturating_sub(conv.padding),
        ..turned
    };
    if let Some(values) = grad.values()
        && conv.padding < kernel
        && winograd::is_faster(&turned, conv.images)
    {
        let weights = winograd::Weights::turned(conv, weight);
        return winograd::run(isa, &turned, Tail::Linear, values, weights, &[]);
    }
    // The input's gradient is a convolution with the kernel rotated by 180 degrees.
    let turned = dense::pack_weights(
        isa,
        [conv.inputs, conv.outputs, kernel],
        |input, output, row, column| {
            weight[((output * conv.inputs + input) * kernel + kernel - 1 - row) * kernel + kernel
                - 1
                - column]
        },
    );
    let dense = Dense {
        images: conv.images,
        inputs: conv.outputs,
        in_size: conv.result_size(),
        outputs: conv.inputs,
        out_size: (conv.height, conv.width),
        kernel,
        stride: 1,
        padding: [kernel as isize - 1 - conv.padding as isize; 2],
        source: grad,
        weights: &turned,
        bias: &vec![0.0; conv.inputs.next_multiple_of(isa.block())],
        tail: Tail::Linear,
    };
    dense::run(isa, &dense, &mut [])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values without a pattern from -1 to 1.
    pub(crate) fn values(len: usize, seed: usize) -> Vec<f32> {
        (0..len)
            .map(|at| ((at * 7919 + at * at * 31 + seed * 613) % 2003) as f32 / 1001.0 - 1.0)
            .collect()
    }

    #[track_caller]
    fn assert_alike(what: &str, found: &[f32], expected: &[f32]) {
        let scale = expected
            .iter()
            .fold(1.0, |most: f32, value| most.max(value.abs()));
        assert_eq!(found.len(), expected.len(), "{what}");
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() < 2e-5 * scale,
                "{what}[{index}]: {found}, not {expected}"
            );
        }
    }

    /// Everything that the kernels of a set return for one dense convolution, one with norm, and
    /// one depthwise convolution.
    fn results(isa: Isa, tail: Tail, padding: usize) -> Vec<Vec<f32>> {
        let conv = Conv {
            images: 3,
            inputs: 19,
            height: 14,
            width: 11,
            outputs: 37,
            kernel: 3,
            stride: 1,
            padding,
            algorithm: Algorithm::Direct,
        };
        let mut found = results_of_conv(isa, &conv, tail).to_vec();
        found.extend(results_of_norm(isa, &conv, tail));
        if tail != Tail::ReluPool {
            found.extend(results_of_depthwise(isa, tail));
        }
        found
    }

    fn results_of_conv(isa: Isa, conv: &Conv, tail: Tail) -> [Vec<f32>; 4] {
        let (input, weight) = (values(conv.input_len(), 1), values(conv.weight_len(), 2));
        let found = forward(isa, conv, tail, &input, &weight, Some(&values(37, 3)));
        let saved = Saved {
            input: &input,
            weight: &weight,
            output: &found.output,
            codes: &found.codes,
        };
        let mut grad = values(found.output.len(), 4);
        let grads = backward(isa, conv, tail, saved, &mut grad, true);
        let input = grads.input.expect("wanted");
        [input, grads.weight, grads.bias, found.output]
    }

    fn results_of_norm(isa: Isa, conv: &Conv, tail: Tail) -> [Vec<f32>; 6] {
        let (rows, columns) = conv.result_size();
        let shape = [conv.images, conv.outputs, rows, columns];
        let gamma = values(conv.outputs, 3);
        let norm = Norm {
            gamma: &gamma,
            beta: &gamma,
            epsilon: 1e-3,
        };
        let (input, weight) = (values(conv.input_len(), 1), values(conv.weight_len(), 2));
        let mut result = forward(isa, conv, Tail::Linear, &input, &weight, None).output;
        let found = norm_forward(isa, shape, tail, &result, norm);
        let saved = NormSaved {
            norm,
            codes: &found.codes,
            mean: &found.mean,
            variance: &found.variance,
            affine: &found.affine,
        };
        let grad = values(found.output.len(), 5);
        let grads = norm_backward(isa, shape, tail, saved, &grad, &mut result);
        let NormForward {
            output,
            mean,
            variance,
            ..
        } = found;
        [grads.gamma, grads.beta, result, output, mean, variance]
    }

    fn results_of_depthwise(isa: Isa, tail: Tail) -> [Vec<f32>; 4] {
        let shape = Depthwise {
            images: 2,
            channels: 5,
            height: 23,
            width: 17,
            kernel: 5,
            stride: 2,
            padding: [[2, 1], [1, 2]],
        };
        let (input, weight) = (values(shape.input_len(), 6), values(shape.weight_len(), 7));
        let output = depthwise_forward(isa, &shape, tail, &input, &weight, None);
        let saved = Saved {
            input: &input,
            weight: &weight,
            output: &output,
            codes: &[],
        };
        let grads = depthwise_backward(isa, &shape, tail, saved, &values(output.len(), 8), true);
        let input = grads.input.expect("wanted");
        [input, grads.weight, grads.bias, output]
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes hours")]
    fn kernels_of_any_number_of_lanes_agree() {
        for tail in [Tail::Linear, Tail::Relu, Tail::Relu6, Tail::ReluPool] {
            for padding in [0, 1] {
                let expected = results(Isa(simd::Kind::Portable), tail, padding);
                for isa in Isa::available() {
                    let found = results(isa, tail, padding);
                    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                        let what = format!("{isa:?} {tail:?} {padding} {index}");
                        assert_alike(&what, found, expected);
                    }
                }
            }
        }
    }
}
