//! Changes bytes as damaged and malicious files do: bits, numbers, runs, lengths, and pieces of
//! other files.

use rand::{Rng, RngExt};

/// Numbers at which readers err.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    1 << 40,
    u64::MAX,
];

/// Words that mean something in a recipe or a list.
const WORDS: [&str; 24] = [
    "\0",
    "\n",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ";",
    "\t",
    "nan",
    "inf",
    "-1",
    "1e400",
    "99999999999999999999",
    "true",
    "\u{feff}",
    "ä\u{308}",
    "\\",
    "[[",
    "0x",
    "auto",
];

/// Returns a seed with one to six changes.
pub(crate) fn mutated(seeds: &[Vec<u8>], random: &mut impl Rng) -> Vec<u8> {
    let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..random.random_range(1..=6) {
        change(&mut bytes, seeds, random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut impl Rng) {
    let length = bytes.len();
    // Half of the places are near the start, where most headers are.
    let reach = match random.random_range(0..4) {
        0 => length.min(64),
        1 => length.min(2048),
        _ => length,
    };
    let at = random.random_range(0..=reach);
    let end = (at + random.random_range(1..=16)).min(length);
    match random.random_range(0..9) {
        0 if at < length => bytes[at] ^= 1 << random.random_range(0..8),
        1 if at < length => bytes[at] = random.random(),
        2 => bytes[at..end]
            .iter_mut()
            .for_each(|byte| *byte = random.random()),
        3 => {
            let number = NUMBERS[random.random_range(0..NUMBERS.len())];
            let (width, number) = (1 << random.random_range(0..4), number.to_le_bytes());
            let mut number = number[..width].to_vec();
            if random.random() {
                number.reverse();
            }
            let width = width.min(length - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
        4 => _ = bytes.drain(at..end),
        5 => {
            let word = WORDS[random.random_range(0..WORDS.len())];
            bytes.splice(at..at, word.bytes());
        }
        6 => {
            let copy = bytes[at..end].to_vec();
            let to = random.random_range(0..=length);
            bytes.splice(to..to, copy);
        }
        7 => {
            let other = &seeds[random.random_range(0..seeds.len())];
            let from = random.random_range(0..=other.len());
            let to = (from + random.random_range(1..=64)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        8 if random.random_range(0..4) == 0 => bytes.truncate(at),
        _ => {}
    }
}
