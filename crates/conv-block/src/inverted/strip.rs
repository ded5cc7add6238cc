//! Strips of rows of the result, and the memory that one works in.

use std::mem::MaybeUninit;

use super::{packed::PackedInverted, shape::Images};
use crate::scratch::SharedMut;

/// Number of values of a strip, expanded and depthwise, that fit the caches.
const STRIP_LEN: usize = 128 * 1024;

/// How images of one size are divided, and where pixels lie in a strip's memory.
pub(super) struct Plan {
    pub(super) size: [usize; 2],
    pub(super) padding: [[usize; 2]; 2],
    pub(super) result: [usize; 2],
    /// Number of strips of an image.
    pub(super) strips: usize,
    /// Expanded pixels, with padding, from one row to the next.
    pub(super) pitch: usize,
    /// Expanded pixels of the largest strip, and its depthwise ones.
    pub(super) expanded: usize,
    results: usize,
    /// Where the pixels of an image's rows lie among the expanded pixels of its first row.
    pub(super) places: Vec<u32>,
}

impl Plan {
    pub(super) fn new(block: &PackedInverted, images: &Images) -> Self {
        let Images { size, padding, .. } = *images;
        let (shape, lanes) = (&block.shape, block.isa.lanes());
        let result @ [rows, columns] = shape.result_size(images);
        let [left, right] = padding[1];
        let pitch = size[1] + left + right;
        let per_row = 2 * lanes * pitch * shape.stride + block.num_vectors() * lanes * columns;
        // The gate needs the mean of the whole image.
        let strips = if block.gate.is_some() {
            1
        } else {
            (rows * per_row).div_ceil(STRIP_LEN).min(rows)
        };
        let strip_rows = rows.div_ceil(strips);
        let expanded_rows = (strip_rows - 1) * shape.stride + shape.kernel;
        let places = (0..size[0].min(expanded_rows) * size[1])
            .map(|pixel| (pixel / size[1] * pitch + pixel % size[1] + left) as u32)
            .collect();
        Self {
            size,
            padding,
            result,
            strips,
            pitch,
            expanded: expanded_rows * pitch,
            results: strip_rows * columns,
            places,
        }
    }

    /// Returns the number of values that a strip works on.
    pub(super) fn memory(&self, block: &PackedInverted) -> usize {
        block.isa.lanes() * (2 * self.expanded + block.num_vectors() * self.results)
    }
}

/// Some rows of the result of one image.
pub(super) struct Strip<'a> {
    pub(super) block: &'a PackedInverted,
    pub(super) plan: &'a Plan,
    /// The image, `[inputs, height, width]`.
    pub(super) input: &'a [f32],
    /// First row of the result, and the one behind the last.
    pub(super) rows: [usize; 2],
    /// Where the image's result begins.
    pub(super) out_start: usize,
    pub(super) out: SharedMut<MaybeUninit<f32>>,
}

impl Strip<'_> {
    /// Returns the rows of the image that the strip's windows meet, first and behind the last, and
    /// the expanded row of the first.
    #[inline(always)]
    pub(super) fn input_rows(&self) -> ([usize; 2], usize) {
        let shape = &self.block.shape;
        let above = self.plan.padding[0][0];
        let start = self.rows[0] * shape.stride;
        let end = (self.rows[1] - 1) * shape.stride + shape.kernel;
        let first = start.saturating_sub(above);
        let last = end.saturating_sub(above).clamp(first, self.plan.size[0]);
        ([first, last], first + above - start)
    }
}
