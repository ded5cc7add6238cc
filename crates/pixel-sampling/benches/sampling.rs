//! Images per second with each instruction set, the best of many alternating turns:
//! `cargo bench -p pixel-sampling`.
#![expect(clippy::print_stdout, reason = "a benchmark tells what it saw")]

use std::time::Instant;

use pixel_sampling::{Channel, Edge, Finish, Image, Isa, Map, sample, sample_unmoved};

const SHAPE: [usize; 3] = [150, 150, 3];
const SIZE: usize = 150 * 150 * 3;
const TURNS: usize = 60;
const EDGES: [Edge; 4] = [
    Edge::Nearest,
    Edge::Constant(0.0),
    Edge::Reflect,
    Edge::Wrap,
];

fn main() {
    let image = |seed: usize| {
        let level = |index| ((index * (seed + 7) * 31) >> 3) as u8;
        (0..SIZE).map(level).collect()
    };
    let images: Vec<Vec<u8>> = (0..32).map(image).collect();
    let channel = |plane| Channel {
        scale: 1.0 / 255.0,
        offset: 0.0,
        plane,
    };
    let finish = Finish {
        gain: 1.1,
        channels: [0, 1, 2].map(channel),
    };
    let mut batch: Vec<f32> = Vec::with_capacity(images.len() * SIZE);
    let mut best = Vec::new();
    for turn in 0..TURNS {
        let mut index = 0;
        let batch = &mut batch;
        let mut measure = |name: String, work: &mut dyn FnMut(Image<'_>, &Map, &mut Vec<f32>)| {
            let start = Instant::now();
            batch.clear();
            for image in &images {
                let image = Image::new(image, SHAPE).expect("fits");
                work(image, &map((turn % 40) as f64 * 0.017 - 0.34), batch);
            }
            let rate = images.len() as f64 / start.elapsed().as_secs_f64();
            if best.len() == index {
                best.push((name, rate));
            }
            best[index].1 = best[index].1.max(rate);
            index += 1;
        };
        for isa in Isa::available() {
            for edge in EDGES {
                measure(format!("{isa:?} {edge:?}"), &mut |image, map, out| {
                    isa.as_best(|| sample(image, map, edge, &finish, out));
                });
            }
        }
        let plane = SIZE / 3;
        measure(
            format!("{:?} Nearest, of one channel", Isa::best()),
            &mut |image, map, out| {
                let gray = Image::new(&images[turn % images.len()][..plane], SHAPE).expect("fits");
                let _ = image;
                sample(gray, map, Edge::Nearest, &finish, out);
            },
        );
        measure("unmoved".to_owned(), &mut |image, _, out| {
            sample_unmoved(image, [true, false], &finish, out)
        });
    }
    for (name, rate) in best {
        println!("{name}: {rate:.0} images/s");
    }
}

/// A rotation about the center and a small shift.
fn map(angle: f64) -> Map {
    let (sine, cosine) = angle.sin_cos();
    let center = 74.5;
    [
        [
            cosine,
            -sine,
            center - cosine * center + sine * center + 6.0,
        ],
        [sine, cosine, center - sine * center - cosine * center - 5.0],
        [0.0, 0.0, 1.0],
    ]
}
