//! The loops over a panel: its pixels are packed, and each block of outputs is multiplied with them
//! tile by tile.

use std::mem::MaybeUninit;

use super::{
    before::Before,
    block::{Block, OUTPUTS},
};
use crate::{
    scratch::SharedMut,
    shape::{Conv, Tail},
    simd::{Simd, per_isa},
    tile::{Tile, apply_tail, multiply},
};

/// Some pixels with all their channels.
pub(super) struct Panel<'a> {
    pub(super) conv: &'a Conv,
    pub(super) tail: Tail,
    pub(super) before: Option<Before<'a>>,
    pub(super) blocks: &'a [Block],
    /// First pixel, counted through all images, and their number.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Pixels of an image.
    pub(super) plane: usize,
    pub(super) out: SharedMut<MaybeUninit<f32>>,
}

per_isa! {
    /// Computes a panel; `packed` is working memory.
    pub(super) fn run_panel(panel: &Panel<'_>, input: &[f32], packed: &mut [f32]) = panel_kernel
}

/// Computes a panel's pixels of all outputs, block by block, and stores them in their planes;
/// `packed` is working memory for the pixels as `[tile][input][pixel]`.
///
/// # Safety
/// The CPU must have the instruction set, and no other task may hold a panel of the same pixels.
#[inline(always)]
unsafe fn panel_kernel<S: Simd, const NV: usize>(
    panel: &Panel<'_>,
    input: &[f32],
    packed: &mut [f32],
) {
    let vector = NV * S::LANES;
    let tile_len = panel.conv.inputs * vector;
    assert!(packed.len() == panel.count.div_ceil(vector) * tile_len);
    // SAFETY: the caller promises the instruction set; the length is checked above.
    unsafe { pack::<S, NV>(panel, input, packed) };
    for block in panel.blocks {
        assert!(block.weights.len() == panel.conv.inputs * 2 * block.width);
        for (index, packed) in packed.chunks_exact(tile_len).enumerate() {
            // SAFETY: the caller promises the instruction set and that the pixels are this task's
            // alone; the lengths are checked above.
            unsafe {
                match block.width {
                    1 => tile_at::<S, NV, 1>(panel, block, index, packed),
                    2 => tile_at::<S, NV, 2>(panel, block, index, packed),
                    3 => tile_at::<S, NV, 3>(panel, block, index, packed),
                    4 => tile_at::<S, NV, 4>(panel, block, index, packed),
                    5 => tile_at::<S, NV, 5>(panel, block, index, packed),
                    _ => tile_at::<S, NV, { OUTPUTS / 2 }>(panel, block, index, packed),
                }
            }
        }
    }
}

/// Packs the pixels as `[tile][input][pixel]`. What lies behind the last pixel is never stored.
///
/// # Safety
/// The CPU must have the instruction set, and `packed` have room for all tiles.
#[inline(always)]
unsafe fn pack<S: Simd, const NV: usize>(panel: &Panel<'_>, input: &[f32], packed: &mut [f32]) {
    let (inputs, plane, vector) = (panel.conv.inputs, panel.plane, NV * S::LANES);
    for channel in 0..inputs {
        let (mut image, mut at) = (panel.first / plane, panel.first % plane);
        for (index, start) in (0..panel.count).step_by(vector).enumerate() {
            let to = &mut packed[(index * inputs + channel) * vector..][..vector];
            let from = &input[(image * inputs + channel) * plane + at..];
            if at + vector <= plane {
                for v in (0..vector).step_by(S::LANES) {
                    // SAFETY: as promised by the caller; this vector lies in the plane, and `to`
                    // has whole vectors.
                    unsafe { S::store(to.as_mut_ptr().add(v), S::load(from.as_ptr().add(v))) };
                }
            } else {
                let pixels = panel.first + start..panel.first + panel.count;
                to.fill(0.0);
                for (to, pixel) in to.iter_mut().zip(pixels) {
                    *to = input[(pixel / plane * inputs + channel) * plane + pixel % plane];
                }
            }
            if let Some(before) = &panel.before {
                // SAFETY: as promised by the caller; `to` has whole vectors.
                unsafe { before.apply::<S>(channel, to) };
            }
            at += vector;
            while at >= plane {
                (image, at) = (image + 1, at - plane);
            }
        }
    }
}

/// Computes one vector of pixels of a block of outputs.
///
/// # Safety
/// The CPU must have the instruction set, `Q` be the block's width, `packed` and the block's
/// weights hold all inputs, and the pixels be this task's alone.
#[inline(always)]
unsafe fn tile_at<S: Simd, const NV: usize, const Q: usize>(
    panel: &Panel<'_>,
    block: &Block,
    index: usize,
    packed: &[f32],
) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut tile: Tile<S, NV, Q> = [[[S::splat(0.0); NV]; Q]; 2];
        for (r, row) in tile.iter_mut().enumerate() {
            for (q, vectors) in row.iter_mut().enumerate() {
                *vectors = [S::splat(block.bias[r * Q + q]); NV];
            }
        }
        let weights = block.weights.as_ptr();
        multiply::<S, NV, Q, 1, 1>(
            &mut tile,
            [weights, weights.add(Q)],
            2 * Q,
            packed.as_ptr(),
            panel.conv.inputs,
        );
        apply_tail::<S>(tile.as_flattened_mut().as_flattened_mut(), panel.tail);
        let outputs = tile.as_flattened().iter().enumerate().take(block.count);
        let start = index * NV * S::LANES;
        let len = (NV * S::LANES).min(panel.count - start);
        let Some(place) = panel.place(start, len).filter(|_| len == NV * S::LANES) else {
            for (at, vectors) in outputs {
                panel.store_parts::<S, NV>(block.first + at, start, vectors);
            }
            return;
        };
        for (at, vectors) in outputs {
            let place = place + (block.first + at) * panel.plane;
            let out = panel.out.slice(place, len).as_mut_ptr();
            for (v, vector) in vectors.iter().enumerate() {
                S::store(out.add(v * S::LANES).cast(), *vector);
            }
        }
    }
}

impl Panel<'_> {
    /// Returns where the pixels from `start` on, counted from the panel's first, lie in the first
    /// output of their image; `None` if they belong to two images.
    #[inline(always)]
    fn place(&self, start: usize, len: usize) -> Option<usize> {
        let (image, at) = (
            (self.first + start) / self.plane,
            (self.first + start) % self.plane,
        );
        (at + len <= self.plane).then_some(image * self.conv.outputs * self.plane + at)
    }

    /// Stores one output of the pixels from `start` on, counted from the panel's first, image by
    /// image.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and the pixels be this task's alone.
    #[inline(always)]
    unsafe fn store_parts<S: Simd, const NV: usize>(
        &self,
        output: usize,
        start: usize,
        vectors: &[S::V; NV],
    ) {
        let mut values = [0.0f32; 32];
        assert!(NV * S::LANES <= values.len());
        for (v, vector) in vectors.iter().enumerate() {
            // SAFETY: as promised by the caller; there is room for all vectors.
            unsafe { S::store(values.as_mut_ptr().add(v * S::LANES), *vector) };
        }
        let end = self.count.min(start + NV * S::LANES);
        for (pixel, value) in (self.first + start..self.first + end).zip(values) {
            let image = pixel / self.plane;
            let place = (image * self.conv.outputs + output) * self.plane + pixel % self.plane;
            // SAFETY: the pixel is this task's alone.
            let out = unsafe { self.out.slice(place, 1) };
            out[0].write(value);
        }
    }
}
