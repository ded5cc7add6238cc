//! From images to the transformed patches under tiles.

use std::ops::Range;

use super::{
    tiling::{PATCH, PLACES, SIDE, across, place},
    transforms::of_input,
};
use crate::{shape::Conv, simd::Simd};

/// The patches under some tiles, counted through all images.
pub(super) struct Patches<'a> {
    conv: &'a Conv,
    /// `[images, inputs, height, width]` of the convolution.
    input: &'a [f32],
    tiles: Range<usize>,
}

impl<'a> Patches<'a> {
    pub(super) fn new(conv: &'a Conv, input: &'a [f32], tiles: Range<usize>) -> Self {
        Self { conv, input, tiles }
    }

    /// Returns the most columns that the patches of a row of tiles cover.
    pub(super) fn line_len(&self) -> usize {
        across(self.conv)[1] * SIDE + PATCH
    }

    /// Lays out the patches of one channel as `[place][tile]`, places `pitch` apart, with zeros
    /// around the image; `line` is working memory.
    #[inline(always)]
    pub(super) fn lay_out(&self, input: usize, values: &mut [f32], pitch: usize, line: &mut [f32]) {
        let Conv {
            inputs,
            height,
            width: columns,
            padding,
            ..
        } = *self.conv;
        let tiles_of_row = across(self.conv)[1];
        let mut tile = self.tiles.start;
        while tile < self.tiles.end {
            let (image, [row, column]) = place(self.conv, tile);
            let count = (tiles_of_row - column).min(self.tiles.end - tile);
            let plane =
                &self.input[(image * inputs + input) * height * columns..][..height * columns];
            let line = &mut line[..(count - 1) * SIDE + PATCH];
            // The columns of the line that lie inside the image.
            let left = padding.saturating_sub(column * SIDE).min(line.len());
            let first = (column * SIDE + left).saturating_sub(padding);
            let inside = columns.saturating_sub(first).min(line.len() - left);
            for r in 0..PATCH {
                line.fill(0.0);
                if let Some(row) = (row * SIDE + r)
                    .checked_sub(padding)
                    .filter(|row| *row < height)
                {
                    line[left..left + inside]
                        .copy_from_slice(&plane[row * columns + first..][..inside]);
                }
                for c in 0..PATCH {
                    let places =
                        &mut values[(r * PATCH + c) * pitch + tile - self.tiles.start..][..count];
                    for (place, value) in places.iter_mut().zip(line[c..].iter().step_by(SIDE)) {
                        *place = *value;
                    }
                }
            }
            tile += count;
        }
    }
}

/// Transforms the patches of as many tiles as a vector has lanes. Places are as far apart as the
/// pitches of `values` and `patches` say.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
pub(super) unsafe fn transform_patches<S: Simd>(
    values: &[f32],
    patches: &mut [f32],
    [from_pitch, to_pitch]: [usize; 2],
) {
    assert!(values.len() >= (PLACES - 1) * from_pitch + S::LANES);
    assert!(patches.len() >= (PLACES - 1) * to_pitch + S::LANES);
    // SAFETY: the caller promises the instruction set; the lengths are checked above.
    unsafe {
        let mut half = [[S::splat(0.0); PATCH]; PATCH];
        for c in 0..PATCH {
            let mut column = [S::splat(0.0); PATCH];
            for (r, value) in column.iter_mut().enumerate() {
                *value = S::load(values.as_ptr().add((r * PATCH + c) * from_pitch));
            }
            for (row, value) in half.iter_mut().zip(of_input::<S>(column)) {
                row[c] = value;
            }
        }
        for (r, row) in half.into_iter().enumerate() {
            for (c, value) in of_input::<S>(row).into_iter().enumerate() {
                S::store(patches.as_mut_ptr().add((r * PATCH + c) * to_pitch), value);
            }
        }
    }
}
