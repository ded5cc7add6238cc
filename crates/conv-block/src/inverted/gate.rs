//! Squeeze-excite (Hu et al. 2018, arXiv 1709.01507): each channel is multiplied by a function of
//! all channels' means.

use super::weights::{GateWeights, Weights};
use crate::{
    activation::{Activation, activate_kernel},
    simd::Simd,
};

/// The weights of a gate.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    layers: [Dense; 2],
}

/// A dense layer and its function.
#[derive(Clone, Debug)]
struct Dense {
    /// `[input][output]`, so that outputs, which are added up at once, lie side by side.
    weights: Vec<f32>,
    bias: Vec<f32>,
    function: Activation,
}

impl Gate {
    /// Packs a gate of `channels` channels, with factors of zero for those up to `padded`.
    pub(super) fn new(of: GateWeights<'_>, padded: usize, channels: usize) -> Self {
        let reduced = of.reduce.bias.len();
        let layer = |of: Weights<'_>, [inputs, outputs, width]: [usize; 3], function| {
            assert_eq!(of.weight.len(), inputs * outputs);
            assert_eq!(of.bias.len(), outputs);
            let mut weights = vec![0.0; inputs * width];
            for (input, weights) in weights.chunks_exact_mut(width).enumerate() {
                let column = of.weight[input..].iter().step_by(inputs);
                weights
                    .iter_mut()
                    .zip(column)
                    .for_each(|(to, from)| *to = *from);
            }
            let mut bias = of.bias.to_vec();
            bias.resize(width, 0.0);
            Dense {
                weights,
                bias,
                function,
            }
        };
        let [first, second] = of.functions;
        Self {
            layers: [
                layer(of.reduce, [channels, reduced, reduced], first),
                layer(of.expand, [reduced, channels, padded], second),
            ],
        }
    }

    /// Multiplies channels by their factors. `values` are `[vector][pixel][channel]`.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd, const NV: usize>(
        &self,
        values: &mut [f32],
        num_pixels: usize,
    ) {
        let vectors = values.chunks_exact(num_pixels * S::LANES);
        let mut means = vec![0.0; vectors.len() * S::LANES];
        for (values, means) in vectors.zip(means.chunks_exact_mut(S::LANES)) {
            for pixel in values.chunks_exact(S::LANES) {
                means
                    .iter_mut()
                    .zip(pixel)
                    .for_each(|(sum, value)| *sum += *value);
            }
            means.iter_mut().for_each(|sum| *sum /= num_pixels as f32);
        }
        let factors = self.layers.iter().fold(means, |inputs, layer| {
            let mut sums = layer.bias.clone();
            let rows = layer.weights.chunks_exact(layer.bias.len());
            for (input, row) in inputs.iter().zip(rows) {
                sums.iter_mut()
                    .zip(row)
                    .for_each(|(sum, weight)| *sum += *input * *weight);
            }
            // SAFETY: as promised by the caller.
            unsafe { activate_kernel::<S, NV>(layer.function, &mut sums) };
            sums
        });
        let vectors = values.chunks_exact_mut(num_pixels * S::LANES);
        for (values, factors) in vectors.zip(factors.chunks_exact(S::LANES)) {
            for pixel in values.chunks_exact_mut(S::LANES) {
                pixel
                    .iter_mut()
                    .zip(factors)
                    .for_each(|(value, factor)| *value *= *factor);
            }
        }
    }
}
