//! The channels of the depthwise convolution: expanded from the input, or the input itself.

use super::{
    super::{strip::Strip, weights::Panel},
    tiles::{Steps, bias_of, is_of_registers, limit, multiply, tiles},
};
use crate::{activation::activate_kernel, simd::Simd};

impl Strip<'_> {
    /// Computes the expanded channels of a panel, `[vector][pixel with padding][channel]`.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and the panel have `V` vectors.
    #[inline(always)]
    pub(super) unsafe fn expand<S: Simd, const V: usize, const P: usize>(
        &self,
        panel: &Panel,
        expanded: &mut [f32],
    ) {
        let (inputs, [height, width]) = (self.block.shape.inputs, self.plan.size);
        let ([first, last], row) = self.input_rows();
        let places = &self.plan.places[..(last - first) * width];
        let input = &self.input[first * width..];
        let offset = row * self.plan.pitch;
        let vector_len = self.plan.expanded * S::LANES;
        assert!(panel.weights.len() >= inputs * V * S::LANES && panel.vectors == V);
        assert!(input.len() >= (inputs - 1) * height * width + places.len());
        let tile = ExpandedTile {
            strip: self,
            panel,
            input,
            places,
            offset,
            vector_len,
        };
        for start in tiles::<P>(places.len()) {
            // SAFETY: the caller promises the instruction set; pixels and weights were checked
            // above.
            unsafe {
                if places.len() < P {
                    tile.compute::<S, V, 1>(start, expanded);
                } else {
                    tile.compute::<S, V, P>(start, expanded);
                }
            }
        }
        let function = self.block.shape.activation;
        if !is_of_registers(function) {
            for v in 0..V {
                let rows =
                    offset * S::LANES..(offset + (last - first) * self.plan.pitch) * S::LANES;
                let values = &mut expanded[v * vector_len..][rows];
                // SAFETY: the caller promises the instruction set. A function of the padding is
                // zero, as all that are used here are of zero.
                unsafe { activate_kernel::<S, V>(function, values) };
            }
        }
    }

    /// Copies a vector of input channels to where expanded ones would be.
    #[inline(always)]
    pub(super) fn turn<S: Simd>(&self, vector: usize, expanded: &mut [f32]) {
        let (inputs, [height, width]) = (self.block.shape.inputs, self.plan.size);
        let ([first, last], row) = self.input_rows();
        let (pitch, left) = (self.plan.pitch, self.plan.padding[1][0]);
        let channels = vector * S::LANES..inputs.min((vector + 1) * S::LANES);
        for at in 0..last - first {
            let start = ((row + at) * pitch + left) * S::LANES;
            let to = &mut expanded[start..start + width * S::LANES];
            if channels.len() < S::LANES {
                to.fill(0.0);
            }
            for (lane, channel) in channels.clone().enumerate() {
                let from = &self.input[(channel * height + first + at) * width..][..width];
                let places = to[lane..].iter_mut().step_by(S::LANES);
                places.zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// Where the tiles of a panel's expanded channels come from and go to.
struct ExpandedTile<'a> {
    strip: &'a Strip<'a>,
    panel: &'a Panel,
    /// The input from the strip's first pixel on.
    input: &'a [f32],
    /// Where the strip's pixels lie in the expanded rows, from `offset` on.
    places: &'a [u32],
    offset: usize,
    /// Values of a vector of channels.
    vector_len: usize,
}

impl ExpandedTile<'_> {
    /// Computes `P` pixels.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and pixels and weights be readable.
    #[inline(always)]
    unsafe fn compute<S: Simd, const V: usize, const P: usize>(
        &self,
        start: usize,
        expanded: &mut [f32],
    ) {
        let (shape, [height, width]) = (&self.strip.block.shape, self.strip.plan.size);
        let steps = Steps {
            pixel: 1,
            channel: height * width,
            block: 0,
            blocks: 1,
            channels: shape.inputs,
        };
        let places = &self.places[start..start + P];
        // SAFETY: as promised by the caller; stores stay in their slices.
        unsafe {
            let mut sums = [bias_of::<S, V>(self.panel); P];
            let from = self.input.as_ptr().add(start);
            multiply::<S, V, P>(&mut sums, from, &steps, self.panel.weights.as_ptr());
            limit::<S>(sums.as_flattened_mut(), shape.activation);
            for (sums, place) in sums.iter().zip(places) {
                let place = (self.offset + *place as usize) * S::LANES;
                for (v, sum) in sums.iter().enumerate() {
                    let to = &mut expanded[v * self.vector_len + place..][..S::LANES];
                    S::store(to.as_mut_ptr(), *sum);
                }
            }
        }
    }
}
