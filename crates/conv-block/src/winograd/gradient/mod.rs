//! The weights' gradient by F(3x3, 4x4): where the forward pass multiplies a tile's patch with a
//! kernel, this one multiplies it with the gradient of the tile's results. The transforms are those
//! of the forward pass, transposed.
//!
//! Tiles pass in strips. Their patches and gradients are transformed for some strips at a time, and
//! then multiplied at each of the 36 places, as matrices whose sums run over the tiles.

mod layout;
mod product;
mod transform;

use std::mem::MaybeUninit;

use rayon::prelude::*;

use self::{
    layout::{Layout, STRIP},
    product::{Product, add_up},
    transform::transform,
};
use super::tiling::{PLACES, is_possible, tiles};
use crate::{
    scratch::{SharedMut, filled, with_scratch},
    shape::Conv,
    simd::Isa,
};

/// Products for which a value's transforms and its way through memory take as long, as measured.
const TRANSFORM: usize = 80;

/// Returns whether the algorithm may compute the gradient of these weights and is faster than the
/// direct sum.
pub(crate) fn is_faster(conv: &Conv) -> bool {
    if !is_possible(conv) {
        return false;
    }
    let (rows, columns) = conv.result_size();
    let products = conv.inputs * conv.outputs;
    let tiles = tiles(conv).next_multiple_of(STRIP);
    tiles * PLACES * (products + TRANSFORM * (conv.inputs + conv.outputs))
        < conv.images * rows * columns * 9 * products
}

/// Computes the gradients of weights and bias; `grad` is that of the convolution's result.
pub(crate) fn weight_gradients(
    isa: Isa,
    conv: &Conv,
    input: &[f32],
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    // SAFETY: the tasks of the last pass cover all inputs and outputs, and each stores its weights.
    let weight = unsafe { filled(conv.weight_len(), |out| fill(isa, conv, [input, grad], out)) };
    let (rows, columns) = conv.result_size();
    let planes = || grad.chunks_exact(rows * columns);
    let bias = (0..conv.outputs).into_par_iter().map(|output| {
        let planes = planes().skip(output).step_by(conv.outputs);
        planes.map(total).sum()
    });
    (weight, bias.collect())
}

/// Returns the sum of a plane, of sums in as many lanes as any vector has.
fn total(plane: &[f32]) -> f32 {
    let mut lanes = [0.0; 16];
    for values in plane.chunks(16) {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    lanes.iter().sum()
}

fn fill(isa: Isa, conv: &Conv, tensors: [&[f32]; 2], out: &mut [MaybeUninit<f32>]) {
    let tiles = tiles(conv);
    let strips = tiles.div_ceil(STRIP);
    let layout = Layout::new(isa, conv, strips);
    let ranges: Vec<_> = layout.ranges().collect();
    let passes = strips.div_ceil(layout.strips);
    // A single pass needs no sums but those of the running tasks.
    let kept = if passes == 1 {
        0
    } else {
        layout.blocks() * ranges.len() * layout.sums_len()
    };
    let out = SharedMut::new(out);
    with_scratch(kept, |sums| {
        with_scratch(PLACES * layout.patches_pitch(), |patches| {
            with_scratch(PLACES * layout.grads_pitch(), |grads| {
                let sums = SharedMut::new(sums);
                for pass in 0..passes {
                    let first = pass * layout.strips;
                    let strips = first..(first + layout.strips).min(strips);
                    transform(isa, &layout, tensors, strips.clone(), [patches, grads]);
                    let tasks = (0..layout.blocks() * ranges.len()).into_par_iter();
                    tasks.for_each(|task| {
                        let product = Product {
                            layout,
                            patches,
                            grads,
                            strips: strips.len(),
                            inputs: ranges[task % ranges.len()].clone(),
                            block: task / ranges.len(),
                            is_first: pass == 0,
                            is_last: pass + 1 == passes,
                            out,
                        };
                        if passes == 1 {
                            with_scratch(layout.sums_len(), |sums| add_up(isa, &product, sums));
                        } else {
                            let len = layout.sums_len();
                            // SAFETY: each task has sums of its own, which outlive it.
                            add_up(isa, &product, unsafe { sums.slice(task * len, len) });
                        }
                    });
                }
            });
        });
    });
}
