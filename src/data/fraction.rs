//! A fraction of the training images: whole groups and sets of copies, stratified by class. The
//! images of a smaller fraction are among those of a larger one.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    TrainingData,
    batches::dataset::ImageSet,
    listing::{
        Part,
        split::{Member, starts},
    },
};

impl TrainingData {
    /// Returns whether an image of the scan is neither left out as a copy nor beyond the fraction.
    pub(super) fn is_used(&self, index: usize) -> bool {
        [&self.excluded, &self.unused]
            .iter()
            .all(|left_out| left_out.binary_search(&index).is_err())
    }

    /// Returns the same data with a fraction of the training images. Where images lie and in which
    /// order they are listed changes nothing.
    ///
    /// # Panics
    /// Panics if the scan has been taken.
    #[must_use]
    pub fn with_fraction(&self, fraction: f64, seed: u64) -> Self {
        let firsts = self.survey.firsts();
        let is_trained =
            |index: &usize| self.survey.seen[*index].part == Part::Train && self.is_used(*index);
        let positions = (0..self.survey.seen.len()).filter(is_trained);
        let images = self.train.images.iter().zip(positions);
        let mut members: Vec<(usize, usize, Member)> = images
            .enumerate()
            .map(|(place, (image, position))| {
                let member = Member {
                    class: image.label,
                    group: image.group.clone(),
                    digest: self.survey.seen[firsts[position]].facts.pixels,
                };
                (place, position, member)
            })
            .collect();
        assert_eq!(members.len(), self.train.images.len(), "the scan is there");
        members.sort_by_key(|(place, _, member)| (self.train.images[*place].digest, member.class));
        let sorted: Vec<Member> = members.iter().map(|(.., member)| member.clone()).collect();
        let (mut kept, mut unused) = (BTreeSet::new(), self.unused.clone());
        for ((place, position, _), start) in members.iter().zip(starts(&sorted, seed)) {
            if start < fraction {
                kept.insert(*place);
            } else {
                unused.push(*position);
            }
        }
        unused.sort_unstable();
        Self {
            train: Arc::new(ImageSet {
                classes: Arc::clone(&self.train.classes),
                images: kept
                    .into_iter()
                    .map(|at| self.train.images[at].clone())
                    .collect(),
                store: Arc::clone(&self.train.store),
            }),
            unused,
            ..self.clone()
        }
    }
}
