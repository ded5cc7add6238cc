//! Some of the pictures of an evaluation, and what can be measured on them.

use std::collections::{BTreeMap, BTreeSet};

use super::decisions::Decisions;
use crate::{
    checkpoint::Meta,
    data::dataset::PictureSet,
    metrics::{Judged, Report},
};

/// Of the draws behind the intervals: the same figures give the same intervals.
pub(super) const SEED: u64 = 0;

/// Some of the pictures; those of one group are drawn together.
pub(super) struct Chosen<'a> {
    /// The class of each.
    pub(super) labels: Vec<usize>,
    /// Of each class.
    pub(super) probabilities: Vec<&'a [f32]>,
    /// The group of each.
    pub(super) groups: Vec<usize>,
}

impl<'a> Chosen<'a> {
    /// Those at `indices`.
    pub(super) fn of(set: &PictureSet, probabilities: &'a [Vec<f32>], indices: &[usize]) -> Self {
        Self {
            labels: indices.iter().map(|index| set.pictures[*index].label).collect(),
            probabilities: indices.iter().map(|index| probabilities[*index].as_slice()).collect(),
            groups: groups(set, indices),
        }
    }

    /// Every figure on them.
    pub(super) fn report(&self, classes: &[String]) -> Report {
        Report::new(&Judged::new(self.labels.clone(), self.probabilities.clone(), classes.len()), classes, &self.groups, SEED)
    }

    /// What a checkpoint decides on them.
    pub(super) fn decisions(&self, meta: &Meta) -> Decisions {
        Decisions::measure(meta, &self.labels, &self.probabilities, &self.groups)
    }
}

/// The number of each picture's group; a picture without one has its own.
fn groups(set: &PictureSet, indices: &[usize]) -> Vec<usize> {
    let names: BTreeSet<&str> = indices.iter().filter_map(|index| set.pictures[*index].group.as_deref()).collect();
    let places: BTreeMap<&str, usize> = names.into_iter().enumerate().map(|(place, name)| (name, place)).collect();
    let mut alone = places.len();
    let group = |index: &usize| match &set.pictures[*index].group {
        Some(name) => places[name.as_str()],
        None => {
            alone += 1;
            alone - 1
        }
    };
    indices.iter().map(group).collect()
}
