//! Depthwise convolution: each channel by itself, with a kernel of its own.
//!
//! What such a layer costs is memory, not arithmetic, so that a plane is worked on as a whole while
//! it is in the cache. It is laid out with its padding, and by phases of the stride: what one tap of
//! the kernel meets then lies side by side, from the first result to the last across all rows, and
//! vectors are full however narrow the image is. A few results between two rows belong to nothing
//! and are left out when the rows are copied.

use rayon::prelude::*;

use crate::{
    Gradients, Saved, Tail,
    norm::{lane_sum, scale_plane},
    rows::pass_tail,
    scratch::with_scratch,
    simd::{Isa, Simd, per_isa},
};

/// Rows and columns of the largest kernel.
const LARGEST: usize = 7;

/// Where each position of a kernel meets the first result, and its weight.
type Taps = [(usize, f32); LARGEST * LARGEST];

/// Results are computed in multiples of so many, whole vectors of every instruction set.
const STEP: usize = 64;

/// Number of kernel positions whose gradients are summed in one pass.
const TAPS: usize = 9;

/// A depthwise convolution of `[images, channels, height, width]` with weights
/// `[channels, 1, kernel, kernel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depthwise {
    /// Number of images in the batch.
    pub images: usize,
    /// Number of channels.
    pub channels: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Rows and columns of the kernel, 1 to 7.
    pub kernel: usize,
    /// Step of the kernel, 1 to 7.
    pub stride: usize,
    /// Zeros above and below, and left and right of the image, less than 16 each.
    pub padding: [[usize; 2]; 2],
}

impl Depthwise {
    /// Whether the kernels support this shape.
    pub fn is_supported(&self) -> bool {
        let fits = |(side, [before, after]): (usize, [usize; 2])| {
            side > 0
                && side <= 1 << 24
                && before < 16
                && after < 16
                && side + before + after >= self.kernel
        };
        let sides = [
            (self.height, self.padding[0]),
            (self.width, self.padding[1]),
        ];
        (1..=LARGEST).contains(&self.kernel)
            && (1..=7).contains(&self.stride)
            && self.images * self.channels > 0
            && sides.into_iter().all(fits)
    }

    /// Returns the rows and columns of the result.
    pub fn result_size(&self) -> (usize, usize) {
        let side = |side: usize, [before, after]: [usize; 2]| {
            (side + before + after - self.kernel) / self.stride + 1
        };
        (
            side(self.height, self.padding[0]),
            side(self.width, self.padding[1]),
        )
    }

    /// Returns the number of input values.
    pub fn input_len(&self) -> usize {
        self.images * self.channels * self.height * self.width
    }

    /// Returns the number of weights.
    pub fn weight_len(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// Returns the number of output values.
    pub fn output_len(&self) -> usize {
        let (rows, columns) = self.result_size();
        self.images * self.channels * rows * columns
    }

    fn check(&self, tail: Tail) {
        assert!(
            self.is_supported() && tail != Tail::ReluPool,
            "{self:?} with {tail:?} is not supported"
        );
    }
}

/// Computes the output of a depthwise convolution.
///
/// # Shapes
/// `input` `[images, channels, height, width]`, `weight` `[channels, 1, kernel, kernel]` and `bias`
/// `[channels]` to `[images, channels, rows, columns]`.
///
/// # Panics
/// Panics if the shape is not supported (see [`Depthwise::is_supported`]), for [`Tail::ReluPool`],
/// and if a slice has another length than the shape says.
pub fn depthwise_forward(
    isa: Isa,
    shape: &Depthwise,
    tail: Tail,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    shape.check(tail);
    assert_eq!(input.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(weight.len(), shape.weight_len(), "weight of {shape:?}");
    assert!(
        bias.is_none_or(|bias| bias.len() == shape.channels),
        "bias of {shape:?}"
    );
    let layout = Layout::of(shape);
    let mut output = vec![0.0; shape.output_len()];
    output
        .par_chunks_exact_mut(layout.rows * layout.columns)
        .enumerate()
        .for_each(|(index, output)| {
            let channel = index % shape.channels;
            let mut taps = [(0, 0.0); LARGEST * LARGEST];
            let taps = layout.taps(weight, channel, &mut taps);
            let bias = bias.map_or(0.0, |bias| bias[channel]);
            with_scratch(layout.source_len + layout.results, |scratch| {
                let (source, results) = scratch.split_at_mut(layout.source_len);
                layout.deal(isa, layout.plane(input, index), source);
                correlate(isa, taps, bias, source, results);
                for (row, output) in output.chunks_exact_mut(layout.columns).enumerate() {
                    scale_plane(
                        isa,
                        &results[row * layout.pitch..][..layout.columns],
                        [1.0, 0.0],
                        tail.range(),
                        output,
                    );
                }
            });
        });
    output
}

/// Computes the gradients of weights and bias, and of the input if `is_input_wanted`, from the
/// gradient `grad` of the output. A NaN or infinity in a plane of the input reaches the gradients of
/// all weights of its channel.
///
/// # Shapes
/// As [`depthwise_forward`]; `grad` is like its result.
///
/// # Panics
/// As [`depthwise_forward`].
pub fn depthwise_backward(
    isa: Isa,
    shape: &Depthwise,
    tail: Tail,
    saved: Saved<'_>,
    grad: &[f32],
    is_input_wanted: bool,
) -> Gradients {
    shape.check(tail);
    assert_eq!(saved.input.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(
        saved.weight.len(),
        shape.weight_len(),
        "weight of {shape:?}"
    );
    assert_eq!(grad.len(), shape.output_len(), "gradient of {shape:?}");
    assert!(
        tail == Tail::Linear || saved.output.len() == grad.len(),
        "output of {shape:?}"
    );
    let layout = Layout::of(shape);
    let count = shape.kernel * shape.kernel;
    let mut input = vec![
        0.0;
        if is_input_wanted {
            shape.input_len()
        } else {
            0
        }
    ];
    // The sums of each plane: those of the kernel's positions, then that of the bias.
    let mut sums = vec![0.0; shape.images * shape.channels * (count + 1)];
    let backward = |index: usize, sums: &mut [f32], input: Option<&mut [f32]>| {
        let plane = layout.rows * layout.columns;
        with_scratch(layout.grad_len + layout.source_len, |scratch| {
            let (grads, source) = scratch.split_at_mut(layout.grad_len);
            layout.spread(&grad[index * plane..][..plane], grads);
            if tail != Tail::Linear {
                layout.mask(isa, tail, &saved.output[index * plane..][..plane], grads);
            }
            layout.deal(isa, layout.plane(saved.input, index), source);
            multiply(
                isa,
                &layout.offsets,
                &grads[layout.lead..][..layout.results],
                source,
                sums,
            );
            if let Some(input) = input {
                let mut taps = [(0, 0.0); LARGEST * LARGEST];
                layout.turn_back(
                    isa,
                    layout.taps(saved.weight, index % shape.channels, &mut taps),
                    grads,
                    input,
                );
            }
        });
    };
    let of_planes = sums.par_chunks_exact_mut(count + 1).enumerate();
    if is_input_wanted {
        let planes = input.par_chunks_exact_mut(shape.height * shape.width);
        of_planes
            .zip(planes)
            .for_each(|((index, sums), input)| backward(index, sums, Some(input)));
    } else {
        of_planes.for_each(|(index, sums)| backward(index, sums, None));
    }
    // Images one after the other, so that the result doesn't depend on the number of threads.
    let total = |channel: usize, at: usize| {
        let of_images = sums[channel * (count + 1) + at..]
            .iter()
            .step_by(shape.channels * (count + 1));
        of_images.map(|sum| f64::from(*sum)).sum::<f64>() as f32
    };
    let channels = || 0..shape.channels;
    let weight = channels()
        .flat_map(|channel| (0..count).map(move |at| (channel, at)))
        .map(|(channel, at)| total(channel, at))
        .collect();
    let bias = channels().map(|channel| total(channel, count)).collect();
    Gradients {
        input: is_input_wanted.then_some(input),
        weight,
        bias,
    }
}

/// How a plane lies in scratch memory. Row `r` and column `c` of the padded image lie in phase
/// `(r % stride, c % stride)`, in row `r / stride` of `pitch` values, at `c / stride`.
struct Layout {
    size: [usize; 2],
    stride: usize,
    kernel: usize,
    /// Zeros above and left of the image.
    before: [usize; 2],
    /// Rows and columns of the result.
    rows: usize,
    columns: usize,
    /// Values from one row of a phase, or of results, to the next.
    pitch: usize,
    /// Values of a phase.
    phase_len: usize,
    /// Where each position of the kernel meets the first result.
    offsets: Vec<usize>,
    /// Number of results with those between rows, rounded up to whole steps.
    results: usize,
    /// Values of all phases and what vectors read behind them.
    source_len: usize,
    /// Zeros before the first gradient: the largest offset within a phase.
    lead: usize,
    /// Values of the gradients with the zeros before and behind them.
    grad_len: usize,
}

impl Layout {
    fn of(shape: &Depthwise) -> Self {
        let Depthwise {
            kernel,
            stride,
            padding,
            ..
        } = *shape;
        let (rows, columns) = shape.result_size();
        let padded =
            |side: usize, [before, after]: [usize; 2]| (side + before + after).div_ceil(stride);
        let pitch = padded(shape.width, padding[1]);
        let phase_len = padded(shape.height, padding[0]) * pitch;
        let offset = |row: usize, column: usize| {
            (row % stride * stride + column % stride) * phase_len
                + row / stride * pitch
                + column / stride
        };
        let offsets: Vec<usize> = (0..kernel * kernel)
            .map(|at| offset(at / kernel, at % kernel))
            .collect();
        let results = ((rows - 1) * pitch + columns).next_multiple_of(STEP);
        let reach = offsets.iter().max().map_or(0, |offset| offset + results);
        let lead = (kernel - 1) / stride * (pitch + 1);
        Self {
            size: [shape.height, shape.width],
            stride,
            kernel,
            before: [padding[0][0], padding[1][0]],
            rows,
            columns,
            pitch,
            phase_len,
            offsets,
            results,
            source_len: reach.max(stride * stride * phase_len),
            lead,
            grad_len: lead + results.max(phase_len.next_multiple_of(STEP)),
        }
    }

    /// Returns a plane of the input.
    fn plane<'a>(&self, input: &'a [f32], index: usize) -> &'a [f32] {
        let len = self.size[0] * self.size[1];
        &input[index * len..][..len]
    }

    /// Puts the places and weights of a channel's kernel into `taps` and returns the filled part.
    fn taps<'a>(&self, weight: &[f32], channel: usize, taps: &'a mut Taps) -> &'a [(usize, f32)] {
        let count = self.offsets.len();
        let of_channel = &weight[channel * count..][..count];
        taps.iter_mut()
            .zip(self.offsets.iter().zip(of_channel))
            .for_each(|(tap, (offset, weight))| *tap = (*offset, *weight));
        &taps[..count]
    }

    /// Returns for each phase of the columns the first column in it, where that one lies in a row of
    /// the phase, and the number of its columns.
    fn columns_of(&self, phase: usize) -> [usize; 3] {
        let (stride, left, width) = (self.stride, self.before[1], self.size[1]);
        let first = (phase + stride - left % stride) % stride;
        [
            first,
            (first + left) / stride,
            width.saturating_sub(first).div_ceil(stride),
        ]
    }

    /// Returns where the first phase of a row of the image begins.
    fn start_of(&self, row: usize) -> usize {
        let row = row + self.before[0];
        row % self.stride * self.stride * self.phase_len + row / self.stride * self.pitch
    }

    /// Lays a plane out, with zeros around it.
    fn deal(&self, isa: Isa, plane: &[f32], source: &mut [f32]) {
        source.fill(0.0);
        for (row, values) in plane.chunks_exact(self.size[1]).enumerate() {
            for phase in 0..self.stride {
                let [first, at, count] = self.columns_of(phase);
                let start = self.start_of(row) + phase * self.phase_len + at;
                if count > 0 {
                    every(
                        isa,
                        &values[first..],
                        self.stride,
                        &mut source[start..start + count],
                    );
                }
            }
        }
    }

    /// Lays the gradient of a plane of results out, with zeros around and between.
    fn spread(&self, grad: &[f32], grads: &mut [f32]) {
        grads.fill(0.0);
        for (row, grad) in grad.chunks_exact(self.columns).enumerate() {
            grads[self.lead + row * self.pitch..][..self.columns].copy_from_slice(grad);
        }
    }

    /// Turns laid-out gradients into those before a ReLU, given its outputs.
    fn mask(&self, isa: Isa, tail: Tail, output: &[f32], grads: &mut [f32]) {
        for (row, output) in output.chunks_exact(self.columns).enumerate() {
            pass_tail(
                isa,
                output,
                tail.most(),
                &mut grads[self.lead + row * self.pitch..][..self.columns],
            );
        }
    }

    /// Computes the gradient of a plane of the input, from gradients that [`Self::spread`] laid out.
    fn turn_back(&self, isa: Isa, taps: &[(usize, f32)], grads: &[f32], input: &mut [f32]) {
        let len = self.phase_len.next_multiple_of(STEP);
        with_scratch(self.stride * self.stride * len, |phases| {
            for (phase, values) in phases.chunks_exact_mut(len).enumerate() {
                let (mut turned, mut count) = ([(0, 0.0); LARGEST * LARGEST], 0);
                for (at, (offset, weight)) in taps.iter().enumerate() {
                    if at / self.kernel % self.stride * self.stride + at % self.kernel % self.stride
                        == phase
                    {
                        turned[count] = (self.lead + phase * self.phase_len - offset, *weight);
                        count += 1;
                    }
                }
                correlate(isa, &turned[..count], 0.0, grads, values);
            }
            for (row, input) in input.chunks_exact_mut(self.size[1]).enumerate() {
                let start = self.start_of(row);
                let (first_phase, start) = (start / self.phase_len, start % self.phase_len);
                for phase in 0..self.stride {
                    let [first, at, count] = self.columns_of(phase);
                    if count > 0 {
                        let from = &phases[(first_phase + phase) * len + start + at..][..count];
                        let columns = input[first..].iter_mut().step_by(self.stride);
                        columns.zip(from).for_each(|(input, value)| *input = *value);
                    }
                }
            }
        });
    }
}

per_isa! {
    /// Computes `out[i] = start + sum of weight * source[offset + i]` over all taps. `out` must be
    /// whole steps.
    fn correlate(taps: &[(usize, f32)], start: f32, source: &[f32], out: &mut [f32]) = correlate_kernel
}

/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn correlate_kernel<S: Simd, const NV: usize>(
    taps: &[(usize, f32)],
    start: f32,
    source: &[f32],
    out: &mut [f32],
) {
    assert!(out.len().is_multiple_of(STEP) && STEP.is_multiple_of(4 * S::LANES));
    assert!(
        taps.iter()
            .all(|(offset, _)| offset + out.len() <= source.len())
    );
    for at in (0..out.len()).step_by(4 * S::LANES) {
        // SAFETY: the caller promises the instruction set; the lengths were checked above.
        unsafe {
            let mut sums = [S::splat(start); 4];
            for (offset, weight) in taps {
                let (weight, from) = (S::splat(*weight), source.as_ptr().add(offset + at));
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = S::fma(weight, S::load(from.add(vector * S::LANES)), *sum);
                }
            }
            for (vector, sum) in sums.into_iter().enumerate() {
                S::store(out.as_mut_ptr().add(at + vector * S::LANES), sum);
            }
        }
    }
}

per_isa! {
    /// Computes the sums of `grads[i] * source[offset + i]` for all offsets, and behind them that of
    /// the gradients. `grads` must be whole steps.
    fn multiply(offsets: &[usize], grads: &[f32], source: &[f32], sums: &mut [f32]) = multiply_kernel
}

/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn multiply_kernel<S: Simd, const NV: usize>(
    offsets: &[usize],
    grads: &[f32],
    source: &[f32],
    sums: &mut [f32],
) {
    assert!(
        grads.len().is_multiple_of(STEP)
            && STEP.is_multiple_of(S::LANES)
            && sums.len() == offsets.len() + 1
    );
    assert!(
        offsets
            .iter()
            .all(|offset| offset + grads.len() <= source.len())
    );
    for (offsets, sums) in offsets.chunks(TAPS).zip(sums.chunks_mut(TAPS)) {
        // A fixed number keeps the sums in registers; those beyond the last offset go nowhere.
        let offsets: [usize; TAPS] =
            std::array::from_fn(|tap| *offsets.get(tap).unwrap_or(&offsets[0]));
        // SAFETY: the caller promises the instruction set; the lengths were checked above.
        let found = unsafe {
            let mut found = [S::splat(0.0); TAPS];
            for at in (0..grads.len()).step_by(S::LANES) {
                let grad = S::load(grads.as_ptr().add(at));
                for (found, offset) in found.iter_mut().zip(offsets) {
                    *found = S::fma(grad, S::load(source.as_ptr().add(offset + at)), *found);
                }
            }
            found
        };
        for (sum, found) in sums.iter_mut().zip(found) {
            let mut lanes = [0.0; 16];
            // SAFETY: the caller promises the instruction set, and no set has more than 16 lanes.
            unsafe { S::store(lanes.as_mut_ptr(), found) };
            for half in [8, 4, 2, 1] {
                let (low, high) = lanes.split_at_mut(half);
                low.iter_mut()
                    .zip(high)
                    .for_each(|(low, high)| *low += *high);
            }
            *sum = lanes[0];
        }
    }
    sums[offsets.len()] = lane_sum(grads, |grad| grad) as f32;
}

per_isa! {
    /// Copies `out[i] = values[i * stride]`.
    fn every(values: &[f32], stride: usize, out: &mut [f32]) = every_kernel
}

/// # Safety
/// None of its own; unsafe like the kernels of other sets, which [`per_isa!`] calls alike.
#[inline(always)]
unsafe fn every_kernel<S: Simd, const NV: usize>(values: &[f32], stride: usize, out: &mut [f32]) {
    match stride {
        1 => out.copy_from_slice(&values[..out.len()]),
        // A step that the compiler knows becomes shuffles.
        2 => {
            let (pairs, rest) = values.as_chunks::<2>();
            out.iter_mut()
                .zip(pairs)
                .for_each(|(out, pair)| *out = pair[0]);
            if let (Some(last), Some(value)) = (out.get_mut(pairs.len()), rest.first()) {
                *last = *value;
            }
        }
        _ => out
            .iter_mut()
            .zip(values.iter().step_by(stride))
            .for_each(|(out, value)| *out = *value),
    }
}
