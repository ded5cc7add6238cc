//! Finds thumbnails that show the same image with other pixels: moved or stretched along the sides,
//! cropped, brighter or darker, in all eight turns; or moved by up to a tenth, rotated by a few
//! degrees and mirrored. Hashes give candidates, so that not all pairs are compared.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use rayon::prelude::*;

use super::{
    affine::{Small, agreement},
    affine_map::Affine,
    align::likeness,
    coarse::Coarse,
    focus::{Focus, Tilt, Weight},
    hashes::{alike, pairs},
};
use crate::data::pixels::thumbnail::{PerceptualHash, Thumbnail};

/// Minimum correlation of copies after alignment along the sides. On the brain-tumor set, copies
/// begin at 0.996 and neighboring slices end at 0.994.
const SAME: f32 = 0.995;
/// Minimum correlation if rotation is allowed too, which aligns neighboring slices up to 0.9957.
const SAME_TILTED: f32 = 0.996;
/// Minimum correlation of the details of such copies. Images saved again at quality 75 begin at
/// 0.99, neighboring slices end at 0.984.
const SAME_DETAILS: f32 = 0.99;

/// Minimum correlation of low frequencies, and of 16 x 16 values, for a pair to be aligned.
const POSSIBLE: [f32; 2] = [0.9, 0.94];
/// The same if one of them resembles many others, as one digit resembles another.
const POSSIBLE_IN_CROWD: [f32; 2] = [0.95, 0.985];
/// Number of other images that an image may resemble before it is one of many. It is compared with
/// no more than these.
const CROWD: u32 = 64;

/// Number of others that an image is aligned with, the most alike of its candidates.
const ALIGNED: u32 = 32;

/// Minimum correlation of low frequencies of rotated windows for a pair to be aligned.
const POSSIBLE_TILTED: f32 = 0.85;
/// Number of others that a window may resemble before it tells nothing.
const CROWD_TILTED: u32 = 32;
/// Number of others that a window is aligned with, the most alike.
const ALIGNED_TILTED: u32 = 8;

/// The copies found so far, by position; shared by threads.
pub(in crate::data) trait Joined: Sync {
    /// Returns whether two images are known to be copies, directly or through others.
    fn are_joined(&self, first: usize, second: usize) -> bool;
    /// Records that two images are copies.
    fn join(&self, first: usize, second: usize);
}

/// Joins the thumbnails that show the same image. The result doesn't depend on the order of the
/// pairs, since only pairs that are joined already are skipped.
pub(in crate::data) fn join(looks: &[&Thumbnail], known: &impl Joined) {
    join_along_sides(looks, known);
    join_tilted(looks, known);
}

/// Joins copies that are turned, cropped, moved or stretched along their sides.
fn join_along_sides(looks: &[&Thumbnail], known: &impl Joined) {
    let sketches: Vec<PerceptualHash> = looks.par_iter().map(|look| look.sketch()).collect();
    let hashes: Vec<_> = sketches.iter().map(|sketch| sketch.hashes).collect();
    let candidates = Candidates::new(looks.len(), CROWD, CROWD);
    pairs(&hashes, |first, variant, second| {
        let turn = PerceptualHash::turn(variant);
        let correlation = sketches[first].correlation(turn, &sketches[second]);
        if correlation >= POSSIBLE[0] {
            candidates.add(correlation, Pair::new(first, turn, second));
        }
    });
    // Computed on demand: in most sets few images resemble another one, in some nearly all.
    let coarse: Vec<OnceLock<Box<Coarse>>> = looks.iter().map(|_| OnceLock::new()).collect();
    let coarse = |at: usize| coarse[at].get_or_init(|| Box::new(Coarse::of(looks[at])));
    // The cheapest tests first; the alignment decides.
    let promising = Candidates::new(looks.len(), ALIGNED, ALIGNED);
    candidates.into_pairs().into_par_iter().for_each(
        |Candidate {
             correlation,
             is_in_crowd,
             pair,
         }| {
            let ([first, second], turn) = (pair.ends(), pair.variant as usize);
            let [frequencies, levels] = if is_in_crowd {
                POSSIBLE_IN_CROWD
            } else {
                POSSIBLE
            };
            if correlation >= frequencies && !known.are_joined(first, second) {
                let likeness = coarse(first).likeness(turn, coarse(second));
                if likeness >= levels {
                    promising.add(likeness, pair);
                }
            }
        },
    );
    promising
        .into_pairs()
        .into_par_iter()
        .for_each(|Candidate { pair, .. }| {
            let [first, second] = pair.ends();
            if !known.are_joined(first, second)
                && likeness(looks[first], pair.variant as usize, looks[second]) >= SAME
            {
                known.join(first, second);
            }
        });
}

/// Joins copies that are moved, rotated by a few degrees or mirrored, by their windows around the
/// middle of what they show.
fn join_tilted(looks: &[&Thumbnail], known: &impl Joined) {
    let (levels, edges): (Vec<Focus>, Vec<Focus>) = looks
        .par_iter()
        .map(|look| Focus::of(look, [Weight::Levels, Weight::Edges]).into())
        .unzip();
    let small: Vec<OnceLock<Small>> = looks.iter().map(|_| OnceLock::new()).collect();
    let small = |at: usize| small[at].get_or_init(|| Small::of(looks[at]));
    for foci in [levels, edges] {
        let hashes: Vec<_> = foci.iter().map(|focus| focus.hashes).collect();
        let candidates = Candidates::new(looks.len(), CROWD_TILTED, ALIGNED_TILTED);
        alike(&hashes, |first, variant, second| {
            // Windows that are only mirrored find each other from both sides; one is enough. A pair
            // of two that are in the crowd already changes nothing.
            if (first < second || !Tilt::is_upright(variant))
                && !(candidates.is_in_crowd(first) && candidates.is_in_crowd(second))
            {
                let correlation = foci[first].correlation(variant, &foci[second]);
                if correlation >= POSSIBLE_TILTED {
                    candidates.add(correlation, Pair::new(first, variant, second));
                }
            }
        });
        candidates.into_pairs().into_par_iter().for_each(
            |Candidate {
                 is_in_crowd, pair, ..
             }| {
                let [first, second] = pair.ends();
                let is_copy = || {
                    let guess =
                        Affine::of(&foci[first], Tilt::of(pair.variant as usize), &foci[second]);
                    let found = agreement(
                        [looks[first], looks[second]],
                        [small(first), small(second)],
                        guess,
                    );
                    found.is_some_and(|found| {
                        found.levels >= SAME_TILTED && found.details >= SAME_DETAILS
                    })
                };
                if !is_in_crowd && !known.are_joined(first, second) && is_copy() {
                    known.join(first, second);
                }
            },
        );
    }
}

/// Two images that resemble each other, and the variant of the first one that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    first: u32,
    variant: u32,
    second: u32,
}

impl Pair {
    fn new(first: usize, variant: usize, second: usize) -> Self {
        let [first, variant, second] = [first, variant, second].map(|number| number as u32);
        Self {
            first,
            variant,
            second,
        }
    }

    fn ends(self) -> [usize; 2] {
        [self.first as usize, self.second as usize]
    }
}

/// A pair that may be one of copies.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    correlation: f32,
    /// Whether one of the two resembles more than the limit of others.
    is_in_crowd: bool,
    pair: Pair,
}

/// The pairs that may be copies, at most `kept` for each image: those that correlate most. In sets
/// of look-alikes nearly every image resembles thousands of others, and a copy is among the first.
/// What is kept doesn't depend on the order in which pairs are added.
struct Candidates {
    /// Number of others that an image may resemble before it is one of many.
    crowd: u32,
    kept: u32,
    images: Vec<MostAlike>,
}

/// The candidates of an image.
#[derive(Default)]
struct MostAlike {
    /// Number of others that the image resembles. Not counted on once it is one of many.
    count: AtomicU32,
    /// Correlation of the least alike that is kept once there are as many as may be, else zero.
    least: AtomicU32,
    /// The pairs that are kept, the least alike on top.
    pairs: Mutex<BinaryHeap<Reverse<(Correlation, Pair)>>>,
}

/// A correlation, which is never negative here, as the bits that order it.
type Correlation = u32;

impl Candidates {
    fn new(count: usize, crowd: u32, kept: u32) -> Self {
        Self {
            crowd,
            kept,
            images: (0..count).map(|_| MostAlike::default()).collect(),
        }
    }

    /// Adds a pair to the candidates of both images.
    fn add(&self, correlation: f32, pair: Pair) {
        let added = (correlation.to_bits(), pair);
        pair.ends()
            .into_iter()
            .for_each(|at| self.images[at].add(added, [self.crowd, self.kept]));
    }

    /// Returns whether an image is one of many.
    fn is_in_crowd(&self, at: usize) -> bool {
        self.images[at].count.load(Ordering::Relaxed) > self.crowd
    }

    /// Returns the pairs, each once.
    fn into_pairs(self) -> Vec<Candidate> {
        let is_in_crowd: Vec<bool> = (0..self.images.len())
            .map(|at| self.is_in_crowd(at))
            .collect();
        let kept = self.images.into_iter().flat_map(|image| {
            image
                .pairs
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
        });
        let mut pairs: Vec<_> = kept
            .map(|Reverse((correlation, pair))| (pair, correlation))
            .collect();
        pairs.par_sort_unstable();
        pairs.dedup();
        let candidate = |(pair, correlation): (Pair, Correlation)| Candidate {
            correlation: f32::from_bits(correlation),
            is_in_crowd: pair.ends().into_iter().any(|at| is_in_crowd[at]),
            pair,
        };
        pairs.into_iter().map(candidate).collect()
    }
}

impl MostAlike {
    fn add(&self, added: (Correlation, Pair), [crowd, kept]: [u32; 2]) {
        if self.count.load(Ordering::Relaxed) <= crowd {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        // Nearly all are rejected here, without the lock.
        if added.0 < self.least.load(Ordering::Relaxed) {
            return;
        }
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        if pairs.len() < kept as usize {
            pairs.push(Reverse(added));
        } else if let Some(mut least) = pairs.peek_mut().filter(|least| least.0 < added) {
            *least = Reverse(added);
        }
        if pairs.len() == kept as usize {
            let least = pairs.peek().map_or(0, |least| least.0.0);
            self.least.store(least, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Purpose, RngExt, stream};

    /// Most pairs that an image keeps.
    const LIMIT: u32 = 5;

    /// Returns the pairs that are kept of these, among `count` images.
    fn kept(count: usize, pairs: &[(f32, Pair)]) -> Vec<(f32, Pair, bool)> {
        let candidates = Candidates::new(count, LIMIT, LIMIT);
        pairs
            .iter()
            .for_each(|(correlation, pair)| candidates.add(*correlation, *pair));
        candidates
            .into_pairs()
            .into_iter()
            .map(|found| (found.correlation, found.pair, found.is_in_crowd))
            .collect()
    }

    #[test]
    fn which_pairs_are_kept_does_not_depend_on_their_order() {
        let mut draw = stream(9, Purpose::Synthetic, [0, 4, 0]);
        // Image 0 resembles all others; few of the others resemble one another. Equal correlations
        // are frequent.
        let mut pairs: Vec<(f32, Pair)> = (1..40)
            .map(|at| (draw.random_range(0..8u8).into(), Pair::new(0, at % 3, at)))
            .collect();
        pairs.extend((1..39).step_by(4).map(|at| {
            (
                f32::from(draw.random_range(0..8u8)),
                Pair::new(at, 0, at + 1),
            )
        }));
        let all = kept(40, &pairs);
        // Each of the others has at most two pairs, so nothing is lost.
        assert_eq!(all.len(), pairs.len());
        assert!(
            all.iter()
                .all(|(_, pair, is_in_crowd)| *is_in_crowd == (pair.first == 0))
        );
        for seed in 0..4 {
            let mut shuffled = pairs.clone();
            (1..shuffled.len()).for_each(|at| shuffled.swap(at, (at * 7 + seed * 13) % (at + 1)));
            assert_eq!(kept(40, &shuffled), all);
        }
    }

    #[test]
    fn in_a_crowd_the_most_alike_of_each_image_are_kept_and_no_others() {
        let mut draw = stream(9, Purpose::Synthetic, [0, 4, 1]);
        let mut crowd = Vec::new();
        for first in 0..20 {
            crowd.extend((first + 1..20).map(|second| {
                (
                    f32::from(draw.random_range(0..200u8)),
                    Pair::new(first, 0, second),
                )
            }));
        }
        let of = |at: usize| {
            let mut own: Vec<_> = crowd
                .iter()
                .filter(|(_, pair)| pair.ends().contains(&at))
                .copied()
                .collect();
            own.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(other.cmp(one)));
            own.truncate(LIMIT as usize);
            own
        };
        let mut expected: Vec<_> = (0..20)
            .flat_map(of)
            .map(|(correlation, pair)| (pair, correlation))
            .collect();
        expected.sort_by_key(|(pair, _)| *pair);
        expected.dedup();
        crowd.reverse();
        assert_eq!(
            kept(20, &crowd),
            expected
                .into_iter()
                .map(|(pair, correlation)| (correlation, pair, true))
                .collect::<Vec<_>>()
        );
    }
}
