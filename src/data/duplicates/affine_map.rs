//! Affine maps from one thumbnail to another: the one that their windows suggest, and whether a
//! copy may be distorted like that.

use super::focus::{Focus, Tilt};
use crate::data::pixels::thumbnail::SIDE;

/// Bounds of the scale of a copy.
const STRETCHED: [f32; 2] = [0.8, 1.25];
/// Maximum cosine of the angle between the mapped sides of a copy.
const LEANING: f32 = 0.15;

/// Maps pixels of the second image to the first: a matrix and a shift, relative to the centers.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct Affine(pub(super) [f32; 6]);

impl Affine {
    /// Returns the map that lays the window of one image over that of another, at a quarter of the
    /// size.
    pub(in crate::data) fn of(one: &Focus, tilt: Tilt, other: &Focus) -> Self {
        let (sine, cosine) = tilt.angle.sin_cos();
        let [x, y] = tilt
            .mirrored
            .map(|is_mirrored| if is_mirrored { -1.0 } else { 1.0 });
        let [a, b, c, d] = [cosine * x, -sine * y, sine * x, cosine * y];
        let side = SIDE as f32 / 4.0;
        let [from, to] = [one.middle, other.middle].map(|middle| middle.map(|place| place * side));
        Self([
            a,
            b,
            from[0] - a * to[0] - b * to[1],
            c,
            d,
            from[1] - c * to[0] - d * to[1],
        ])
    }

    /// Returns the same map at twice the size.
    pub(super) fn doubled(self) -> Self {
        let [a, b, x, c, d, y] = self.0;
        Self([a, b, 2.0 * x, c, d, 2.0 * y])
    }

    /// Returns whether a copy may be distorted like this.
    pub(super) fn is_small(self) -> bool {
        let [a, b, _, c, d, _] = self.0;
        let [across, down] = [a.hypot(c), b.hypot(d)];
        let is_stretched = |length: f32| (STRETCHED[0]..=STRETCHED[1]).contains(&length);
        is_stretched(across)
            && is_stretched(down)
            && ((a * b + c * d) / (across * down)).abs() <= LEANING
    }
}
