//! From sums of products to results at their places.

use std::ops::Range;

use super::{GROUP, PATCH, PLACES, SIDE, Strip, place, transforms::of_sums};
use crate::{shape::Tail, simd::Simd};

/// Transforms the sums back, applies bias and tail, and writes the results.
///
/// # Safety
/// The CPU must have the instruction set. No other task may hold a strip with the same tiles.
#[inline(always)]
pub(super) unsafe fn transform_sums<S: Simd, const NV: usize>(strip: &Strip<'_>, sums: &[f32]) {
    let (block, outputs) = (NV * S::LANES, strip.conv.outputs);
    assert!(strip.bias.len() >= outputs.next_multiple_of(block));
    for output in (0..outputs).step_by(S::LANES) {
        for index in 0..strip.tiles.len() {
            let first = ((output / block * strip.groups + index / GROUP) * PLACES * GROUP
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
                let (one, bias) = (S::splat(1.0), S::load(strip.bias.as_ptr().add(output)));
                for (r, row) in half.into_iter().enumerate() {
                    for (c, value) in of_sums::<S>(row).into_iter().enumerate() {
                        let mut value = S::fma(one, value, bias);
                        if strip.tail != Tail::Linear {
                            value = S::relu(value, value, value).0;
                        }
                        if strip.tail == Tail::Relu6 {
                            value = S::at_most(value, S::splat(6.0));
                        }
                        S::store(results[r * SIDE + c].as_mut_ptr(), value);
                    }
                }
            }
            let lanes = S::LANES.min(outputs - output);
            // SAFETY: the caller promises that this tile is this task's alone.
            unsafe { strip.store(strip.tiles.start + index, output..output + lanes, &results) };
        }
    }
}

impl Strip<'_> {
    /// Writes the results of a tile, or their maxima, to the planes of some output channels.
    ///
    /// # Safety
    /// No other task may hold a strip with the same tile.
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
