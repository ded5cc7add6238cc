//! Mutated images, recipes, lists, notebooks and weights go to the program's readers: none panics,
//! and memory and time stay within bounds. The same readers with the same seeds are fuzzed by
//! `scripts/fuzz`, which finds more; this is what each test run can afford.
//!
//! A binary of its own, since the memory of the process is measured. `EMBERLENS_MUTATIONS=N` tries
//! N times as many mutations; `EMBERLENS_WRITE_SEEDS=DIR` writes the seeds to folders in DIR.

#![expect(
    clippy::disallowed_methods,
    reason = "seeds are written for the fuzzer, not for users"
)]
#![expect(
    clippy::print_stderr,
    reason = "says where an input lies that a reader fails on"
)]

#[path = "../../fuzz/doors.rs"]
mod doors;
mod mutate;
mod seeds;

use std::{
    env, fs,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Memory in MiB that a test may add to what the process had at its start. Decoding an image may
/// take 64, and the allocator keeps some of what was freed.
const MOST_MB: u64 = 256;

/// Longest time for an input of some kilobytes, on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);

/// One test at a time: they share a folder, and the memory that is measured.
static TURN: Mutex<()> = Mutex::new(());

/// Hands the seeds and so many mutations of them to `door`, some seconds' work.
fn check(name: &str, seeds: &[Vec<u8>], mutations: u64, door: fn(&[u8]) -> bool) {
    let _turn = TURN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(folder) = env::var_os("EMBERLENS_WRITE_SEEDS") {
        let folder = Path::new(&folder).join(name);
        fs::create_dir_all(&folder).expect("created");
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(index.to_string()), seed).expect("written");
        }
        return;
    }
    for (index, seed) in seeds.iter().enumerate() {
        assert!(door(seed), "{name}: seed {index} is refused");
    }
    let times = env::var("EMBERLENS_MUTATIONS");
    let times = times.map_or(1, |times| times.parse().expect("a number"));
    let (before, mut num_accepted) = (peak_mb(), 0);
    for number in 0..mutations * times {
        let mut random = ChaCha8Rng::seed_from_u64(number);
        let input = mutate::mutated(seeds, &mut random);
        let (started, last) = (Instant::now(), Input(name, number, &input));
        num_accepted += u64::from(door(&input));
        let taken = started.elapsed();
        std::mem::forget(last);
        assert!(taken < LONGEST, "{name}, mutation {number}: {taken:?}");
        let more = peak_mb() - before;
        assert!(more < MOST_MB, "{name}, mutation {number}: {more} MiB more");
    }
    // Mutations that all fail at the first byte, or that change nothing, would test nothing.
    let share = num_accepted as f64 / (mutations * times) as f64;
    assert!(share > 0.02 && share < 1.0, "{name}: {share} accepted");
}

/// Writes an input to a file if its reader panics, so that it can be looked at.
struct Input<'a>(&'a str, u64, &'a [u8]);

impl Drop for Input<'_> {
    fn drop(&mut self) {
        let Self(name, number, bytes) = self;
        let path = env::temp_dir().join(format!("emberlens-{name}-{number}"));
        let _ = fs::write(&path, bytes);
        eprintln!("{name}, mutation {number}: {}", path.display());
    }
}

/// Returns the peak of the process's memory in MiB, or 0 where the system doesn't tell.
fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) >> 10
}

#[test]
fn images_with_any_bytes_are_decoded_or_refused() {
    check("images", &seeds::images(), 10_000, doors::images);
}

#[test]
fn recipes_of_any_text_are_read_or_explained() {
    check("recipes", &seeds::recipes(), 4000, doors::recipes);
}

#[test]
fn lists_of_any_text_are_read_or_explained() {
    check("lists", &seeds::lists(), 1000, doors::lists);
}

#[test]
fn notebooks_of_any_text_are_followed_or_explained() {
    check("notebooks", &seeds::notebooks(), 3000, doors::notebooks);
}

#[test]
fn weights_with_any_bytes_are_read_or_refused() {
    check("weights", &seeds::weights(), 300, doors::weights);
}
