//! A scan of all images of a recipe before training: what each is, which are copies of one another,
//! and which can't be read.

use std::sync::Arc;

use super::{Candidate, Group};
use crate::data::{
    duplicates,
    listing::{Entry, Part},
    pixels::image_stats::ImageStats,
    table::{Damaged, Skipped},
};

/// An image that can be read.
#[derive(Clone, Debug)]
pub struct ScannedImage {
    /// The image as listed.
    pub entry: Entry,
    /// The part that it belongs to.
    pub part: Part,
    /// Its statistics.
    pub facts: Arc<ImageStats>,
}

/// All images of a recipe.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Images that can be read, of the training source, the validation source and the test source,
    /// in this order.
    pub seen: Vec<ScannedImage>,
    /// Groups of copies, by position in `seen`.
    pub groups: Vec<Group>,
    /// Files that can't be opened or decoded, with the reason.
    pub unreadable: Vec<Skipped>,
    /// Descriptions of the files that were passed over.
    pub passed_over: Vec<String>,
    /// How lists were read, and other remarks.
    pub notes: Vec<String>,
}

impl Scan {
    /// Finds the copies among `seen`.
    pub(in crate::data) fn new(seen: Vec<ScannedImage>, unreadable: Vec<Skipped>) -> Self {
        let groups = duplicates::find(
            &seen
                .iter()
                .map(|seen| Candidate::from(&*seen.facts))
                .collect::<Vec<_>>(),
        );
        Self {
            seen,
            groups,
            unreadable,
            passed_over: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Returns the images whose files are damaged and could be read nevertheless.
    pub fn damaged(&self) -> Vec<Damaged> {
        self.seen
            .iter()
            .filter_map(|seen| {
                Damaged::of(
                    &seen.facts,
                    &seen.entry.path,
                    Some(seen.part),
                    &seen.entry.class,
                )
            })
            .collect()
    }

    /// Returns for each image the position of the first image of its group, which is equal for
    /// copies.
    pub fn firsts(&self) -> Vec<usize> {
        let mut firsts: Vec<usize> = (0..self.seen.len()).collect();
        for group in &self.groups {
            group
                .members
                .iter()
                .for_each(|index| firsts[*index] = group.members[0]);
        }
        firsts
    }
}
