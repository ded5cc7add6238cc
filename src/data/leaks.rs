//! Copies across the parts of a run's data: test and validation pictures that measure memory.

use std::path::{Path, PathBuf};

use super::{
    DataError,
    copies::Likeness,
    listing::Part,
    survey::{Seen, Survey},
};
use crate::config::OnLeak;

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

/// Every validation and test picture, with its copy in training; and the training pictures that are such copies, by position.
pub(super) fn find(survey: &Survey) -> (Vec<Leak>, Vec<usize>) {
    let seen = &survey.seen;
    let mut source: Vec<Option<(usize, Likeness)>> = vec![None; seen.len()];
    let mut copied = Vec::new();
    for group in &survey.groups {
        let is_trained = |index: &&usize| seen[**index].part == Part::Train;
        let Some(first) = group.members.iter().find(is_trained) else { continue };
        if group.members.iter().any(|index| seen[*index].part != Part::Train) {
            copied.extend(group.members.iter().filter(is_trained));
            group.members.iter().for_each(|index| source[*index] = Some((*first, group.likeness)));
        }
    }
    let leak = |(seen, source): (&Seen, &Option<(usize, Likeness)>)| Leak {
        path: seen.entry.path.clone(),
        class: seen.entry.class.clone(),
        part: seen.part,
        digest: seen.facts.pixels,
        copy_of: source.map(|(index, _)| survey.seen[index].entry.path.clone()),
        likeness: source.map(|(_, likeness)| likeness),
    };
    copied.sort_unstable();
    (seen.iter().zip(&source).filter(|(seen, _)| seen.part != Part::Train).map(leak).collect(), copied)
}

/// What is found of a part, in words; `None` of nothing.
fn words(leaks: &[Leak], part: Part) -> Option<String> {
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
