//! The inverted residual of MobileNet and EfficientNet as one operation, for networks that don't
//! learn: a 1x1 convolution to more channels, a depthwise one, a gate, a 1x1 one to few channels.
//!
//! As three layers it writes and reads six times as many values as go in and out, and memory is
//! what it waits for. Here a task computes a strip of rows of one image: a vector or two of
//! expanded channels at a time, which stay in the first-level cache until the depthwise convolution
//! has read them; of that the strip is kept, in the second-level cache, for the last convolution.

mod gate;
mod kernels;
mod packed;
mod shape;
mod strip;
mod weights;

use std::mem::MaybeUninit;

use rayon::prelude::*;

use self::{
    kernels::run_strip,
    strip::{Plan, Strip},
};
pub use self::{
    packed::PackedInverted,
    shape::{Images, InvertedResidual},
    weights::{GateWeights, InvertedWeights, Weights},
};
use crate::scratch::{SharedMut, filled, with_scratch};

impl PackedInverted {
    /// Computes the output.
    ///
    /// # Shapes
    /// `input` `[images, inputs, height, width]` to `[images, outputs, rows, columns]`.
    ///
    /// # Panics
    /// Panics if the shape is not supported (see [`InvertedResidual::is_supported`]) or the input
    /// isn't as long as it says.
    pub fn run(&self, images: &Images, input: &[f32]) -> Vec<f32> {
        let shape = &self.shape;
        assert!(shape.is_supported(images), "{shape:?} of {images:?}");
        let image_len = shape.inputs * images.size[0] * images.size[1];
        assert_eq!(
            input.len(),
            images.count * image_len,
            "{shape:?} of {images:?}"
        );
        let plan = Plan::new(self, images);
        let [rows, columns] = plan.result;
        let result_len = shape.outputs * rows * columns;
        let fill = |out: &mut [MaybeUninit<f32>]| {
            let out = SharedMut::new(out);
            let tasks = images.count * plan.strips;
            (0..tasks).into_par_iter().for_each(|task| {
                let (image, index) = (task / plan.strips, task % plan.strips);
                let strip = Strip {
                    block: self,
                    plan: &plan,
                    input: &input[image * image_len..][..image_len],
                    rows: [index, index + 1].map(|at| at * rows / plan.strips),
                    out_start: image * result_len,
                    out,
                };
                with_scratch(plan.memory(self), |memory| {
                    run_strip(self.isa, &strip, memory)
                });
            });
        };
        // SAFETY: the strips cover all rows, and each stores its rows of every output.
        unsafe { filled(images.count * result_len, fill) }
    }
}

#[cfg(test)]
mod tests;
