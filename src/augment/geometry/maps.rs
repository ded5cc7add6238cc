//! Arithmetic of maps.

use pixel_sampling::Map;

/// Returns the product of two matrices: the map that applies `second` first and `first` to its
/// result.
pub(in crate::augment) fn compose(first: Map, second: Map) -> Map {
    first.map(|row| {
        [0, 1, 2].map(|column| {
            row[0] * second[0][column] + row[1] * second[1][column] + row[2] * second[2][column]
        })
    })
}

/// Returns `map` with the point (x, y) as its origin.
pub(super) fn about([x, y]: [f64; 2], map: Map) -> Map {
    let to = |x: f64, y: f64| [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]];
    compose(compose(to(x, y), map), to(-x, -y))
}

/// Returns `map` with the image's center as its origin.
pub(in crate::augment) fn about_center(map: Map, [height, width]: [usize; 2]) -> Map {
    about(
        [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0],
        map,
    )
}

/// Rounds to multiples of 2^-40, so that a quarter turn maps whole pixels to whole pixels in spite
/// of rounding errors.
pub(super) fn snap(map: Map) -> Map {
    const STEP: f64 = 1.0 / (1u64 << 40) as f64;
    map.map(|row| row.map(|value| (value / STEP).round() * STEP))
}

/// Returns the map that mirrors left and right, top and bottom, or neither.
pub(super) fn mirror([horizontal, vertical]: [bool; 2], [height, width]: [usize; 2]) -> Map {
    let line = |on: bool, side: usize| {
        if on {
            (-1.0, side as f64 - 1.0)
        } else {
            (1.0, 0.0)
        }
    };
    let ((sx, x), (sy, y)) = (line(horizontal, width), line(vertical, height));
    [[sx, 0.0, x], [0.0, sy, y], [0.0, 0.0, 1.0]]
}

/// Returns whether columns and rows are mirrored if `map` does nothing else, or `None` if it does
/// more.
pub(in crate::augment) fn mirrors(map: &Map, [height, width, _]: [usize; 3]) -> Option<[bool; 2]> {
    [[false, false], [true, false], [false, true], [true, true]]
        .into_iter()
        .find(|flips| mirror(*flips, [height, width]) == *map)
}
