//! Gradients behind ReLU and 2x2 pooling. At most one of the four values of a cell has a gradient,
//! and an inactive cell has none. Only nonzero gradients are multiplied, which is at most a quarter
//! of the dense work (the idea of SparseTrain, arXiv 1911.10175, applied to zeros in a known
//! pattern).
//!
//! Image and input gradient are packed as `[row][column][input]`, where one row of the kernel
//! covers a contiguous run of values for all inputs of a block. A cell of one output with gradient
//! `g` at offset `o` then contributes `weight gradient += g * image[o..]` and
//! `input gradient[o..] += g * weight`, for three runs each.

mod image;
mod lists;
mod segment;

use rayon::prelude::*;

use self::image::Image;
use crate::{groups::sum_over_images, scratch::SharedMut, shape::Conv, simd::Isa};

/// What the gradients are computed from.
pub(crate) struct Pooled<'a> {
    pub(crate) conv: &'a Conv,
    pub(crate) input: &'a [f32],
    pub(crate) weight: &'a [f32],
    pub(crate) codes: &'a [u8],
    pub(crate) grad: &'a [f32],
}

/// The blocks of inputs that are processed at a time; the last one may be smaller.
struct Blocks {
    lanes: usize,
    size: usize,
    inputs: usize,
}

impl Blocks {
    /// Divides the inputs into blocks for an instruction set.
    fn new(isa: Isa, inputs: usize) -> Self {
        let lanes = isa.lanes();
        // At most twelve vectors per run, which is what `segment` has code for.
        Self {
            lanes,
            size: inputs.min(if lanes == 4 { 16 } else { 32 }),
            inputs,
        }
    }

    /// Returns the number of blocks.
    fn count(&self) -> usize {
        self.inputs.div_ceil(self.size)
    }

    /// Returns the number of inputs in a block.
    fn size_of(&self, block: usize) -> usize {
        self.size.min(self.inputs - block * self.size)
    }

    /// Returns the number of vectors in a run of a block.
    fn vectors(&self, block: usize) -> usize {
        (3 * self.size_of(block)).div_ceil(self.lanes)
    }

    /// Returns the number of values in the three runs of one output and block.
    fn runs_len(&self, block: usize) -> usize {
        3 * self.vectors(block) * self.lanes
    }

    /// Returns the index at which a block starts among the runs of all blocks and outputs:
    /// `[block][output][kernel row][run]`.
    fn runs_start(&self, block: usize, outputs: usize) -> usize {
        (0..block).map(|b| self.runs_len(b) * outputs).sum()
    }
}

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

/// Returns the index of the weight `[output][index]` among the runs.
fn run_index(conv: &Conv, blocks: &Blocks, output: usize, index: usize) -> usize {
    let (input, row, column) = (index / 9, index % 9 / 3, index % 3);
    let block = input / blocks.size;
    let run = column * blocks.size_of(block) + input % blocks.size;
    blocks.runs_start(block, conv.outputs)
        + output * blocks.runs_len(block)
        + row * blocks.runs_len(block) / 3
        + run
}

/// Packs the weights as runs.
fn pack_runs(conv: &Conv, blocks: &Blocks, weight: &[f32], len: usize) -> Vec<f32> {
    let mut runs = vec![0.0; len];
    for (output, weight) in weight.chunks_exact(conv.inputs * 9).enumerate() {
        for (index, value) in weight.iter().enumerate() {
            runs[run_index(conv, blocks, output, index)] = *value;
        }
    }
    runs
}
