//! Gradients behind ReLU and 2x2 pooling. At most one of the four values of a cell has a gradient,
//! and an inactive cell has none. Only nonzero gradients are multiplied, which is at most a quarter
//! of the dense work (the idea of SparseTrain, arXiv 1911.10175, applied to zeros in a known
//! pattern).
//!
//! Image and input gradient are packed as `[row][column][input]`, where one row of the kernel
//! covers a contiguous run of values for all inputs of a block. A cell of one output with gradient
//! `g` at offset `o` then contributes `weight gradient += g * image[o..]` and
//! `input gradient[o..] += g * weight`, for three runs each.

mod blocks;
mod image;
mod lists;
mod segment;

use rayon::prelude::*;

pub(crate) use self::image::Pooled;
use self::{
    blocks::{Blocks, pack_runs, run_index},
    image::Image,
};
use crate::{groups::sum_over_images, scratch::SharedMut, simd::Isa};

/// Computes the gradients of weights and bias, and writes that of the input to `input_grad` if it
/// is given. `input_grad` must be zero.
pub(crate) fn run(
    isa: Isa,
    pooled: &Pooled<'_>,
    input_grad: Option<&mut [f32]>,
) -> (Vec<f32>, Vec<f32>) {
    let conv = pooled.conv;
    let blocks = Blocks::new(isa, conv.inputs);
    let runs_len = blocks.runs_start(blocks.count(), conv.outputs);
    let runs = if input_grad.is_some() {
        pack_runs(conv, &blocks, pooled.weight, runs_len)
    } else {
        Vec::new()
    };
    let input_grad = input_grad.map(SharedMut::new);
    let sums = sum_over_images(conv.images, runs_len + conv.outputs, |images, sums| {
        for image in images {
            Image {
                isa,
                pooled,
                blocks: &blocks,
                runs: &runs,
                image,
            }
            .add(sums, input_grad);
        }
    });
    let (runs, bias) = sums.split_at(runs_len);
    let mut weight = vec![0.0; conv.weight_len()];
    weight
        .par_chunks_mut(conv.inputs * 9)
        .enumerate()
        .for_each(|(output, weight)| {
            for (index, value) in weight.iter_mut().enumerate() {
                *value = runs[run_index(conv, &blocks, output, index)];
            }
        });
    (weight, bias.to_vec())
}
