//! Samples an image through one geometric map, with gain and normalization, in a single pass:
//! interleaved bytes in, planar `f32` out.
//!
//! Coordinates are computed in `f64` and pixel values in `f32`, each operation rounded on its own,
//! so that every instruction set gives the same bits; the loops are written once and compiled for
//! each set (`isa`). Nothing is allocated but the output. Coordinates follow SciPy's
//! `affine_transform(order=1)`, `(offset + m0 * row) + m1 * column`, with bilinear interpolation,
//! and the modes of filling the outside are SciPy's of the same names.

mod edge;
mod sample;
mod unmoved;

use std::mem::MaybeUninit;

pub use edge::Edge;
pub use isa::Isa;

/// An image as bytes, row by row with interleaved channels.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    height: usize,
    width: usize,
    /// Channels of the bytes.
    channels: usize,
    /// Channels of the output.
    planes: usize,
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

/// A homogeneous map from (column, row, 1) of the output to (column, row, 1) of the source.
pub type Map = [[f64; 3]; 3];

/// The map that moves nothing.
pub const IDENTITY: Map = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// What is done to a sampled value: a gain, then an affine normalization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finish {
    /// Factor on the value, which is then clipped to 0..=255.
    pub gain: f32,
    /// Normalization of each channel.
    pub channels: [Channel; 3],
}

/// The normalization of a channel, `value * scale + offset`, and its place in the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channel {
    /// Factor.
    pub scale: f32,
    /// Offset.
    pub offset: f32,
    /// Index of the output plane.
    pub plane: usize,
}

impl Finish {
    /// Leaves the values as they are.
    pub const LEVELS: Self = {
        let plain = Channel {
            scale: 1.0,
            offset: 0.0,
            plane: 0,
        };
        Self {
            gain: 1.0,
            channels: [
                plain,
                Channel { plane: 1, ..plain },
                Channel { plane: 2, ..plain },
            ],
        }
    };

    /// Normalizes planes that hold one channel each, in order. Exchanges the first and the last
    /// plane if the channels of the output are reversed. The gain is not applied.
    ///
    /// # Shapes
    /// `planes` is `[channels, height, width]`.
    pub fn normalize(&self, planes: &mut [f32], channels: usize) {
        let size = planes.len() / channels;
        for (values, channel) in planes.chunks_exact_mut(size).zip(self.channels) {
            values
                .iter_mut()
                .for_each(|value| *value = *value * channel.scale + channel.offset);
        }
        if self.channels[0].plane > 0 {
            let (first, rest) = planes.split_at_mut(size);
            let (_, last) = rest.split_at_mut(rest.len() - size);
            first.swap_with_slice(last);
        }
    }

    /// Applies gain and normalization to a value of a channel.
    #[inline(always)]
    fn apply(&self, level: f32, channel: usize) -> f32 {
        let Channel { scale, offset, .. } = self.channels[channel];
        clip(level * self.gain) * scale + offset
    }
}

/// Clips to 0..=255; NaN becomes 0.
#[inline(always)]
fn clip(level: f32) -> f32 {
    let level = if level > 0.0 { level } else { 0.0 };
    if level < 255.0 { level } else { 255.0 }
}

/// Samples `image` through `map` and appends the result to `out`. `edge` gives the values outside
/// the image.
///
/// # Shapes
/// Appends `[channels, height, width]` values.
///
/// # Panics
/// Panics if the planes of `finish` are not those of the image, each once.
pub fn sample(image: Image<'_>, map: &Map, edge: Edge, finish: &Finish, out: &mut Vec<f32>) {
    append(image, finish, out, |planes| {
        Isa::best().run(sample::Job {
            image,
            map,
            edge,
            finish,
            planes,
        })
    });
}

/// Appends `image` without resampling, with its columns and rows mirrored as `mirror` says, in
/// this order.
///
/// # Shapes
/// Appends `[channels, height, width]` values.
///
/// # Panics
/// As [`sample`].
pub fn sample_unmoved(image: Image<'_>, mirror: [bool; 2], finish: &Finish, out: &mut Vec<f32>) {
    append(image, finish, out, |planes| {
        Isa::best().run(unmoved::Job {
            image,
            mirror,
            finish,
            planes,
        })
    });
}

/// Appends what `write` fills, which must be every row of every plane. The memory is not zeroed
/// first, as a batch is too large for that.
fn append(image: Image<'_>, finish: &Finish, out: &mut Vec<f32>, write: impl FnOnce(Planes<'_>)) {
    let mut planes: Vec<usize> = finish.channels[..image.planes]
        .iter()
        .map(|channel| channel.plane)
        .collect();
    planes.sort_unstable();
    assert!(
        planes.into_iter().eq(0..image.planes),
        "each channel goes to a plane of its own"
    );
    let count = image.height * image.width * image.planes;
    out.reserve(count);
    write(Planes {
        values: &mut out.spare_capacity_mut()[..count],
        height: image.height,
        width: image.width,
    });
    // SAFETY: both callers' jobs fill all rows of all channels, each row as a whole, and the
    // assertion above gives each channel a plane of its own.
    unsafe { out.set_len(out.len() + count) };
}

/// The planes to fill.
struct Planes<'a> {
    values: &'a mut [MaybeUninit<f32>],
    height: usize,
    width: usize,
}

impl Planes<'_> {
    /// Returns `count` values of a row, starting at a column.
    #[inline(always)]
    fn part(
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
