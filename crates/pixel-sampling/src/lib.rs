//! A picture through one geometric map, one tone and one normalisation, in one pass: interleaved bytes in, planar `f32` out.
//!
//! The arithmetic is plain `f64` for coordinates and `f32` for levels, each operation rounded on its own, so that every instruction
//! set gives the same bits: the loops are compiled once for each of them (`isa`), not written once for each.
//! Nothing is allocated but the output. Coordinates follow SciPy's `affine_transform(order=1)`: `(offset + m0 * row) + m1 * column`, sampled
//! bilinearly, and what lies outside is filled as its modes of the same names do.

mod edge;
mod sample;
mod unmoved;

use std::mem::MaybeUninit;

pub use edge::Edge;
pub use isa::Isa;

/// A picture as bytes, rows first, channels interleaved.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    bytes: &'a [u8],
    height: usize,
    width: usize,
    /// Of the bytes.
    channels: usize,
    /// Of what comes out.
    planes: usize,
}

impl<'a> Picture<'a> {
    /// For so many channels at the output, one or three. `None` unless `bytes` has `height * width * channels` values, or `height * width`,
    /// which are the levels of three equal channels; and each side is 8 to 32768.
    pub fn new(bytes: &'a [u8], [height, width, planes]: [usize; 3]) -> Option<Self> {
        let sides_fit = [height, width].iter().all(|side| (8..=1 << 15).contains(side));
        let channels = if bytes.len() == height * width { 1 } else { planes };
        let fits = sides_fit && (planes == 1 || planes == 3) && bytes.len() == height * width * channels;
        fits.then_some(Self { bytes, height, width, channels, planes })
    }
}

/// Output (column, row, 1) to source (column, row, 1), up to a factor: where an output pixel comes from.
pub type Map = [[f64; 3]; 3];

/// The map that moves nothing.
pub const IDENTITY: Map = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// What is done to a sampled level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finish {
    /// Factor on the level, which is then clipped to 0..255; exactly 1 leaves it alone.
    pub gain: f32,
    /// What follows, for each channel.
    pub channels: [Channel; 3],
}

/// What becomes of one channel: `level * scale + offset`, in some plane of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channel {
    /// Factor.
    pub scale: f32,
    /// Summand.
    pub offset: f32,
    /// Which plane of the output.
    pub plane: usize,
}

impl Finish {
    /// Levels as they are.
    pub const LEVELS: Self = {
        let plain = Channel { scale: 1.0, offset: 0.0, plane: 0 };
        Self { gain: 1.0, channels: [plain, Channel { plane: 1, ..plain }, Channel { plane: 2, ..plain }] }
    };

    /// Factor and summand on planes that are there already, one for each channel in order; the planes change places where these go
    /// backwards. Without the gain.
    pub fn normalize(&self, planes: &mut [f32], channels: usize) {
        let size = planes.len() / channels;
        for (values, channel) in planes.chunks_exact_mut(size).zip(self.channels) {
            values.iter_mut().for_each(|value| *value = *value * channel.scale + channel.offset);
        }
        if self.channels[0].plane > 0 {
            let (first, rest) = planes.split_at_mut(size);
            let (_, last) = rest.split_at_mut(rest.len() - size);
            first.swap_with_slice(last);
        }
    }

    /// Applied to one level of a channel.
    #[inline(always)]
    fn apply(&self, level: f32, channel: usize) -> f32 {
        let Channel { scale, offset, .. } = self.channels[channel];
        clip(level * self.gain) * scale + offset
    }
}

/// To 0..255.
#[inline(always)]
fn clip(level: f32) -> f32 {
    let level = if level > 0.0 { level } else { 0.0 };
    if level < 255.0 { level } else { 255.0 }
}

/// Samples `picture` through `map` and appends the result; `edge` tells what stands outside the picture.
///
/// # Shapes
/// `[channels, height, width]` values at the end of `out`.
///
/// # Panics
/// Where the planes of `finish` are not those of the picture, each once.
pub fn sample(picture: Picture<'_>, map: &Map, edge: Edge, finish: &Finish, out: &mut Vec<f32>) {
    append(picture, finish, out, |planes| Isa::best().run(sample::Job { picture, map, edge, finish, planes }));
}

/// Appends `picture` unmoved, but for a mirroring of columns and of rows.
///
/// # Shapes
/// `[channels, height, width]` values at the end of `out`.
///
/// # Panics
/// As [`sample`].
pub fn sample_unmoved(picture: Picture<'_>, mirror: [bool; 2], finish: &Finish, out: &mut Vec<f32>) {
    append(picture, finish, out, |planes| Isa::best().run(unmoved::Job { picture, mirror, finish, planes }));
}

/// A batch is too large to be filled with zeros first: `write` fills every row of every plane.
fn append(picture: Picture<'_>, finish: &Finish, out: &mut Vec<f32>, write: impl FnOnce(Planes<'_>)) {
    let mut planes: Vec<usize> = finish.channels[..picture.planes].iter().map(|channel| channel.plane).collect();
    planes.sort_unstable();
    assert!(planes.into_iter().eq(0..picture.planes), "each channel goes to a plane of its own");
    let count = picture.height * picture.width * picture.planes;
    out.reserve(count);
    write(Planes { values: &mut out.spare_capacity_mut()[..count], height: picture.height, width: picture.width });
    // SAFETY: both writers go through all rows of all channels, which have planes of their own, and write each row as a whole.
    unsafe { out.set_len(out.len() + count) };
}

/// Planes to be filled.
struct Planes<'a> {
    values: &'a mut [MaybeUninit<f32>],
    height: usize,
    width: usize,
}

impl Planes<'_> {
    /// Some values of a row from a column on.
    #[inline(always)]
    fn part(&mut self, plane: usize, row: usize, column: usize, count: usize) -> &mut [MaybeUninit<f32>] {
        let start = (plane * self.height + row) * self.width + column;
        &mut self.values[start..start + count]
    }
}
