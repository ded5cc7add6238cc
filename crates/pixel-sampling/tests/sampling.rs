//! Compares sampling with a plain reference in `f64`, and all instruction sets with each other, bit
//! for bit.

use pixel_sampling::{Channel, Edge, Finish, IDENTITY, Image, Isa, Map, sample, sample_unmoved};
use proptest::prelude::*;

const EDGES: [Edge; 4] = [
    Edge::Nearest,
    Edge::Constant(77.25),
    Edge::Reflect,
    Edge::Wrap,
];

fn image(shape: [usize; 3], seed: usize) -> Vec<u8> {
    (0..shape.iter().product())
        .map(|index: usize| (((index + seed) * (index + 3) * 2_654_435_761) >> 11) as u8)
        .collect()
}

fn sampled(
    isa: Isa,
    bytes: &[u8],
    shape: [usize; 3],
    map: &Map,
    edge: Edge,
    finish: &Finish,
) -> Vec<f32> {
    // Appended after existing values.
    let mut out = vec![f32::NAN; 3];
    isa.as_best(|| {
        sample(
            Image::new(bytes, shape).expect("fits"),
            map,
            edge,
            finish,
            &mut out,
        )
    });
    assert!(out.len() == bytes.len() + 3 && out[2].is_nan());
    out.split_off(3)
}

/// SciPy's rules, one pixel at a time.
fn reference(
    bytes: &[u8],
    [height, width, channels]: [usize; 3],
    map: &Map,
    edge: Edge,
    at: [usize; 3],
) -> f64 {
    let [channel, row, column] = at;
    let dot = |line: [f64; 3]| (line[2] + line[1] * row as f64) + line[0] * column as f64;
    let depth = dot(map[2]);
    let (x, y) = (dot(map[0]) / depth, dot(map[1]) / depth);
    let (last_x, last_y) = ((width - 1) as f64, (height - 1) as f64);
    let is_outside = !((0.0..=last_x).contains(&x) && (0.0..=last_y).contains(&y));
    let fold = |at: f64, length: usize| {
        let last = (length - 1) as f64;
        match edge {
            _ if (0.0..=last).contains(&at) => at,
            Edge::Reflect => {
                let phase = (at + 0.5).rem_euclid(2.0 * length as f64);
                phase.min(2.0 * length as f64 - phase) - 0.5
            }
            Edge::Wrap => at.rem_euclid(last),
            _ => at,
        }
        .clamp(0.0, last)
    };
    if let (Edge::Constant(level), true) = (edge, is_outside) {
        return f64::from(level);
    }
    let (x, y) = (fold(x, width), fold(y, height));
    let level = |row: usize, column: usize| {
        f64::from(bytes[(row.min(height - 1) * width + column.min(width - 1)) * channels + channel])
    };
    let (top, left) = (y.floor() as usize, x.floor() as usize);
    let (down, right) = (y - y.floor(), x - x.floor());
    let above = level(top, left) * (1.0 - right) + level(top, left + 1) * right;
    let below = level(top + 1, left) * (1.0 - right) + level(top + 1, left + 1) * right;
    above * (1.0 - down) + below * down
}

prop_compose! {
    fn shapes()(height in 8usize..60, width in 8usize..90, is_color: bool) -> [usize; 3] {
        [height, width, if is_color { 3 } else { 1 }]
    }
}

prop_compose! {
    fn maps()(
        [a, b, d, e] in prop::array::uniform4(-2.5f64..2.5),
        [c, f] in prop::array::uniform2(-80.0f64..150.0),
        [g, h] in prop::array::uniform2(-0.004f64..0.004),
        is_perspective: bool,
    ) -> Map {
        let last = if is_perspective { [g, h, 1.0] } else { [0.0, 0.0, 1.0] };
        [[a, b, c], [d, e, f], last]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 300 }))]
    #[test]
    fn every_instruction_set_gives_the_same_bits_and_the_references_levels(
        shape in shapes(),
        map in maps(),
        edge in 0usize..4,
        seed in 0usize..1000,
    ) {
        let (bytes, edge) = (image(shape, seed), EDGES[edge]);
        let isas = Isa::available();
        let first = sampled(isas[0], &bytes, shape, &map, edge, &Finish::LEVELS);
        for isa in &isas[1..] {
            let other = sampled(*isa, &bytes, shape, &map, edge, &Finish::LEVELS);
            let differs = first.iter().zip(&other).position(|(a, b)| a.to_bits() != b.to_bits());
            prop_assert!(differs.is_none(), "{:?} and {:?} at {:?}", isas[0], isa, differs);
        }
        let [height, width, channels] = shape;
        for (index, got) in first.iter().enumerate() {
            let at = [index / (height * width), index / width % height, index % width];
            let expected = reference(&bytes, shape, &map, edge, at);
            // The last bit of a coordinate decides between inside and outside, and between periods.
            let is_close = (f64::from(*got) - expected).abs() < 1e-3;
            let on_the_brink = || [-1e-9, 1e-9].iter().any(|nudge| {
                let mut nudged = map;
                nudged[0][2] += nudge;
                nudged[1][2] += nudge;
                (f64::from(*got) - reference(&bytes, shape, &nudged, edge, at)).abs() < 1e-3
            });
            prop_assert!(
                is_close || on_the_brink(),
                "{:?}: {} {} of {:?} {:?}",
                at,
                got,
                expected,
                channels,
                edge
            );
        }
    }

    #[test]
    fn unmoved_is_sampled_through_a_mirror_on_every_instruction_set(
        shape in shapes(),
        horizontal: bool,
        vertical: bool,
        gain in 0.0f32..2.0,
    ) {
        let bytes = image(shape, 5);
        let [height, width, channels] = shape;
        let channel = |plane: usize| Channel {
            scale: 0.01 * (plane + 1) as f32,
            offset: -0.5,
            plane: channels - 1 - plane.min(channels - 1),
        };
        let finish = Finish { gain, channels: [channel(0), channel(1), channel(2)] };
        let line = |on: bool, side: usize| if on { (-1.0, side as f64 - 1.0) } else { (1.0, 0.0) };
        let ((sx, x), (sy, y)) = (line(horizontal, width), line(vertical, height));
        let map = [[sx, 0.0, x], [0.0, sy, y], [0.0, 0.0, 1.0]];
        let image = Image::new(&bytes, shape).expect("fits");
        let expected = sampled(Isa::best(), &bytes, shape, &map, Edge::Nearest, &finish);
        for isa in Isa::available() {
            let mut out = Vec::new();
            isa.as_best(|| sample_unmoved(image, [horizontal, vertical], &finish, &mut out));
            prop_assert_eq!(&out, &expected, "{:?}", isa);
        }
    }
}

#[test]
fn one_channel_comes_out_as_three_equal_ones_would() {
    let channel = |plane: usize| Channel {
        scale: 0.013 * (plane + 1) as f32,
        offset: plane as f32 - 2.1,
        plane: (plane + 1) % 3,
    };
    let finish = Finish {
        gain: 1.17,
        channels: [channel(0), channel(1), channel(2)],
    };
    let map = [[0.94, -0.34, 6.3], [0.31, 1.07, -5.9], [0.0, 0.0, 1.0]];
    let (gray, shape) = (image([37, 61, 1], 3), [37, 61, 3]);
    let copies: Vec<u8> = gray.iter().flat_map(|level| [*level; 3]).collect();
    let of = |bytes: &[u8], isa: Isa, edge: Edge| {
        let image = Image::new(bytes, shape).expect("fits");
        let mut out = Vec::new();
        isa.as_best(|| {
            sample(image, &map, edge, &finish, &mut out);
            sample_unmoved(image, [true, false], &finish, &mut out);
        });
        out
    };
    for isa in Isa::available() {
        for edge in EDGES {
            assert_eq!(
                of(&gray, isa, edge),
                of(&copies, isa, edge),
                "{isa:?} {edge:?}"
            );
        }
    }
}

/// Samples the values 0 to 7; the expected ones are from SciPy 1.17's `map_coordinates(order=1)`.
#[test]
fn edges_are_scipys() {
    let shape = [8, 8, 1];
    let bytes: Vec<u8> = (0..64).map(|index| index % 8).collect();
    let at = [-0.5, -1.0, -1.5, -2.0, 7.5, 8.0, 8.5, 9.0];
    for (edge, expected) in [
        (Edge::Nearest, [0.0, 0.0, 0.0, 0.0, 7.0, 7.0, 7.0, 7.0]),
        (Edge::Constant(9.0), [9.0; 8]),
        (Edge::Reflect, [0.0, 0.0, 0.5, 1.0, 7.0, 7.0, 6.5, 6.0]),
        (Edge::Wrap, [6.5, 6.0, 5.5, 5.0, 0.5, 1.0, 1.5, 2.0]),
    ] {
        for (at, expected) in at.into_iter().zip(expected) {
            let map = [[1.0, 0.0, at], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
            let got = sampled(Isa::best(), &bytes, shape, &map, edge, &Finish::LEVELS)[0];
            assert!(
                (got - expected).abs() < 1e-6,
                "{edge:?} at {at}: {got}, SciPy has {expected}"
            );
        }
    }
}

#[test]
fn extreme_maps_stay_inside() {
    let shape = [8, 9, 3];
    for edge in EDGES {
        for scale in [1e-9, 1e6, -3e4, 1e300, f64::INFINITY] {
            let map = [[scale, 0.3, -7e5], [0.1, -scale, 1e7], [0.0, 0.0, 1.0]];
            let out = sampled(
                Isa::best(),
                &[5; 8 * 9 * 3],
                shape,
                &map,
                edge,
                &Finish::LEVELS,
            );
            assert!(
                out.iter()
                    .all(|level| (*level - 5.0).abs() < 1e-4 || *level == 77.25),
                "{edge:?}: {out:?}"
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (length, shape) in [
        (7 * 8, [7, 8, 1]),
        (8 * 8 * 2, [8, 8, 2]),
        (8 * 8, [8, 8, 2]),
        (8 * 8 * 2, [8, 8, 3]),
        (8 * 8 * 3, [8, 8, 1]),
        (0, [0, 8, 1]),
    ] {
        assert!(Image::new(&vec![0; length], shape).is_none(), "{shape:?}");
    }
    let bytes = image([8, 8, 3], 1);
    assert_eq!(
        sampled(
            Isa::best(),
            &bytes,
            [8, 8, 3],
            &IDENTITY,
            Edge::Wrap,
            &Finish::LEVELS
        )[64],
        f32::from(bytes[1])
    );
}

/// Confirmed on x86-64 (SSE2, AVX2, AVX-512) and on AArch64 (NEON).
#[test]
fn the_bits_are_the_same_on_every_kind_of_machine() {
    let maps: [Map; 3] = [
        [[0.94, -0.34, 6.3], [0.31, 1.07, -5.9], [0.0, 0.0, 1.0]],
        [[-1.73, 0.02, 61.0], [0.4, 2.2, -17.25], [0.0, 0.0, 1.0]],
        [[1.1, 0.2, -4.0], [-0.1, 0.9, 3.0], [0.002, -0.003, 1.0]],
    ];
    let channel = |plane: usize| Channel {
        scale: 0.017 + plane as f32,
        offset: -2.1,
        plane,
    };
    let finish = Finish {
        gain: 1.17,
        channels: [channel(0), channel(1), channel(2)],
    };
    for isa in Isa::available() {
        let mut hash = 0xCBF2_9CE4_8422_2325u64;
        for (map, shape) in maps.iter().zip([[37, 61, 3], [64, 40, 1], [19, 33, 3]]) {
            for edge in EDGES {
                for value in sampled(isa, &image(shape, 11), shape, map, edge, &finish) {
                    hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0000_0100_0000_01B3);
                }
            }
        }
        assert_eq!(hash, 0xF373_5513_A7C9_8C9C, "{isa:?}: {hash:#x}");
    }
}
