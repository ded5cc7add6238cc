//! Pairs of pictures whose hashes differ in a few bits, found without comparing all with all.

use rayon::prelude::*;

use crate::data::pixels::look::{Sketch, TURNS, VARIANTS};

/// Bits that the hashes of two copies may differ in.
const RADIUS: u32 = 9;

/// Parts of a hash, from which bit and how many, each with its own table: of [`RADIUS`] bits in five parts, one part has one bit at most.
const PARTS: [(u32, u32); 5] = [(0, 13), (13, 13), (26, 13), (39, 12), (51, 12)];

/// The hashes of a picture: the whole in all turns, then upright parts.
type Hashes = [u64; VARIANTS];

/// Calls `found` once for each two pictures and each turn of the first of them that looks like the second: `(first, turn, second)`, in any
/// order, on any thread.
pub(in crate::data) fn pairs(hashes: &[Hashes], found: impl Fn(usize, usize, usize) + Sync) {
    let all = |variants: usize| {
        hashes.iter().zip(0u32..).flat_map(move |(hashes, picture)| {
            hashes[..variants].iter().zip(0u32..).map(move |(hash, variant)| Entry { hash: *hash, picture, variant })
        })
    };
    for (number, place) in PARTS.into_iter().enumerate() {
        let (asked, known) = (Table::new(all(VARIANTS), place), Table::new(all(1), place));
        // Value by value, so that what is compared many times stays near.
        (0..1 << place.1).into_par_iter().for_each(|value: usize| {
            for flip in std::iter::once(0).chain((0..place.1).map(|bit| 1 << bit)) {
                for other in known.with(value ^ flip) {
                    for entry in asked.with(value) {
                        let difference = entry.hash ^ other.hash;
                        if difference.count_ones() <= RADIUS && is_first(number, difference) && is_news(hashes, entry, other) {
                            found(entry.picture as usize, Sketch::turn(entry.variant as usize), other.picture as usize);
                        }
                    }
                }
            }
        });
    }
}

/// A hash and what it is of.
#[derive(Clone, Copy, Default)]
struct Entry {
    hash: u64,
    picture: u32,
    variant: u32,
}

/// Hashes by one part.
struct Table {
    /// Where each value of the part begins.
    starts: Vec<u32>,
    sorted: Vec<Entry>,
}

impl Table {
    fn new(entries: impl Iterator<Item = Entry> + Clone, place: (u32, u32)) -> Self {
        let mut starts = vec![0u32; (1 << place.1) + 1];
        entries.clone().for_each(|entry| starts[part(entry.hash, place) + 1] += 1);
        (1..starts.len()).for_each(|value| starts[value] += starts[value - 1]);
        let mut next = starts.clone();
        let mut sorted = vec![Entry::default(); starts[starts.len() - 1] as usize];
        for entry in entries {
            let at = &mut next[part(entry.hash, place)];
            sorted[*at as usize] = entry;
            *at += 1;
        }
        Self { starts, sorted }
    }

    fn with(&self, value: usize) -> &[Entry] {
        &self.sorted[self.starts[value] as usize..self.starts[value + 1] as usize]
    }
}

fn part(hash: u64, (shift, bits): (u32, u32)) -> usize {
    (hash >> shift) as usize & ((1 << bits) - 1)
}

/// No earlier table finds hashes that differ like this.
fn is_first(number: usize, difference: u64) -> bool {
    PARTS[..number].iter().all(|place| part(difference, *place).count_ones() > 1)
}

/// Nothing else says the same of these two.
fn is_news(hashes: &[Hashes], asked: &Entry, other: &Entry) -> bool {
    let is_within = |a: u64, b: u64| (a ^ b).count_ones() <= RADIUS;
    if (asked.variant as usize) < TURNS {
        // Whole pictures meet from both sides.
        return asked.picture < other.picture;
    }
    let [own, others] = [asked, other].map(|entry| &hashes[entry.picture as usize]);
    let mut earlier = std::iter::once(own[0]).chain(own[TURNS..asked.variant as usize].iter().copied());
    let is_known = earlier.any(|hash| is_within(hash, other.hash));
    let is_found_there = asked.picture > other.picture && others[TURNS..].iter().any(|hash| is_within(*hash, own[0]));
    asked.picture != other.picture && !is_known && !is_found_there
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use super::*;
    use crate::base::rng::{Purpose, RngExt, stream};

    /// The tables find exactly what a look at every pair finds, and that once.
    #[test]
    fn tables_find_every_pair_within_the_radius_once() {
        let mut draw = stream(9, Purpose::Synthetic, [0, 3, 0]);
        let mut hashes: Vec<Hashes> = (0..700).map(|_| std::array::from_fn(|_| draw.random::<u64>() >> 1)).collect();
        for index in 0..700 {
            let hash = hashes[index][draw.random_range(0..VARIANTS)];
            let mut near = || hash ^ (0..draw.random_range(0..14)).fold(0u64, |flips, _| flips | 1 << draw.random_range(0..63));
            let (whole, crop) = (near(), near());
            let mut copy: Hashes = std::array::from_fn(|_| draw.random::<u64>() >> 1);
            (copy[0], copy[TURNS + index % 5]) = (whole, crop);
            hashes.push(copy);
        }
        let mut expected = BTreeMap::new();
        for (a, asked) in hashes.iter().enumerate() {
            for (b, other) in hashes.iter().enumerate().filter(|(b, _)| *b != a) {
                for variant in (0..VARIANTS).filter(|variant| (asked[*variant] ^ other[0]).count_ones() <= RADIUS) {
                    // An upright pair counts for both of them.
                    let is_upright = Sketch::turn(variant) == 0;
                    if is_upright || a < b {
                        let pair = if is_upright { (a.min(b), a.max(b)) } else { (a, b) };
                        expected.insert((pair, Sketch::turn(variant)), 1);
                    }
                }
            }
        }
        let found = Mutex::new(BTreeMap::new());
        pairs(&hashes, |a, turn, b| {
            let pair = if turn == 0 { (a.min(b), a.max(b)) } else { (a, b) };
            *found.lock().expect("whole").entry((pair, turn)).or_insert(0) += 1;
        });
        assert!(expected.len() > 500, "{}", expected.len());
        assert_eq!(found.into_inner().expect("whole"), expected);
    }
}
