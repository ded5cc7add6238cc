//! Batch norm by the batch's own statistics (Ioffe and Szegedy 2015, arXiv 1502.03167) with the tail
//! that follows it, and gradients through the statistics.
//!
//! The gradient needs every value that was normalized. The caller keeps them: to compute them again
//! would take a fifth of a training step.

use rayon::prelude::*;

use crate::{
    DEAD, Tail,
    rows::{Plain, PoolGrad, Rows, turn_before_tail},
    scratch::with_scratch,
    simd::{Isa, Simd, per_isa},
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
}

/// What [`norm_backward`] needs of the forward pass, beside the values that were normalized.
#[derive(Clone, Copy, Debug)]
pub struct NormSaved<'a> {
    /// Parameters given to [`norm_forward`].
    pub norm: Norm<'a>,
    /// Output of [`norm_forward`]; read with [`Tail::Relu`] and [`Tail::Relu6`] only.
    pub output: &'a [f32],
    /// Codes of [`norm_forward`]; read with [`Tail::ReluPool`] only.
    pub codes: &'a [u8],
    /// Mean from [`norm_forward`].
    pub mean: &'a [f32],
    /// Variance from [`norm_forward`].
    pub variance: &'a [f32],
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
    let parts: Vec<[f64; 2]> = values
        .par_chunks(plane.max(1))
        .map(|values| {
            let mut part = [0.0; 2];
            moments(isa, values, &mut part);
            part
        })
        .collect();
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    let mut affine = vec![[0.0; 2]; channels];
    for channel in 0..channels {
        let [channel_mean, channel_variance] =
            combine(parts.iter().skip(channel).step_by(channels), plane as f64);
        let scale = f64::from(norm.gamma[channel]) / (channel_variance + norm.epsilon).sqrt();
        affine[channel] = [
            scale as f32,
            (f64::from(norm.beta[channel]) - channel_mean * scale) as f32,
        ];
        (mean[channel], variance[channel]) = (channel_mean as f32, channel_variance as f32);
    }
    let (out_rows, out_columns) = tail.output_size(height, width);
    let out_plane = out_rows * out_columns;
    let mut output = vec![0.0; images * channels * out_plane];
    let mut codes = vec![
        0;
        if tail == Tail::ReluPool {
            output.len()
        } else {
            0
        }
    ];
    if out_plane == 0 {
        return NormForward {
            output,
            codes,
            mean,
            variance,
        };
    }
    let planes = values
        .par_chunks_exact(plane)
        .zip(output.par_chunks_exact_mut(out_plane))
        .enumerate();
    if tail == Tail::ReluPool {
        planes.zip(codes.par_chunks_exact_mut(out_plane)).for_each(
            |((index, (values, output)), codes)| {
                pool_plane(
                    isa,
                    values,
                    [width, out_columns],
                    affine[index % channels],
                    output,
                    codes,
                );
            },
        );
    } else {
        planes.for_each(|(index, (values, output))| {
            scale_plane(isa, values, affine[index % channels], tail.range(), output)
        });
    }
    NormForward {
        output,
        codes,
        mean,
        variance,
    }
}

/// Computes the gradients of gamma and beta from the gradient `grad` of the output, and replaces the
/// `values` that were normalized by their gradient. Behind a ReLU, `grad` becomes the gradient
/// before it.
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
    grad: &mut [f32],
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
    turn_before_tail(isa, tail, saved.output, grad);
    let grad = if tail == Tail::ReluPool {
        assert_eq!(saved.codes.len(), grad.len(), "codes of {shape:?}");
        Grad::Pooled(
            PoolGrad {
                grad: Plain {
                    values: grad,
                    channels,
                    height: rows,
                    width: columns,
                },
                codes: saved.codes,
            },
            width,
        )
    } else {
        Grad::Whole(grad)
    };
    let plane = (height * width).max(1);
    let sums: Vec<[f64; 2]> = values
        .par_chunks(plane)
        .enumerate()
        .map(|(index, values)| {
            let mut sums = [0.0; 2];
            let mean = saved.mean[index % channels];
            grad.parts(isa, index, plane, |start, grad| {
                add_products(
                    isa,
                    grad,
                    &values[start..start + grad.len()],
                    mean,
                    &mut sums,
                );
            });
            sums
        })
        .collect();
    let count = (images * plane) as f64;
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
    values
        .par_chunks_mut(plane)
        .enumerate()
        .for_each(|(index, values)| {
            let affine = affine[index % channels];
            grad.parts(isa, index, plane, |start, grad| {
                mix(isa, grad, affine, &mut values[start..start + grad.len()]);
            });
        });
    NormGradients { gamma, beta }
}

/// The gradient of the norm's own result.
enum Grad<'a> {
    /// In memory.
    Whole(&'a [f32]),
    /// Before pooling, in rows of the given width.
    Pooled(PoolGrad<'a>, usize),
}

impl Grad<'_> {
    /// Calls `part` with the pieces of plane `index`, which has `len` values, and their places in it.
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

per_isa! {
    /// Computes `value = scale * grad + slope * value + offset`.
    fn mix(grads: &[f32], affine: [f32; 3], values: &mut [f32]) = mix_kernel
}

/// # Safety
/// None of its own; unsafe like the kernels of other sets, which [`per_isa!`] calls alike.
#[inline(always)]
unsafe fn mix_kernel<S: Simd, const NV: usize>(
    grads: &[f32],
    [scale, slope, offset]: [f32; 3],
    values: &mut [f32],
) {
    for (value, grad) in values.iter_mut().zip(grads) {
        *value = scale * grad + (slope * *value + offset);
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

per_isa! {
    /// Computes mean and biased variance.
    fn moments(values: &[f32], found: &mut [f64; 2]) = moments_kernel
}

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
    /// Adds the sum of the gradients, and of the gradients times the centered results, to `sums`.
    fn add_products(grads: &[f32], results: &[f32], mean: f32, sums: &mut [f64; 2]) = products_kernel
}

/// # Safety
/// None of its own, as for [`mix_kernel`].
#[inline(always)]
unsafe fn products_kernel<S: Simd, const NV: usize>(
    grads: &[f32],
    results: &[f32],
    mean: f32,
    sums: &mut [f64; 2],
) {
    let (mut all, mut products) = ([0.0f32; 16], [0.0f32; 16]);
    for (grads, results) in grads.chunks(16).zip(results.chunks(16)) {
        for (((all, products), grad), result) in
            all.iter_mut().zip(&mut products).zip(grads).zip(results)
        {
            *all += grad;
            *products += grad * (result - mean);
        }
    }
    sums[0] += f64::from(all.iter().sum::<f32>());
    sums[1] += f64::from(products.iter().sum::<f32>());
}

per_isa! {
    /// Computes `value * affine[0] + affine[1]` within the range. NaN passes.
    pub(crate) fn scale_plane(values: &[f32], affine: [f32; 2], range: [f32; 2], out: &mut [f32]) = scale_kernel
}

/// # Safety
/// None of its own, as for [`mix_kernel`].
#[inline(always)]
unsafe fn scale_kernel<S: Simd, const NV: usize>(
    values: &[f32],
    [scale, shift]: [f32; 2],
    [least, most]: [f32; 2],
    out: &mut [f32],
) {
    for (out, value) in out.iter_mut().zip(values) {
        let value = value * scale + shift;
        // Comparisons rather than `f32::clamp`, so that a NaN passes.
        let value = if value < least { least } else { value };
        *out = if value > most { most } else { value };
    }
}

per_isa! {
    /// Computes the same with ReLU and 2x2 pooling; `columns` are those before and after pooling.
    fn pool_plane(values: &[f32], columns: [usize; 2], affine: [f32; 2], out: &mut [f32], codes: &mut [u8]) = pool_kernel
}

/// # Safety
/// None of its own, as for [`mix_kernel`].
#[inline(always)]
unsafe fn pool_kernel<S: Simd, const NV: usize>(
    values: &[f32],
    [columns, out_columns]: [usize; 2],
    [scale, shift]: [f32; 2],
    out: &mut [f32],
    codes: &mut [u8],
) {
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
            *out = if is_dead { 0.0 } else { best };
            *code = if is_dead { DEAD } else { found };
        }
    }
}
