//! How long it takes to find copies among 100,000 looks: `cargo bench --bench copies`.

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::time::Instant;

use emberlens::{
    base::rng::{Purpose, RngExt, stream},
    data::{
        duplicates::{Candidate, find},
        pixels::{decode::Pixels, thumbnail::Thumbnail},
    },
};
use rayon::prelude::*;

/// Smooth images, as real ones are: 8 x 8 levels drawn at random, enlarged.
fn look(index: u64) -> ([u8; 32], Thumbnail) {
    let mut draw = stream(3, Purpose::Synthetic, [index, 4, 0]);
    let pixels = Pixels {
        height: 8,
        width: 8,
        channels: 1,
        bytes: (0..64).map(|_| draw.random()).collect(),
    };
    (pixels.digest(), Thumbnail::of(&pixels))
}

fn main() {
    let looks: Vec<_> = (0..100_000u64).into_par_iter().map(look).collect();
    let start = Instant::now();
    let candidates: Vec<_> = looks
        .iter()
        .map(|(pixels, look)| Candidate {
            file: None,
            pixels: *pixels,
            look,
        })
        .collect();
    let groups = find(&candidates).len();
    println!(
        "{groups} groups among {} looks in {:.1} s",
        looks.len(),
        start.elapsed().as_secs_f64()
    );
}
