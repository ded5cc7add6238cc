//! Finds thumbnails that show the same image with other pixels: moved or stretched along the sides,
//! cropped, brighter or darker, in all eight turns; or moved by up to a tenth, rotated by a few
//! degrees and mirrored. Hashes give candidates, so that not all pairs are compared.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use rayon::prelude::*;

use super::{
    affine::{Affine, Small, agreement},
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
/// Number of other images that an image may resemble before it is one of many.
const CROWD: u32 = 64;

/// Minimum correlation of low frequencies of rotated windows for a pair to be aligned.
const POSSIBLE_TILTED: f32 = 0.85;
/// Number of others that a window may resemble before it tells nothing.
const CROWD_TILTED: u32 = 32;

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
    for weight in [Weight::Levels, Weight::Edges] {
        join_tilted(looks, weight, known);
    }
}

/// Joins copies that are turned, cropped, moved or stretched along their sides.
fn join_along_sides(looks: &[&Thumbnail], known: &impl Joined) {
    let sketches: Vec<PerceptualHash> = looks.par_iter().map(|look| look.sketch()).collect();
    let hashes: Vec<_> = sketches.iter().map(|sketch| sketch.hashes).collect();
    let correlation =
        |first: usize, variant: usize, second: usize| sketches[first].correlation(PerceptualHash::turn(variant), &sketches[second]);
    let others = Others::new(looks.len());
    // Counted in a pass of its own, so that the thresholds don't depend on the order of the pairs.
    pairs(&hashes, |first, variant, second| {
        if correlation(first, variant, second) >= POSSIBLE[0] {
            others.count(first, second);
        }
    });
    // Computed on demand: in most sets few images resemble another one, in some nearly all.
    let coarse: Vec<OnceLock<Box<Coarse>>> = looks.iter().map(|_| OnceLock::new()).collect();
    let coarse = |at: usize| coarse[at].get_or_init(|| Box::new(Coarse::of(looks[at])));
    pairs(&hashes, |first, variant, second| {
        let turn = PerceptualHash::turn(variant);
        let [frequencies, levels] = if others.are_many(first, second, CROWD) { POSSIBLE_IN_CROWD } else { POSSIBLE };
        // The cheapest test first; the alignment decides.
        let is_copy = correlation(first, variant, second) >= frequencies
            && !known.are_joined(first, second)
            && coarse(first).likeness(turn, coarse(second)) >= levels
            && likeness(looks[first], turn, looks[second]) >= SAME;
        if is_copy {
            known.join(first, second);
        }
    });
}

/// Joins copies that are moved, rotated by a few degrees or mirrored, by their windows around the
/// middle of `weight`.
fn join_tilted(looks: &[&Thumbnail], weight: Weight, known: &impl Joined) {
    let foci: Vec<Focus> = looks.par_iter().map(|look| Focus::of(look, weight)).collect();
    let hashes: Vec<_> = foci.iter().map(|focus| focus.hashes).collect();
    let is_possible = |first: usize, variant: usize, second: usize| {
        // Windows that are only mirrored find each other from both sides; one is enough.
        (first < second || !Tilt::is_upright(variant)) && foci[first].correlation(variant, &foci[second]) >= POSSIBLE_TILTED
    };
    let others = Others::new(looks.len());
    alike(&hashes, |first, variant, second| {
        if is_possible(first, variant, second) {
            others.count(first, second);
        }
    });
    let small: Vec<OnceLock<Small>> = looks.iter().map(|_| OnceLock::new()).collect();
    let small = |at: usize| small[at].get_or_init(|| Small::of(looks[at]));
    alike(&hashes, |first, variant, second| {
        let is_asked =
            !others.are_many(first, second, CROWD_TILTED) && is_possible(first, variant, second) && !known.are_joined(first, second);
        let is_copy = || {
            let guess = Affine::of(&foci[first], Tilt::of(variant), &foci[second]);
            let found = agreement([looks[first], looks[second]], [small(first), small(second)], guess);
            found.is_some_and(|found| found.levels >= SAME_TILTED && found.details >= SAME_DETAILS)
        };
        if is_asked && is_copy() {
            known.join(first, second);
        }
    });
}

/// Number of other images that each image resembles.
struct Others(Vec<AtomicU32>);

impl Others {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicU32::new(0)).collect())
    }

    /// Counts a pair for both images.
    fn count(&self, first: usize, second: usize) {
        [first, second].iter().for_each(|at| _ = self.0[*at].fetch_add(1, Ordering::Relaxed));
    }

    /// Returns whether one of the two resembles more than `limit` others.
    fn are_many(&self, first: usize, second: usize, limit: u32) -> bool {
        [first, second].iter().any(|at| self.0[*at].load(Ordering::Relaxed) > limit)
    }
}
