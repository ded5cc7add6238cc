//! The optimisers' rules on the CPU backends: one parallel pass over values, gradient and state, in place where nobody else holds
//! them. The rules themselves are those of [`super::optim`], number by number.

use burn::{
    backend::{Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor},
    tensor::Tensor,
};
use burn_ndarray::NdArray;
use rayon::prelude::*;

use super::backend::HostBackend;

/// Values that one task works on.
const PART: usize = 64 * 1024;

/// A rule with its constants for this step.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) enum Rule {
    /// Adam; `decay` is added to the gradient, `shrink` multiplies the values before (AdamW).
    Adam { betas: [f32; 2], epsilon: f32, rate: f32, decay: f32, shrink: f32 },
    /// SGD with momentum, perhaps Nesterov's; the first step takes the gradient as it is.
    Sgd { momentum: f32, is_nesterov: bool, is_first: bool, rate: f32, decay: f32 },
}

/// The smallest number whose square is normal.
const SMALLEST_SQUARED: f32 = 1.1e-19;

/// Zero for subnormal numbers: a unit that no longer learns leaves moments that shrink towards zero, and the CPU computes with numbers that
/// small a hundred times as slowly.
#[inline(always)]
fn normal_or_zero(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { 0.0 } else { value }
}

impl Rule {
    /// New value and state from the old ones and the gradient. SGD leaves `second` alone.
    #[inline(always)]
    fn apply(self, value: &mut f32, gradient: f32, first: &mut f32, second: &mut f32) {
        match self {
            Self::Adam { betas, epsilon, rate, decay, shrink } => {
                let gradient = gradient + decay * *value;
                *first = normal_or_zero(betas[0] * *first + (1.0 - betas[0]) * gradient);
                // A gradient whose square would be subnormal adds nothing.
                let gradient = if gradient.abs() < SMALLEST_SQUARED { 0.0 } else { gradient };
                *second = normal_or_zero(betas[1] * *second + (1.0 - betas[1]) * gradient * gradient);
                *value = *value * shrink - *first / (second.sqrt() + epsilon) * rate;
            }
            Self::Sgd { momentum, is_nesterov, is_first, rate, decay } => {
                let gradient = gradient + decay * *value;
                *first = normal_or_zero(if is_first { gradient } else { momentum * *first + gradient });
                *value -= rate * if is_nesterov { gradient + momentum * *first } else { *first };
            }
        }
    }
}

/// One step on flat tensors of a device with kernels: values, gradient, state, and out come values and state.
pub(in crate::nn) fn update(rule: Rule, [values, gradient, first, second]: [Tensor<1>; 4]) -> [Tensor<1>; 3] {
    let (values, first, second) =
        Dispatch::update(values.into_dispatch(), gradient.into_dispatch(), first.into_dispatch(), second.into_dispatch(), rule);
    [values, first, second].map(Tensor::from_dispatch)
}

/// The operation as Burn's dispatch knows it; without autodiff, as nobody differentiates an optimiser.
#[backend_extension(Flex, NdArray)]
pub(in crate::nn) trait UpdateOps: Backend {
    /// See [`update`].
    fn update(
        values: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        rule: Rule,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

macro_rules! on_slices {
    ($($backend:ty)*) => {$(
        impl UpdateOps for $backend {
            fn update(
                values: FloatTensor<Self>,
                gradient: FloatTensor<Self>,
                first: FloatTensor<Self>,
                second: FloatTensor<Self>,
                rule: Rule,
            ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
                let [mut values, gradient, mut first, mut second] = [values, gradient, first, second].map(Self::contiguous);
                Self::values_mut(&mut values)
                    .par_chunks_mut(PART)
                    .zip(Self::values(&gradient).par_chunks(PART))
                    .zip(Self::values_mut(&mut first).par_chunks_mut(PART))
                    .zip(Self::values_mut(&mut second).par_chunks_mut(PART))
                    .for_each(|(((values, gradient), first), second)| {
                        for (((value, gradient), first), second) in values.iter_mut().zip(gradient).zip(first).zip(second) {
                            rule.apply(value, *gradient, first, second);
                        }
                    });
                (values, first, second)
            }
        }
    )*};
}

on_slices!(Flex NdArray);
