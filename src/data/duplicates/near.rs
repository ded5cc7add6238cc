//! Which looks show the same image, though their pixels differ: moved or stretched along the sides, cropped, brighter or darker, in all eight
//! turns; or moved by up to a tenth and turned by a few degrees, mirrored or not. Nobody compares all with all.

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

/// Correlation that copies have at least once they are laid over one another along their sides. On the brain-tumour set copies begin at 0.996,
/// neighbouring slices end at 0.994.
const SAME: f32 = 0.995;
/// The same where an image may be turned as well, which lays neighbouring slices over one another up to 0.9957.
const SAME_TILTED: f32 = 0.996;
/// Correlation of the details of such copies. Images saved again at quality 75 begin at 0.99, neighbouring slices end at 0.984.
const SAME_DETAILS: f32 = 0.99;

/// Correlation of low frequencies, and of 16 x 16 levels, below which nobody needs to lay two images over one another.
const POSSIBLE: [f32; 2] = [0.9, 0.94];
/// The same where one of them looks like many others, as one digit does like another.
const POSSIBLE_IN_CROWD: [f32; 2] = [0.95, 0.985];
/// Others that an image may look like before it is one of many.
const CROWD: u32 = 64;

/// Correlation of low frequencies of turned windows below which nobody needs to look closer.
const POSSIBLE_TILTED: f32 = 0.85;
/// Others that a window may look like before it tells nothing.
const CROWD_TILTED: u32 = 32;

/// What is known of copies so far, by position; joined on any thread.
pub(in crate::data) trait Joined: Sync {
    /// Are these known to be copies of one another?
    fn are_joined(&self, first: usize, second: usize) -> bool;
    /// They are.
    fn join(&self, first: usize, second: usize);
}

/// Joins the looks that show the same image. Which are joined in the end doesn't depend on the order, as those only are passed over that are
/// joined already.
pub(in crate::data) fn join(looks: &[&Thumbnail], known: &impl Joined) {
    join_along_sides(looks, known);
    for weight in [Weight::Levels, Weight::Edges] {
        join_tilted(looks, weight, known);
    }
}

fn join_along_sides(looks: &[&Thumbnail], known: &impl Joined) {
    let sketches: Vec<PerceptualHash> = looks.par_iter().map(|look| look.sketch()).collect();
    let hashes: Vec<_> = sketches.iter().map(|sketch| sketch.hashes).collect();
    let correlation =
        |first: usize, variant: usize, second: usize| sketches[first].correlation(PerceptualHash::turn(variant), &sketches[second]);
    let others = Others::new(looks.len());
    pairs(&hashes, |first, variant, second| {
        if correlation(first, variant, second) >= POSSIBLE[0] {
            others.count(first, second);
        }
    });
    // Made for those that look like another one, which few do in most sets, and nearly all in some.
    let coarse: Vec<OnceLock<Box<Coarse>>> = looks.iter().map(|_| OnceLock::new()).collect();
    let coarse = |at: usize| coarse[at].get_or_init(|| Box::new(Coarse::of(looks[at])));
    pairs(&hashes, |first, variant, second| {
        let turn = PerceptualHash::turn(variant);
        let [frequencies, levels] = if others.are_many(first, second, CROWD) { POSSIBLE_IN_CROWD } else { POSSIBLE };
        let is_copy = correlation(first, variant, second) >= frequencies
            && !known.are_joined(first, second)
            && coarse(first).likeness(turn, coarse(second)) >= levels
            && likeness(looks[first], turn, looks[second]) >= SAME;
        if is_copy {
            known.join(first, second);
        }
    });
}

fn join_tilted(looks: &[&Thumbnail], weight: Weight, known: &impl Joined) {
    let foci: Vec<Focus> = looks.par_iter().map(|look| Focus::of(look, weight)).collect();
    let hashes: Vec<_> = foci.iter().map(|focus| focus.hashes).collect();
    let is_possible = |first: usize, variant: usize, second: usize| {
        // Those that are mirrored at most meet from both sides.
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

/// How many others each image looks like.
struct Others(Vec<AtomicU32>);

impl Others {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicU32::new(0)).collect())
    }

    fn count(&self, first: usize, second: usize) {
        [first, second].iter().for_each(|at| _ = self.0[*at].fetch_add(1, Ordering::Relaxed));
    }

    /// Has one of them more than `limit`?
    fn are_many(&self, first: usize, second: usize, limit: u32) -> bool {
        [first, second].iter().any(|at| self.0[*at].load(Ordering::Relaxed) > limit)
    }
}
