//! From sums of products to results at their places.

use std::{mem::MaybeUninit, ops::Range};

use super::{
    tiling::{GROUP, PATCH, PLACES, SIDE, place},
    transforms::of_sums,
};
use crate::{
    scratch::SharedMut,
    shape::{Conv, Tail},
    simd::Simd,
};

/// The results of some tiles, counted through all images, for all outputs.
pub(super) struct Results<'a> {
    pub(super) conv: &'a Conv,
    pub(super) tail: Tail,
    /// One value per output channel, padded with zeros to whole blocks.
    pub(super) bias: &'a [f32],
    pub(super) tiles: Range<usize>,
    pub(super) groups: usize,
    pub(super) out: SharedMut<MaybeUninit<f32>>,
}

/// Transforms the sums back, applies bias and tail, and writes the results.
///
/// # Safety
/// The CPU must have the instruction set. No other task may have results of the same tiles.
#[inline(always)]
pub(super) unsafe fn transform_sums<S: Simd, const NV: usize>(to: &Results<'_>, sums: &[f32]) {
    let (block, outputs) = (NV * S::LANES, to.conv.outputs);
    assert!(to.bias.len() >= outputs.next_multiple_of(block));
    for output in (0..outputs).step_by(S::LANES) {
        for index in 0..to.tiles.len() {
            let first = ((output / block * to.groups + index / GROUP) * PLACES * GROUP
                + index % GROUP)
                * block
                + output % block;
            let sums = &sums[first..][..(PLACES - 1) * GROUP * block + S::LANES];
            let mut results = [[0.0f32; 16]; SIDE * SIDE];
            // SAFETY: the caller promises the instruction set; the lengths of `sums` and `bias` are
            // checked above, and a vector has at most sixteen lanes.
            unsafe {
                let mut half = [[S::splat(0.0); PATCH]; SIDE];
                for c in 0..PATCH {
                    let mut column = [S::splat(0.0); PATCH];
                    for (r, value) in column.iter_mut().enumerate() {
                        *value = S::load(sums.as_ptr().add((r * PATCH + c) * GROUP * block));
                    }
                    for (row, value) in half.iter_mut().zip(of_sums::<S>(column)) {
                        row[c] = value;
                    }
                }
                let (one, bias) = (S::splat(1.0), S::load(to.bias.as_ptr().add(output)));
                for (r, row) in half.into_iter().enumerate() {
                    for (c, value) in of_sums::<S>(row).into_iter().enumerate() {
                        let mut value = S::fma(one, value, bias);
                        if to.tail != Tail::Linear {
                            value = S::relu(value, value, value).0;
                        }
                        if to.tail == Tail::Relu6 {
                            value = S::at_most(value, S::splat(6.0));
                        }
                        S::store(results[r * SIDE + c].as_mut_ptr(), value);
                    }
                }
            }
            let lanes = S::LANES.min(outputs - output);
            // SAFETY: the caller promises that this tile is this task's alone.
            unsafe { to.store(to.tiles.start + index, output..output + lanes, &results) };
        }
    }
}

impl Results<'_> {
    /// Writes the results of a tile, or their maxima, to the planes of some output channels.
    ///
    /// # Safety
    /// No other task may have results of the same tile.
    #[inline(always)]
    unsafe fn store(&self, tile: usize, outputs: Range<usize>, results: &[[f32; 16]; SIDE * SIDE]) {
        let (height, width) = self.conv.output_size(self.tail);
        let (image, [row, column]) = place(self.conv, tile);
        let mut pooled = [[0.0; 16]; SIDE * SIDE / 4];
        let (side, values) = if self.tail == Tail::ReluPool {
            for (cell, pooled) in pooled.iter_mut().enumerate() {
                let corner = cell / 2 * 2 * SIDE + cell % 2 * 2;
                let others = [corner + 1, corner + SIDE, corner + SIDE + 1];
                *pooled = others
                    .into_iter()
                    .fold(results[corner], |best, other| larger(best, results[other]));
            }
            (SIDE / 2, &pooled[..])
        } else {
            (SIDE, &results[..])
        };
        let (row, column) = (row * side, column * side);
        let (rows, columns) = (
            side.min(height.saturating_sub(row)),
            side.min(width.saturating_sub(column)),
        );
        for (lane, output) in outputs.enumerate() {
            let plane = (image * self.conv.outputs + output) * height * width;
            for r in 0..rows {
                // SAFETY: the tile is this task's alone, and so are its pieces of rows.
                let out = unsafe { self.out.slice(plane + (row + r) * width + column, columns) };
                for (out, values) in out.iter_mut().zip(&values[r * side..]) {
                    out.write(values[lane]);
                }
            }
        }
    }
}

/// Returns the larger values; NaN if one is NaN.
#[inline(always)]
fn larger(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
    let mut most = b;
    for (most, a) in most.iter_mut().zip(a) {
        *most = if a.is_nan() | (a > *most) { a } else { *most };
    }
    most
}
