//! Batch norm by the batch's own statistics (Ioffe and Szegedy 2015, arXiv 1502.03167) with the
//! tail that follows it, and gradients through the statistics.
//!
//! The gradient needs every value that was normalized. The caller keeps them: to compute them again
//! would take a fifth of a training step.

mod layer;
mod planes;

use std::mem::MaybeUninit;

use rayon::prelude::*;

pub use self::layer::layer_norm;
use self::planes::{Passage, add_products, mix, moments, pool_plane};
pub(crate) use self::planes::{lane_sum, scale_plane};
use crate::{
    Tail,
    rows::{Plain, PoolGrad, Rows},
    scratch::{filled, with_scratch},
    simd::Isa,
};

/// The parameters of a batch norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Factor of each channel.
    pub gamma: &'a [f32],
    /// Offset of each channel.
    pub beta: &'a [f32],
    /// Small constant added to the variance.
    pub epsilon: f64,
}

/// The result of [`norm_forward`].
#[derive(Clone, Debug, PartialEq)]
pub struct NormForward {
    /// Output after the tail, `[images, channels, rows, columns]`.
    pub output: Vec<f32>,
    /// A code per value of `output` with [`Tail::ReluPool`], else empty.
    pub codes: Vec<u8>,
    /// Mean of each channel over the batch.
    pub mean: Vec<f32>,
    /// Biased variance of each channel over the batch, without epsilon.
    pub variance: Vec<f32>,
    /// Factor and offset that the norm was for each channel.
    pub affine: Vec<[f32; 2]>,
}

/// What [`norm_backward`] needs of the forward pass, beside the values that were normalized.
#[derive(Clone, Copy, Debug)]
pub struct NormSaved<'a> {
    /// Parameters given to [`norm_forward`].
    pub norm: Norm<'a>,
    /// Codes of [`norm_forward`]; read with [`Tail::ReluPool`] only.
    pub codes: &'a [u8],
    /// Mean from [`norm_forward`].
    pub mean: &'a [f32],
    /// Variance from [`norm_forward`].
    pub variance: &'a [f32],
    /// Factors and offsets from [`norm_forward`].
    pub affine: &'a [[f32; 2]],
}

/// The result of [`norm_backward`].
#[derive(Clone, Debug, PartialEq)]
pub struct NormGradients {
    /// Gradient of the factors, `[channels]`.
    pub gamma: Vec<f32>,
    /// Gradient of the offsets, `[channels]`.
    pub beta: Vec<f32>,
}

/// Normalizes `values` by the batch's statistics and applies the tail.
///
/// # Shapes
/// `shape` is that of `values`, `[images, channels, height, width]`; see [`NormForward`] for the
/// result.
///
/// # Panics
/// Panics if a slice has another length than the shape says, or the norm has fewer channels.
pub fn norm_forward(
    isa: Isa,
    shape: [usize; 4],
    tail: Tail,
    values: &[f32],
    norm: Norm<'_>,
) -> NormForward {
    let [images, channels, height, width] = shape;
    let plane = height * width;
    assert_eq!(
        values.len(),
        images * channels * plane,
        "values of {shape:?}"
    );
    let Statistics {
        mean,
        variance,
        affine,
    } = statistics(isa, channels, plane, values, norm);
    let (out_rows, out_columns) = tail.output_size(height, width);
    let out_plane = out_rows * out_columns;
    let len = images * channels * out_plane;
    let mut codes = vec![0; if tail == Tail::ReluPool { len } else { 0 }];
    let fill = |output: &mut [MaybeUninit<f32>]| {
        // At least 1, for images without pixels.
        let planes = values
            .par_chunks_exact(plane.max(1))
            .zip(output.par_chunks_exact_mut(out_plane.max(1)))
            .enumerate();
        if tail == Tail::ReluPool {
            let codes = codes.par_chunks_exact_mut(out_plane.max(1));
            planes
                .zip(codes)
                .for_each(|((index, (values, output)), codes)| {
                    let (columns, affine) = ([width, out_columns], affine[index % channels]);
                    pool_plane(isa, values, columns, affine, output, codes);
                });
        } else {
            planes.for_each(|(index, (values, output))| {
                scale_plane(isa, values, affine[index % channels], tail.range(), output)
            });
        }
    };
    // SAFETY: there are as many planes of values as of results, and each is written whole.
    let output = unsafe { filled(len, fill) };
    NormForward {
        output,
        codes,
        mean,
        variance,
        affine,
    }
}

/// The statistics of each channel.
struct Statistics {
    mean: Vec<f32>,
    variance: Vec<f32>,
    /// Factor and offset of the norm.
    affine: Vec<[f32; 2]>,
}

/// Computes the statistics of planes of `plane` values.
fn statistics(
    isa: Isa,
    channels: usize,
    plane: usize,
    values: &[f32],
    norm: Norm<'_>,
) -> Statistics {
    let of_plane = |values: &[f32]| {
        let mut part = [0.0; 2];
        moments(isa, values, &mut part);
        part
    };
    let parts: Vec<[f64; 2]> = values.par_chunks(plane.max(1)).map(of_plane).collect();
    let mut found = Statistics {
        mean: vec![0.0; channels],
        variance: vec![0.0; channels],
        affine: vec![[0.0; 2]; channels],
    };
    for channel in 0..channels {
        let of_channel = parts.iter().skip(channel).step_by(channels);
        let [mean, variance] = combine(of_channel, plane as f64);
        let scale = f64::from(norm.gamma[channel]) / (variance + norm.epsilon).sqrt();
        let offset = f64::from(norm.beta[channel]) - mean * scale;
        found.affine[channel] = [scale as f32, offset as f32];
        (found.mean[channel], found.variance[channel]) = (mean as f32, variance as f32);
    }
    found
}

/// Computes the gradients of gamma and beta from the gradient `grad` of the output, and replaces
/// the `values` that were normalized by their gradient.
///
/// # Shapes
/// `shape` is that of `values`, `[images, channels, height, width]`; `grad` has the output's,
/// `[images, channels, rows, columns]` after the tail.
///
/// # Panics
/// Panics if a slice has another length than the shape says, or the norm has fewer channels.
pub fn norm_backward(
    isa: Isa,
    shape: [usize; 4],
    tail: Tail,
    saved: NormSaved<'_>,
    grad: &[f32],
    values: &mut [f32],
) -> NormGradients {
    let [images, channels, height, width] = shape;
    let (rows, columns) = tail.output_size(height, width);
    assert_eq!(
        values.len(),
        images * channels * height * width,
        "values of {shape:?}"
    );
    assert_eq!(
        grad.len(),
        images * channels * rows * columns,
        "gradient of {shape:?} with {tail:?}"
    );
    // A pooled gradient comes with codes that tell where it passes.
    let bounds = match tail {
        Tail::Linear | Tail::ReluPool => [f32::NAN; 2],
        Tail::Relu | Tail::Relu6 => [0.0, tail.most()],
    };
    let passage = |channel: usize| Passage {
        affine: saved.affine[channel],
        bounds,
    };
    let grad = if tail == Tail::ReluPool {
        assert_eq!(saved.codes.len(), grad.len(), "codes of {shape:?}");
        let grad = Plain {
            values: grad,
            channels,
            height: rows,
            width: columns,
        };
        let codes = saved.codes;
        Grad::Pooled(PoolGrad { grad, codes }, width)
    } else {
        Grad::Whole(grad)
    };
    let plane = (height * width).max(1);
    let sums_of = |(index, values): (usize, &[f32])| {
        let channel = index % channels;
        let (mut sums, mean) = ([0.0; 2], saved.mean[channel]);
        grad.parts(isa, index, plane, |start, grad| {
            let values = &values[start..start + grad.len()];
            add_products(isa, grad, values, passage(channel), mean, &mut sums);
        });
        sums
    };
    let sums: Vec<[f64; 2]> = values.par_chunks(plane).enumerate().map(sums_of).collect();
    let (gradients, affine) = gradients(&sums, saved, (images * plane) as f64);
    values
        .par_chunks_mut(plane)
        .enumerate()
        .for_each(|(index, values)| {
            let channel = index % channels;
            grad.parts(isa, index, plane, |start, grad| {
                let values = &mut values[start..start + grad.len()];
                mix(isa, grad, passage(channel), affine[channel], values);
            });
        });
    gradients
}

/// Computes the gradients of gamma and beta from the sums over each plane of the gradient and of
/// its products with the values less their mean, of which each channel has `count`. Also returns
/// what makes the gradient of a value: factors of its gradient behind the norm and of itself, and
/// an offset.
fn gradients(
    sums: &[[f64; 2]],
    saved: NormSaved<'_>,
    count: f64,
) -> (NormGradients, Vec<[f32; 3]>) {
    let channels = saved.mean.len();
    let (mut gamma, mut beta) = (vec![0.0; channels], vec![0.0; channels]);
    let mut affine = vec![[0.0; 3]; channels];
    for channel in 0..channels {
        let [grads, products] = sums
            .iter()
            .skip(channel)
            .step_by(channels)
            .fold([0.0, 0.0], |all, part| [all[0] + part[0], all[1] + part[1]]);
        let inverse = 1.0 / (f64::from(saved.variance[channel]) + saved.norm.epsilon).sqrt();
        (beta[channel], gamma[channel]) = (grads as f32, (products * inverse) as f32);
        // For the normalized value n, the gradient of the value is gamma * inverse * (grad -
        // mean(grad) - n * mean(grad * n)), which is affine in grad and in the value.
        let scale = f64::from(saved.norm.gamma[channel]) * inverse;
        let slope = -scale * inverse * inverse * products / count;
        affine[channel] = [
            scale as f32,
            slope as f32,
            (-scale * grads / count - slope * f64::from(saved.mean[channel])) as f32,
        ];
    }
    (NormGradients { gamma, beta }, affine)
}

/// The gradient of the norm's own result.
enum Grad<'a> {
    /// In memory.
    Whole(&'a [f32]),
    /// Before pooling, in rows of the given width.
    Pooled(PoolGrad<'a>, usize),
}

impl Grad<'_> {
    /// Calls `part` with the pieces of plane `index`, which has `len` values, and their places in
    /// it.
    fn parts(&self, isa: Isa, index: usize, len: usize, mut part: impl FnMut(usize, &[f32])) {
        match self {
            Self::Whole(values) => part(0, &values[index * len..(index + 1) * len]),
            Self::Pooled(grad, width) => with_scratch(*width, |values| {
                let channels = grad.grad.channels;
                for (row, start) in (0..len).step_by(*width).enumerate() {
                    grad.row(isa, index / channels, index % channels, row, values);
                    part(start, values);
                }
            }),
        }
    }
}

/// Combines means and variances of parts of equal size (Chan, Golub and LeVeque 1979).
fn combine<'a>(parts: impl Iterator<Item = &'a [f64; 2]>, size: f64) -> [f64; 2] {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for [part_mean, part_variance] in parts {
        let delta = part_mean - mean;
        squares += part_variance * size + delta * delta * count * size / (count + size);
        count += size;
        mean += delta * size / count;
    }
    [mean, squares / count]
}
