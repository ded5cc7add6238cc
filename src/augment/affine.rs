//! One inverse affine map, sampled once with bilinear weights, and SciPy's four ways to fill what lies outside.

use crate::config::FillMode;

/// Output (column, row, 1) to source (column, row).
pub(super) type Affine = [[f64; 3]; 2];

pub(super) fn identity() -> Affine {
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
}

/// The map that does `second` first and `first` on its result, as a product of matrices.
pub(super) fn compose(first: Affine, second: Affine) -> Affine {
    first.map(|row| {
        let column = |index: usize| row[0] * second[0][index] + row[1] * second[1][index];
        [column(0), column(1), column(2) + row[2]]
    })
}

/// `map` with `center` as its origin.
pub(super) fn about(center: [f64; 2], map: Affine) -> Affine {
    let [x, y] = center;
    compose(compose([[1.0, 0.0, x], [0.0, 1.0, y]], map), [[1.0, 0.0, -x], [0.0, 1.0, -y]])
}

/// A coordinate that misses the edge by less, through rounding in the map, is on it.
const ROUNDING: f64 = 1e-6;

/// What stands outside the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    pub(super) mode: FillMode,
    /// For the constant mode, in grey levels.
    pub(super) value: f32,
}

/// Grey levels of a picture as they are.
///
/// # Shapes
/// `[height, width, channels]` bytes in, `[channels, height, width]` out.
pub fn planar(bytes: &[u8], [height, width, channels]: [usize; 3]) -> Vec<f32> {
    let mut out = vec![0.0; height * width * channels];
    for (channel, plane) in out.chunks_exact_mut(height * width).enumerate() {
        for (level, pixel) in plane.iter_mut().zip(bytes.chunks_exact(channels)) {
            *level = f32::from(pixel[channel]);
        }
    }
    out
}

/// Samples the picture through `map`.
///
/// # Shapes
/// `[height, width, channels]` bytes in, `[channels, height, width]` grey levels out.
pub(super) fn warp(bytes: &[u8], [height, width, channels]: [usize; 3], map: Affine, fill: Fill) -> Vec<f32> {
    let plane = height * width;
    let mut out = vec![0.0; plane * channels];
    let (last_row, last_column) = ((height - 1) as f64, (width - 1) as f64);
    for row in 0..height {
        for column in 0..width {
            let (x, y) = (column as f64, row as f64);
            let source_x = map[0][0] * x + map[0][1] * y + map[0][2];
            let source_y = map[1][0] * x + map[1][1] * y + map[1][2];
            let beyond = |at: f64, last: f64| at < -ROUNDING || at > last + ROUNDING;
            let is_outside = beyond(source_x, last_column) || beyond(source_y, last_row);
            let index = row * width + column;
            if is_outside && fill.mode == FillMode::Constant {
                (0..channels).for_each(|channel| out[channel * plane + index] = fill.value);
                continue;
            }
            let (source_x, source_y) = if is_outside {
                (fold(source_x, width, fill.mode), fold(source_y, height, fill.mode))
            } else {
                (source_x.clamp(0.0, last_column), source_y.clamp(0.0, last_row))
            };
            // In range now: the casts cut off the fraction.
            let (left, top) = (source_x as usize, source_y as usize);
            let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
            let (share_x, share_y) = ((source_x - left as f64) as f32, (source_y - top as f64) as f32);
            let corners =
                [top * width + left, top * width + right, bottom * width + left, bottom * width + right].map(|pixel| pixel * channels);
            for channel in 0..channels {
                let [a, b, c, d] = corners.map(|corner| f32::from(bytes[corner + channel]));
                let upper = a + (b - a) * share_x;
                let lower = c + (d - c) * share_x;
                out[channel * plane + index] = upper + (lower - upper) * share_y;
            }
        }
    }
    out
}

/// A coordinate outside `0..=length - 1` brought inside as SciPy's `map_coordinates` does it.
fn fold(at: f64, length: usize, mode: FillMode) -> f64 {
    let last = (length - 1) as f64;
    if (0.0..=last).contains(&at) {
        return at;
    }
    let folded = match mode {
        FillMode::Nearest | FillMode::Constant => at,
        FillMode::Reflect => {
            // Mirrored about the outer edges of the first and last pixel: the period is twice the length.
            let phase = (at + 0.5).rem_euclid(2.0 * length as f64);
            phase.min(2.0 * length as f64 - phase) - 0.5
        }
        FillMode::Wrap if length == 1 => 0.0,
        FillMode::Wrap => at.rem_euclid(last),
    };
    folded.clamp(0.0, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four samples 0 to 3 in a row. The values are SciPy 1.17's, `map_coordinates(order=1)`.
    #[test]
    fn fill_modes_are_scipys() {
        let at = [-0.5, -1.0, -1.5, -2.0, 3.5, 4.0, 4.5, 5.0];
        for (mode, expected) in [
            (FillMode::Nearest, [0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0]),
            (FillMode::Constant, [9.0; 8]),
            (FillMode::Reflect, [0.0, 0.0, 0.5, 1.0, 3.0, 3.0, 2.5, 2.0]),
            (FillMode::Wrap, [2.5, 2.0, 1.5, 1.0, 0.5, 1.0, 1.5, 2.0]),
        ] {
            for (at, expected) in at.into_iter().zip(expected) {
                let map = [[1.0, 0.0, at], [0.0, 1.0, 0.0]];
                let got = warp(&[0, 1, 2, 3], [1, 4, 1], map, Fill { mode, value: 9.0 })[0];
                assert!((got - expected).abs() < 1e-6, "{mode:?} at {at}: {got}, SciPy has {expected}");
            }
        }
    }

    #[test]
    fn extreme_maps_stay_inside() {
        for mode in [FillMode::Nearest, FillMode::Constant, FillMode::Reflect, FillMode::Wrap] {
            for scale in [1e-9, 1e6, -3e4] {
                let map = [[scale, 0.3, -7e5], [0.1, -scale, 1e7]];
                let out = warp(&[5; 6], [1, 2, 3], map, Fill { mode, value: 5.0 });
                assert!(out.iter().all(|level| (level - 5.0).abs() < 1e-4), "{mode:?}: {out:?}");
            }
        }
    }
}
