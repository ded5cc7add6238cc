//! The optimizers' rules on the CPU backends, as one parallel pass over values, gradient and state,
//! in place where a tensor isn't shared. The formulas are those of
//! [`super::optim`](crate::nn::optim).

use burn::{
    backend::{Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor},
    tensor::Tensor,
};
use burn_ndarray::NdArray;
use rayon::prelude::*;

use super::backend::HostBackend;

/// Number of values that one task processes.
const PART: usize = 64 * 1024;

/// An optimizer's rule with its constants for one step.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) enum Rule {
    /// Adam and AdamW. `decay` times the value is added to the gradient; the value is multiplied by
    /// `shrink` before the step (AdamW's decoupled decay).
    Adam {
        betas: [f32; 2],
        epsilon: f32,
        rate: f32,
        decay: f32,
        shrink: f32,
    },
    /// SGD with momentum, optionally Nesterov's. The first step takes the gradient as the momentum.
    Sgd {
        momentum: f32,
        is_nesterov: bool,
        is_first: bool,
        rate: f32,
        decay: f32,
    },
}

/// A bound below which the square of a number may be subnormal.
const SMALLEST_SQUARED: f32 = 1.1e-19;

/// Replaces subnormal numbers by zero. A unit that no longer learns leaves moments that shrink
/// towards zero, and arithmetic on subnormal numbers is so slow that an epoch on cached features
/// took 10 s instead of 2.
#[inline(always)]
fn normal_or_zero(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE {
        0.0
    } else {
        value
    }
}

impl Rule {
    /// Updates a value and its state by the gradient. SGD leaves `second` alone.
    #[inline(always)]
    fn apply(self, value: &mut f32, gradient: f32, first: &mut f32, second: &mut f32) {
        match self {
            Self::Adam {
                betas,
                epsilon,
                rate,
                decay,
                shrink,
            } => {
                let gradient = gradient + decay * *value;
                *first = normal_or_zero(betas[0] * *first + (1.0 - betas[0]) * gradient);
                // The square of such a gradient would be subnormal and adds nothing to the mean.
                let gradient = if gradient.abs() < SMALLEST_SQUARED {
                    0.0
                } else {
                    gradient
                };
                *second =
                    normal_or_zero(betas[1] * *second + (1.0 - betas[1]) * gradient * gradient);
                *value = *value * shrink - *first / (second.sqrt() + epsilon) * rate;
            }
            Self::Sgd {
                momentum,
                is_nesterov,
                is_first,
                rate,
                decay,
            } => {
                let gradient = gradient + decay * *value;
                *first = normal_or_zero(if is_first {
                    gradient
                } else {
                    momentum * *first + gradient
                });
                *value -= rate
                    * if is_nesterov {
                        gradient + momentum * *first
                    } else {
                        *first
                    };
            }
        }
    }
}

/// Takes one step on a device with kernels: from `[values, gradient, first, second]` to the new
/// `[values, first, second]`.
///
/// # Shapes
/// All tensors are `[values]`.
pub(in crate::nn) fn update(
    rule: Rule,
    [values, gradient, first, second]: [Tensor<1>; 4],
) -> [Tensor<1>; 3] {
    let (values, first, second) = Dispatch::update(
        values.into_dispatch(),
        gradient.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        rule,
    );
    [values, first, second].map(Tensor::from_dispatch)
}

/// The step as an extension of Burn's backends. It has no autodiff version, since an optimizer's
/// step is never differentiated.
#[backend_extension(Flex, NdArray)]
pub(in crate::nn) trait UpdateOps: Backend {
    /// See [`update()`].
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
                let [mut values, gradient, mut first, mut second] =
                    [values, gradient, first, second].map(Self::contiguous);
                Self::values_mut(&mut values)
                    .par_chunks_mut(PART)
                    .zip(Self::values(&gradient).par_chunks(PART))
                    .zip(Self::values_mut(&mut first).par_chunks_mut(PART))
                    .zip(Self::values_mut(&mut second).par_chunks_mut(PART))
                    .for_each(|(((values, gradient), first), second)| {
                        let each = values.iter_mut().zip(gradient).zip(first).zip(second);
                        for (((value, gradient), first), second) in each {
                            rule.apply(value, *gradient, first, second);
                        }
                    });
                (values, first, second)
            }
        }
    )*};
}

on_slices!(Flex NdArray);
