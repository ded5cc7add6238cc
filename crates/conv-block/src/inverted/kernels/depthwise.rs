//! The depthwise convolution of a vector of channels.

use super::{
    super::strip::Strip,
    tiles::{is_of_registers, limit},
};
use crate::{activation::activate_kernel, simd::Simd};

/// Number of neighboring results that the depthwise kernel computes at most.
const NEIGHBORS: usize = 8;

impl Strip<'_> {
    /// Computes the depthwise convolution of a vector of channels and its function.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    pub(super) unsafe fn depthwise_vector<S: Simd, const NV: usize>(
        &self,
        vector: usize,
        expanded: &[f32],
        results: &mut [f32],
    ) {
        let shape = &self.block.shape;
        let columns = self.plan.result[1];
        let rows = self.rows[1] - self.rows[0];
        let results = &mut results[vector * rows * columns * S::LANES..];
        let results = &mut results[..rows * columns * S::LANES];
        let width = columns.div_ceil(columns.div_ceil(NEIGHBORS));
        for (row, results) in results.chunks_exact_mut(columns * S::LANES).enumerate() {
            let expanded = &expanded[row * shape.stride * self.plan.pitch * S::LANES..];
            // SAFETY: as promised by the caller.
            unsafe {
                match shape.stride {
                    1 => self.depthwise_row::<S, 1>(vector, width, expanded, results),
                    _ => self.depthwise_row::<S, 2>(vector, width, expanded, results),
                }
            }
        }
        if !is_of_registers(shape.activation) {
            // SAFETY: as promised by the caller.
            unsafe { activate_kernel::<S, NV>(shape.activation, results) };
        }
    }

    /// Computes a row of results, `width` neighbors at a time.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    unsafe fn depthwise_row<S: Simd, const STRIDE: usize>(
        &self,
        vector: usize,
        width: usize,
        expanded: &[f32],
        results: &mut [f32],
    ) {
        let columns = results.len() / S::LANES;
        for start in (0..columns).step_by(width) {
            let start = start.min(columns - width);
            let expanded = &expanded[start * STRIDE * S::LANES..];
            let results = &mut results[start * S::LANES..];
            // SAFETY: as promised by the caller.
            unsafe {
                match width {
                    1 => self.neighbors::<S, STRIDE, 1>(vector, expanded, results),
                    2 => self.neighbors::<S, STRIDE, 2>(vector, expanded, results),
                    3 => self.neighbors::<S, STRIDE, 3>(vector, expanded, results),
                    4 => self.neighbors::<S, STRIDE, 4>(vector, expanded, results),
                    5 => self.neighbors::<S, STRIDE, 5>(vector, expanded, results),
                    6 => self.neighbors::<S, STRIDE, 6>(vector, expanded, results),
                    7 => self.neighbors::<S, STRIDE, 7>(vector, expanded, results),
                    _ => self.neighbors::<S, STRIDE, NEIGHBORS>(vector, expanded, results),
                }
            }
        }
    }

    /// Computes `Q` neighboring results of a vector of channels.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    unsafe fn neighbors<S: Simd, const STRIDE: usize, const Q: usize>(
        &self,
        vector: usize,
        expanded: &[f32],
        results: &mut [f32],
    ) {
        let (kernel, pitch) = (self.block.shape.kernel, self.plan.pitch);
        let [weights, bias] = &self.block.depthwise;
        let weights = &weights[vector * kernel * kernel * S::LANES..][..kernel * kernel * S::LANES];
        let bias = &bias[vector * S::LANES..][..S::LANES];
        let reach = (kernel - 1) * pitch + (Q - 1) * STRIDE + kernel;
        assert!(expanded.len() >= reach * S::LANES && results.len() >= Q * S::LANES);
        // SAFETY: the caller promises the instruction set; the lengths were checked above.
        unsafe {
            let mut sums = [[S::load(bias.as_ptr())]; Q];
            for row in 0..kernel {
                for column in 0..kernel {
                    let weight = S::load(weights.as_ptr().add((row * kernel + column) * S::LANES));
                    let from = expanded.as_ptr().add((row * pitch + column) * S::LANES);
                    for (q, [sum]) in sums.iter_mut().enumerate() {
                        *sum = S::fma(weight, S::load(from.add(q * STRIDE * S::LANES)), *sum);
                    }
                }
            }
            limit::<S>(sums.as_flattened_mut(), self.block.shape.activation);
            for (q, [sum]) in sums.iter().enumerate() {
                S::store(results.as_mut_ptr().add(q * S::LANES), *sum);
            }
        }
    }
}
