//! The transforms of input, kernel and sums, and the transposed ones of the weights' gradient, for
//! the points 0, ±√½, ±√2 and infinity. With the usual points ±1 and ±2 the errors are twice as
//! large. They are functions of vectors without closures, which would be compiled without the
//! instruction set.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::tiling::{PATCH, SIDE};
use crate::simd::Simd;

/// Returns `factor * x + sum`.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn add<S: Simd>(factor: f32, x: S::V, sum: S::V) -> S::V {
    // SAFETY: the caller promises the instruction set.
    unsafe { S::fma(S::splat(factor), x, sum) }
}

/// Transforms a row or column of a patch.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
pub(super) unsafe fn of_input<S: Simd>([a, b, c, d, e, f]: [S::V; PATCH]) -> [S::V; PATCH] {
    // SAFETY: the caller promises the instruction set.
    unsafe {
        let (near, near_odd) = (add::<S>(-2.0, c, e), add::<S>(-2.0, b, d));
        let (far, far_odd) = (add::<S>(-0.5, c, e), add::<S>(-0.5, b, d));
        [
            add::<S>(1.0, a, add::<S>(-2.5, c, e)),
            add::<S>(FRAC_1_SQRT_2, near_odd, near),
            add::<S>(-FRAC_1_SQRT_2, near_odd, near),
            add::<S>(SQRT_2, far_odd, far),
            add::<S>(-SQRT_2, far_odd, far),
            add::<S>(1.0, f, add::<S>(-2.5, d, b)),
        ]
    }
}

/// Transforms a row or column of a kernel.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
pub(super) unsafe fn of_weight<S: Simd>([a, b, c]: [S::V; 3]) -> [S::V; PATCH] {
    // SAFETY: the caller promises the instruction set.
    unsafe {
        let zero = S::splat(0.0);
        let near = add::<S>(-2.0 / 3.0, a, add::<S>(-1.0 / 3.0, c, zero));
        let far = add::<S>(1.0 / 6.0, a, add::<S>(1.0 / 3.0, c, zero));
        let (near_odd, far_odd) = (
            add::<S>(2.0 / 3.0 * FRAC_1_SQRT_2, b, zero),
            add::<S>(SQRT_2 / 6.0, b, zero),
        );
        [
            a,
            add::<S>(-1.0, near_odd, near),
            add::<S>(1.0, near_odd, near),
            add::<S>(1.0, far_odd, far),
            add::<S>(-1.0, far_odd, far),
            c,
        ]
    }
}

/// Transforms a row or column of sums to results.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
pub(super) unsafe fn of_sums<S: Simd>([a, b, c, d, e, f]: [S::V; PATCH]) -> [S::V; SIDE] {
    // SAFETY: the caller promises the instruction set.
    unsafe {
        let zero = S::splat(0.0);
        let (near, near_odd) = (add::<S>(1.0, b, c), add::<S>(-1.0, c, b));
        let (far, far_odd) = (add::<S>(1.0, d, e), add::<S>(-1.0, e, d));
        [
            add::<S>(1.0, a, add::<S>(1.0, near, far)),
            add::<S>(FRAC_1_SQRT_2, near_odd, add::<S>(SQRT_2, far_odd, zero)),
            add::<S>(0.5, near, add::<S>(2.0, far, zero)),
            add::<S>(
                0.5 * FRAC_1_SQRT_2,
                near_odd,
                add::<S>(2.0 * SQRT_2, far_odd, f),
            ),
        ]
    }
}

/// Transforms a row or column of a tile of the results' gradient: [`of_sums`] transposed.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
pub(super) unsafe fn of_gradient<S: Simd>([a, b, c, d]: [S::V; SIDE]) -> [S::V; PATCH] {
    // SAFETY: the caller promises the instruction set.
    unsafe {
        let (near, near_odd) = (add::<S>(0.5, c, a), add::<S>(0.5, d, b));
        let (far, far_odd) = (add::<S>(2.0, c, a), add::<S>(2.0, d, b));
        [
            a,
            add::<S>(FRAC_1_SQRT_2, near_odd, near),
            add::<S>(-FRAC_1_SQRT_2, near_odd, near),
            add::<S>(SQRT_2, far_odd, far),
            add::<S>(-SQRT_2, far_odd, far),
            d,
        ]
    }
}

/// Transforms a row or column of sums to a kernel's gradient: [`of_weight`] transposed.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
pub(super) unsafe fn of_products<S: Simd>([a, b, c, d, e, f]: [S::V; PATCH]) -> [S::V; 3] {
    // SAFETY: the caller promises the instruction set.
    unsafe {
        let zero = S::splat(0.0);
        let (near, near_odd) = (add::<S>(1.0, b, c), add::<S>(-1.0, b, c));
        let (far, far_odd) = (add::<S>(1.0, d, e), add::<S>(-1.0, e, d));
        [
            add::<S>(-2.0 / 3.0, near, add::<S>(1.0 / 6.0, far, a)),
            add::<S>(
                2.0 / 3.0 * FRAC_1_SQRT_2,
                near_odd,
                add::<S>(SQRT_2 / 6.0, far_odd, zero),
            ),
            add::<S>(-1.0 / 3.0, near, add::<S>(1.0 / 3.0, far, f)),
        ]
    }
}
