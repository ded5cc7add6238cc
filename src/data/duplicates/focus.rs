//! Finds what an image shows, wherever it is: a window around its middle, and hashes of the window
//! by which copies are found that were moved by a tenth or rotated by a few degrees.

use std::{f32::consts::PI, sync::OnceLock};

use isa::{Isa, Work};

use super::scales::halved;
use crate::data::pixels::thumbnail::{
    Frequencies, ORDER, SIDE, Spectrum, Thumbnail, correlation, hash, spectrum,
};

/// Side of the window, and of the small image in which its middle is found.
const WINDOW: usize = 16;
/// Side of the image that the window is taken from.
const HALF: usize = SIDE / 2;
/// Side of the window as a fraction of the image's.
const SHARE: f32 = 0.7;
/// Number of mean shift steps.
const STEPS: usize = 5;
/// Radius of a step's neighborhood, in pixels of the small image.
const REACH: f32 = 7.0;

/// Rotations of the window in degrees. A hash tolerates three or four degrees to each side.
const ANGLES: [f32; 3] = [0.0, -7.0, 7.0];
/// Number of reflections: none, left to right, top to bottom, both.
const MIRRORS: usize = 4;
/// Number of hashes of a window.
pub(in crate::data) const TILTS: usize = ANGLES.len() * MIRRORS;

/// What the middle of an image is the middle of.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) enum Weight {
    /// Edges: the sharp parts of a photograph.
    Edges,
    /// Differences from the border: a body on a plain ground.
    Levels,
}

/// A window around the middle of what an image shows.
#[derive(Clone, Debug)]
pub(in crate::data) struct Focus {
    /// Hashes by angle and reflection. The first is that of the upright window.
    pub hashes: [u64; TILTS],
    /// Offset of the middle from the image's center, across and down, as fractions of a side.
    pub middle: [f32; 2],
    /// Low frequencies of the window at each angle.
    spectra: [Spectrum; ANGLES.len()],
}

/// How the window of one image is oriented in another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::data) struct Tilt {
    /// Angle in radians.
    pub angle: f32,
    /// Whether it is mirrored left to right, and top to bottom.
    pub mirrored: [bool; 2],
}

impl Tilt {
    /// Returns the orientation of a hash.
    pub(in crate::data) fn of(variant: usize) -> Self {
        Self {
            angle: ANGLES[variant / MIRRORS].to_radians(),
            mirrored: [variant & 1 != 0, variant & 2 != 0],
        }
    }

    /// Returns whether a hash is at most mirrored; then each of two images has this orientation in
    /// the other.
    pub(in crate::data) fn is_upright(variant: usize) -> bool {
        variant < MIRRORS
    }
}

impl Focus {
    /// Finds the window of a thumbnail by each weight and computes its hashes.
    pub(in crate::data) fn of(look: &Thumbnail, weights: [Weight; 2]) -> [Self; 2] {
        let half = halved(look);
        let quarter = quartered(&half);
        weights.map(|weight| {
            let middle = Isa::best().run(Middle(&weighed(&quarter, weight)));
            let window = |angle: f32| {
                Isa::best().run(Window {
                    half: &half,
                    middle,
                    angle: angle.to_radians(),
                })
            };
            let frequencies = ANGLES.map(|angle| frequencies(&window(angle)));
            let hashes = std::array::from_fn(|variant| {
                hash(&frequencies[variant / MIRRORS], variant % MIRRORS)
            });
            Self {
                hashes,
                middle,
                spectra: frequencies.map(|frequencies| spectrum(&frequencies, 0)),
            }
        })
    }

    /// Returns the correlation of this window, oriented as `variant` says, with another one, as far
    /// as low frequencies tell.
    pub(in crate::data) fn correlation(&self, variant: usize, other: &Self) -> f32 {
        correlation(
            &self.spectra[variant / MIRRORS],
            variant % MIRRORS,
            &other.spectra[0],
        )
    }
}

/// Reduces half a thumbnail to [`WINDOW`] pixels a side by means of 2 x 2 pixels.
pub(in crate::data) fn quartered(half: &[f32]) -> Vec<f32> {
    let mut means = vec![0.0; WINDOW * WINDOW];
    for (means, [upper, lower]) in means
        .as_chunks_mut::<WINDOW>()
        .0
        .iter_mut()
        .zip(half.as_chunks::<HALF>().0.as_chunks::<2>().0)
    {
        for (column, mean) in means.iter_mut().enumerate() {
            *mean = (upper[2 * column]
                + upper[2 * column + 1]
                + lower[2 * column]
                + lower[2 * column + 1])
                / 4.0;
        }
    }
    means
}

/// Finds the middle of the weights by mean shift (Comaniciu and Meer, 2002): since only what is
/// near counts, content that enters or leaves at the borders hardly moves it.
struct Middle<'a>(&'a [f32; WINDOW * WINDOW]);

impl Work for Middle<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run(self) -> [f32; 2] {
        const CENTER: f32 = (WINDOW as f32 - 1.0) / 2.0;
        let mut middle = [0.0f32; 2];
        for step in 0..STEPS {
            // The first step covers the whole image.
            let reach = if step == 0 { 4.0 * REACH } else { REACH };
            let scale = 1.0 / (reach * reach);
            // Sums by column, so that they become vectors.
            let mut sums = [[0.0f32; WINDOW]; 3];
            for (row, weights) in self.0.as_chunks::<WINDOW>().0.iter().enumerate() {
                let down = row as f32 - CENTER - middle[1];
                for (column, weight) in weights.iter().enumerate() {
                    let across = column as f32 - CENTER - middle[0];
                    let near = weight * (1.0 - (across * across + down * down) * scale).max(0.0);
                    sums[0][column] += near;
                    sums[1][column] += near * across;
                    sums[2][column] += near * down;
                }
            }
            let [sum, across, down] = sums.map(|columns| columns.iter().sum::<f32>());
            // Keeps the window inside the image.
            let limit = CENTER * (1.0 - SHARE);
            let moved = [across, down].map(|moved| moved / (sum + 1e-6));
            middle = [0, 1].map(|axis| (middle[axis] + moved[axis]).clamp(-limit, limit));
        }
        middle.map(|place| place / WINDOW as f32)
    }
}

/// Returns the weight of each pixel; the outermost have none.
fn weighed(small: &[f32], weight: Weight) -> [f32; WINDOW * WINDOW] {
    let is_inner = |at: usize| {
        (1..WINDOW - 1).contains(&(at / WINDOW)) && (1..WINDOW - 1).contains(&(at % WINDOW))
    };
    // The ground is the median of the border.
    let mut border: Vec<f32> = (0..small.len())
        .filter(|at| !is_inner(*at))
        .map(|at| small[at])
        .collect();
    let middle = border.len() / 2;
    let ground = *border.select_nth_unstable_by(middle, f32::total_cmp).1;
    let mut weights = [0.0; WINDOW * WINDOW];
    for row in 1..WINDOW - 1 {
        for at in row * WINDOW + 1..(row + 1) * WINDOW - 1 {
            weights[at] = match weight {
                Weight::Edges => {
                    let (across, down) = (
                        small[at + 1] - small[at - 1],
                        small[at + WINDOW] - small[at - WINDOW],
                    );
                    (across * across + down * down).sqrt()
                }
                Weight::Levels => (small[at] - ground).abs(),
            };
        }
    }
    weights
}

/// Samples the window, rotated around its middle, with bilinear interpolation.
struct Window<'a> {
    half: &'a [f32],
    middle: [f32; 2],
    angle: f32,
}

impl Work for Window<'_> {
    type Output = [f32; WINDOW * WINDOW];

    #[inline(always)]
    fn run(self) -> Self::Output {
        const CENTER: f32 = (HALF as f32 - 1.0) / 2.0;
        const STEP: f32 = SHARE * HALF as f32 / WINDOW as f32;
        let (sine, cosine) = self.angle.sin_cos();
        let [left, top] = self.middle.map(|place| place * HALF as f32 + CENTER);
        let half: &[f32; HALF * HALF] = self.half.first_chunk().expect("half a thumbnail");
        let mut levels = [0.0; WINDOW * WINDOW];
        for (row, levels) in levels.as_chunks_mut::<WINDOW>().0.iter_mut().enumerate() {
            let (mut before, mut right, mut below) =
                ([0u32; WINDOW], [0.0f32; WINDOW], [0.0f32; WINDOW]);
            let v = (row as f32 - (WINDOW as f32 - 1.0) / 2.0) * STEP;
            for column in 0..WINDOW {
                let u = (column as f32 - (WINDOW as f32 - 1.0) / 2.0) * STEP;
                let [x, y] = [
                    left + (cosine * u - sine * v),
                    top + (sine * u + cosine * v),
                ]
                .map(|place| place.clamp(0.0, HALF as f32 - 1.001));
                let (whole_x, whole_y) = (x as i32, y as i32);
                (right[column], below[column]) = (x - whole_x as f32, y - whole_y as f32);
                before[column] = (whole_y * HALF as i32 + whole_x) as u32;
            }
            let around = picked(half, &before);
            for column in 0..WINDOW {
                let [upper, upper_next, lower, lower_next] =
                    [0, 1, 2, 3].map(|at: usize| around[at][column]);
                let above = upper + (upper_next - upper) * right[column];
                levels[column] =
                    above + (lower + (lower_next - lower) * right[column] - above) * below[column];
            }
        }
        levels
    }
}

/// Picks the four pixels around each position. A function of its own, because inlined it becomes
/// gather instructions, which take twice as long.
#[inline(never)]
fn picked(half: &[f32; HALF * HALF], before: &[u32; WINDOW]) -> [[f32; WINDOW]; 4] {
    let mut around = [[0.0; WINDOW]; 4];
    for (column, before) in before.iter().enumerate() {
        // The remainder is a no-op that saves the bounds check.
        let level = |beyond: usize| half[(*before as usize + beyond) % (HALF * HALF)];
        [
            around[0][column],
            around[1][column],
            around[2][column],
            around[3][column],
        ] = [level(0), level(1), level(HALF), level(HALF + 1)];
    }
    around
}

/// Computes the low frequencies of a window (DCT-II).
fn frequencies(window: &[f32]) -> Frequencies {
    static WAVES: OnceLock<[[f32; ORDER]; WINDOW]> = OnceLock::new();
    let wave = |at: usize, frequency: usize| {
        (PI * frequency as f32 * (at as f32 + 0.5) / WINDOW as f32).cos()
    };
    let waves = WAVES.get_or_init(|| {
        std::array::from_fn(|at| std::array::from_fn(|frequency| wave(at, frequency)))
    });
    let mut found = [[0.0; ORDER]; ORDER];
    for (row, down) in window.as_chunks::<WINDOW>().0.iter().zip(waves) {
        let mut sums = [0.0f32; ORDER];
        for (level, across) in row.iter().zip(waves) {
            sums.iter_mut()
                .zip(across)
                .for_each(|(sum, wave)| *sum += level * wave);
        }
        for (line, wave) in found.iter_mut().zip(down) {
            line.iter_mut()
                .zip(sums)
                .for_each(|(out, sum)| *out += sum * wave);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dots and a bar on a plain ground, moved by fractions of a side and then rotated around the
    /// center.
    fn look(moved: [f32; 2], degrees: f32, is_mirrored: bool) -> Thumbnail {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let level = |at: usize| {
            let [x, y] =
                [at % SIDE, at / SIDE].map(|place| (place as f32 + 0.5) / SIDE as f32 - 0.5);
            let x = if is_mirrored { -x } else { x };
            let place = [cosine * x + sine * y, cosine * y - sine * x];
            let [x, y] = [0, 1].map(|axis| place[axis] - moved[axis]);
            let dot = |at: [f32; 2], size: f32, height: f32| {
                height * (-((x - at[0]).powi(2) + (y - at[1]).powi(2)) / (size * size)).exp()
            };
            let dots = dot([-0.08, -0.1], 0.07, 160.0)
                + dot([0.1, -0.02], 0.05, 110.0)
                + dot([-0.02, 0.12], 0.09, 200.0);
            (40.0
                + dots
                + if x.abs() < 0.18 && (y - 0.03).abs() < 0.02 {
                    20.0
                } else {
                    0.0
                })
            .round() as u8
        };
        Thumbnail::from_bytes(&(0..SIDE * SIDE).map(level).collect::<Vec<_>>()).expect("all bytes")
    }

    fn focus(look: &Thumbnail, weight: Weight) -> Focus {
        Focus::of(look, [weight; 2])[0].clone()
    }

    #[test]
    fn the_middle_goes_where_the_image_goes() {
        for weight in [Weight::Levels, Weight::Edges] {
            let middle = focus(&look([0.0, 0.0], 0.0, false), weight).middle;
            for moved in [[0.1, -0.06], [-0.09, 0.1]] {
                let other = focus(&look(moved, 0.0, false), weight).middle;
                assert!(
                    (0..2).all(|axis| (other[axis] - middle[axis] - moved[axis]).abs() < 0.02),
                    "{weight:?} {moved:?}: {middle:?} {other:?}"
                );
            }
        }
    }

    #[test]
    fn a_hash_finds_what_was_moved_turned_and_mirrored() {
        for weight in [Weight::Levels, Weight::Edges] {
            let upright = focus(&look([0.0, 0.0], 0.0, false), weight);
            for (moved, degrees, is_mirrored) in [
                ([0.0, 0.0], 0.0, false),
                ([0.08, 0.05], -7.0, false),
                ([-0.05, 0.1], 8.0, true),
                ([0.1, 0.0], 8.0, false),
            ] {
                let other = focus(&look(moved, degrees, is_mirrored), weight);
                let alike = |variant: &usize| upright.correlation(*variant, &other);
                let best = (0..TILTS)
                    .max_by(|a, b| alike(a).total_cmp(&alike(b)))
                    .expect("some");
                let bits = (upright.hashes[best] ^ other.hashes[0]).count_ones();
                assert!(
                    bits <= 9 && alike(&best) > 0.95,
                    "{weight:?} {moved:?} {degrees}: {bits}, {}",
                    alike(&best)
                );
                let Tilt { angle, mirrored } = Tilt::of(best);
                // A rotation in one direction is found by rotating the other image in the opposite
                // one.
                let pose = (mirrored, -(angle.to_degrees() / 7.0).round());
                assert_eq!(
                    pose,
                    ([is_mirrored, false], (degrees / 7.0f32).round()),
                    "{weight:?} {moved:?} {degrees}"
                );
            }
        }
    }
}
