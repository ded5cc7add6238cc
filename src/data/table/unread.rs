//! Files that were skipped or are damaged: the lines of `skipped.csv` and `damaged.csv`, and their
//! descriptions.

use std::path::Path;

use serde::Serialize;

use crate::{
    base::names,
    data::{
        listing::{Part, Unreadable},
        pixels::image_stats::ImageStats,
    },
};

/// A file that was skipped; a line of `skipped.csv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Path of the file.
    pub path: String,
    /// Why it was skipped.
    pub reason: String,
    /// Part: `train`, `val` or `test`; empty if it belongs to none.
    pub split: &'static str,
    /// Class name; empty if it isn't known.
    pub class: String,
    /// The step at which reading failed.
    #[serde(skip)]
    pub failure: Failure,
}

/// The step at which reading a file fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The file is missing or can't be opened.
    Opening,
    /// The content is no image, or a damaged one.
    Decoding,
}

impl Failure {
    /// Returns what can't be done with such files.
    pub fn words(self) -> &'static str {
        match self {
            Self::Opening => "can't be opened",
            Self::Decoding => "can't be decoded",
        }
    }
}

impl Skipped {
    /// Returns the line of a file that can't be opened.
    pub fn unopened(file: &Unreadable, part: Option<Part>) -> Self {
        Self {
            path: names::of_path(&file.path),
            reason: file.reason.clone(),
            split: part.map_or("", Part::name),
            class: file.class.clone().unwrap_or_default(),
            failure: Failure::Opening,
        }
    }

    /// Returns "path: reason" for the first `count` files.
    pub fn named<'a>(skipped: impl IntoIterator<Item = &'a Self>, count: usize) -> String {
        skipped
            .into_iter()
            .take(count)
            .map(|file| format!("{}: {}", file.path, file.reason))
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// Describes the skipped files: a line for those that can't be opened, with the first five, and
    /// one for those that can't be decoded, with the first.
    pub fn words(skipped: &[Self]) -> Vec<String> {
        let of = |failure: Failure, what: &str, most: usize| {
            let files: Vec<&Self> = skipped
                .iter()
                .filter(|file| file.failure == failure)
                .collect();
            let parts = parts_words(files.iter().map(|file| file.split));
            let (plural, are) = if files.len() == 1 {
                ("", "is")
            } else {
                ("s", "are")
            };
            let first = if files.len().min(most) > 1 {
                format!("the first {}", files.len().min(most))
            } else {
                "the first".to_owned()
            };
            let named = Self::named(files.iter().copied(), most);
            let line = format!(
                "{} {what}{plural} {} and {are} skipped{parts}; {first}: {named}",
                files.len(),
                failure.words()
            );
            (!files.is_empty()).then_some(line)
        };
        [
            of(Failure::Opening, "file", 5),
            of(Failure::Decoding, "image", 1),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// An image that could be read though its file is damaged; a line of `damaged.csv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Path of the file.
    pub path: String,
    /// How it is damaged.
    pub reason: String,
    /// Part: `train`, `val` or `test`; empty if it belongs to none.
    pub split: &'static str,
    /// Class name; empty if it isn't known.
    pub class: String,
}

impl Damaged {
    /// Returns the line of an image, or `None` if its file isn't damaged.
    pub fn of(facts: &ImageStats, path: &Path, part: Option<Part>, class: &str) -> Option<Self> {
        let reason = facts.damage.clone()?;
        Some(Self {
            path: names::of_path(path),
            reason,
            split: part.map_or("", Part::name),
            class: class.to_owned(),
        })
    }

    /// Describes how many files are damaged.
    pub fn count_words(count: usize) -> String {
        match count {
            1 => "1 image's file is damaged and is used as far as it can be read".to_owned(),
            _ => {
                format!("{count} images' files are damaged and are used as far as they can be read")
            }
        }
    }

    /// Describes how many files are damaged, and names the first.
    pub fn words(damaged: &[Self]) -> Option<String> {
        let Self { path, reason, .. } = damaged.first()?;
        let parts = parts_words(damaged.iter().map(|file| file.split));
        Some(format!(
            "{}{parts}; the first: {path}: {reason}",
            Self::count_words(damaged.len())
        ))
    }
}

/// Returns the number of files of each part in brackets; empty if all belong to the training set.
fn parts_words<'a>(splits: impl Iterator<Item = &'a str> + Clone) -> String {
    let count = |part: Part| splits.clone().filter(|split| *split == part.name()).count();
    let parts = [Part::Train, Part::Validation, Part::Test].map(|part| (part.name(), count(part)));
    let found: Vec<_> = parts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if found.len() > 1 || count(Part::Test) > 0 {
        format!(" ({})", found.join(", "))
    } else {
        String::new()
    }
}
