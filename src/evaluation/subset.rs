//! A subset of an evaluation's images, and its metrics.

use std::collections::{BTreeMap, BTreeSet};

use super::decisions::Decisions;
use crate::{
    checkpoint::Meta,
    data::batches::dataset::ImageSet,
    metrics::{Confusion, Report, ScoredPredictions, argmax},
};

/// Seed of the bootstrap, constant so that equal predictions give equal intervals.
pub(super) const SEED: u64 = 0;

/// A subset of images. Groups are resampled as a whole, because their images aren't independent.
pub(super) struct Subset<'a> {
    /// Class of each image.
    pub(super) labels: Vec<usize>,
    /// Probabilities of each image.
    pub(super) probabilities: Vec<&'a [f32]>,
    /// Group of each image.
    pub(super) groups: Vec<usize>,
}

impl<'a> Subset<'a> {
    /// Returns the images at `indices`.
    pub(super) fn of(set: &ImageSet, probabilities: &'a [Vec<f32>], indices: &[usize]) -> Self {
        Self {
            labels: indices
                .iter()
                .map(|index| set.images[*index].label)
                .collect(),
            probabilities: indices
                .iter()
                .map(|index| probabilities[*index].as_slice())
                .collect(),
            groups: groups(set, indices),
        }
    }

    /// Returns every metric on the subset.
    pub(super) fn report(&self, classes: &[String]) -> Report {
        let scored = self.scored(classes.len());
        Report::new(&scored, classes, &self.groups, SEED)
    }

    /// Returns the predictions with their true classes.
    pub(super) fn scored(&self, num_classes: usize) -> ScoredPredictions<'a> {
        ScoredPredictions::new(self.labels.clone(), self.probabilities.clone(), num_classes)
    }

    /// Returns the confusion matrix of the subset.
    pub(super) fn confusion(&self, num_classes: usize) -> Confusion {
        let mut confusion = Confusion::new(num_classes);
        self.labels
            .iter()
            .zip(&self.probabilities)
            .for_each(|(label, row)| confusion.add(*label, argmax(row)));
        confusion
    }

    /// Returns the metrics of a checkpoint's decisions on the subset.
    pub(super) fn decisions(&self, meta: &Meta) -> Decisions {
        Decisions::measure(meta, &self.labels, &self.probabilities, &self.groups)
    }
}

/// Returns the number of each image's group; an image without a group gets one of its own.
pub(super) fn groups(set: &ImageSet, indices: &[usize]) -> Vec<usize> {
    let names: BTreeSet<&str> = indices
        .iter()
        .filter_map(|index| set.images[*index].group.as_deref())
        .collect();
    let places: BTreeMap<&str, usize> = names
        .into_iter()
        .enumerate()
        .map(|(place, name)| (name, place))
        .collect();
    // Numbers after those of named groups.
    let mut alone = places.len();
    let group = |index: &usize| match &set.images[*index].group {
        Some(name) => places[name.as_str()],
        None => {
            alone += 1;
            alone - 1
        }
    };
    indices.iter().map(group).collect()
}
