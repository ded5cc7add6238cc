//! Gradients of the weights and the bias of convolutions of one pixel: dot products of the planes
//! of the result's gradient with those of the input.
//!
//! Vectors hold pixels, as planes do in memory, so that nothing is turned round. A register tile
//! holds the products of a few outputs with a few inputs; its lanes are summed once per strip.

use std::ops::Range;

use rayon::prelude::*;

use crate::{
    groups::total,
    scratch::{STRIP_LEN, with_scratch},
    shape::Conv,
    simd::{Isa, Simd, per_isa},
};

/// Outputs of a tile.
const OUTPUTS: usize = 4;
/// Fewest outputs that a task computes, since each packs all inputs.
const TASK_OUTPUTS: usize = 32;
/// Number of tasks that are enough for any number of threads.
const TASKS: usize = 16;

/// Computes the gradients of weights and bias of a convolution with stride 1 from its input and the
/// gradient of its result.
pub(crate) fn gradients(
    isa: Isa,
    conv: &Conv,
    input: &[f32],
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (inputs, outputs) = (conv.inputs, conv.outputs);
    let [images, weights] = [conv.images, inputs * outputs];
    // Sums of their own for several groups of images, unless they are as large as what is read. The
    // shape alone decides, so that the bytes don't depend on the number of threads.
    let groups = ((input.len() + grad.len()) / (2 * weights)).clamp(1, TASKS);
    let groups = groups.min(images);
    let task_outputs = outputs
        .div_ceil(TASKS.div_ceil(groups))
        .max(TASK_OUTPUTS)
        .next_multiple_of(OUTPUTS);
    let (mut sums, mut bias) = (vec![0.0; groups * weights], vec![0.0; groups * outputs]);
    let of_groups = sums
        .par_chunks_mut(weights)
        .zip(bias.par_chunks_mut(outputs));
    of_groups.enumerate().for_each(|(group, (sums, bias))| {
        let images = group * images / groups..(group + 1) * images / groups;
        let of_tasks = sums
            .par_chunks_mut(task_outputs * inputs)
            .zip(bias.par_chunks_mut(task_outputs));
        of_tasks.enumerate().for_each(|(task, (sums, bias))| {
            let first = task * task_outputs;
            let part = Part {
                conv,
                input,
                grad,
                outputs: first..first + bias.len(),
            };
            part.add(isa, images.clone(), sums, bias);
        });
    });
    (total(sums, weights), total(bias, outputs))
}

/// A task: some outputs with all inputs.
struct Part<'a> {
    conv: &'a Conv,
    input: &'a [f32],
    grad: &'a [f32],
    outputs: Range<usize>,
}

impl Part<'_> {
    /// Adds the products of some images, packed strip by strip.
    fn add(&self, isa: Isa, images: Range<usize>, sums: &mut [f32], bias: &mut [f32]) {
        let plane = self.conv.height * self.conv.width;
        let rows = self.outputs.len() + self.conv.inputs;
        let len = (STRIP_LEN / rows).max(64).next_multiple_of(isa.lanes());
        // A cache line more, so that rows don't fall into the same cache set.
        let pitch = len + 16;
        with_scratch(rows * pitch, |strip| {
            let mut filled = 0;
            for (image, first) in images.flat_map(|image| {
                let pieces = (0..plane).step_by(len);
                pieces.map(move |first| (image, first))
            }) {
                let pixels = first..(first + len).min(plane);
                let padded = pixels.len().next_multiple_of(isa.lanes());
                if filled + padded > len {
                    add_strip(isa, strip, [pitch, filled], sums, bias);
                    filled = 0;
                }
                self.pack(image, pixels, padded, &mut strip[filled..], pitch);
                filled += padded;
            }
            add_strip(isa, strip, [pitch, filled], sums, bias);
        });
    }

    /// Copies some pixels of all channels to the beginnings of rows, `[outputs, then inputs]`, with
    /// zeros behind them up to `padded`.
    fn pack(
        &self,
        image: usize,
        pixels: Range<usize>,
        padded: usize,
        strip: &mut [f32],
        pitch: usize,
    ) {
        let Conv {
            inputs, outputs, ..
        } = *self.conv;
        let plane = self.conv.height * self.conv.width;
        let input = &self.input[image * inputs * plane..][..inputs * plane];
        let grad = &self.grad[(image * outputs + self.outputs.start) * plane..];
        let grad = &grad[..self.outputs.len() * plane];
        let all = grad.chunks_exact(plane).chain(input.chunks_exact(plane));
        for (row, plane) in strip.chunks_mut(pitch).zip(all) {
            row[..pixels.len()].copy_from_slice(&plane[pixels.clone()]);
            row[pixels.len()..padded].fill(0.0);
        }
    }
}

per_isa! {
    /// Adds the products of a strip's rows, each `pitch` after the one before and filled so far,
    /// to the sums `[output, input]` and those of the outputs themselves.
    fn add_strip(
        strip: &[f32],
        pitch_and_filled: [usize; 2],
        sums: &mut [f32],
        bias: &mut [f32],
    ) = strip_kernel
}

/// Adds the products of the outputs' rows with the inputs' to `sums`, `[output, input]`, and the
/// sums of the outputs' rows to `bias`. The rows lie one after the other, outputs first, `pitch`
/// values apart, with `filled` values each.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn strip_kernel<S: Simd, const NV: usize>(
    strip: &[f32],
    [pitch, filled]: [usize; 2],
    sums: &mut [f32],
    bias: &mut [f32],
) {
    // SAFETY: as promised by the caller.
    unsafe {
        if S::SUMS >= OUTPUTS * 6 {
            add_tiles::<S, 6>(strip, [pitch, filled], sums, bias);
        } else {
            add_tiles::<S, 3>(strip, [pitch, filled], sums, bias);
        }
    }
}

/// Adds the products in tiles of [`OUTPUTS`] by `INPUTS`.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn add_tiles<S: Simd, const INPUTS: usize>(
    strip: &[f32],
    [pitch, filled]: [usize; 2],
    sums: &mut [f32],
    bias: &mut [f32],
) {
    let outputs = bias.len();
    let inputs = sums.len() / outputs;
    assert!(sums.len() == outputs * inputs && inputs > 0);
    assert!(filled.is_multiple_of(S::LANES) && filled <= pitch);
    assert!(strip.len() >= (outputs + inputs) * pitch);
    // Rows beyond the last repeat it, and their sums are dropped.
    let output_row = |output: usize| output.min(outputs - 1) * pitch;
    let input_row = |input: usize| (outputs + input.min(inputs - 1)) * pitch;
    for output in (0..outputs).step_by(OUTPUTS) {
        let grads: [usize; OUTPUTS] = std::array::from_fn(|at| output_row(output + at));
        for (bias, row) in bias[output..].iter_mut().zip(grads) {
            // SAFETY: the caller promises the instruction set; `filled` values of each row are
            // inside the strip, and a multiple of the lanes.
            unsafe {
                let mut sum = S::splat(0.0);
                for at in (0..filled).step_by(S::LANES) {
                    let grad = S::load(strip.as_ptr().add(row + at));
                    sum = S::fma(S::splat(1.0), grad, sum);
                }
                *bias += S::sum(sum);
            }
        }
        for input in (0..inputs).step_by(INPUTS) {
            let rows: [usize; INPUTS] = std::array::from_fn(|at| input_row(input + at));
            // SAFETY: as above.
            let tile = unsafe { products::<S, INPUTS>(strip, grads, rows, filled) };
            let of_outputs = sums[output * inputs..].chunks_mut(inputs);
            for (sums, products) in of_outputs.zip(tile) {
                for (sum, product) in sums[input..].iter_mut().zip(products) {
                    // SAFETY: the caller promises the instruction set.
                    *sum += unsafe { S::sum(product) };
                }
            }
        }
    }
}

/// Returns the products of rows that begin at the given places, lane by lane.
///
/// # Safety
/// The CPU must have the instruction set; `filled` values of each row, a multiple of the lanes,
/// must be inside the strip.
#[inline(always)]
unsafe fn products<S: Simd, const INPUTS: usize>(
    strip: &[f32],
    outputs: [usize; OUTPUTS],
    inputs: [usize; INPUTS],
    filled: usize,
) -> [[S::V; INPUTS]; OUTPUTS] {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut tile = [[S::splat(0.0); INPUTS]; OUTPUTS];
        for at in (0..filled).step_by(S::LANES) {
            let strip = strip.as_ptr().add(at);
            let mut vectors = [S::splat(0.0); INPUTS];
            for (vector, row) in vectors.iter_mut().zip(inputs) {
                *vector = S::load(strip.add(row));
            }
            for (sums, row) in tile.iter_mut().zip(outputs) {
                let grad = S::load(strip.add(row));
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = S::fma(grad, vector, *sum);
                }
            }
        }
        tile
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, tests::values};

    /// Planes shorter than a vector, longer than a strip, and of no whole number of vectors;
    /// channels that fill tiles and those that don't.
    #[test]
    fn gradients_are_sums_over_all_pixels() {
        for (images, inputs, [height, width], outputs) in [
            (1, 1, [1, 1], 1),
            (5, 7, [1, 3], 5),
            (3, 13, [7, 7], 70),
            (18, 3, [4, 4], 2),
            (2, 40, [55, 81], 9),
        ] {
            let conv = Conv {
                images,
                inputs,
                height,
                width,
                outputs,
                kernel: 1,
                stride: 1,
                padding: 0,
                algorithm: Algorithm::Direct,
            };
            let plane = height * width;
            let (input, grad) = (
                values(conv.input_len(), 1),
                values(images * outputs * plane, 2),
            );
            let sum = |output: usize, input_at: Option<usize>| -> f64 {
                let mut sum = 0.0;
                for (image, pixel) in
                    (0..images).flat_map(|image| (0..plane).map(move |pixel| (image, pixel)))
                {
                    let grad = f64::from(grad[(image * outputs + output) * plane + pixel]);
                    let input = input_at.map_or(1.0, |channel| {
                        f64::from(input[(image * inputs + channel) * plane + pixel])
                    });
                    sum += grad * input;
                }
                sum
            };
            for isa in Isa::available() {
                let (weight, bias) = gradients(isa, &conv, &input, &grad);
                assert_eq!([weight.len(), bias.len()], [inputs * outputs, outputs]);
                let close = |found: f32, expected: f64| {
                    let allowed = 1e-6 * ((images * plane) as f64).max(10.0);
                    assert!(
                        (f64::from(found) - expected).abs() < allowed,
                        "{isa:?} {conv:?}: {found}, not {expected}"
                    );
                };
                for output in 0..outputs {
                    close(bias[output], sum(output, None));
                    for channel in 0..inputs {
                        let found = weight[output * inputs + channel];
                        close(found, sum(output, Some(channel)));
                    }
                }
            }
        }
    }
}
