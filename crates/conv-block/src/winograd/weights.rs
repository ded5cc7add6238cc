//! The transformed weights.

use rayon::prelude::*;

use super::{PATCH, PLACES, pitch, transforms::of_weight};
use crate::{
    scratch::with_scratch,
    shape::Conv,
    simd::{Isa, Simd, per_isa},
};

/// Transforms the weights into `[block of outputs][place][input][output in block]`, with zeros for
/// missing outputs.
pub(super) fn transform_weights(isa: Isa, conv: &Conv, weight: &[f32], transformed: &mut [f32]) {
    let (block, inputs) = (isa.block(), conv.inputs);
    let blocks = transformed.par_chunks_mut(PLACES * pitch(inputs * block));
    blocks
        .zip(weight.par_chunks(block * inputs * 9))
        .for_each(|(transformed, weight)| {
            if weight.len() == block * inputs * 9 {
                return transform_block(isa, inputs, weight, transformed);
            }
            with_scratch(block * inputs * 9, |whole| {
                whole[..weight.len()].copy_from_slice(weight);
                whole[weight.len()..].fill(0.0);
                transform_block(isa, inputs, whole, transformed);
            });
        });
}

per_isa! {
    /// Transforms the weights of one block of outputs.
    fn transform_block(inputs: usize, weight: &[f32], transformed: &mut [f32]) = block_kernel
}

/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn block_kernel<S: Simd, const NV: usize>(
    inputs: usize,
    weight: &[f32],
    transformed: &mut [f32],
) {
    let block = NV * S::LANES;
    assert!(
        weight.len() >= block * inputs * 9 && transformed.len() >= PLACES * pitch(inputs * block)
    );
    for (input, first) in (0..inputs).flat_map(|input| {
        (0..block)
            .step_by(S::LANES)
            .map(move |first| (input, first))
    }) {
        // SAFETY: the caller promises the instruction set; the lengths are checked above.
        unsafe {
            let from = weight.as_ptr().add((first * inputs + input) * 9);
            let to = transformed.as_mut_ptr().add(input * block + first);
            let mut half = [[S::splat(0.0); 3]; PATCH];
            for c in 0..3 {
                let mut column = [S::splat(0.0); 3];
                for (r, value) in column.iter_mut().enumerate() {
                    *value = S::load_strided(from.add(r * 3 + c), inputs * 9);
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
