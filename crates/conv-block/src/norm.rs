//! Batch norm between the convolution and its ReLU, by the batch's own statistics (Ioffe and
//! Szegedy 2015, arXiv 1502.03167), with gradients through the statistics.
//!
//! The gradient needs every value of the convolution's result. The backward pass computes it again
//! instead of keeping it, which takes a seventh more time and saves the largest part of the memory.

use rayon::prelude::*;

use crate::{
    Conv, DEAD, Saved, Tail, backward_dense, forward,
    rows::{Plain, PoolGrad, Rows, turn_before_tail},
    simd::{Isa, Simd, per_isa},
};

/// The parameters of a batch norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Factor of each output channel.
    pub gamma: &'a [f32],
    /// Offset of each output channel.
    pub beta: &'a [f32],
    /// Small constant added to the variance.
    pub epsilon: f64,
}

/// The result of [`norm_forward`].
#[derive(Clone, Debug, PartialEq)]
pub struct NormForward {
    /// Output after the tail, `[images, outputs, rows, columns]`.
    pub output: Vec<f32>,
    /// A code per value of `output` with [`Tail::ReluPool`], else empty.
    pub codes: Vec<u8>,
    /// Mean of each output channel over the batch.
    pub mean: Vec<f32>,
    /// Biased variance of each output channel over the batch, without epsilon.
    pub variance: Vec<f32>,
}

/// What [`norm_backward`] needs of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct NormSaved<'a> {
    /// Input, `[images, inputs, height, width]`.
    pub input: &'a [f32],
    /// Weights, `[outputs, inputs, kernel, kernel]`.
    pub weight: &'a [f32],
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
    /// Gradient of the input, `[images, inputs, height, width]`, if requested.
    pub input: Option<Vec<f32>>,
    /// Gradient of the weights, `[outputs, inputs, kernel, kernel]`.
    pub weight: Vec<f32>,
    /// Gradient of the factors, `[outputs]`.
    pub gamma: Vec<f32>,
    /// Gradient of the offsets, `[outputs]`.
    pub beta: Vec<f32>,
}

/// Computes the convolution, the norm by the batch's statistics, and the tail.
///
/// # Shapes
/// `input` `[images, inputs, height, width]` and `weight` `[outputs, inputs, kernel, kernel]`; see
/// [`NormForward`] for the result.
///
/// # Panics
/// As [`crate::forward`], and if the norm has fewer than `conv.outputs` channels.
pub fn norm_forward(isa: Isa, conv: &Conv, tail: Tail, input: &[f32], weight: &[f32], norm: Norm<'_>) -> NormForward {
    let result = forward(isa, conv, Tail::Linear, input, weight, None).output;
    let (rows, columns) = conv.result_size();
    let plane = rows * columns;
    let parts: Vec<[f64; 2]> = result
        .par_chunks_exact(plane)
        .map(|values| {
            let mut part = [0.0; 2];
            moments(isa, values, &mut part);
            part
        })
        .collect();
    let (mut mean, mut variance) = (vec![0.0; conv.outputs], vec![0.0; conv.outputs]);
    let mut affine = vec![[0.0; 2]; conv.outputs];
    for channel in 0..conv.outputs {
        let [channel_mean, channel_variance] = combine(parts.iter().skip(channel).step_by(conv.outputs), plane as f64);
        let scale = f64::from(norm.gamma[channel]) / (channel_variance + norm.epsilon).sqrt();
        affine[channel] = [scale as f32, (f64::from(norm.beta[channel]) - channel_mean * scale) as f32];
        (mean[channel], variance[channel]) = (channel_mean as f32, channel_variance as f32);
    }
    let (out_rows, out_columns) = conv.output_size(tail);
    let out_plane = out_rows * out_columns;
    let mut output = vec![0.0; conv.output_len(tail)];
    let mut codes = vec![0; if tail == Tail::ReluPool { output.len() } else { 0 }];
    if tail == Tail::ReluPool && out_plane > 0 {
        let planes = output.par_chunks_exact_mut(out_plane).zip(codes.par_chunks_exact_mut(out_plane)).enumerate();
        planes.for_each(|(index, (output, codes))| {
            let values = &result[index * plane..(index + 1) * plane];
            pool_plane(isa, values, [columns, out_columns], affine[index % conv.outputs], output, codes);
        });
    } else if out_plane > 0 {
        output.par_chunks_exact_mut(plane).enumerate().for_each(|(index, output)| {
            let values = &result[index * plane..(index + 1) * plane];
            scale_plane(isa, values, affine[index % conv.outputs], tail.range(), output);
        });
    }
    NormForward { output, codes, mean, variance }
}

/// Computes the gradients of weights, gamma and beta, and of the input if `is_input_wanted`, from
/// the gradient `grad` of the output. Behind a ReLU, `grad` becomes the gradient before it.
///
/// # Shapes
/// `grad` is `[images, outputs, rows, columns]` after the tail; see [`NormGradients`] for the
/// results.
///
/// # Panics
/// As [`crate::backward`].
pub fn norm_backward(isa: Isa, conv: &Conv, tail: Tail, saved: NormSaved<'_>, grad: &mut [f32], is_input_wanted: bool) -> NormGradients {
    assert_eq!(grad.len(), conv.output_len(tail), "gradient of {conv:?}");
    turn_before_tail(isa, tail, saved.output, grad);
    let (height, width) = conv.output_size(tail);
    let grad = Plain { values: grad, channels: conv.outputs, height, width };
    match tail {
        Tail::Linear | Tail::Relu | Tail::Relu6 => through_norm(isa, conv, saved, &grad, is_input_wanted),
        Tail::ReluPool => through_norm(isa, conv, saved, &PoolGrad { grad, codes: saved.codes }, is_input_wanted),
    }
}

/// Computes the gradients from that of the norm's output.
fn through_norm(isa: Isa, conv: &Conv, saved: NormSaved<'_>, grad: &dyn Rows, is_input_wanted: bool) -> NormGradients {
    let norm = saved.norm;
    let (rows, columns) = conv.result_size();
    let result = forward(isa, conv, Tail::Linear, saved.input, saved.weight, None).output;
    let result = Plain { values: &result, channels: conv.outputs, height: rows, width: columns };
    let sums: Vec<[f64; 2]> = (0..conv.images * conv.outputs)
        .into_par_iter()
        .map(|index| {
            let (mut sums, mut buffer) = ([0.0; 2], vec![0.0; columns]);
            let mean = saved.mean[index % conv.outputs];
            for row in 0..rows {
                grad.row(isa, index / conv.outputs, index % conv.outputs, row, &mut buffer);
                let start = (index * rows + row) * columns;
                add_products(isa, &buffer, &result.values[start..start + columns], mean, &mut sums);
            }
            sums
        })
        .collect();
    let count = (conv.images * rows * columns) as f64;
    let (mut gamma, mut beta) = (vec![0.0; conv.outputs], vec![0.0; conv.outputs]);
    let mut affine = vec![[0.0; 3]; conv.outputs];
    for channel in 0..conv.outputs {
        let [grads, products] =
            sums.iter().skip(channel).step_by(conv.outputs).fold([0.0, 0.0], |all, part| [all[0] + part[0], all[1] + part[1]]);
        let inverse = 1.0 / (f64::from(saved.variance[channel]) + norm.epsilon).sqrt();
        (beta[channel], gamma[channel]) = (grads as f32, (products * inverse) as f32);
        // For the normalized value n, the gradient of the result is gamma * inverse * (grad -
        // mean(grad) - n * mean(grad * n)), which is affine in grad and in the result.
        let scale = f64::from(norm.gamma[channel]) * inverse;
        let slope = -scale * inverse * inverse * products / count;
        affine[channel] = [scale as f32, slope as f32, (-scale * grads / count - slope * f64::from(saved.mean[channel])) as f32];
    }
    let source = NormGrad { grad, result, affine };
    let saved = Saved { input: saved.input, weight: saved.weight, output: &[], codes: &[] };
    let found = backward_dense(isa, conv, &saved, &source, is_input_wanted);
    NormGradients { input: found.input, weight: found.weight, gamma, beta }
}

/// The gradient before the norm, `scale * grad + slope * result + offset`, computed row by row
/// while it is read.
struct NormGrad<'a> {
    grad: &'a dyn Rows,
    result: Plain<'a>,
    affine: Vec<[f32; 3]>,
}

impl Rows for NormGrad<'_> {
    fn row(&self, isa: Isa, image: usize, channel: usize, row: usize, out: &mut [f32]) {
        self.grad.row(isa, image, channel, row, out);
        let [scale, slope, offset] = self.affine[channel];
        let start = ((image * self.result.channels + channel) * self.result.height + row) * self.result.width;
        mix(isa, &self.result.values[start..start + self.result.width], [scale, slope, offset], out);
    }
}

per_isa! {
    /// Computes `out = scale * out + slope * result + offset`.
    fn mix(results: &[f32], affine: [f32; 3], out: &mut [f32]) = mix_kernel
}

/// # Safety
/// None of its own; unsafe like the kernels of other sets, which [`per_isa!`] calls alike.
#[inline(always)]
unsafe fn mix_kernel<S: Simd, const NV: usize>(results: &[f32], [scale, slope, offset]: [f32; 3], out: &mut [f32]) {
    for (out, result) in out.iter_mut().zip(results) {
        *out = scale * *out + (slope * result + offset);
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
unsafe fn products_kernel<S: Simd, const NV: usize>(grads: &[f32], results: &[f32], mean: f32, sums: &mut [f64; 2]) {
    let (mut all, mut products) = ([0.0f32; 16], [0.0f32; 16]);
    for (grads, results) in grads.chunks(16).zip(results.chunks(16)) {
        for (((all, products), grad), result) in all.iter_mut().zip(&mut products).zip(grads).zip(results) {
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
unsafe fn scale_kernel<S: Simd, const NV: usize>(values: &[f32], [scale, shift]: [f32; 2], [least, most]: [f32; 2], out: &mut [f32]) {
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
    let rows = out.chunks_exact_mut(out_columns).zip(codes.chunks_exact_mut(out_columns)).zip(values.chunks_exact(2 * columns));
    for ((out, codes), pair) in rows {
        let (upper, lower) = pair.split_at(columns);
        let cells = upper.chunks_exact(2).zip(lower.chunks_exact(2));
        for (((upper, lower), out), code) in cells.zip(out).zip(codes) {
            let place = |value: f32| value * scale + shift;
            let (mut best, mut found) = (place(upper[0]), 0);
            for (value, name) in [(place(upper[1]), 1), (place(lower[0]), 2), (place(lower[1]), 3)] {
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
