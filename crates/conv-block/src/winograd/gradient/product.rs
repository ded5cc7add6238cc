//! From the products of the transformed values to the weights' gradient.

use std::{mem::MaybeUninit, ops::Range};

use super::{
    super::{
        tiling::{PATCH, PLACES},
        transforms::of_products,
    },
    layout::{Layout, STRIP, TASK_INPUTS},
};
use crate::{
    scratch::SharedMut,
    shape::Conv,
    simd::{Simd, per_isa},
    tile::{Tile, load_rows, multiply, positions, store_rows},
};

/// The products of some inputs with a block of outputs over the strips of a pass.
pub(super) struct Product<'a> {
    pub(super) layout: Layout<'a>,
    pub(super) patches: &'a [f32],
    pub(super) grads: &'a [f32],
    pub(super) strips: usize,
    pub(super) inputs: Range<usize>,
    pub(super) block: usize,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    /// Gradient of the weights, `[outputs, inputs, 3, 3]`.
    pub(super) out: SharedMut<MaybeUninit<f32>>,
}

per_isa! {
    /// Adds the products to the sums, and after the last pass writes the weights' gradient.
    pub(super) fn add_up(product: &Product<'_>, sums: &mut [f32]) = product_kernel
}

/// Adds the products of a pass to `sums`, `[place][input][output in block]`, and after the last
/// pass writes the weights' gradient.
///
/// # Safety
/// The CPU must have the instruction set, and no other task may have the same inputs and outputs.
#[inline(always)]
unsafe fn product_kernel<S: Simd, const NV: usize>(product: &Product<'_>, sums: &mut [f32]) {
    // SAFETY: as promised by the caller.
    unsafe {
        if positions::<S, NV>() == 6 {
            multiply_places::<S, NV, 6>(product, sums);
        } else {
            multiply_places::<S, NV, 3>(product, sums);
        }
        if product.is_last {
            transform_sums::<S, NV>(product, sums);
        }
    }
}

/// Adds the products of patches and gradients at each place, summed over the tiles of a pass, to
/// `sums`, `[place][input][output in block]`, which the first pass overwrites.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn multiply_places<S: Simd, const NV: usize, const Q: usize>(
    product: &Product<'_>,
    sums: &mut [f32],
) {
    let (layout, len) = (&product.layout, NV * S::LANES);
    assert!(layout.block == len && layout.rows == 2 * Q && sums.len() == layout.sums_len());
    for place in 0..PLACES {
        let patches = &product.patches[place * layout.patches_pitch()..];
        let grads = &product.grads[place * layout.grads_pitch()..];
        let grads = &grads[product.block * layout.strips * STRIP * len..];
        for first in product.inputs.clone().step_by(2 * Q) {
            let at = (place * TASK_INPUTS + first - product.inputs.start) * len;
            let sums = &mut sums[at..][..2 * Q * len];
            // SAFETY: the caller promises the instruction set; slices have the lengths read.
            unsafe {
                let [near, far] = [sums.as_mut_ptr(), sums.as_mut_ptr().add(Q * len)];
                let mut tile: Tile<S, NV, Q> = if product.is_first {
                    [[[S::splat(0.0); NV]; Q]; 2]
                } else {
                    [load_rows::<S, Q, NV>(near), load_rows::<S, Q, NV>(far)]
                };
                for strip in 0..product.strips {
                    let patches = &patches[(strip * layout.inputs() + first) * STRIP..];
                    let patches = patches[..2 * Q * STRIP].as_ptr();
                    let grads = &grads[strip * STRIP * len..][..STRIP * len];
                    let rows = [patches, patches.add(Q * STRIP)];
                    multiply::<S, NV, Q, 1, STRIP>(&mut tile, rows, 1, grads.as_ptr(), STRIP);
                }
                store_rows::<S, Q, NV>(near, &tile[0]);
                store_rows::<S, Q, NV>(far, &tile[1]);
            }
        }
    }
}

/// Transforms the sums to the gradient of the weights.
///
/// # Safety
/// The CPU must have the instruction set, and no other task may have the same inputs and outputs.
#[inline(always)]
unsafe fn transform_sums<S: Simd, const NV: usize>(product: &Product<'_>, sums: &[f32]) {
    let Conv {
        inputs, outputs, ..
    } = *product.layout.conv;
    let len = NV * S::LANES;
    for input in product.inputs.start..product.inputs.end.min(inputs) {
        for lane in (0..len).step_by(S::LANES) {
            let sums = &sums[(input - product.inputs.start) * len + lane..];
            let mut results = [[0.0f32; 16]; 9];
            assert!(sums.len() >= (PLACES - 1) * TASK_INPUTS * len + S::LANES);
            // SAFETY: the caller promises the instruction set; the length is checked above, and a
            // vector has at most sixteen lanes.
            unsafe {
                let mut half = [[S::splat(0.0); PATCH]; 3];
                for c in 0..PATCH {
                    let mut column = [S::splat(0.0); PATCH];
                    for (r, value) in column.iter_mut().enumerate() {
                        let place = r * PATCH + c;
                        *value = S::load(sums.as_ptr().add(place * TASK_INPUTS * len));
                    }
                    for (row, value) in half.iter_mut().zip(of_products::<S>(column)) {
                        row[c] = value;
                    }
                }
                for (r, row) in half.into_iter().enumerate() {
                    for (c, value) in of_products::<S>(row).into_iter().enumerate() {
                        S::store(results[r * 3 + c].as_mut_ptr(), value);
                    }
                }
            }
            let first = product.block * len + lane;
            for (lane, output) in (first..outputs.min(first + S::LANES)).enumerate() {
                // SAFETY: the caller promises that these weights are this task's alone.
                let out = unsafe { product.out.slice((output * inputs + input) * 9, 9) };
                for (out, values) in out.iter_mut().zip(&results) {
                    out.write(values[lane]);
                }
            }
        }
    }
}
