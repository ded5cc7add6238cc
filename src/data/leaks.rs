//! Copies across the parts of a run's data: test and validation pictures that measure memory.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    DataError,
    copies::{self, Candidate, Group, Likeness},
    dataset::Picture,
    listing::{Entry, Part},
    look::Look,
    pictures::{Format, Keep, Read, read},
};
use crate::config::{Cache, OnLeak};

/// A picture that is measured on or chosen by, and the training picture that is a copy of it, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The picture.
    pub path: PathBuf,
    /// The class it is said to be of.
    pub class: String,
    /// What it is used for.
    pub part: Part,
    /// BLAKE3 of its decoded pixels.
    pub digest: [u8; 32],
    /// The first training picture that is a copy of it.
    pub copy_of: Option<PathBuf>,
    /// The weakest link of their group.
    pub likeness: Option<Likeness>,
}

/// A picture as copies are looked for.
#[derive(Clone, Debug)]
pub(super) struct Glance {
    path: PathBuf,
    class: String,
    digest: [u8; 32],
    look: Arc<Look>,
}

impl Glance {
    /// Of a picture of these classes.
    pub(super) fn of(picture: &Picture, classes: &[String]) -> Self {
        let (path, look) = (picture.path.clone(), Arc::clone(&picture.look));
        Self { path, class: classes[picture.label].clone(), digest: picture.digest, look }
    }
}

/// Test pictures, decoded for this and forgotten; those that can't be read are left to the evaluation.
pub(super) fn glance_at(test: &[Entry], format: Format, done: &(dyn Fn(usize) + Sync)) -> Result<Vec<Glance>, DataError> {
    let paths: Vec<&Path> = test.iter().map(|entry| entry.path.as_path()).collect();
    // As small as a picture gets: nobody looks at these pixels.
    let format = Format { image_size: [1, 1], ..format };
    let (_, reads) = read(&paths, format, Keep { cache: Cache::Off, memory_mb: 0 }, done)?;
    let glance = |(entry, read): (&Entry, Read)| match read {
        Read::Good { digest, look, .. } => Some(Glance { path: entry.path.clone(), class: entry.class.clone(), digest, look }),
        Read::Bad(_) => None,
    };
    Ok(test.iter().zip(reads).filter_map(glance).collect())
}

/// The groups of copies among all of them.
pub(super) fn groups(glances: &[Glance]) -> Vec<Group> {
    copies::find(&glances.iter().map(|glance| Candidate { file: None, pixels: glance.digest, look: &glance.look }).collect::<Vec<_>>())
}

/// For each picture the digest of the first of its group: what must stay on one side of a split has the same.
pub(super) fn group_digests(glances: &[Glance], groups: &[Group]) -> Vec<[u8; 32]> {
    let mut digests: Vec<_> = glances.iter().map(|glance| glance.digest).collect();
    for group in groups {
        let first = digests[group.members[0]];
        group.members.iter().for_each(|index| digests[*index] = first);
    }
    digests
}

/// Every validation and test picture, with its copy in training; and the training pictures that are such copies, by position. `parts[i]` is
/// what picture `i` is used for.
pub(super) fn find(glances: &[Glance], parts: &[Part], groups: &[Group]) -> (Vec<Leak>, Vec<usize>) {
    let mut source: Vec<Option<(usize, Likeness)>> = vec![None; glances.len()];
    let mut copied = Vec::new();
    for group in groups {
        let is_trained = |index: &&usize| parts[**index] == Part::Train;
        let Some(first) = group.members.iter().find(is_trained) else { continue };
        if group.members.iter().any(|index| parts[*index] != Part::Train) {
            copied.extend(group.members.iter().filter(is_trained));
            group.members.iter().for_each(|index| source[*index] = Some((*first, group.likeness)));
        }
    }
    let leak = |index: usize| {
        let Glance { path, class, digest, .. } = glances[index].clone();
        let copy_of = source[index].map(|(index, _)| glances[index].path.clone());
        Leak { path, class, part: parts[index], digest, copy_of, likeness: source[index].map(|(_, likeness)| likeness) }
    };
    copied.sort_unstable();
    ((0..glances.len()).filter(|index| parts[*index] != Part::Train).map(leak).collect(), copied)
}

/// What is found of a part, in words; `None` of nothing.
pub fn words(leaks: &[Leak], part: Part) -> Option<String> {
    let of_part: Vec<_> = leaks.iter().filter(|leak| leak.part == part).collect();
    let copies: Vec<_> = of_part.iter().filter(|leak| leak.copy_of.is_some()).collect();
    let first = copies.first()?;
    let near = copies.iter().filter(|leak| leak.likeness == Some(Likeness::Near)).count();
    let near = if near > 0 { format!(", {near} of them saved again, cropped, turned or the like") } else { String::new() };
    let what = if part == Part::Test { "test" } else { "validation" };
    Some(format!(
        "{} of {} {what} pictures are copies of training pictures{near}; the first: {} = {}",
        copies.len(),
        of_part.len(),
        first.path.display(),
        first.copy_of.as_deref().unwrap_or(Path::new("")).display()
    ))
}

/// The error, where that is wanted.
pub(super) fn check(leaks: &[Leak], on_leak: OnLeak) -> Result<(), DataError> {
    let found: Vec<_> = [Part::Test, Part::Validation].into_iter().filter_map(|part| words(leaks, part)).collect();
    if found.is_empty() || on_leak != OnLeak::Error {
        return Ok(());
    }
    Err(DataError::Classes(format!(
        "{}; remove them, or set data.on_leak = \"exclude\" to leave the training copies out; `emberlens inspect` lists all",
        found.join("; ")
    )))
}
