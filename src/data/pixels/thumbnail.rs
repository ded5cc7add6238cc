//! An image at a glance: a small grey one, and hashes of its coarse structure by which copies find one another.

use std::{f32::consts::PI, sync::OnceLock};

use isa::{Isa, Work};

use super::{decode::Pixels, resize::resize};
use crate::config::{Interpolation, Resize};

/// Rows and columns of a look.
pub const SIDE: usize = 64;

/// The least that a side of an image is reduced to before anybody looks closer.
pub(in crate::data) const REDUCED: usize = 128;

/// Bytes of a look.
pub const THUMBNAIL_BYTES: usize = SIDE * SIDE;

/// Coefficients a side that a hash is made of.
pub(in crate::data) const ORDER: usize = 8;

/// Bits between the signs of neighbouring frequencies in a hash.
const APART: usize = 5;

/// Grey levels that vary less than this (standard deviation) show nothing that could be compared.
const FLAT: f64 = 2.0;

/// How an image may have been turned and mirrored.
pub const TURNS: usize = 8;

/// Parts of a side that a hash looks at, from and to: all of it, and what is left of it after a small crop in the middle or at an end.
const WINDOWS: [[f32; 2]; 4] = [[0.0, 1.0], [0.02, 0.98], [0.03, 1.0], [0.0, 0.97]];

/// The windows of columns and rows of the whole.
const WHOLE: [usize; 2] = [0, 0];

/// Those of a small crop that are tried together.
const CROPS: [[usize; 2]; 5] = [[1, 1], [2, 2], [2, 3], [3, 2], [3, 3]];

/// An image at a glance: 64 x 64 grey levels, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail(Box<[u8]>);

/// Low frequencies of a look, `[row][column]`.
pub(in crate::data) type Frequencies = [[f32; ORDER]; ORDER];

/// Hashes that a copy of an image may have: the whole in all turns, then upright parts of it.
pub const VARIANTS: usize = TURNS + CROPS.len();

/// What copies find one another by.
#[derive(Clone, Debug, PartialEq)]
pub struct PerceptualHash {
    /// Signs of low frequencies, as in pHash; brightness and contrast don't change them. The first is the whole image's, upright.
    pub hashes: [u64; VARIANTS],
    /// Low frequencies of the whole but the mean, of length one.
    frequencies: Frequencies,
}

impl PerceptualHash {
    /// How the image of a hash is turned.
    pub fn turn(variant: usize) -> usize {
        if variant < TURNS { variant } else { 0 }
    }

    /// Correlation of this image, turned, with another one, as far as their low frequencies tell.
    pub fn correlation(&self, turn: usize, other: &Self) -> f32 {
        correlation(&self.frequencies, turn, &other.frequencies)
    }
}

impl Thumbnail {
    /// The look of a decoded image.
    pub fn of(pixels: &Pixels) -> Self {
        Self::of_reduced(&reduced(pixels))
    }

    /// The look of what [`reduced`] made.
    pub(in crate::data) fn of_reduced(grey: &Pixels) -> Self {
        Self(resize(grey, [SIDE, SIDE], Resize::Stretch, Interpolation::Bilinear).into())
    }

    /// Of nothing yet.
    pub(in crate::data) fn black() -> Self {
        Self([0; THUMBNAIL_BYTES].into())
    }

    /// From what [`Self::bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == THUMBNAIL_BYTES).then(|| Self(bytes.into()))
    }

    /// The grey levels.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The outermost sixteenth of the grey levels, all around.
    pub fn border(&self) -> impl Iterator<Item = u8> + Clone {
        const WIDTH: usize = SIDE / 16;
        let is_outer = |at: usize| !(WIDTH..SIDE - WIDTH).contains(&at);
        self.0.iter().enumerate().filter(move |(at, _)| is_outer(at / SIDE) || is_outer(at % SIDE)).map(|(_, level)| *level)
    }

    /// Does it show too little to be compared?
    pub fn is_flat(&self) -> bool {
        let levels = || self.0.iter().map(|level| u32::from(*level));
        let mean = |sum: u32| f64::from(sum) / THUMBNAIL_BYTES as f64;
        mean(levels().map(|level| level * level).sum()) - mean(levels().sum()).powi(2) < FLAT * FLAT
    }

    /// What its copies are found by.
    pub fn sketch(&self) -> PerceptualHash {
        let parts = Isa::best().run(Parts(&self.0));
        let hash = |variant: usize| hash(&parts[variant.saturating_sub(TURNS - 1)], PerceptualHash::turn(variant));
        PerceptualHash { hashes: std::array::from_fn(hash), frequencies: unit(parts[0]) }
    }
}

/// Low frequencies of these grey levels: of the whole, and of each crop.
struct Parts<'a>(&'a [u8]);

impl Work for Parts<'_> {
    type Output = [Frequencies; CROPS.len() + 1];

    #[inline(always)]
    fn run(self) -> Self::Output {
        let waves = waves();
        let mut parts = [[[0.0; ORDER]; ORDER]; CROPS.len() + 1];
        for (row, down) in self.0.as_chunks::<SIDE>().0.iter().zip(waves) {
            // All windows at once: many short sums side by side, rather than one after the other.
            let mut sums = [[0.0f32; ORDER]; WINDOWS.len()];
            for (level, across) in row.iter().zip(waves) {
                let level = f32::from(*level);
                sums.as_flattened_mut().iter_mut().zip(across.as_flattened()).for_each(|(sum, wave)| *sum += level * wave);
            }
            for (part, crop) in parts.iter_mut().zip([&WHOLE].into_iter().chain(&CROPS)) {
                for (line, wave) in part.iter_mut().zip(down[crop[1]]) {
                    line.iter_mut().zip(sums[crop[0]]).for_each(|(out, sum)| *out += sum * wave);
                }
            }
        }
        parts
    }
}

/// The levels of a square image turned: mirrored left to right (1), top to bottom (2), and then transposed (4), as the bits of `turn` say.
pub(in crate::data) fn turned(levels: Vec<f32>, turn: usize) -> Vec<f32> {
    if turn == 0 {
        return levels;
    }
    let side = levels.len().isqrt();
    // From one row and column of the outcome to the next, in what is turned.
    let [down, across] = if turn & 4 == 0 { [side, 1] } else { [1, side] };
    let ends = |on: bool, step: usize| if on { ((side - 1) * step, -(step as isize)) } else { (0, step as isize) };
    let is_turned = |step: usize| turn & if step == side { 2 } else { 1 } != 0;
    let ((top, down), (left, across)) = (ends(is_turned(down), down), ends(is_turned(across), across));
    let mut out = Vec::with_capacity(levels.len());
    let mut start = (top + left) as isize;
    for _ in 0..side {
        out.extend((0..side as isize).map(|column| levels[(start + column * across) as usize]));
        start += down;
    }
    out
}

/// An image in grey, `[height, width, 1]`, each level the mean of whole pixels, so that a side has [`REDUCED`] of them or more where the
/// image has, and less than twice as many.
pub(in crate::data) fn reduced(pixels: &Pixels) -> Pixels {
    // The sum of 256 rows is still 16 bits long.
    let less = |side: usize| (side / (side / REDUCED).max(1)).max(side.div_ceil(256));
    let [height, width] = [less(pixels.height), less(pixels.width)];
    let bytes = match pixels.channels {
        1 => Isa::best().run(Reduction { pixels, shares: [1.0], size: [height, width] }),
        _ => Isa::best().run(Reduction { pixels, shares: [0.299, 0.587, 0.114], size: [height, width] }),
    };
    Pixels { height, width, channels: 1, bytes }
}

/// Means of whole pixels, with the channels' shares in a grey level.
struct Reduction<'a, const CHANNELS: usize> {
    pixels: &'a Pixels,
    shares: [f32; CHANNELS],
    size: [usize; 2],
}

impl<const CHANNELS: usize> Work for Reduction<'_, CHANNELS> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn run(self) -> Vec<u8> {
        let (Pixels { height: full_height, width: full_width, bytes, .. }, [height, width]) = (self.pixels, self.size);
        let edge = |at: usize, full: usize, less: usize| at * full / less;
        let across: Vec<usize> = (0..=width).map(|at| edge(at, *full_width, width)).collect();
        let mut sums = vec![0u16; full_width * CHANNELS];
        let mut grey = vec![0.0f32; *full_width];
        let mut means = Vec::with_capacity(height * width);
        for row in 0..height {
            let [top, bottom] = [row, row + 1].map(|row| edge(row, *full_height, height));
            sums.fill(0);
            for line in bytes[top * sums.len()..bottom * sums.len()].chunks_exact(sums.len()) {
                sums.iter_mut().zip(line).for_each(|(sum, level)| *sum += u16::from(*level));
            }
            for (grey, sums) in grey.iter_mut().zip(sums.as_chunks::<CHANNELS>().0) {
                *grey = (0..CHANNELS).map(|channel| f32::from(sums[channel]) * self.shares[channel]).sum();
            }
            let scale = 1.0 / (bottom - top) as f32;
            // The usual ratios in steps of a length that the compiler knows.
            match (full_width / width, full_width % width) {
                (1, 0) => means.extend(grey.iter().map(|sum| mean(&[*sum], scale))),
                (2, 0) => means.extend(grey.as_chunks::<2>().0.iter().map(|sums| mean(sums, scale))),
                (3, 0) => means.extend(grey.as_chunks::<3>().0.iter().map(|sums| mean(sums, scale))),
                (4, 0) => means.extend(grey.as_chunks::<4>().0.iter().map(|sums| mean(sums, scale))),
                _ => means.extend(across.windows(2).map(|edges| mean(&grey[edges[0]..edges[1]], scale))),
            }
        }
        means
    }
}

#[inline(always)]
fn mean(sums: &[f32], scale: f32) -> u8 {
    // The last bit of numbers of this size is worth 1: rounding without a conversion, of which there is none for vectors.
    const WHOLE: f32 = (1u32 << 23) as f32;
    (sums.iter().sum::<f32>() / sums.len() as f32 * scale + WHOLE).to_bits() as u8
}

/// Cosines over each window, `[place][window][frequency]`, zero outside of it; of the levels' mean nothing is left but in the first.
fn waves() -> &'static [[[f32; ORDER]; WINDOWS.len()]; SIDE] {
    static WAVES: OnceLock<[[[f32; ORDER]; WINDOWS.len()]; SIDE]> = OnceLock::new();
    WAVES.get_or_init(|| {
        let waves = WINDOWS.map(|window| std::array::from_fn::<_, ORDER, _>(|frequency| wave(window, frequency)));
        std::array::from_fn(|place| waves.map(|waves| waves.map(|wave| wave[place])))
    })
}

fn wave([from, to]: [f32; 2], frequency: usize) -> [f32; SIDE] {
    let mut wave: [f32; SIDE] = std::array::from_fn(|at| {
        // The share of this place that is in the window.
        let (start, end) = (at as f32 / SIDE as f32, (at + 1) as f32 / SIDE as f32);
        let inside = ((end.min(to) - start.max(from)) * SIDE as f32).max(0.0);
        let place = (f32::midpoint(start, end) - from) / (to - from);
        inside * (PI * frequency as f32 * place).cos()
    });
    if frequency > 0 {
        let mean = wave.iter().sum::<f32>() / SIDE as f32;
        wave.iter_mut().filter(|value| **value != 0.0).for_each(|value| *value -= mean);
    }
    wave
}

/// The frequency at this place in the image turned.
fn frequency(frequencies: &Frequencies, turn: usize, at: usize) -> f32 {
    let (row, column) = (at / ORDER, at % ORDER);
    let (down, across) = if turn & 4 == 0 { (row, column) } else { (column, row) };
    // Mirrored, odd waves change their sign.
    let is_odd = (turn & 1 != 0 && across % 2 == 1) ^ (turn & 2 != 0 && down % 2 == 1);
    if is_odd { -frequencies[down][across] } else { frequencies[down][across] }
}

/// The sign of each frequency but the mean, as they are in the image turned.
pub(in crate::data) fn hash(frequencies: &Frequencies, turn: usize) -> u64 {
    // Neighbours lie apart: in images that resemble each other whole rows have the same signs, and no part of a hash may be all of these.
    let place = |at: usize| (at - 1) * APART % (ORDER * ORDER - 1);
    (1..ORDER * ORDER).fold(0, |hash, at| hash | u64::from(frequency(frequencies, turn, at) > 0.0) << place(at))
}

/// Without the mean, and of length one.
pub(in crate::data) fn unit(mut frequencies: Frequencies) -> Frequencies {
    frequencies[0][0] = 0.0;
    let length = frequencies.iter().flatten().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    frequencies.iter_mut().flatten().for_each(|value| *value /= length);
    frequencies
}

/// Of one image turned with another one, from what [`unit`] made.
pub(in crate::data) fn correlation(one: &Frequencies, turn: usize, other: &Frequencies) -> f32 {
    (1..ORDER * ORDER).map(|at| frequency(one, turn, at) * other[at / ORDER][at % ORDER]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(level: impl Fn(usize, usize) -> usize) -> Thumbnail {
        Thumbnail((0..THUMBNAIL_BYTES).map(|at| (level(at / SIDE, at % SIDE) % 256) as u8).collect())
    }

    /// Nothing in it repeats or mirrors.
    fn odd() -> Thumbnail {
        look(|row, column| row * 3 + column * column / 24 + if row > 40 && column < 20 { 90 } else { 0 } + (row * column) / 40)
    }

    #[test]
    fn a_hash_turns_with_its_image() {
        let image = odd();
        for turn in 0..TURNS {
            let levels = image.bytes().iter().map(|level| f32::from(*level)).collect::<Vec<_>>();
            let turned_levels = turned(levels.clone(), turn);
            let (turned_sketch, sketch) = (Thumbnail(turned_levels.iter().map(|level| *level as u8).collect()).sketch(), image.sketch());
            assert!((turned_sketch.hashes[0] ^ sketch.hashes[turn]).count_ones() <= 1, "{turn}");
            assert!(sketch.correlation(turn, &turned_sketch) > 0.9999, "{turn}");
            assert!((0..TURNS).all(|other| other == turn || sketch.correlation(other, &turned_sketch) < 0.99), "{turn}");
            assert_eq!(turned(turned_levels, [0, 1, 2, 3, 4, 6, 5, 7][turn]), levels, "{turn} and back");
        }
    }

    #[test]
    fn brightness_changes_no_hash_and_one_level_shows_nothing() {
        let (image, dark) = (odd(), Thumbnail(odd().0.iter().map(|level| level / 2 + 3).collect()));
        assert!((image.sketch().hashes[0] ^ dark.sketch().hashes[0]).count_ones() <= 2);
        assert!(look(|_, column| 100 + column % 2).is_flat() && !image.is_flat());
        assert_eq!(Thumbnail::from_bytes(image.bytes()), Some(image));
        assert_eq!(Thumbnail::from_bytes(&[0; 3]), None);
    }

    #[test]
    fn reduced_levels_are_means_of_all_pixels() {
        for (height, width, expected) in
            [(1, 1, [1, 1]), (127, 128, [127, 128]), (255, 256, [255, 128]), (300, 1000, [150, 142]), (40_000, 2, [157, 2])]
        {
            let bytes: Vec<u8> = (0..height * width * 3).map(|at| (at / 3 % width * 200 / width + at % 3 * 20) as u8).collect();
            let mean = bytes.chunks_exact(3).map(|rgb| 0.299 * f64::from(rgb[0]) + 0.587 * f64::from(rgb[1]) + 0.114 * f64::from(rgb[2]));
            let mean = mean.sum::<f64>() / (height * width) as f64;
            let grey = reduced(&Pixels { height, width, channels: 3, bytes });
            assert_eq!([grey.height, grey.width, grey.channels], [expected[0], expected[1], 1]);
            let found = grey.bytes.iter().map(|level| f64::from(*level)).sum::<f64>() / grey.bytes.len() as f64;
            assert!((found - mean).abs() < 0.6, "{height}x{width}: {found} {mean}");
        }
    }

    #[test]
    fn a_look_is_upright_and_grey() {
        let bytes = (0..10 * 30 * 3).map(|at| if at / 3 % 30 < 15 && at / 90 < 5 { 200 } else { 10 }).collect();
        let look = Thumbnail::of(&Pixels { height: 10, width: 30, channels: 3, bytes });
        assert_eq!([look.0[0], look.0[SIDE - 1], look.0[THUMBNAIL_BYTES - SIDE], look.0[THUMBNAIL_BYTES - 1]], [200, 10, 10, 10]);
    }
}
