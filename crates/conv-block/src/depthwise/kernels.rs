//! The loops over the values of a plane.

use crate::{
    norm::lane_sum,
    simd::{Simd, per_isa},
};

/// Vectors that are computed together.
pub(super) const VECTORS: usize = 4;

/// Number of kernel positions whose gradients are summed in one pass.
const TAPS: usize = 9;

per_isa! {
    /// Computes `out[i] = start + sum of weight * source[offset + i]` over all taps. `out` must be
    /// whole steps of [`VECTORS`].
    pub(super) fn correlate(
        taps: &[(usize, f32)],
        start: f32,
        source: &[f32],
        out: &mut [f32],
    ) = correlate_kernel
}

/// Computes `out[i] = start + sum of weight * source[offset + i]` over all taps, [`VECTORS`]
/// vectors at a time.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn correlate_kernel<S: Simd, const NV: usize>(
    taps: &[(usize, f32)],
    start: f32,
    source: &[f32],
    out: &mut [f32],
) {
    assert!(out.len().is_multiple_of(VECTORS * S::LANES));
    assert!(
        taps.iter()
            .all(|(offset, _)| offset + out.len() <= source.len())
    );
    for at in (0..out.len()).step_by(VECTORS * S::LANES) {
        // SAFETY: the caller promises the instruction set; the lengths were checked above.
        unsafe {
            let mut sums = [S::splat(start); VECTORS];
            for (offset, weight) in taps {
                let (weight, from) = (S::splat(*weight), source.as_ptr().add(offset + at));
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = S::fma(weight, S::load(from.add(vector * S::LANES)), *sum);
                }
            }
            for (vector, sum) in sums.into_iter().enumerate() {
                S::store(out.as_mut_ptr().add(at + vector * S::LANES), sum);
            }
        }
    }
}

per_isa! {
    /// Computes the sums of `grads[i] * source[offset + i]` for all offsets, and behind them that
    /// of the gradients. `grads` must be whole vectors.
    pub(super) fn multiply(
        offsets: &[usize],
        grads: &[f32],
        source: &[f32],
        sums: &mut [f32],
    ) = multiply_kernel
}

/// Computes `sums[k]`, the sum of `grads[i] * source[offsets[k] + i]` over all `i`, of [`TAPS`]
/// offsets in one pass, and behind them the sum of `grads`.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn multiply_kernel<S: Simd, const NV: usize>(
    offsets: &[usize],
    grads: &[f32],
    source: &[f32],
    sums: &mut [f32],
) {
    assert!(grads.len().is_multiple_of(S::LANES) && sums.len() == offsets.len() + 1);
    assert!(
        offsets
            .iter()
            .all(|offset| offset + grads.len() <= source.len())
    );
    for (offsets, sums) in offsets.chunks(TAPS).zip(sums.chunks_mut(TAPS)) {
        // A fixed number keeps the sums in registers; those beyond the last offset go nowhere.
        let offsets: [usize; TAPS] =
            std::array::from_fn(|tap| *offsets.get(tap).unwrap_or(&offsets[0]));
        // SAFETY: the caller promises the instruction set; the lengths were checked above.
        let found = unsafe {
            let mut found = [S::splat(0.0); TAPS];
            for at in (0..grads.len()).step_by(S::LANES) {
                let grad = S::load(grads.as_ptr().add(at));
                for (found, offset) in found.iter_mut().zip(offsets) {
                    *found = S::fma(grad, S::load(source.as_ptr().add(offset + at)), *found);
                }
            }
            found
        };
        for (sum, found) in sums.iter_mut().zip(found) {
            // SAFETY: the caller promises the instruction set.
            *sum = unsafe { S::sum(found) };
        }
    }
    sums[offsets.len()] = lane_sum(grads, |grad| grad) as f32;
}

per_isa! {
    /// Copies `out[i] = values[i * stride]`.
    pub(crate) fn every(values: &[f32], stride: usize, out: &mut [f32]) = every_kernel
}

/// Copies `out[i] = values[i * stride]`.
///
/// # Safety
/// None of its own; unsafe like the kernels of other sets, which [`per_isa!`] calls alike.
#[inline(always)]
unsafe fn every_kernel<S: Simd, const NV: usize>(values: &[f32], stride: usize, out: &mut [f32]) {
    match stride {
        1 => out.copy_from_slice(&values[..out.len()]),
        // A step that the compiler knows becomes shuffles.
        2 => {
            let (pairs, rest) = values.as_chunks::<2>();
            out.iter_mut()
                .zip(pairs)
                .for_each(|(out, pair)| *out = pair[0]);
            if let (Some(last), Some(value)) = (out.get_mut(pairs.len()), rest.first()) {
                *last = *value;
            }
        }
        _ => out
            .iter_mut()
            .zip(values.iter().step_by(stride))
            .for_each(|(out, value)| *out = *value),
    }
}
