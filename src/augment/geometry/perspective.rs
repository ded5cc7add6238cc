//! Perspective, as in torchvision.

use pixel_sampling::Map;
use rand::RngExt as _;

use crate::{
    augment::{
        family::{Effect, Example, Family},
        geometry::compose,
        ranged::Ranged,
    },
    base::rng::Stream,
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Ranged> = Family {
    keys: &["perspective"],
    stream: 10,
    effect: |_| Effect::Moves,
    check: |ranged, faults| ranged.check([0.0, 1.0], faults),
    draw: |ranged, mut stream, drawing| {
        if let Some(distortion) = ranged.strength(&mut stream) {
            let map = draw(distortion, drawing.size, &mut stream);
            drawing.plan.map = compose(drawing.plan.map, map);
        }
    },
    examples: &[Example {
        name: "perspective",
        settings: "perspective = { range = [0.3, 0.8] }",
        about: "How far each corner may move towards the middle (torchvision's \
                `RandomPerspective`).",
    }],
    neutral: &["perspective = { range = [0, 0] }"],
    ..Family::NEW
};

/// Moves each corner towards the center by up to `distortion` of half a side (torchvision's
/// `RandomPerspective`).
fn draw(distortion: f64, [height, width]: [usize; 2], stream: &mut Stream) -> Map {
    let (right, bottom) = (width as f64 - 1.0, height as f64 - 1.0);
    let mut inwards = |side: f64| stream.random::<f64>() * distortion * side / 2.0;
    let corners = [
        [inwards(right), inwards(bottom)],
        [right - inwards(right), inwards(bottom)],
        [right - inwards(right), bottom - inwards(bottom)],
        [inwards(right), bottom - inwards(bottom)],
    ];
    let to_quad = unit_square_to(corners);
    let to_source = [[right, 0.0, 0.0], [0.0, bottom, 0.0], [0.0, 0.0, 1.0]];
    let map = compose(to_source, inverse(to_quad));
    // A homogeneous map is defined up to a factor; this one gives the center a depth of 1.
    let depth = map[2][0] * right / 2.0 + map[2][1] * bottom / 2.0 + map[2][2];
    map.map(|row| row.map(|value| value / depth))
}

/// Returns the map from the corners of the unit square, clockwise from the upper left, to four
/// points (Heckbert 1989, section 2.2.3).
fn unit_square_to([a, b, c, d]: [[f64; 2]; 4]) -> Map {
    let sum = [0, 1].map(|axis| a[axis] - b[axis] + c[axis] - d[axis]);
    let (u, v) = ([b[0] - c[0], b[1] - c[1]], [d[0] - c[0], d[1] - c[1]]);
    let area = u[0] * v[1] - v[0] * u[1];
    let g = (sum[0] * v[1] - v[0] * sum[1]) / area;
    let h = (u[0] * sum[1] - sum[0] * u[1]) / area;
    let line = |axis: usize| {
        [
            b[axis] - a[axis] + g * b[axis],
            d[axis] - a[axis] + h * d[axis],
            a[axis],
        ]
    };
    [line(0), line(1), [g, h, 1.0]]
}

/// Returns the inverse up to a factor.
fn inverse(m: Map) -> Map {
    let minor = |r: [usize; 2], c: [usize; 2]| {
        m[r[0]][c[0]] * m[r[1]][c[1]] - m[r[0]][c[1]] * m[r[1]][c[0]]
    };
    [
        [
            minor([1, 2], [1, 2]),
            -minor([0, 2], [1, 2]),
            minor([0, 1], [1, 2]),
        ],
        [
            -minor([1, 2], [0, 2]),
            minor([0, 2], [0, 2]),
            -minor([0, 1], [0, 2]),
        ],
        [
            minor([1, 2], [0, 1]),
            -minor([0, 2], [0, 1]),
            minor([0, 1], [0, 1]),
        ],
    ]
}
