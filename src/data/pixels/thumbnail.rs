//! A gray thumbnail of an image, and perceptual hashes of its low frequencies, by which duplicates
//! are found (as in pHash: Zauner, 2010). They don't decide that two images are duplicates.

use std::{f32::consts::PI, sync::OnceLock};

use isa::{Isa, Work};

use super::{decode::Pixels, resize::resize};
use crate::config::{Interpolation, Resize};

/// Side of a thumbnail in pixels.
pub const SIDE: usize = 64;

/// Number of pixels that a side keeps at least when an image is reduced by averaging whole pixels.
pub(in crate::data) const REDUCED: usize = 128;

/// Number of bytes of a thumbnail.
pub const THUMBNAIL_BYTES: usize = SIDE * SIDE;

/// Number of frequencies per side in a hash.
pub(in crate::data) const ORDER: usize = 8;

/// Distance in bits between the signs of neighboring frequencies in a hash.
const APART: usize = 5;

/// Standard deviation of the pixel values below which a thumbnail shows nothing that could be
/// compared.
const FLAT: f64 = 2.0;

/// Number of ways in which an image may have been rotated by quarters and mirrored.
pub const TURNS: usize = 8;

/// Parts of a side that a hash covers, as fractions: all of it, and what a small crop leaves in the
/// middle or at one end.
const WINDOWS: [[f32; 2]; 4] = [[0.0, 1.0], [0.02, 0.98], [0.03, 1.0], [0.0, 0.97]];

/// The windows of the whole image.
const WHOLE: [usize; 2] = [0, 0];

/// Windows of columns and rows of the small crops that are tried.
const CROPS: [[usize; 2]; 5] = [[1, 1], [2, 2], [2, 3], [3, 2], [3, 3]];

/// A gray thumbnail: 64 x 64 pixel values, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail(Box<[u8]>);

/// Low frequencies of a thumbnail (DCT-II), `[row][column]`.
pub(in crate::data) type Frequencies = [[f32; ORDER]; ORDER];

/// Low frequencies without the mean, scaled to the length [`UNIT`]. Whole numbers of 16 bits: a
/// correlation is computed for millions of pairs, and what it reads comes from memory.
pub(in crate::data) type Spectrum = [i16; ORDER * ORDER];

/// Length of a [`Spectrum`].
const UNIT: f32 = 32767.0;

/// Number of hashes of an image: the whole in all turns, then upright parts of it.
pub const VARIANTS: usize = TURNS + CROPS.len();

/// The hashes and low frequencies by which duplicates are found.
#[derive(Clone, Debug, PartialEq)]
pub struct PerceptualHash {
    /// Signs of the low frequencies, which don't depend on brightness and contrast. The first hash
    /// is that of the whole image, upright.
    pub hashes: [u64; VARIANTS],
    /// Low frequencies of the whole image, and of its transpose.
    spectra: [Spectrum; 2],
}

impl PerceptualHash {
    /// Returns the turn of a hash; crops are upright.
    pub fn turn(variant: usize) -> usize {
        if variant < TURNS { variant } else { 0 }
    }

    /// Returns the correlation of this image, turned, with another one, as far as their low
    /// frequencies tell.
    pub fn correlation(&self, turn: usize, other: &Self) -> f32 {
        // An image is mirrored before it is transposed, and its transpose after that.
        const MIRRORS: [usize; TURNS] = [0, 1, 2, 3, 0, 2, 1, 3];
        correlation(&self.spectra[turn / 4], MIRRORS[turn], &other.spectra[0])
    }
}

impl Thumbnail {
    /// Computes the thumbnail of a decoded image.
    pub fn of(pixels: &Pixels) -> Self {
        Self::of_reduced(&reduced(pixels))
    }

    /// Computes the thumbnail of a gray image from [`reduced`].
    pub(in crate::data) fn of_reduced(gray: &Pixels) -> Self {
        Self(resize(gray, [SIDE, SIDE], Resize::Stretch, Interpolation::Bilinear).into())
    }

    /// Returns a thumbnail of zeros, for the time until the real one is read.
    pub(in crate::data) fn black() -> Self {
        Self([0; THUMBNAIL_BYTES].into())
    }

    /// Returns a thumbnail with the bytes of [`Self::bytes`], or `None` if their number is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == THUMBNAIL_BYTES).then(|| Self(bytes.into()))
    }

    /// Returns the pixel values, row by row.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the pixel values in the outermost sixteenth on each side.
    pub fn border(&self) -> impl Iterator<Item = u8> + Clone {
        const WIDTH: usize = SIDE / 16;
        let is_outer = |at: usize| !(WIDTH..SIDE - WIDTH).contains(&at);
        self.0
            .iter()
            .enumerate()
            .filter(move |(at, _)| is_outer(at / SIDE) || is_outer(at % SIDE))
            .map(|(_, level)| *level)
    }

    /// Returns whether the image varies too little to be compared.
    pub fn is_flat(&self) -> bool {
        let levels = || self.0.iter().map(|level| u32::from(*level));
        let mean = |sum: u32| f64::from(sum) / THUMBNAIL_BYTES as f64;
        mean(levels().map(|level| level * level).sum()) - mean(levels().sum()).powi(2) < FLAT * FLAT
    }

    /// Computes the hashes.
    pub fn sketch(&self) -> PerceptualHash {
        let parts = Isa::best().run(Parts(&self.0));
        let hash = |variant: usize| {
            hash(
                &parts[variant.saturating_sub(TURNS - 1)],
                PerceptualHash::turn(variant),
            )
        };
        PerceptualHash {
            hashes: std::array::from_fn(hash),
            spectra: [0, 4].map(|turn| spectrum(&parts[0], turn)),
        }
    }
}

/// Computes the low frequencies of pixel values: of the whole image, and of each crop.
struct Parts<'a>(&'a [u8]);

impl Work for Parts<'_> {
    type Output = [Frequencies; CROPS.len() + 1];

    #[inline(always)]
    fn run(self) -> Self::Output {
        let waves = waves();
        let mut parts = [[[0.0; ORDER]; ORDER]; CROPS.len() + 1];
        for (row, down) in self.0.as_chunks::<SIDE>().0.iter().zip(waves) {
            // All windows at once: sums side by side become vectors, sums one after the other
            // don't.
            let mut sums = [[0.0f32; ORDER]; WINDOWS.len()];
            for (level, across) in row.iter().zip(waves) {
                let level = f32::from(*level);
                sums.as_flattened_mut()
                    .iter_mut()
                    .zip(across.as_flattened())
                    .for_each(|(sum, wave)| *sum += level * wave);
            }
            for (part, crop) in parts.iter_mut().zip([&WHOLE].into_iter().chain(&CROPS)) {
                for (line, wave) in part.iter_mut().zip(down[crop[1]]) {
                    line.iter_mut()
                        .zip(sums[crop[0]])
                        .for_each(|(out, sum)| *out += sum * wave);
                }
            }
        }
        parts
    }
}

/// Turns a square image: mirrored left to right (1), mirrored top to bottom (2), then transposed
/// (4), as the bits of `turn` say.
pub(in crate::data) fn turned(levels: Vec<f32>, turn: usize) -> Vec<f32> {
    if turn == 0 {
        return levels;
    }
    let side = levels.len().isqrt();
    // Steps in the source for one row and one column of the result.
    let [down, across] = if turn & 4 == 0 { [side, 1] } else { [1, side] };
    let ends = |on: bool, step: usize| {
        if on {
            ((side - 1) * step, -(step as isize))
        } else {
            (0, step as isize)
        }
    };
    let is_turned = |step: usize| turn & if step == side { 2 } else { 1 } != 0;
    let ((top, down), (left, across)) =
        (ends(is_turned(down), down), ends(is_turned(across), across));
    let mut out = Vec::with_capacity(levels.len());
    let mut start = (top + left) as isize;
    for _ in 0..side {
        out.extend((0..side as isize).map(|column| levels[(start + column * across) as usize]));
        start += down;
    }
    out
}

/// Reduces an image to gray, `[height, width, 1]`, where each value is the mean of whole pixels. A
/// side of [`REDUCED`] or more keeps at least that many pixels, and less than twice as many unless
/// it is longer than 65,280.
pub(in crate::data) fn reduced(pixels: &Pixels) -> Pixels {
    // A sum of 256 rows of bytes still fits into 16 bits.
    let less = |side: usize| (side / (side / REDUCED).max(1)).max(side.div_ceil(256));
    let [height, width] = [less(pixels.height), less(pixels.width)];
    let bytes = match pixels.channels {
        1 => Isa::best().run(Reduction {
            pixels,
            shares: [1.0],
            size: [height, width],
        }),
        // ITU-R 601 luma.
        _ => Isa::best().run(Reduction {
            pixels,
            shares: [0.299, 0.587, 0.114],
            size: [height, width],
        }),
    };
    Pixels {
        height,
        width,
        channels: 1,
        bytes,
    }
}

/// Computes means of whole pixels, with the weight of each channel in a gray value.
struct Reduction<'a, const CHANNELS: usize> {
    pixels: &'a Pixels,
    shares: [f32; CHANNELS],
    size: [usize; 2],
}

impl<const CHANNELS: usize> Work for Reduction<'_, CHANNELS> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn run(self) -> Vec<u8> {
        let (
            Pixels {
                height: full_height,
                width: full_width,
                bytes,
                ..
            },
            [height, width],
        ) = (self.pixels, self.size);
        let edge = |at: usize, full: usize, less: usize| at * full / less;
        let across: Vec<usize> = (0..=width).map(|at| edge(at, *full_width, width)).collect();
        let mut sums = vec![0u16; full_width * CHANNELS];
        let mut gray = vec![0.0f32; *full_width];
        let mut means = Vec::with_capacity(height * width);
        for row in 0..height {
            let [top, bottom] = [row, row + 1].map(|row| edge(row, *full_height, height));
            sums.fill(0);
            for line in bytes[top * sums.len()..bottom * sums.len()].chunks_exact(sums.len()) {
                sums.iter_mut()
                    .zip(line)
                    .for_each(|(sum, level)| *sum += u16::from(*level));
            }
            for (gray, sums) in gray.iter_mut().zip(sums.as_chunks::<CHANNELS>().0) {
                *gray = (0..CHANNELS)
                    .map(|channel| f32::from(sums[channel]) * self.shares[channel])
                    .sum();
            }
            let scale = 1.0 / (bottom - top) as f32;
            // Chunks of a constant length become vectors, for the usual ratios.
            match (full_width / width, full_width % width) {
                (1, 0) => means.extend(gray.iter().map(|sum| mean(&[*sum], scale))),
                (2, 0) => {
                    means.extend(gray.as_chunks::<2>().0.iter().map(|sums| mean(sums, scale)))
                }
                (3, 0) => {
                    means.extend(gray.as_chunks::<3>().0.iter().map(|sums| mean(sums, scale)))
                }
                (4, 0) => {
                    means.extend(gray.as_chunks::<4>().0.iter().map(|sums| mean(sums, scale)))
                }
                _ => means.extend(
                    across
                        .windows(2)
                        .map(|edges| mean(&gray[edges[0]..edges[1]], scale)),
                ),
            }
        }
        means
    }
}

#[inline(always)]
fn mean(sums: &[f32], scale: f32) -> u8 {
    // At this size, a float's last bit is worth 1: this rounds without a conversion to integers,
    // for which there is no vector instruction.
    const WHOLE: f32 = (1u32 << 23) as f32;
    (sums.iter().sum::<f32>() / sums.len() as f32 * scale + WHOLE).to_bits() as u8
}

/// Returns the cosines over each window, `[position][window][frequency]`, zero outside it. All
/// except frequency 0 have a mean of zero, so that brightness doesn't enter.
fn waves() -> &'static [[[f32; ORDER]; WINDOWS.len()]; SIDE] {
    static WAVES: OnceLock<[[[f32; ORDER]; WINDOWS.len()]; SIDE]> = OnceLock::new();
    WAVES.get_or_init(|| {
        let waves = WINDOWS
            .map(|window| std::array::from_fn::<_, ORDER, _>(|frequency| wave(window, frequency)));
        std::array::from_fn(|place| waves.map(|waves| waves.map(|wave| wave[place])))
    })
}

/// Computes a cosine over the window `from..to` of a side.
fn wave([from, to]: [f32; 2], frequency: usize) -> [f32; SIDE] {
    let mut wave: [f32; SIDE] = std::array::from_fn(|at| {
        // The fraction of this pixel that is inside the window.
        let (start, end) = (at as f32 / SIDE as f32, (at + 1) as f32 / SIDE as f32);
        let inside = ((end.min(to) - start.max(from)) * SIDE as f32).max(0.0);
        let place = (f32::midpoint(start, end) - from) / (to - from);
        inside * (PI * frequency as f32 * place).cos()
    });
    if frequency > 0 {
        let mean = wave.iter().sum::<f32>() / SIDE as f32;
        wave.iter_mut()
            .filter(|value| **value != 0.0)
            .for_each(|value| *value -= mean);
    }
    wave
}

/// Returns the frequency at a position in the turned image.
fn frequency(frequencies: &Frequencies, turn: usize, at: usize) -> f32 {
    let (row, column) = (at / ORDER, at % ORDER);
    let (down, across) = if turn & 4 == 0 {
        (row, column)
    } else {
        (column, row)
    };
    // A reflection changes the sign of odd frequencies.
    let is_odd = (turn & 1 != 0 && across % 2 == 1) ^ (turn & 2 != 0 && down % 2 == 1);
    if is_odd {
        -frequencies[down][across]
    } else {
        frequencies[down][across]
    }
}

/// Returns the signs of all frequencies except the mean, in the turned image.
pub(in crate::data) fn hash(frequencies: &Frequencies, turn: usize) -> u64 {
    // Neighbors are far apart: in images that resemble each other, whole rows have the same signs,
    // and no part of a hash should consist of these alone.
    let place = |at: usize| (at - 1) * APART % (ORDER * ORDER - 1);
    (1..ORDER * ORDER).fold(0, |hash, at| {
        hash | u64::from(frequency(frequencies, turn, at) > 0.0) << place(at)
    })
}

/// Returns the spectrum of the turned image.
pub(in crate::data) fn spectrum(frequencies: &Frequencies, turn: usize) -> Spectrum {
    let length = frequencies
        .iter()
        .flatten()
        .skip(1)
        .map(|value| value * value)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    let scaled = |at: usize| (frequency(frequencies, turn, at) / length * UNIT).round() as i16;
    std::array::from_fn(|at| if at == 0 { 0 } else { scaled(at) })
}

/// Returns the correlation of two spectra, the first of them mirrored left to right (1), top to
/// bottom (2) or both (3).
pub(in crate::data) fn correlation(one: &Spectrum, mirror: usize, other: &Spectrum) -> f32 {
    // A reflection changes the sign of odd frequencies.
    const SIGNS: [[i16; ORDER * ORDER]; 4] = {
        let mut signs = [[1; ORDER * ORDER]; 4];
        let mut at = 0;
        while at < 4 * ORDER * ORDER {
            let (mirror, row, column) = (at / (ORDER * ORDER), at / ORDER % ORDER, at % ORDER);
            if (mirror & 1 != 0 && column % 2 == 1) != (mirror & 2 != 0 && row % 2 == 1) {
                signs[mirror][at % (ORDER * ORDER)] = -1;
            }
            at += 1;
        }
        signs
    };
    let product =
        |((one, sign), other): ((&i16, &i16), &i16)| i32::from(one * sign) * i32::from(*other);
    one.iter()
        .zip(&SIGNS[mirror])
        .zip(other)
        .map(product)
        .sum::<i32>() as f32
        / (UNIT * UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(level: impl Fn(usize, usize) -> usize) -> Thumbnail {
        Thumbnail(
            (0..THUMBNAIL_BYTES)
                .map(|at| (level(at / SIDE, at % SIDE) % 256) as u8)
                .collect(),
        )
    }

    /// An image in which nothing repeats or mirrors.
    fn odd() -> Thumbnail {
        look(|row, column| {
            row * 3
                + column * column / 24
                + if row > 40 && column < 20 { 90 } else { 0 }
                + (row * column) / 40
        })
    }

    #[test]
    fn a_hash_turns_with_its_image() {
        let image = odd();
        for turn in 0..TURNS {
            let levels = image
                .bytes()
                .iter()
                .map(|level| f32::from(*level))
                .collect::<Vec<_>>();
            let turned_levels = turned(levels.clone(), turn);
            let (turned_sketch, sketch) = (
                Thumbnail(turned_levels.iter().map(|level| *level as u8).collect()).sketch(),
                image.sketch(),
            );
            assert!(
                (turned_sketch.hashes[0] ^ sketch.hashes[turn]).count_ones() <= 1,
                "{turn}"
            );
            assert!(sketch.correlation(turn, &turned_sketch) > 0.9999, "{turn}");
            assert!(
                (0..TURNS)
                    .all(|other| other == turn || sketch.correlation(other, &turned_sketch) < 0.99),
                "{turn}"
            );
            assert_eq!(
                turned(turned_levels, [0, 1, 2, 3, 4, 6, 5, 7][turn]),
                levels,
                "{turn} and back"
            );
        }
    }

    #[test]
    fn brightness_changes_no_hash_and_one_level_shows_nothing() {
        let (image, dark) = (
            odd(),
            Thumbnail(odd().0.iter().map(|level| level / 2 + 3).collect()),
        );
        assert!((image.sketch().hashes[0] ^ dark.sketch().hashes[0]).count_ones() <= 2);
        assert!(look(|_, column| 100 + column % 2).is_flat() && !image.is_flat());
        assert_eq!(Thumbnail::from_bytes(image.bytes()), Some(image));
        assert_eq!(Thumbnail::from_bytes(&[0; 3]), None);
    }

    #[test]
    fn reduced_levels_are_means_of_all_pixels() {
        for (height, width, expected) in [
            (1, 1, [1, 1]),
            (127, 128, [127, 128]),
            (255, 256, [255, 128]),
            (300, 1000, [150, 142]),
            (40_000, 2, [157, 2]),
        ] {
            let bytes: Vec<u8> = (0..height * width * 3)
                .map(|at| (at / 3 % width * 200 / width + at % 3 * 20) as u8)
                .collect();
            let mean = bytes.chunks_exact(3).map(|rgb| {
                0.299 * f64::from(rgb[0]) + 0.587 * f64::from(rgb[1]) + 0.114 * f64::from(rgb[2])
            });
            let mean = mean.sum::<f64>() / (height * width) as f64;
            let gray = reduced(&Pixels {
                height,
                width,
                channels: 3,
                bytes,
            });
            assert_eq!(
                [gray.height, gray.width, gray.channels],
                [expected[0], expected[1], 1]
            );
            let found = gray
                .bytes
                .iter()
                .map(|level| f64::from(*level))
                .sum::<f64>()
                / gray.bytes.len() as f64;
            assert!(
                (found - mean).abs() < 0.6,
                "{height}x{width}: {found} {mean}"
            );
        }
    }

    #[test]
    fn a_look_is_upright_and_gray() {
        let bytes = (0..10 * 30 * 3)
            .map(|at| {
                if at / 3 % 30 < 15 && at / 90 < 5 {
                    200
                } else {
                    10
                }
            })
            .collect();
        let look = Thumbnail::of(&Pixels {
            height: 10,
            width: 30,
            channels: 3,
            bytes,
        });
        assert_eq!(
            [
                look.0[0],
                look.0[SIDE - 1],
                look.0[THUMBNAIL_BYTES - SIDE],
                look.0[THUMBNAIL_BYTES - 1]
            ],
            [200, 10, 10, 10]
        );
    }
}
