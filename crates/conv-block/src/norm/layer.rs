//! Layer norm over the channels of each position (Ba et al. 2016, arXiv 1607.06450), of networks
//! that don't learn.

use rayon::prelude::*;

use super::Norm;
use crate::simd::{Isa, Simd, per_isa};

/// Positions that are normalized side by side; all their channels stay in the cache.
const WIDTH: usize = 64;

/// Brings the channels of each position to mean 0 and variance 1, then scales and shifts them.
///
/// # Shapes
/// `values` is `[images, channels, positions]`, with the channels of the norm.
///
/// # Panics
/// Panics if `values` has another length than its shape says.
pub fn layer_norm(isa: Isa, norm: Norm<'_>, positions: usize, values: &mut [f32]) {
    let of_image = norm.gamma.len() * positions;
    assert!(values.len().is_multiple_of(of_image.max(1)), "whole images");
    let images = values.par_chunks_exact_mut(of_image.max(1));
    images.for_each(|values| normalize(isa, norm, positions, values));
}

per_isa! {
    /// Normalizes an image.
    fn normalize(norm: Norm<'_>, positions: usize, values: &mut [f32]) = normalize_kernel
}

/// Normalizes the channels of each position of an image, `[channels, positions]`, in place,
/// [`WIDTH`] positions at a time.
///
/// # Safety
/// None of its own; unsafe like the kernels of other sets, which [`per_isa!`] calls alike.
#[inline(always)]
unsafe fn normalize_kernel<S: Simd, const NV: usize>(
    norm: Norm<'_>,
    positions: usize,
    values: &mut [f32],
) {
    let channels = norm.gamma.len() as f32;
    for first in (0..positions).step_by(WIDTH) {
        let columns = first..positions.min(first + WIDTH);
        let (mut mean, mut variance) = ([0.0f32; WIDTH], [0.0f32; WIDTH]);
        for row in values.chunks_exact(positions) {
            let row = &row[columns.clone()];
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        mean.iter_mut().for_each(|sum| *sum /= channels);
        for row in values.chunks_exact(positions) {
            let row = &row[columns.clone()];
            for ((sum, mean), x) in variance.iter_mut().zip(&mean).zip(row) {
                *sum += (x - mean) * (x - mean);
            }
        }
        let epsilon = norm.epsilon as f32;
        let factors = variance.map(|sum| 1.0 / (sum / channels + epsilon).sqrt());
        let rows = values.chunks_exact_mut(positions);
        for (row, (gamma, beta)) in rows.zip(norm.gamma.iter().zip(norm.beta)) {
            let row = &mut row[columns.clone()];
            for ((x, mean), factor) in row.iter_mut().zip(&mean).zip(&factors) {
                *x = (*x - mean) * factor * gamma + beta;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_each_position_have_mean_0_and_variance_1_before_the_affine() {
        let (channels, epsilon) = (5, 1e-3);
        let gamma = [1.0f32, -0.5, 2.0, 0.25, 3.0];
        let beta = [0.0f32, 1.0, -1.0, 0.5, 2.0];
        for positions in [1, 7, WIDTH, WIDTH + 3] {
            let value = |at: usize| ((at * 7919 + at * at % 83 * 31) % 251) as f32 / 25.0 + 3.0;
            let values: Vec<f32> = (0..2 * channels * positions).map(value).collect();
            for isa in Isa::available() {
                let mut found = values.clone();
                let norm = Norm {
                    gamma: &gamma,
                    beta: &beta,
                    epsilon,
                };
                layer_norm(isa, norm, positions, &mut found);
                for (image, position) in (0..2).flat_map(|i| (0..positions).map(move |p| (i, p))) {
                    let at = |channel: usize| (image * channels + channel) * positions + position;
                    let each: Vec<f64> = (0..channels).map(|c| f64::from(values[at(c)])).collect();
                    let mean = each.iter().sum::<f64>() / channels as f64;
                    let squares = each.iter().map(|x| (x - mean).powi(2));
                    let deviation = (squares.sum::<f64>() / channels as f64 + epsilon).sqrt();
                    for channel in 0..channels {
                        let expected = (each[channel] - mean) / deviation
                            * f64::from(gamma[channel])
                            + f64::from(beta[channel]);
                        let found = f64::from(found[at(channel)]);
                        assert!(
                            (found - expected).abs() < 1e-5,
                            "{isa:?}: {found}, not {expected}"
                        );
                    }
                }
            }
        }
    }
}
