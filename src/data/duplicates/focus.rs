//! Finds what an image shows, wherever it is: a window around its middle, and hashes of the window
//! by which copies are found that were moved by a tenth or rotated by a few degrees.

use std::{f32::consts::PI, sync::OnceLock};

use crate::data::pixels::thumbnail::{Frequencies, ORDER, SIDE, Thumbnail, correlation, hash, unit};

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
    frequencies: [Frequencies; ANGLES.len()],
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
        Self { angle: ANGLES[variant / MIRRORS].to_radians(), mirrored: [variant & 1 != 0, variant & 2 != 0] }
    }

    /// Returns whether a hash is at most mirrored; then each of two images has this orientation in
    /// the other.
    pub(in crate::data) fn is_upright(variant: usize) -> bool {
        variant < MIRRORS
    }
}

impl Focus {
    /// Finds the window of a thumbnail and computes its hashes.
    pub(in crate::data) fn of(look: &Thumbnail, weight: Weight) -> Self {
        let half = halved(&look.bytes().iter().map(|level| f32::from(*level)).collect::<Vec<_>>());
        let middle = middle(&halved(&half), weight);
        let frequencies = ANGLES.map(|angle| unit(frequencies(&window(&half, middle, angle.to_radians()))));
        let hashes = std::array::from_fn(|variant| hash(&frequencies[variant / MIRRORS], variant % MIRRORS));
        Self { hashes, middle, frequencies }
    }

    /// Returns the correlation of this window, oriented as `variant` says, with another one, as far
    /// as low frequencies tell.
    pub(in crate::data) fn correlation(&self, variant: usize, other: &Self) -> f32 {
        correlation(&self.frequencies[variant / MIRRORS], variant % MIRRORS, &other.frequencies[0])
    }
}

/// Halves the sides of a square image by means of 2 x 2 pixels.
pub(in crate::data) fn halved(levels: &[f32]) -> Vec<f32> {
    let side = levels.len().isqrt();
    let rows = levels.chunks_exact(2 * side);
    let means = |rows: &[f32]| -> Vec<f32> {
        let (upper, lower) = rows.split_at(side);
        let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
        pairs.map(|([a, b], [c, d])| (a + b + c + d) / 4.0).collect()
    };
    rows.flat_map(means).collect()
}

/// Finds the middle of the weights by mean shift (Comaniciu and Meer, 2002): since only what is
/// near counts, content that enters or leaves at the borders hardly moves it.
fn middle(small: &[f32], weight: Weight) -> [f32; 2] {
    const CENTRE: f32 = (WINDOW as f32 - 1.0) / 2.0;
    let weights = weights(small, weight);
    let mut middle = [0.0f32; 2];
    for step in 0..STEPS {
        // The first step covers the whole image.
        let reach = if step == 0 { 4.0 * REACH } else { REACH };
        let (mut sum, mut moved) = (1e-6, [0.0; 2]);
        for (at, weight) in weights.iter().enumerate() {
            let away = [(at % WINDOW) as f32 - CENTRE - middle[0], (at / WINDOW) as f32 - CENTRE - middle[1]];
            let near = weight * (1.0 - (away[0] * away[0] + away[1] * away[1]) / (reach * reach)).max(0.0);
            sum += near;
            moved = [moved[0] + near * away[0], moved[1] + near * away[1]];
        }
        // Keeps the window inside the image.
        let limit = CENTRE * (1.0 - SHARE);
        middle = [0, 1].map(|axis| (middle[axis] + moved[axis] / sum).clamp(-limit, limit));
    }
    middle.map(|place| place / WINDOW as f32)
}

/// Returns the weight of each pixel; the outermost have none.
fn weights(small: &[f32], weight: Weight) -> Vec<f32> {
    let is_inner = |at: usize| (1..WINDOW - 1).contains(&(at / WINDOW)) && (1..WINDOW - 1).contains(&(at % WINDOW));
    let of = |at: usize, ground: f32| match weight {
        _ if !is_inner(at) => 0.0,
        Weight::Edges => (small[at + 1] - small[at - 1]).hypot(small[at + WINDOW] - small[at - WINDOW]),
        Weight::Levels => (small[at] - ground).abs(),
    };
    // The ground is the median of the border.
    let mut border: Vec<f32> = (0..small.len()).filter(|at| !is_inner(*at)).map(|at| small[at]).collect();
    border.sort_by(f32::total_cmp);
    (0..small.len()).map(|at| of(at, border[border.len() / 2])).collect()
}

/// Samples the window, rotated around its middle, with bilinear interpolation.
fn window(half: &[f32], middle: [f32; 2], angle: f32) -> Vec<f32> {
    const CENTRE: f32 = (HALF as f32 - 1.0) / 2.0;
    const STEP: f32 = SHARE * HALF as f32 / WINDOW as f32;
    let (sine, cosine) = angle.sin_cos();
    let level = |at: usize| {
        let [u, v] = [at % WINDOW, at / WINDOW].map(|place| (place as f32 - (WINDOW as f32 - 1.0) / 2.0) * STEP);
        let place = [cosine * u - sine * v, sine * u + cosine * v];
        let place = [0, 1].map(|axis| (place[axis] + middle[axis] * HALF as f32 + CENTRE).clamp(0.0, HALF as f32 - 1.001));
        let [x, y] = place.map(|place| place as usize);
        let [right, below] = [place[0] - x as f32, place[1] - y as f32];
        let row = |y: usize| half[y * HALF + x] + (half[y * HALF + x + 1] - half[y * HALF + x]) * right;
        row(y) + (row(y + 1) - row(y)) * below
    };
    (0..WINDOW * WINDOW).map(level).collect()
}

/// Computes the low frequencies of a window (DCT-II).
fn frequencies(window: &[f32]) -> Frequencies {
    static WAVES: OnceLock<[[f32; ORDER]; WINDOW]> = OnceLock::new();
    let wave = |at: usize, frequency: usize| (PI * frequency as f32 * (at as f32 + 0.5) / WINDOW as f32).cos();
    let waves = WAVES.get_or_init(|| std::array::from_fn(|at| std::array::from_fn(|frequency| wave(at, frequency))));
    let mut found = [[0.0; ORDER]; ORDER];
    for (row, down) in window.as_chunks::<WINDOW>().0.iter().zip(waves) {
        let mut sums = [0.0f32; ORDER];
        for (level, across) in row.iter().zip(waves) {
            sums.iter_mut().zip(across).for_each(|(sum, wave)| *sum += level * wave);
        }
        for (line, wave) in found.iter_mut().zip(down) {
            line.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum * wave);
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
            let [x, y] = [at % SIDE, at / SIDE].map(|place| (place as f32 + 0.5) / SIDE as f32 - 0.5);
            let x = if is_mirrored { -x } else { x };
            let place = [cosine * x + sine * y, cosine * y - sine * x];
            let [x, y] = [0, 1].map(|axis| place[axis] - moved[axis]);
            let dot = |at: [f32; 2], size: f32, height: f32| height * (-((x - at[0]).powi(2) + (y - at[1]).powi(2)) / (size * size)).exp();
            let dots = dot([-0.08, -0.1], 0.07, 160.0) + dot([0.1, -0.02], 0.05, 110.0) + dot([-0.02, 0.12], 0.09, 200.0);
            (40.0 + dots + if x.abs() < 0.18 && (y - 0.03).abs() < 0.02 { 20.0 } else { 0.0 }).round() as u8
        };
        Thumbnail::from_bytes(&(0..SIDE * SIDE).map(level).collect::<Vec<_>>()).expect("all bytes")
    }

    #[test]
    fn the_middle_goes_where_the_image_goes() {
        for weight in [Weight::Levels, Weight::Edges] {
            let middle = Focus::of(&look([0.0, 0.0], 0.0, false), weight).middle;
            for moved in [[0.1, -0.06], [-0.09, 0.1]] {
                let other = Focus::of(&look(moved, 0.0, false), weight).middle;
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
            let focus = Focus::of(&look([0.0, 0.0], 0.0, false), weight);
            for (moved, degrees, is_mirrored) in
                [([0.0, 0.0], 0.0, false), ([0.08, 0.05], -7.0, false), ([-0.05, 0.1], 8.0, true), ([0.1, 0.0], 8.0, false)]
            {
                let other = Focus::of(&look(moved, degrees, is_mirrored), weight);
                let alike = |variant: &usize| focus.correlation(*variant, &other);
                let best = (0..TILTS).max_by(|a, b| alike(a).total_cmp(&alike(b))).expect("some");
                let bits = (focus.hashes[best] ^ other.hashes[0]).count_ones();
                assert!(bits <= 9 && alike(&best) > 0.95, "{weight:?} {moved:?} {degrees}: {bits}, {}", alike(&best));
                let Tilt { angle, mirrored } = Tilt::of(best);
                // A rotation in one direction is found by rotating the other image in the opposite
                // one.
                let pose = (mirrored, -(angle.to_degrees() / 7.0).round());
                assert_eq!(pose, ([is_mirrored, false], (degrees / 7.0f32).round()), "{weight:?} {moved:?} {degrees}");
            }
        }
    }
}
