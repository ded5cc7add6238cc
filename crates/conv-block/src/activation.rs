//! Functions of each value, for networks that don't learn.

use crate::simd::{Simd, per_isa};

/// A function of each value. NaN stays NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x / (1 + exp(-x))`, also known as swish.
    Silu,
    /// `x * relu6(x + 3) / 6`.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// Half of `x * (1 + erf(x / sqrt(2)))`.
    Gelu,
}

per_isa! {
    /// Applies a function to all values in place.
    pub fn activate(function: Activation, values: &mut [f32]) = activate_kernel
}

per_isa! {
    /// Replaces all values by a function of `x * scale + shift`, in place.
    pub fn scale_and_activate(
        scale: f32,
        shift: f32,
        function: Activation,
        values: &mut [f32],
    ) = scale_kernel
}

/// Replaces each value by `function` of `value * scale + shift`.
///
/// # Safety
/// As [`activate_kernel`].
#[inline(always)]
unsafe fn scale_kernel<S: Simd, const NV: usize>(
    scale: f32,
    shift: f32,
    function: Activation,
    values: &mut [f32],
) {
    // Parts that stay in the first-level cache between the two passes.
    for values in values.chunks_mut(1 << 12) {
        each(values, |x| x * scale + shift);
        // SAFETY: as promised by the caller.
        unsafe { activate_kernel::<S, NV>(function, values) };
    }
}

/// Replaces each value by `function` of it.
///
/// # Safety
/// None of its own; unsafe like the kernels of other sets, which [`per_isa!`] calls alike.
#[inline(always)]
pub(crate) unsafe fn activate_kernel<S: Simd, const NV: usize>(
    function: Activation,
    values: &mut [f32],
) {
    match function {
        Activation::Linear => {}
        Activation::Relu => each(values, |x| at_least(x, 0.0)),
        Activation::Relu6 => each(values, relu6),
        Activation::Silu => each(values, |x| x / (1.0 + exp(-x))),
        Activation::HardSwish => each(values, |x| x * (relu6(x + 3.0) / 6.0)),
        Activation::Sigmoid => each(values, |x| 1.0 / (1.0 + exp(-x))),
        Activation::HardSigmoid => each(values, |x| relu6(x + 3.0) / 6.0),
        Activation::Gelu => each(values, |x| x * part_below(x)),
    }
}

/// Replaces each value by the result of a function without branches, which the compiler turns into
/// vectors.
#[inline(always)]
fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
    values
        .iter_mut()
        .for_each(|value| *value = function(*value));
}

/// Returns `max(x, least)`, where `f32::max` would drop a NaN.
#[inline(always)]
fn at_least(x: f32, least: f32) -> f32 {
    if x < least { least } else { x }
}

/// Returns `min(x, most)`, where `f32::min` would drop a NaN.
#[inline(always)]
fn at_most(x: f32, most: f32) -> f32 {
    if x > most { most } else { x }
}

#[inline(always)]
fn relu6(x: f32) -> f32 {
    at_most(at_least(x, 0.0), 6.0)
}

/// Returns the exponential of `x`, between those of -87 and 88, within two units in the last place:
/// a power of two times a polynomial (the coefficients of Cephes's `expf`).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding this rounds to a whole number, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// The logarithm of 2 in two parts, the first with few bits, so that its multiples are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = at_most(at_least(x, -87.0), 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let power = rounded - ROUND;
    let x = (x - power * LN_2[0]) - power * LN_2[1];
    let mut sum = 1.987_569_1e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * x + coefficient;
    }
    let exponent = rounded.to_bits().wrapping_add(127) << 23;
    sum * f32::from_bits(exponent)
}

/// Returns the part of the normal distribution below `x`, to 2e-7, by equation 7.1.26 of Abramowitz
/// and Stegun for the error function.
#[inline(always)]
fn part_below(x: f32) -> f32 {
    let distance = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * distance);
    let mut sum = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        sum = sum * t + coefficient;
    }
    let beyond = 0.5 * sum * t * exp(-distance * distance);
    if x < 0.0 { beyond } else { 1.0 - beyond }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn values_are_scaled_and_shifted_before_the_function() {
        for isa in Isa::available() {
            let mut found = vec![-1.5, 0.25, 3.0, -0.0];
            scale_and_activate(isa, 2.0, 1.0, Activation::Relu6, &mut found);
            assert_eq!(found, [0.0, 1.5, 6.0, 1.0], "{isa:?}");
        }
    }

    #[test]
    fn gelu_weights_by_the_normal_distribution() {
        let parts = [
            (0.0, 0.5),
            (0.5, 0.691_462_461_274_013_1),
            (1.0, 0.841_344_746_068_542_9),
            (2.0, 0.977_249_868_051_820_8),
            (3.0, 0.998_650_101_968_369_9),
            (5.0, 0.999_999_713_348_428_1),
            (40.0, 1.0),
        ];
        for isa in Isa::available() {
            for (x, part) in parts {
                let mut found = [x as f32, -x as f32, f32::NAN];
                activate(isa, Activation::Gelu, &mut found);
                for (found, expected) in found.iter().zip([x * part, x * (part - 1.0)]) {
                    assert!(
                        (f64::from(*found) - expected).abs() < 4e-7 * x.max(1.0),
                        "{isa:?} of {x}: {found}, not {expected}"
                    );
                }
                assert!(found[2].is_nan(), "{isa:?}");
            }
        }
    }

    #[test]
    fn functions_are_their_formulas() {
        let relu6 = |x: f64| x.clamp(0.0, 6.0);
        let formulas: [(Activation, &dyn Fn(f64) -> f64); 7] = [
            (Activation::Linear, &|x| x),
            (Activation::Relu, &|x| x.max(0.0)),
            (Activation::Relu6, &relu6),
            (Activation::Silu, &|x| x / (1.0 + (-x).exp())),
            (Activation::HardSwish, &|x| x * relu6(x + 3.0) / 6.0),
            (Activation::Sigmoid, &|x| 1.0 / (1.0 + (-x).exp())),
            (Activation::HardSigmoid, &|x| relu6(x + 3.0) / 6.0),
        ];
        let values: Vec<f32> = (-1200..=1200).map(|x| x as f32 / 13.0).collect();
        for isa in Isa::available() {
            for (function, formula) in formulas {
                let mut found = values.clone();
                activate(isa, function, &mut found);
                for (x, found) in values.iter().zip(found) {
                    let expected = formula(f64::from(*x));
                    let error = (f64::from(found) - expected).abs();
                    assert!(
                        error < 4e-7 * expected.abs() + 1e-35,
                        "{isa:?} {function:?} of {x}: {found}, not {expected}"
                    );
                }
                let mut odd = [f32::NAN, f32::INFINITY];
                activate(isa, function, &mut odd);
                assert!(odd[0].is_nan(), "{isa:?} {function:?}");
                let expected = formula(1e9).min(f64::from(f32::INFINITY)) as f32;
                assert!(
                    odd[1] == expected || odd[1].is_infinite(),
                    "{isa:?} {function:?}"
                );
            }
        }
    }
}
