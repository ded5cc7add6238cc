//! The loops over the values of a plane.

use std::mem::MaybeUninit;

use crate::{
    shape::DEAD,
    simd::{Simd, per_isa},
};

/// A norm and the bounds of the function behind it, which pass a gradient between them only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    /// Factor and offset of the norm.
    pub(super) affine: [f32; 2],
    /// Bounds, NaN for none.
    pub(super) bounds: [f32; 2],
}

impl Passage {
    /// Returns the gradient before the function, of the value that was normalized. The function of
    /// a NaN is NaN and passes it.
    #[inline(always)]
    fn pass(self, grad: f32, value: f32) -> f32 {
        // As `scale_kernel` computed it, or a value near a bound would fall on its other side.
        let value = value * self.affine[0] + self.affine[1];
        if (value <= self.bounds[0]) | (value >= self.bounds[1]) {
            0.0
        } else {
            grad
        }
    }
}

per_isa! {
    /// Computes `value = scale * grad + slope * value + offset` of the gradients that pass.
    pub(super) fn mix(
        grads: &[f32],
        passage: Passage,
        affine: [f32; 3],
        values: &mut [f32],
    ) = mix_kernel
}

/// Replaces each value of a plane by `scale * grad + slope * value + offset`, where `grad` is zero
/// if it doesn't pass.
///
/// # Safety
/// None of its own; unsafe like the kernels of other sets, which [`per_isa!`] calls alike.
#[inline(always)]
unsafe fn mix_kernel<S: Simd, const NV: usize>(
    grads: &[f32],
    passage: Passage,
    [scale, slope, offset]: [f32; 3],
    values: &mut [f32],
) {
    for (value, grad) in values.iter_mut().zip(grads) {
        *value = scale * passage.pass(*grad, *value) + (slope * *value + offset);
    }
}

per_isa! {
    /// Computes mean and biased variance.
    pub(super) fn moments(values: &[f32], found: &mut [f64; 2]) = moments_kernel
}

/// Writes the mean of the values and their biased variance to `found`.
///
/// # Safety
/// None of its own, as for [`mix_kernel`].
#[inline(always)]
unsafe fn moments_kernel<S: Simd, const NV: usize>(values: &[f32], found: &mut [f64; 2]) {
    let mean = lane_sum(values, |value| value) / values.len() as f64;
    let center = mean as f32;
    // Deviations from the mean rounded to `f32`; the shift corrects for the rounding.
    let squares = lane_sum(values, |value| (value - center) * (value - center));
    let shift = mean - f64::from(center);
    *found = [mean, squares / values.len() as f64 - shift * shift];
}

/// Sums in 32 lanes, which is fast and keeps rounding errors small.
#[inline(always)]
pub(crate) fn lane_sum(values: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    for part in values.chunks(2048) {
        let mut lanes = [0.0f32; 32];
        let chunks = part.chunks_exact(32);
        let rest: f32 = chunks.remainder().iter().map(|value| of(*value)).sum();
        for chunk in chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += of(*value);
            }
        }
        total += f64::from(lanes.iter().sum::<f32>() + rest);
    }
    total
}

per_isa! {
    /// Adds the sum of the gradients that pass, and of those times the centered results, to `sums`.
    pub(super) fn add_products(
        grads: &[f32],
        results: &[f32],
        passage: Passage,
        mean: f32,
        sums: &mut [f64; 2],
    ) = products_kernel
}

/// Adds two sums over a plane to `sums`: of the gradients that pass, and of their products with
/// `result - mean`.
///
/// # Safety
/// None of its own, as for [`mix_kernel`].
#[inline(always)]
unsafe fn products_kernel<S: Simd, const NV: usize>(
    grads: &[f32],
    results: &[f32],
    passage: Passage,
    mean: f32,
    sums: &mut [f64; 2],
) {
    let (mut all, mut products) = ([0.0f32; 16], [0.0f32; 16]);
    for (grads, results) in grads.chunks(16).zip(results.chunks(16)) {
        for (((all, products), grad), result) in
            all.iter_mut().zip(&mut products).zip(grads).zip(results)
        {
            let grad = passage.pass(*grad, *result);
            *all += grad;
            *products += grad * (result - mean);
        }
    }
    sums[0] += f64::from(all.iter().sum::<f32>());
    sums[1] += f64::from(products.iter().sum::<f32>());
}

per_isa! {
    /// Computes `value * affine[0] + affine[1]` within the range. NaN passes.
    pub(crate) fn scale_plane(
        values: &[f32],
        affine: [f32; 2],
        range: [f32; 2],
        out: &mut [MaybeUninit<f32>],
    ) = scale_kernel
}

/// Writes `value * scale + shift`, limited to `least` and `most`, for each value of a plane to
/// `out`.
///
/// # Safety
/// None of its own, as for [`mix_kernel`].
#[inline(always)]
unsafe fn scale_kernel<S: Simd, const NV: usize>(
    values: &[f32],
    [scale, shift]: [f32; 2],
    [least, most]: [f32; 2],
    out: &mut [MaybeUninit<f32>],
) {
    assert_eq!(out.len(), values.len());
    for (out, value) in out.iter_mut().zip(values) {
        let value = value * scale + shift;
        // Comparisons rather than `f32::clamp`, so that a NaN passes.
        let value = if value < least { least } else { value };
        out.write(if value > most { most } else { value });
    }
}

per_isa! {
    /// Computes the same with ReLU and 2x2 pooling; `columns` are those before and after pooling.
    pub(super) fn pool_plane(
        values: &[f32],
        columns: [usize; 2],
        affine: [f32; 2],
        out: &mut [MaybeUninit<f32>],
        codes: &mut [u8],
    ) = pool_kernel
}

/// Writes the largest `value * scale + shift` of each 2x2 cell of a plane to `out`, and its
/// position to `codes`; where it is zero or less, 0 and [`DEAD`].
///
/// # Safety
/// None of its own, as for [`mix_kernel`].
#[inline(always)]
unsafe fn pool_kernel<S: Simd, const NV: usize>(
    values: &[f32],
    [columns, out_columns]: [usize; 2],
    [scale, shift]: [f32; 2],
    out: &mut [MaybeUninit<f32>],
    codes: &mut [u8],
) {
    // Every cell has its four values, so that all of `out` is written.
    assert!(columns >= 2 * out_columns && values.len() >= out.len() / out_columns * 2 * columns);
    assert!(out.len().is_multiple_of(out_columns) && codes.len() == out.len());
    let rows = out
        .chunks_exact_mut(out_columns)
        .zip(codes.chunks_exact_mut(out_columns))
        .zip(values.chunks_exact(2 * columns));
    for ((out, codes), pair) in rows {
        let (upper, lower) = pair.split_at(columns);
        let cells = upper.chunks_exact(2).zip(lower.chunks_exact(2));
        for (((upper, lower), out), code) in cells.zip(out).zip(codes) {
            let place = |value: f32| value * scale + shift;
            let (mut best, mut found) = (place(upper[0]), 0);
            for (value, name) in [
                (place(upper[1]), 1),
                (place(lower[0]), 2),
                (place(lower[1]), 3),
            ] {
                let takes = !best.is_nan() & (value.is_nan() | (value > best));
                best = if takes { value } else { best };
                found = if takes { name } else { found };
            }
            let is_dead = best <= 0.0;
            out.write(if is_dead { 0.0 } else { best });
            *code = if is_dead { DEAD } else { found };
        }
    }
}
