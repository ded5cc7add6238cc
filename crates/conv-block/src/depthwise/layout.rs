//! Where the values of a plane lie while it is worked on.

use super::{
    kernels::{VECTORS, correlate, every},
    shape::{Depthwise, LARGEST},
};
use crate::{Tail, rows::pass_tail, scratch::with_scratch, simd::Isa};

/// Where each position of a kernel meets the first result, and its weight.
pub(super) type Taps = [(usize, f32); LARGEST * LARGEST];

/// How a plane lies in scratch memory. Row `r` and column `c` of the padded image lie in phase
/// `(r % stride, c % stride)`, in row `r / stride` of `pitch` values, at `c / stride`.
pub(super) struct Layout {
    size: [usize; 2],
    stride: usize,
    kernel: usize,
    /// Zeros above and left of the image.
    before: [usize; 2],
    /// Rows and columns of the result.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Values from one row of a phase, or of results, to the next.
    pub(super) pitch: usize,
    /// Values of a phase.
    phase_len: usize,
    /// Where each position of the kernel meets the first result.
    pub(super) offsets: Vec<usize>,
    /// Number of results with those between rows, rounded up to whole steps.
    pub(super) results: usize,
    /// Values of all phases and what vectors read behind them.
    pub(super) source_len: usize,
    /// Zeros before the first gradient: the largest offset within a phase.
    pub(super) lead: usize,
    /// Values of the gradients with the zeros before and behind them.
    pub(super) grad_len: usize,
    /// Values are computed in multiples of so many.
    step: usize,
}

impl Layout {
    pub(super) fn of(isa: Isa, shape: &Depthwise) -> Self {
        let step = VECTORS * isa.lanes();
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
        let results = ((rows - 1) * pitch + columns).next_multiple_of(step);
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
            grad_len: lead + results.max(phase_len.next_multiple_of(step)),
            step,
        }
    }

    /// Returns a plane of the input.
    pub(super) fn plane<'a>(&self, input: &'a [f32], index: usize) -> &'a [f32] {
        let len = self.size[0] * self.size[1];
        &input[index * len..][..len]
    }

    /// Puts the places and weights of a channel's kernel into `taps` and returns the filled part.
    pub(super) fn taps<'a>(
        &self,
        weight: &[f32],
        channel: usize,
        taps: &'a mut Taps,
    ) -> &'a [(usize, f32)] {
        let count = self.offsets.len();
        let of_channel = &weight[channel * count..][..count];
        taps.iter_mut()
            .zip(self.offsets.iter().zip(of_channel))
            .for_each(|(tap, (offset, weight))| *tap = (*offset, *weight));
        &taps[..count]
    }

    /// Returns for each phase of the columns the first column in it, where that one lies in a row
    /// of the phase, and the number of its columns.
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
    pub(super) fn deal(&self, isa: Isa, plane: &[f32], source: &mut [f32]) {
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
    pub(super) fn spread(&self, grad: &[f32], grads: &mut [f32]) {
        grads.fill(0.0);
        for (row, grad) in grad.chunks_exact(self.columns).enumerate() {
            grads[self.lead + row * self.pitch..][..self.columns].copy_from_slice(grad);
        }
    }

    /// Turns laid-out gradients into those before a ReLU, given its outputs.
    pub(super) fn mask(&self, isa: Isa, tail: Tail, output: &[f32], grads: &mut [f32]) {
        for (row, output) in output.chunks_exact(self.columns).enumerate() {
            pass_tail(
                isa,
                output,
                tail.most(),
                &mut grads[self.lead + row * self.pitch..][..self.columns],
            );
        }
    }

    /// Computes the gradient of a plane of the input, from gradients that [`Self::spread`] laid
    /// out.
    pub(super) fn turn_back(
        &self,
        isa: Isa,
        taps: &[(usize, f32)],
        grads: &[f32],
        input: &mut [f32],
    ) {
        let len = self.phase_len.next_multiple_of(self.step);
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
