//! Builds the list of images that `inspect --write-clean` saves for training: one image of each
//! group of copies, none whose copies have another label, and each group (a patient, say) on one
//! side of a split.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use serde::Serialize;

use super::{CopyGroup, Inspection};
use crate::{
    base::{io::http, names},
    data::{
        duplicates::scan::ScannedImage,
        listing::{
            Entry, Part,
            split::{Member, hold_back},
        },
    },
};

/// Fraction of the training images held back for validation if the set has no validation images.
const VALIDATION: f64 = 0.2;

/// The split whose images are kept where copies or groups lie in several splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// Those that are measured on: training loses its copies of them.
    Test,
    /// Those that are trained on: the test loses its copies of them.
    Train,
}

/// A row of the clean list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CleanRow {
    /// Absolute path of the image; the path as listed if it can't be resolved.
    pub path: String,
    /// Class of the image.
    pub label: String,
    /// `train`, `val` or `test`.
    pub split: &'static str,
    /// Group of the image; empty if it has none.
    pub group: String,
}

/// A clean list, with the number of images left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clean {
    /// Rows of the list, in the order of the inspected images.
    pub rows: Vec<CleanRow>,
    /// Number of images left out because their group of copies has more than one label.
    pub conflicting: usize,
    /// Number of images left out because another image of their group of copies was chosen.
    pub copies: usize,
    /// Number of images left out because their group stays in another split.
    pub split_groups: usize,
}

/// Returns the absolute path of an image, or the path as listed if it can't be resolved.
pub(super) fn absolute_path(entry: &Entry) -> String {
    let path = entry.path.canonicalize();
    // A member of a shard is no file of the system.
    let path = path.or_else(|_| http::absolute(&entry.path));
    names::of_path(path.as_ref().unwrap_or(&entry.path))
}

impl Inspection {
    /// Builds the clean list. If the set has no validation images, a fraction of the training
    /// images is held back for validation, stratified by class and with groups kept together;
    /// `seed` decides which.
    pub fn clean(&self, side: Side, seed: u64) -> Clean {
        let mut out = BTreeSet::new();
        let mut conflicting = 0;
        for group in &self.copies.groups {
            let kept = if group.has_conflicting_labels {
                None
            } else {
                Some(kept(group, side))
            };
            conflicting += if kept.is_none() {
                group.members.len()
            } else {
                0
            };
            out.extend(
                group
                    .members
                    .iter()
                    .map(|member| member.index)
                    .filter(|index| Some(*index) != kept),
            );
        }
        let copies = out.len() - conflicting;
        let sides = self.sides_of_groups(side, &out);
        // With a patient in two splits, the test measures how well the patient is recognized.
        let is_astray = |seen: &ScannedImage| {
            seen.entry
                .group
                .as_deref()
                .is_some_and(|group| sides.get(group).is_some_and(|part| *part != seen.part))
        };
        let left: Vec<usize> = (0..self.seen.len())
            .filter(|index| !out.contains(index) && !is_astray(&self.seen[*index]))
            .collect();
        let held = self.held_back(&left, seed);
        let row = |index: &usize| {
            let seen = &self.seen[*index];
            CleanRow {
                path: absolute_path(&seen.entry),
                label: seen.entry.class.clone(),
                split: if held.contains(index) {
                    Part::Validation.name()
                } else {
                    seen.part.name()
                },
                group: seen.entry.group.clone().unwrap_or_default(),
            }
        };
        let split_groups = self.seen.len() - out.len() - left.len();
        Clean {
            rows: left.iter().map(row).collect(),
            conflicting,
            copies,
            split_groups,
        }
    }

    /// Returns the split that each group stays in: the one of lowest [`rank`] among the splits of
    /// its images. Images in `out` don't count.
    fn sides_of_groups(&self, side: Side, out: &BTreeSet<usize>) -> BTreeMap<&str, Part> {
        let mut sides: BTreeMap<&str, Part> = BTreeMap::new();
        for (_, seen) in self
            .seen
            .iter()
            .enumerate()
            .filter(|(index, _)| !out.contains(index))
        {
            if let Some(group) = &seen.entry.group {
                let part = sides.entry(group).or_insert(seen.part);
                *part = [*part, seen.part]
                    .into_iter()
                    .min_by_key(|part| rank(*part, side))
                    .unwrap_or(seen.part);
            }
        }
        sides
    }

    /// Returns which images of `left` are held back for validation: none if the set has validation
    /// images.
    fn held_back(&self, left: &[usize], seed: u64) -> BTreeSet<usize> {
        if self.count(Part::Validation) > 0 {
            return BTreeSet::new();
        }
        let classes: BTreeSet<&str> = left
            .iter()
            .map(|index| self.seen[*index].entry.class.as_str())
            .collect();
        let trained: Vec<usize> = left
            .iter()
            .copied()
            .filter(|index| self.seen[*index].part == Part::Train)
            .collect();
        let member = |index: &usize| {
            let seen = &self.seen[*index];
            let class = classes.range(..seen.entry.class.as_str()).count();
            Member {
                class,
                group: seen.entry.group.clone(),
                digest: seen.facts.pixels,
            }
        };
        let held = hold_back(
            &trained.iter().map(member).collect::<Vec<_>>(),
            VALIDATION,
            Part::Validation,
            seed,
        );
        trained
            .into_iter()
            .zip(held)
            .filter(|(_, held)| *held)
            .map(|(index, _)| index)
            .collect()
    }
}

/// Returns the index of the image to keep of a group of copies: the first one in the split of
/// lowest [`rank`].
fn kept(group: &CopyGroup, side: Side) -> usize {
    let of_member =
        |split: &str| Part::from_name(split).map_or(usize::MAX, |part| rank(part, side));
    group
        .members
        .iter()
        .min_by_key(|member| of_member(member.split))
        .map_or(0, |member| member.index)
}

/// Returns the order in which splits keep their images, from 0 for the one that keeps them first.
fn rank(part: Part, side: Side) -> usize {
    match (part, side) {
        (Part::Test, Side::Test) | (Part::Train, Side::Train) => 0,
        (Part::Validation, _) => 1,
        _ => 2,
    }
}
