//! Everything that can be said of a recipe's images before anybody trains: what each is, which are copies, which can't be read.

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
    /// Where it is and what it is said to be.
    pub entry: Entry,
    /// What it is used for.
    pub part: Part,
    /// What was found.
    pub facts: Arc<ImageStats>,
}

/// All images of a recipe.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Those that can be read: of the training source, of the validation source, of the test source.
    pub seen: Vec<ScannedImage>,
    /// Copies among them, by position.
    pub groups: Vec<Group>,
    /// Those that can't be opened or decoded, with the reason.
    pub unreadable: Vec<Skipped>,
    /// Files that were passed over, in words.
    pub passed_over: Vec<String>,
    /// How lists were read, and what else is to be said of them, in words.
    pub notes: Vec<String>,
}

impl Scan {
    /// Looks for copies among `seen`.
    pub(in crate::data) fn new(seen: Vec<ScannedImage>, unreadable: Vec<Skipped>) -> Self {
        let groups = duplicates::find(&seen.iter().map(|seen| Candidate::from(&*seen.facts)).collect::<Vec<_>>());
        Self { seen, groups, unreadable, passed_over: Vec::new(), notes: Vec::new() }
    }

    /// Images that could be read though their files are damaged, and how.
    pub fn damaged(&self) -> Vec<Damaged> {
        self.seen.iter().filter_map(|seen| Damaged::of(&seen.facts, &seen.entry.path, Some(seen.part), &seen.entry.class)).collect()
    }

    /// Numbers that are equal where images are copies of one another: of each, the position of the first of its group.
    pub fn firsts(&self) -> Vec<usize> {
        let mut firsts: Vec<usize> = (0..self.seen.len()).collect();
        for group in &self.groups {
            group.members.iter().for_each(|index| firsts[*index] = group.members[0]);
        }
        firsts
    }
}
