//! From images and gradients to what is multiplied.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    super::{
        patches::{Patches, transform_patches},
        tiling::{PATCH, PLACES, SIDE, place, tiles},
        transforms::of_gradient,
    },
    layout::{Layout, STRIP},
};
use crate::{
    scratch::{SharedMut, with_scratch},
    shape::Conv,
    simd::{Isa, Simd, per_isa},
};

/// Transforms the patches and gradients of some strips.
pub(super) fn transform(
    isa: Isa,
    layout: &Layout<'_>,
    [input, grad]: [&[f32]; 2],
    strips: Range<usize>,
    [patches, grads]: [&mut [f32]; 2],
) {
    let conv = layout.conv;
    let tiles = tiles(conv);
    let (patches, grads) = (SharedMut::new(patches), SharedMut::new(grads));
    let ranges: Vec<_> = layout.ranges().collect();
    let per_strip = ranges.len() + layout.blocks();
    let tasks = (0..strips.len() * per_strip).into_par_iter();
    tasks.for_each(|task| {
        let (strip, part) = (task / per_strip, task % per_strip);
        let first = (strips.start + strip) * STRIP;
        let piece = |out| Piece {
            layout,
            tiles: first..(first + STRIP).min(tiles),
            strip,
            out,
        };
        if let Some(inputs) = ranges.get(part) {
            let piece = piece(patches);
            let scratch = 2 * PLACES * STRIP + piece.patches(input).line_len();
            with_scratch(scratch, |scratch| {
                transform_inputs(isa, &piece, input, inputs.clone(), scratch);
            });
        } else {
            with_scratch(SIDE * SIDE * layout.block, |scratch| {
                transform_grads(isa, &piece(grads), grad, part - ranges.len(), scratch);
            });
        }
    });
}

/// A strip that is transformed.
struct Piece<'a> {
    layout: &'a Layout<'a>,
    /// Counted through all images.
    tiles: Range<usize>,
    /// Number of the strip in the pass.
    strip: usize,
    out: SharedMut<f32>,
}

impl<'a> Piece<'a> {
    fn patches(&self, input: &'a [f32]) -> Patches<'a> {
        Patches::new(self.layout.conv, input, self.tiles.clone())
    }
}

per_isa! {
    /// Transforms the patches of some inputs; `scratch` is working memory.
    fn transform_inputs(
        piece: &Piece<'_>,
        input: &[f32],
        inputs: Range<usize>,
        scratch: &mut [f32],
    ) = inputs_kernel
}

/// Transforms the patches of some inputs into the strip's part of `[place][strip][input][tile]`,
/// with zeros for missing inputs and tiles; `scratch` is working memory.
///
/// # Safety
/// The CPU must have the instruction set. No other task may transform the same inputs of the strip.
#[inline(always)]
unsafe fn inputs_kernel<S: Simd, const NV: usize>(
    piece: &Piece<'_>,
    input: &[f32],
    inputs: Range<usize>,
    scratch: &mut [f32],
) {
    let layout = piece.layout;
    let patches = piece.patches(input);
    let (values, scratch) = scratch.split_at_mut(PLACES * STRIP);
    let (transformed, line) = scratch.split_at_mut(PLACES * STRIP);
    // Behind the last tile nothing is laid out.
    values.fill(0.0);
    for input in inputs {
        if input < layout.conv.inputs {
            patches.lay_out(input, values, STRIP, line);
        } else {
            values.fill(0.0);
        }
        for lane in (0..STRIP).step_by(S::LANES) {
            // SAFETY: the caller promises the instruction set.
            unsafe {
                transform_patches::<S>(&values[lane..], &mut transformed[lane..], [STRIP; 2]);
            }
        }
        for (place, transformed) in transformed.chunks_exact(STRIP).enumerate() {
            let at = piece.strip * layout.inputs() + input;
            let at = place * layout.patches_pitch() + at * STRIP;
            // SAFETY: the caller promises that this part is this task's alone.
            unsafe { piece.out.slice(at, STRIP) }.copy_from_slice(transformed);
        }
    }
}

per_isa! {
    /// Transforms the gradients of the results of one block of outputs; `values` is working memory.
    fn transform_grads(
        piece: &Piece<'_>,
        grad: &[f32],
        block: usize,
        values: &mut [f32],
    ) = grads_kernel
}

/// Transforms the gradients of a block of outputs into the strip's part of `[place][block of
/// outputs][strip][tile][output in block]`, with zeros for missing outputs and tiles; `values` is
/// working memory.
///
/// # Safety
/// The CPU must have the instruction set. No other task may transform the same block of the strip.
#[inline(always)]
unsafe fn grads_kernel<S: Simd, const NV: usize>(
    piece: &Piece<'_>,
    grad: &[f32],
    block: usize,
    values: &mut [f32],
) {
    let (layout, len) = (piece.layout, NV * S::LANES);
    assert!(values.len() == SIDE * SIDE * len && layout.block == len);
    let at = (block * layout.strips + piece.strip) * STRIP * len;
    for index in 0..STRIP {
        // Behind the last tile all is zero, and so are missing outputs.
        values.fill(0.0);
        if index < piece.tiles.len() {
            let tile = piece.tiles.start + index;
            cut_tile(layout.conv, grad, tile, block * len, values);
        }
        for lane in (0..len).step_by(S::LANES) {
            // SAFETY: the caller promises the instruction set and that this part is this task's
            // alone; the length of `values` is checked above.
            unsafe {
                let mut half = [[S::splat(0.0); SIDE]; PATCH];
                for c in 0..SIDE {
                    let mut column = [S::splat(0.0); SIDE];
                    for (r, value) in column.iter_mut().enumerate() {
                        *value = S::load(values.as_ptr().add((r * SIDE + c) * len + lane));
                    }
                    for (row, value) in half.iter_mut().zip(of_gradient::<S>(column)) {
                        row[c] = value;
                    }
                }
                for (r, row) in half.into_iter().enumerate() {
                    for (c, value) in of_gradient::<S>(row).into_iter().enumerate() {
                        let place = (r * PATCH + c) * layout.grads_pitch();
                        let out = place + at + index * len + lane;
                        S::store(piece.out.slice(out, S::LANES).as_mut_ptr(), value);
                    }
                }
            }
        }
    }
}

/// Copies a tile of the gradient as `[row][column][output]`, for the outputs from `first` on that
/// `values` have room for.
#[inline(always)]
fn cut_tile(conv: &Conv, grad: &[f32], tile: usize, first: usize, values: &mut [f32]) {
    let (height, width) = conv.result_size();
    let (image, [row, column]) = place(conv, tile);
    let (row, column) = (row * SIDE, column * SIDE);
    let (rows, columns) = (SIDE.min(height - row), SIDE.min(width - column));
    let len = values.len() / (SIDE * SIDE);
    for lane in 0..len.min(conv.outputs - first) {
        let plane = (image * conv.outputs + first + lane) * height * width;
        for r in 0..rows {
            let grad = &grad[plane + (row + r) * width + column..][..columns];
            for (c, grad) in grad.iter().enumerate() {
                values[(r * SIDE + c) * len + lane] = *grad;
            }
        }
    }
}
