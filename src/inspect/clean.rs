//! A list of images that trains as it is: no copy twice, no image under two labels, nothing on both sides of a split.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use serde::Serialize;

use super::{CopyGroup, Inspection};
use crate::{
    base::names,
    data::{
        duplicates::scan::ScannedImage,
        listing::{
            Part,
            split::{Member, hold_back},
        },
    },
};

/// Share of the training images that is held back where there is no validation part.
const VALIDATION: f64 = 0.2;

/// Of copies across splits, which are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// Those that are measured on: training loses its copies of them.
    Test,
    /// Those that are trained on: the test loses its copies of them.
    Train,
}

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CleanRow {
    /// Absolute.
    pub path: String,
    /// Its class.
    pub label: String,
    /// `train`, `val` or `test`.
    pub split: &'static str,
    /// Empty where there is none.
    pub group: String,
}

/// What is on a clean list, and what isn't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clean {
    /// The list, in the order of the images.
    pub rows: Vec<CleanRow>,
    /// Images left out as their copies have another label.
    pub conflicting: usize,
    /// Images left out as a copy of them is on the list.
    pub copies: usize,
    /// Images left out as their group is on another side.
    pub split_groups: usize,
}

impl Inspection {
    /// The clean list. Without validation images, a share of the training images is held back, stratified, groups kept together.
    pub fn clean(&self, side: Side, seed: u64) -> Clean {
        let mut out = BTreeSet::new();
        let mut conflicting = 0;
        for group in &self.copies.groups {
            let kept = if group.has_conflicting_labels { None } else { Some(kept(group, side)) };
            conflicting += if kept.is_none() { group.members.len() } else { 0 };
            out.extend(group.members.iter().map(|member| member.index).filter(|index| Some(*index) != kept));
        }
        let copies = out.len() - conflicting;
        let sides = self.sides_of_groups(side, &out);
        let is_astray =
            |seen: &ScannedImage| seen.entry.group.as_deref().is_some_and(|group| sides.get(group).is_some_and(|part| *part != seen.part));
        let left: Vec<usize> = (0..self.seen.len()).filter(|index| !out.contains(index) && !is_astray(&self.seen[*index])).collect();
        let held = self.held_back(&left, seed);
        let row = |index: &usize| {
            let seen = &self.seen[*index];
            let path = seen.entry.path.canonicalize().unwrap_or_else(|_| seen.entry.path.clone());
            CleanRow {
                path: names::of_path(&path),
                label: seen.entry.class.clone(),
                split: if held.contains(index) { Part::Validation.name() } else { seen.part.name() },
                group: seen.entry.group.clone().unwrap_or_default(),
            }
        };
        let split_groups = self.seen.len() - out.len() - left.len();
        Clean { rows: left.iter().map(row).collect(), conflicting, copies, split_groups }
    }

    /// The part that each group stays in, of those that its images on the list are in.
    fn sides_of_groups(&self, side: Side, out: &BTreeSet<usize>) -> BTreeMap<&str, Part> {
        let mut sides: BTreeMap<&str, Part> = BTreeMap::new();
        for (_, seen) in self.seen.iter().enumerate().filter(|(index, _)| !out.contains(index)) {
            if let Some(group) = &seen.entry.group {
                let part = sides.entry(group).or_insert(seen.part);
                *part = [*part, seen.part].into_iter().min_by_key(|part| rank(*part, side)).unwrap_or(seen.part);
            }
        }
        sides
    }

    /// Of these images, those for validation where there is no part for it.
    fn held_back(&self, left: &[usize], seed: u64) -> BTreeSet<usize> {
        if self.count(Part::Validation) > 0 {
            return BTreeSet::new();
        }
        let classes: BTreeSet<&str> = left.iter().map(|index| self.seen[*index].entry.class.as_str()).collect();
        let trained: Vec<usize> = left.iter().copied().filter(|index| self.seen[*index].part == Part::Train).collect();
        let member = |index: &usize| {
            let seen = &self.seen[*index];
            let class = classes.range(..seen.entry.class.as_str()).count();
            Member { class, group: seen.entry.group.clone(), digest: seen.facts.pixels }
        };
        let held = hold_back(&trained.iter().map(member).collect::<Vec<_>>(), VALIDATION, seed);
        trained.into_iter().zip(held).filter(|(_, held)| *held).map(|(index, _)| index).collect()
    }
}

/// The image of a group of copies that stays.
fn kept(group: &CopyGroup, side: Side) -> usize {
    let of_member = |split: &str| Part::from_name(split).map_or(usize::MAX, |part| rank(part, side));
    group.members.iter().min_by_key(|member| of_member(member.split)).map_or(0, |member| member.index)
}

/// Where images stay that are on two sides: the least.
fn rank(part: Part, side: Side) -> usize {
    match (part, side) {
        (Part::Test, Side::Test) | (Part::Train, Side::Train) => 0,
        (Part::Validation, _) => 1,
        _ => 2,
    }
}
