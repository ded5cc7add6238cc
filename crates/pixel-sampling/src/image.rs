//! The image to sample and the planes to fill.

use std::mem::MaybeUninit;

/// An image as bytes, row by row with interleaved channels.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Channels of the bytes.
    pub(crate) channels: usize,
    /// Channels of the output.
    pub(crate) planes: usize,
}

impl<'a> Image<'a> {
    /// Describes `bytes` as an image of `[height, width, planes]` with one or three output
    /// channels. Returns `None` unless there are `height * width * planes` bytes, or
    /// `height * width`, which are the values of three equal channels, and each side is 8 to
    /// 32,768.
    pub fn new(bytes: &'a [u8], [height, width, planes]: [usize; 3]) -> Option<Self> {
        let sides_fit = [height, width]
            .iter()
            .all(|side| (8..=1 << 15).contains(side));
        let channels = if bytes.len() == height * width {
            1
        } else {
            planes
        };
        let fits =
            sides_fit && (planes == 1 || planes == 3) && bytes.len() == height * width * channels;
        fits.then_some(Self {
            bytes,
            height,
            width,
            channels,
            planes,
        })
    }
}

/// The planes to fill.
pub(crate) struct Planes<'a> {
    pub(crate) values: &'a mut [MaybeUninit<f32>],
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Planes<'_> {
    /// Returns `count` values of a row, starting at a column.
    #[inline(always)]
    pub(crate) fn part(
        &mut self,
        plane: usize,
        row: usize,
        column: usize,
        count: usize,
    ) -> &mut [MaybeUninit<f32>] {
        let start = (plane * self.height + row) * self.width + column;
        &mut self.values[start..start + count]
    }
}
