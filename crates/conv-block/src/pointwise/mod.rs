//! Convolutions of one pixel: a product of matrices, of the weights and of the pixels of all
//! images.
//!
//! Vectors hold pixels rather than outputs, as planes do in memory: nothing is turned round,
//! neither what is read nor what is written, which would take longer than the products where
//! channels are few. The terms of a sum are added in the order of [`crate::dense`], to the same
//! bits.

mod before;
mod block;
mod panel;
mod weight;

use std::{borrow::Cow, mem::MaybeUninit};

use rayon::prelude::*;

pub use self::before::Before;
use self::{
    block::Block,
    panel::{Panel, run_panel},
};
use crate::{
    depthwise::every,
    scratch::{STRIP_LEN, SharedMut, filled, with_scratch},
    shape::{Conv, Tail},
    simd::Isa,
};

/// Number of tasks that a batch is divided into at least, so that every thread has work.
const TASKS: usize = 32;

/// Whether a convolution and its tail are computed here.
pub(crate) fn is_supported(conv: &Conv, tail: Tail) -> bool {
    (conv.kernel, conv.padding) == (1, 0) && tail != Tail::ReluPool
}

/// Computes a norm by fixed statistics, ReLU and a 1x1 convolution, the layers of DenseNet, for
/// networks that don't learn.
///
/// # Shapes
/// `input` `[images, inputs, height, width]`, `weight` `[outputs, inputs]`, `bias` `[outputs]`,
/// factors and offsets `[inputs]`; returns `[images, outputs, height, width]` after the tail.
///
/// # Panics
/// Panics unless the convolution has one pixel, stride 1 and no padding, neither tail pools, and
/// slices have the lengths of the shape.
pub fn infer_normed(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    before: Before<'_>,
    input: &[f32],
    [weight, bias]: [&[f32]; 2],
) -> Vec<f32> {
    let is_one = is_supported(conv, tail) && is_supported(conv, before.tail);
    assert!(
        is_one && conv.stride == 1 && conv.is_supported(),
        "{conv:?}"
    );
    assert_eq!(input.len(), conv.input_len(), "input of {conv:?}");
    assert_eq!(weight.len(), conv.weight_len(), "weight of {conv:?}");
    assert_eq!(bias.len(), conv.outputs, "bias of {conv:?}");
    assert_eq!([before.scale.len(), before.shift.len()], [conv.inputs; 2]);
    let weight = |output: usize, input: usize| weight[output * conv.inputs + input];
    let blocks = Block::all(isa, conv, weight, bias);
    run_blocks(isa, conv, tail, Some(before), input, &blocks)
}

/// Computes the convolution and its tail, `[images, outputs, rows, columns]`, of any stride.
/// `weight(output, input)` returns a weight; `bias` may be empty.
pub(crate) fn run(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    input: &[f32],
    weight: impl Fn(usize, usize) -> f32,
    bias: &[f32],
) -> Vec<f32> {
    let blocks = Block::all(isa, conv, weight, bias);
    let (conv, input) = met(isa, conv, input);
    run_blocks(isa, &conv, tail, None, &input, &blocks)
}

/// Computes the gradients of weights and bias from that of the convolution's result.
pub(crate) fn weight_gradients(
    isa: Isa,
    conv: &Conv,
    input: &[f32],
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (conv, input) = met(isa, conv, input);
    weight::gradients(isa, &conv, &input, grad)
}

/// Returns the convolution with stride 1 of the pixels that this one meets, and these pixels.
fn met<'a>(isa: Isa, conv: &Conv, input: &'a [f32]) -> (Conv, Cow<'a, [f32]>) {
    if conv.stride == 1 {
        return (*conv, Cow::Borrowed(input));
    }
    let (height, width) = conv.result_size();
    let mut met = vec![0.0; conv.images * conv.inputs * height * width];
    let planes = input.par_chunks_exact(conv.height * conv.width);
    met.par_chunks_exact_mut(height * width)
        .zip(planes)
        .for_each(|(met, plane)| {
            let rows = plane.chunks_exact(conv.width).step_by(conv.stride);
            for (met, row) in met.chunks_exact_mut(width).zip(rows) {
                every(isa, row, conv.stride, met);
            }
        });
    let conv = Conv {
        height,
        width,
        stride: 1,
        ..*conv
    };
    (conv, Cow::Owned(met))
}

/// Computes a convolution of stride 1 and its tail, `[images, outputs, rows, columns]`, with the
/// weights of all outputs.
fn run_blocks(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    before: Option<Before<'_>>,
    input: &[f32],
    blocks: &[Block],
) -> Vec<f32> {
    let plane = conv.height * conv.width;
    let (vector, pixels) = (isa.block(), conv.images * plane);
    let tiles = pixels.div_ceil(vector);
    // Panels that stay in the second-level cache. The division doesn't change the values.
    let tiles_per_panel = (STRIP_LEN / 2 / (conv.inputs * vector))
        .min(tiles.div_ceil(TASKS))
        .max(1);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let out = SharedMut::new(out);
        let panels = tiles.div_ceil(tiles_per_panel);
        (0..panels).into_par_iter().for_each(|task| {
            let first = task * tiles_per_panel * vector;
            let count = pixels.min(first + tiles_per_panel * vector) - first;
            let panel = Panel {
                conv,
                tail,
                before,
                blocks,
                first,
                count,
                plane,
                out,
            };
            let len = count.next_multiple_of(vector) * conv.inputs;
            with_scratch(len, |packed| run_panel(isa, &panel, input, packed));
        });
    };
    // SAFETY: panels cover all pixels, and each stores its pixels of every output.
    unsafe { filled(conv.output_len(tail), fill) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, forward, forward_dense, tests::values};

    #[test]
    fn a_norm_before_the_convolution_is_applied_to_each_channel() {
        let conv = Conv {
            images: 3,
            inputs: 7,
            height: 5,
            width: 9,
            outputs: 20,
            kernel: 1,
            stride: 1,
            padding: 0,
            algorithm: Algorithm::Direct,
        };
        let (input, weight) = (values(conv.input_len(), 1), values(conv.weight_len(), 2));
        let (scale, shift, bias) = (values(7, 3), values(7, 4), values(20, 5));
        for before in [Tail::Linear, Tail::Relu, Tail::Relu6] {
            let normed = input.iter().enumerate().map(|(at, value)| {
                let channel = at / 45 % 7;
                let [least, most] = before.range();
                (value * scale[channel] + shift[channel]).clamp(least, most)
            });
            let normed: Vec<f32> = normed.collect();
            for isa in Isa::available() {
                let expected = forward(isa, &conv, Tail::Relu, &normed, &weight, Some(&bias));
                let before = Before {
                    scale: &scale,
                    shift: &shift,
                    tail: before,
                };
                let tensors = [&weight[..], &bias];
                let found = infer_normed(isa, &conv, Tail::Relu, before, &input, tensors);
                for (found, expected) in found.iter().zip(&expected.output) {
                    assert!((found - expected).abs() < 1e-5, "{isa:?} {before:?}");
                }
            }
        }
    }

    /// Few and many channels, vectors that belong to several images, and all widths of blocks.
    #[test]
    fn the_bytes_are_those_of_the_general_convolution() {
        for (images, inputs, [height, width], outputs, stride) in [
            (1, 1, [1, 1], 1, 1),
            (3, 5, [3, 7], 2, 1),
            (2, 24, [9, 8], 13, 1),
            (5, 7, [7, 7], 40, 1),
            (2, 9, [11, 6], 25, 2),
            (1, 33, [5, 16], 12, 1),
            (4, 3, [2, 3], 5, 2),
            (2, 8, [14, 17], 6, 2),
        ] {
            let conv = Conv {
                images,
                inputs,
                height,
                width,
                outputs,
                kernel: 1,
                stride,
                padding: 0,
                algorithm: Algorithm::Direct,
            };
            let (input, weight) = (values(conv.input_len(), 1), values(conv.weight_len(), 2));
            let bias = values(outputs, 3);
            for tail in [Tail::Linear, Tail::Relu, Tail::Relu6] {
                for isa in Isa::available() {
                    let found = forward(isa, &conv, tail, &input, &weight, Some(&bias));
                    let expected = forward_dense(isa, &conv, tail, &input, &weight, Some(&bias));
                    assert_eq!(found, expected, "{conv:?} {tail:?} {isa:?}");
                }
            }
        }
    }
}
