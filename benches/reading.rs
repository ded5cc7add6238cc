//! What reading an image takes, part by part, on one thread:
//! `cargo bench --bench reading -- FOLDER`.

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{hint::black_box, path::PathBuf, time::Instant};

use emberlens::{
    config::{Color, Interpolation, Resize},
    data::{
        duplicates::{Candidate, find},
        pixels::{
            decode::{Pixels, decode},
            image_stats::measure_image,
            resize::resize,
            thumbnail::Thumbnail,
        },
    },
};

const ROUNDS: usize = 5;

fn main() {
    let folder = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"))
        .map(PathBuf::from);
    let Some(folder) = folder else {
        return println!("which folder of images? cargo bench --bench reading -- FOLDER");
    };
    let files: Vec<Vec<u8>> = walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(|entry| std::fs::read(entry.ok()?.path()).ok())
        .filter(|bytes| decode(bytes, Color::Rgb).is_ok())
        .collect();
    println!(
        "{} images, milliseconds each, the best of {ROUNDS} rounds",
        files.len()
    );
    measure_parts(&files);
}

/// The least time that `work` takes, in milliseconds.
fn milliseconds(work: impl Fn()) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e3
    });
    rounds.fold(f64::MAX, f64::min)
}

fn measure_parts(files: &[Vec<u8>]) {
    let images: Vec<Pixels> = files
        .iter()
        .filter_map(|bytes| decode(bytes, Color::Rgb).ok())
        .collect();
    let looks: Vec<Thumbnail> = images.iter().map(Thumbnail::of).collect();
    let print = |name: &str, all: f64| println!("{name:20} {:.3}", all / files.len() as f64);
    let measure = |name: &str, work: &dyn Fn(usize)| {
        print(name, milliseconds(|| (0..files.len()).for_each(work)));
    };
    measure("decoded", &|index| {
        _ = black_box(decode(&files[index], Color::Rgb))
    });
    measure("decoded, with facts", &|index| {
        _ = black_box(measure_image(&files[index], Color::Rgb))
    });
    measure("digest", &|index| _ = black_box(images[index].digest()));
    measure("look", &|index| {
        _ = black_box(Thumbnail::of(&images[index]))
    });
    measure("sketch of a look", &|index| {
        _ = black_box(looks[index].sketch())
    });
    let digests: Vec<[u8; 32]> = images.iter().map(Pixels::digest).collect();
    let candidates: Vec<_> = looks
        .iter()
        .zip(&digests)
        .map(|(look, digest)| Candidate {
            file: None,
            pixels: *digest,
            look,
        })
        .collect();
    // On all threads, and once for all of them.
    let copies = milliseconds(|| _ = black_box(find(&candidates)));
    print("copies, all threads", copies);
    measure("150x150", &|index| {
        _ = black_box(resize(
            &images[index],
            [150, 150],
            Resize::Stretch,
            Interpolation::Bilinear,
        ))
    });
}
