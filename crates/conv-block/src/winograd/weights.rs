//! The transformed weights.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    tiling::{PATCH, PLACES, pitch},
    transforms::of_weight,
};
use crate::{
    scratch::with_scratch,
    shape::Conv,
    simd::{Isa, Simd, per_isa},
};

/// Weights of a 3x3 convolution, or of the one that takes its result's gradient to its input's.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    /// `[outputs, inputs, 3, 3]` of the first.
    values: &'a [f32],
    /// Distance from one output to the next, and from one input to the next.
    strides: [usize; 2],
    /// Whether the kernel is rotated by 180 degrees.
    is_turned: bool,
}

impl<'a> Weights<'a> {
    /// Returns the weights of `conv` itself.
    pub(crate) fn new(conv: &Conv, values: &'a [f32]) -> Self {
        Self {
            values,
            strides: [conv.inputs * 9, 9],
            is_turned: false,
        }
    }

    /// Returns the weights that take the gradient of the result of `conv` to that of its input:
    /// inputs and outputs change places.
    pub(crate) fn turned(conv: &Conv, values: &'a [f32]) -> Self {
        Self {
            values,
            strides: [9, conv.inputs * 9],
            is_turned: true,
        }
    }

    /// Copies the kernels of some outputs to `packed`, `[output, input, 3, 3]`.
    fn pack(&self, outputs: Range<usize>, inputs: usize, packed: &'a mut [f32]) -> Self {
        let kernels = outputs.flat_map(|output| (0..inputs).map(move |input| [output, input]));
        for (kernel, [output, input]) in packed.chunks_exact_mut(9).zip(kernels) {
            let at = output * self.strides[0] + input * self.strides[1];
            kernel.copy_from_slice(&self.values[at..at + 9]);
        }
        Self {
            values: packed,
            strides: [inputs * 9, 9],
            ..*self
        }
    }
}

/// Transforms the weights into `[block of outputs][place][input][output in block]`, with zeros for
/// missing outputs.
pub(super) fn transform_weights(
    isa: Isa,
    conv: &Conv,
    weights: Weights<'_>,
    transformed: &mut [f32],
) {
    let (block, inputs) = (isa.block(), conv.inputs);
    let blocks = transformed.par_chunks_mut(PLACES * pitch(inputs * block));
    blocks.enumerate().for_each(|(index, transformed)| {
        let first = index * block;
        if first + block <= conv.outputs {
            return transform_block(isa, [first, inputs], weights, transformed);
        }
        with_scratch(block * inputs * 9, |packed| {
            packed.fill(0.0);
            let packed = weights.pack(first..conv.outputs, inputs, packed);
            transform_block(isa, [0, inputs], packed, transformed);
        });
    });
}

per_isa! {
    /// Transforms the weights of the block of outputs that begins with the first number, for as
    /// many inputs as the second says.
    fn transform_block(
        block: [usize; 2],
        weights: Weights<'_>,
        transformed: &mut [f32],
    ) = block_kernel
}

/// Transforms the kernels of the block of outputs from `first` on, and of `inputs` inputs, into
/// `[place][input][output in block]`.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn block_kernel<S: Simd, const NV: usize>(
    [first, inputs]: [usize; 2],
    weights: Weights<'_>,
    transformed: &mut [f32],
) {
    let block = NV * S::LANES;
    let Weights {
        values,
        strides: [between_outputs, between_inputs],
        is_turned,
    } = weights;
    let last = (first + block - 1) * between_outputs + (inputs - 1) * between_inputs;
    assert!(last + 9 <= values.len() && transformed.len() >= PLACES * pitch(inputs * block));
    let place = |at: usize| if is_turned { 8 - at } else { at };
    for (input, lane) in
        (0..inputs).flat_map(|input| (0..block).step_by(S::LANES).map(move |lane| (input, lane)))
    {
        // SAFETY: the caller promises the instruction set; the lengths are checked above.
        unsafe {
            let from = (first + lane) * between_outputs + input * between_inputs;
            let from = values.as_ptr().add(from);
            let to = transformed.as_mut_ptr().add(input * block + lane);
            let mut half = [[S::splat(0.0); 3]; PATCH];
            for c in 0..3 {
                let mut column = [S::splat(0.0); 3];
                for (r, value) in column.iter_mut().enumerate() {
                    *value = S::load_strided(from.add(place(r * 3 + c)), between_outputs);
                }
                for (row, value) in half.iter_mut().zip(of_weight::<S>(column)) {
                    row[c] = value;
                }
            }
            for (r, row) in half.into_iter().enumerate() {
                for (c, value) in of_weight::<S>(row).into_iter().enumerate() {
                    S::store(to.add((r * PATCH + c) * pitch(inputs * block)), value);
                }
            }
        }
    }
}
