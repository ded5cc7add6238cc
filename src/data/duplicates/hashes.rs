//! Finds pairs of images whose hashes differ in a few bits, without comparing all pairs.

use isa::{Isa, Work};
use rayon::prelude::*;

use crate::data::pixels::thumbnail::{TURNS, VARIANTS};

/// Maximum number of different bits in the hashes of two copies.
const RADIUS: u32 = 9;

/// Parts of a hash (first bit and number of bits), each with a table. If [`RADIUS`] bits differ, at
/// least one of the five parts differs in at most one bit.
const PARTS: [(u32, u32); 5] = [(0, 13), (13, 13), (26, 13), (39, 12), (51, 12)];

/// The hashes of an image: the whole in all turns, then upright parts.
type Hashes = [u64; VARIANTS];

/// Number of hashes that are compared at a time.
const BLOCK: usize = 32;

/// Calls `found(first, variant, second)` for each pair in which the hash `variant` of the first
/// image is close to the first hash of the second, in any order and on any thread. An upright pair
/// is reported once.
pub(in crate::data) fn pairs(hashes: &[Hashes], found: impl Fn(usize, usize, usize) + Sync) {
    alike(hashes, |first, variant, second| {
        if is_canonical_pair(hashes, first, variant, second) {
            found(first, variant, second);
        }
    });
}

/// Calls `found(image, variant, other)` for each hash of an image that is close to the first hash
/// of another image, in any order and on any thread.
pub(in crate::data) fn alike<const VARIANTS: usize>(
    hashes: &[[u64; VARIANTS]],
    found: impl Fn(usize, usize, usize) + Sync,
) {
    for (number, place) in PARTS.into_iter().enumerate() {
        let (asked, known) = (
            Table::new(hashes, place),
            Table::new(
                &hashes.iter().map(|hashes| [hashes[0]]).collect::<Vec<_>>(),
                place,
            ),
        );
        // By the value of the part, so that hashes that are compared often stay in the CPU's cache.
        (0..1 << place.1)
            .into_par_iter()
            .for_each_init(Vec::new, |near, value: usize| {
                let asked = asked.with(value);
                if asked.hashes.is_empty() {
                    return;
                }
                for flip in std::iter::once(0).chain((0..place.1).map(|bit| 1 << bit)) {
                    let known = known.with(value ^ flip);
                    for (other, [second, _]) in known.hashes.iter().zip(known.of) {
                        Isa::best().run(Near {
                            asked: asked.hashes,
                            other: *other,
                            near,
                        });
                        for (at, difference) in near.drain(..) {
                            let [first, variant] = asked.of[at];
                            if first != *second && is_new_in_table(number, difference) {
                                found(first as usize, variant as usize, *second as usize);
                            }
                        }
                    }
                }
            });
    }
}

/// Finds the hashes within [`RADIUS`] of another one, and the bits that differ.
struct Near<'a> {
    asked: &'a [u64],
    other: u64,
    near: &'a mut Vec<(usize, u64)>,
}

impl Work for Near<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (number, block) in self.asked.chunks(BLOCK).enumerate() {
            // A bit for each hash: vector code, and of look-alikes nearly every block has some.
            let is_near = |(at, hash): (u64, &u64)| {
                u64::from((hash ^ self.other).count_ones() <= RADIUS) << at
            };
            // A constant length where there is one: the loop over a whole block is unrolled.
            let mut near = match block.first_chunk::<BLOCK>() {
                Some(block) => (0..)
                    .zip(block)
                    .map(is_near)
                    .fold(0, std::ops::BitOr::bitor),
                None => (0..)
                    .zip(block)
                    .map(is_near)
                    .fold(0, std::ops::BitOr::bitor),
            };
            while near != 0 {
                let at = near.trailing_zeros() as usize;
                self.near
                    .push((number * BLOCK + at, block[at] ^ self.other));
                near &= near - 1;
            }
        }
    }
}

/// Hashes sorted by the value of one part.
struct Table {
    /// Position of the first hash of each value.
    starts: Vec<u32>,
    hashes: Vec<u64>,
    /// Image of each hash, and which of its hashes it is.
    of: Vec<[u32; 2]>,
}

/// The hashes with one value of the part.
#[derive(Clone, Copy)]
struct Bucket<'a> {
    hashes: &'a [u64],
    of: &'a [[u32; 2]],
}

impl Table {
    fn new<const VARIANTS: usize>(hashes: &[[u64; VARIANTS]], place: (u32, u32)) -> Self {
        let mut starts = vec![0u32; (1 << place.1) + 1];
        hashes
            .as_flattened()
            .iter()
            .for_each(|hash| starts[part(*hash, place) + 1] += 1);
        (1..starts.len()).for_each(|value| starts[value] += starts[value - 1]);
        let mut next = starts.clone();
        let (mut sorted, mut of) = (
            vec![0; hashes.len() * VARIANTS],
            vec![[0; 2]; hashes.len() * VARIANTS],
        );
        for (image, hashes) in (0u32..).zip(hashes) {
            for (variant, hash) in (0u32..).zip(hashes) {
                let at = &mut next[part(*hash, place)];
                (sorted[*at as usize], of[*at as usize]) = (*hash, [image, variant]);
                *at += 1;
            }
        }
        Self {
            starts,
            hashes: sorted,
            of,
        }
    }

    /// Returns the hashes whose part has this value.
    fn with(&self, value: usize) -> Bucket<'_> {
        let place = self.starts[value] as usize..self.starts[value + 1] as usize;
        Bucket {
            hashes: &self.hashes[place.clone()],
            of: &self.of[place],
        }
    }
}

/// Returns the value of a part of a hash.
fn part(hash: u64, (shift, bits): (u32, u32)) -> usize {
    (hash >> shift) as usize & ((1 << bits) - 1)
}

/// Returns whether no earlier table finds hashes with this difference.
fn is_new_in_table(number: usize, difference: u64) -> bool {
    PARTS[..number]
        .iter()
        .all(|place| part(difference, *place).count_ones() > 1)
}

/// Returns whether this is the one variant that is reported for these two images.
fn is_canonical_pair(hashes: &[Hashes], first: usize, variant: usize, second: usize) -> bool {
    let is_within = |a: u64, b: u64| (a ^ b).count_ones() <= RADIUS;
    if variant < TURNS {
        // Whole images find each other from both sides.
        return first < second;
    }
    let [own, others] = [&hashes[first], &hashes[second]];
    let mut earlier = std::iter::once(own[0]).chain(own[TURNS..variant].iter().copied());
    let is_known = earlier.any(|hash| is_within(hash, others[0]));
    // The pair is reported from the other side if a crop of `second` matches all of `first`.
    let is_found_there =
        first > second && others[TURNS..].iter().any(|hash| is_within(*hash, own[0]));
    !is_known && !is_found_there
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use super::*;
    use crate::{
        base::rng::{Purpose, RngExt, stream},
        data::pixels::thumbnail::PerceptualHash,
    };

    /// The tables find exactly the pairs that a comparison of all pairs finds, each once.
    #[test]
    fn tables_find_every_pair_within_the_radius_once() {
        let mut draw = stream(9, Purpose::Synthetic, [0, 3, 0]);
        let mut hashes: Vec<Hashes> = (0..700)
            .map(|_| std::array::from_fn(|_| draw.random::<u64>() >> 1))
            .collect();
        for index in 0..700 {
            let hash = hashes[index][draw.random_range(0..VARIANTS)];
            let mut near = || {
                hash ^ (0..draw.random_range(0..14))
                    .fold(0u64, |flips, _| flips | 1 << draw.random_range(0..63))
            };
            let (whole, crop) = (near(), near());
            let mut copy: Hashes = std::array::from_fn(|_| draw.random::<u64>() >> 1);
            (copy[0], copy[TURNS + index % 5]) = (whole, crop);
            hashes.push(copy);
        }
        let mut expected = BTreeMap::new();
        for (a, asked) in hashes.iter().enumerate() {
            for (b, other) in hashes.iter().enumerate().filter(|(b, _)| *b != a) {
                for variant in (0..VARIANTS)
                    .filter(|variant| (asked[*variant] ^ other[0]).count_ones() <= RADIUS)
                {
                    // An upright pair counts for both images.
                    let is_upright = PerceptualHash::turn(variant) == 0;
                    if is_upright || a < b {
                        let pair = if is_upright {
                            (a.min(b), a.max(b))
                        } else {
                            (a, b)
                        };
                        expected.insert((pair, PerceptualHash::turn(variant)), 1);
                    }
                }
            }
        }
        let found = Mutex::new(BTreeMap::new());
        pairs(&hashes, |a, variant, b| {
            let turn = PerceptualHash::turn(variant);
            let pair = if turn == 0 {
                (a.min(b), a.max(b))
            } else {
                (a, b)
            };
            *found
                .lock()
                .expect("whole")
                .entry((pair, turn))
                .or_insert(0) += 1;
        });
        assert!(expected.len() > 500, "{}", expected.len());
        assert_eq!(found.into_inner().expect("whole"), expected);
    }
}
