//! The last convolution, from the depthwise results to the outputs.

use super::{
    super::{strip::Strip, weights::Panel},
    tiles::{PIXELS, Steps, bias_of, is_of_registers, limit, multiply, tiles},
};
use crate::{activation::activate_kernel, simd::Simd};

impl Strip<'_> {
    /// Computes the outputs of a panel from the depthwise results, `[vector][pixel][channel]`.
    ///
    /// # Safety
    /// The CPU must have the instruction set, the panel have `V` vectors, and the rows be this
    /// task's alone.
    #[inline(always)]
    pub(super) unsafe fn project<S: Simd, const NV: usize, const V: usize, const P: usize>(
        &self,
        panel: &Panel,
        results: &[f32],
        num_pixels: usize,
    ) {
        let vectors = self.block.num_vectors();
        assert!(results.len() == vectors * num_pixels * S::LANES && panel.vectors == V);
        assert!(panel.weights.len() == vectors * S::LANES * V * S::LANES);
        for start in tiles::<P>(num_pixels) {
            // SAFETY: as promised by the caller; the lengths were checked above.
            unsafe {
                if num_pixels < P {
                    let sums = self.projected_tile::<S, V, 1>(panel, results, num_pixels, start);
                    self.store::<S, NV, V, 1>(panel, start, &sums);
                } else {
                    let sums = self.projected_tile::<S, V, P>(panel, results, num_pixels, start);
                    self.store::<S, NV, V, P>(panel, start, &sums);
                }
            }
        }
    }

    /// Computes `P` pixels of a panel's outputs.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and results and weights be readable.
    #[inline(always)]
    unsafe fn projected_tile<S: Simd, const V: usize, const P: usize>(
        &self,
        panel: &Panel,
        results: &[f32],
        num_pixels: usize,
        start: usize,
    ) -> [[S::V; V]; P] {
        let steps = Steps {
            pixel: S::LANES,
            channel: 1,
            block: num_pixels * S::LANES,
            blocks: self.block.num_vectors(),
            channels: S::LANES,
        };
        // SAFETY: as promised by the caller.
        unsafe {
            let mut sums = [bias_of::<S, V>(panel); P];
            let from = results.as_ptr().add(start * S::LANES);
            multiply::<S, V, P>(&mut sums, from, &steps, panel.weights.as_ptr());
            limit::<S>(sums.as_flattened_mut(), self.block.shape.tail);
            sums
        }
    }

    /// Stores `P` pixels of a panel's outputs from `start` on, counted from the strip's first.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and the pixels be this task's alone.
    #[inline(always)]
    unsafe fn store<S: Simd, const NV: usize, const V: usize, const P: usize>(
        &self,
        panel: &Panel,
        start: usize,
        sums: &[[S::V; V]; P],
    ) {
        let shape = &self.block.shape;
        let [rows, columns] = self.plan.result;
        let mut values = [0.0f32; PIXELS * 32];
        let width = V * S::LANES;
        assert!(width <= 32 && P <= PIXELS);
        for (p, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                // SAFETY: the caller promises the instruction set, and there is room.
                unsafe { S::store(values.as_mut_ptr().add(p * width + v * S::LANES), *sum) };
            }
        }
        if !is_of_registers(shape.tail) {
            // SAFETY: as promised by the caller.
            unsafe { activate_kernel::<S, NV>(shape.tail, &mut values[..P * width]) };
        }
        let pixel = self.rows[0] * columns + start;
        for at in 0..panel.count {
            let place = (panel.first + at) * rows * columns + pixel;
            // SAFETY: these pixels are this task's alone.
            let out = unsafe { self.out.slice(self.out_start + place, P) };
            for (p, out) in out.iter_mut().enumerate() {
                let added = if shape.is_residual {
                    self.input[place + p]
                } else {
                    0.0
                };
                out.write(values[p * width + at] + added);
            }
        }
    }
}
