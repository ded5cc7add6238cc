//! Finds leaks: copies across the training, validation and test sets, on which a figure measures
//! what was memorized.

use std::path::{Path, PathBuf};

use super::{
    Candidate, Group, Likeness,
    scan::{Scan, ScannedImage},
};
use crate::{
    base::names,
    config::OnLeak,
    data::{error::DataError, listing::Part},
};

/// A validation or test image, and the image that it is a copy of, if any: for a validation image a
/// training image, for a test image a training or validation image, since validation images choose
/// the best epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Path of the image.
    pub path: PathBuf,
    /// Class of the image, as listed.
    pub class: String,
    /// The part that it belongs to.
    pub part: Part,
    /// BLAKE3 digest of its decoded pixels.
    pub digest: [u8; 32],
    /// The image that it is a copy of: preferably one with equal pixels, then a training image.
    pub copy_of: Option<PathBuf>,
    /// How the two are copies of one another.
    pub likeness: Option<Likeness>,
}

/// Returns the parts that a run knows when it is measured on `part`, the best known first.
pub fn known_to(part: Part) -> &'static [Part] {
    match part {
        Part::Train => &[],
        Part::Validation => &[Part::Train],
        Part::Test => &[Part::Train, Part::Validation],
    }
}

/// Returns all validation and test images with what they are copies of, except for the positions in
/// `excluded`.
pub(in crate::data) fn find(survey: &Scan, excluded: &[usize]) -> Vec<Leak> {
    let mut source: Vec<Option<usize>> = vec![None; survey.seen.len()];
    for group in &survey.groups {
        for &index in &group.members {
            source[index] = copy_of(index, group, &survey.seen, excluded);
        }
    }
    let leak = |(index, seen): (usize, &ScannedImage)| {
        let copy = source[index].map(|copy| &survey.seen[copy]);
        Leak {
            path: seen.entry.path.clone(),
            class: seen.entry.class.clone(),
            part: seen.part,
            digest: seen.facts.pixels,
            copy_of: copy.map(|copy| copy.entry.path.clone()),
            likeness: copy.map(|copy| likeness(seen, copy)),
        }
    };
    let is_told = |(index, seen): &(usize, &ScannedImage)| {
        seen.part != Part::Train && excluded.binary_search(index).is_err()
    };
    survey
        .seen
        .iter()
        .enumerate()
        .filter(is_told)
        .map(leak)
        .collect()
}

/// Returns the member of a group that an image is reported as a copy of.
fn copy_of(
    index: usize,
    group: &Group,
    seen: &[ScannedImage],
    excluded: &[usize],
) -> Option<usize> {
    let own = &seen[index];
    let rank = |other: usize| {
        known_to(own.part)
            .iter()
            .position(|part| *part == seen[other].part)
    };
    let known = group
        .members
        .iter()
        .copied()
        .filter(|other| excluded.binary_search(other).is_err());
    let known = known.filter_map(|other| {
        Some((
            likeness(own, &seen[other]) == Likeness::Near,
            rank(other)?,
            other,
        ))
    });
    known.min().map(|(.., other)| other)
}

/// Returns how two members of a group are copies of one another.
fn likeness(one: &ScannedImage, other: &ScannedImage) -> Likeness {
    Candidate::from(&*one.facts).likeness(&Candidate::from(&*other.facts))
}

/// Returns the positions, rising, to leave out so that no image has a copy in another part:
/// training and validation images that are copies of test images, and training images that are
/// copies of validation images.
pub(in crate::data) fn to_exclude(survey: &Scan) -> Vec<usize> {
    let mut excluded = Vec::new();
    for group in &survey.groups {
        // Test is above validation, which is above training: the highest part keeps its images.
        let kept = group
            .members
            .iter()
            .map(|index| survey.seen[*index].part)
            .max();
        excluded.extend(
            group
                .members
                .iter()
                .copied()
                .filter(|index| Some(survey.seen[*index].part) < kept),
        );
    }
    excluded.sort_unstable();
    excluded
}

/// Describes the leaks into a part; `None` if there are none.
fn words(leaks: &[Leak], part: Part) -> Option<String> {
    let of_part: Vec<_> = leaks.iter().filter(|leak| leak.part == part).collect();
    let copies: Vec<_> = of_part
        .iter()
        .filter(|leak| leak.copy_of.is_some())
        .collect();
    let first = copies.first()?;
    let near = copies
        .iter()
        .filter(|leak| leak.likeness == Some(Likeness::Near))
        .count();
    let near = if near > 0 {
        format!(", {near} of them saved again, cropped, rotated or similar")
    } else {
        String::new()
    };
    let (what, of) = match part {
        Part::Test => ("test", "training or validation"),
        _ => ("validation", "training"),
    };
    Some(format!(
        "{} of {} {what} images are copies of {of} images{near}; the first: {} = {}",
        copies.len(),
        of_part.len(),
        names::of_path(&first.path),
        names::of_path(first.copy_of.as_deref().unwrap_or(Path::new("")))
    ))
}

/// Returns an error that describes all leaks, if `on_leak` asks for one.
///
/// # Errors
/// Returns an error if there are leaks and `on_leak` is [`OnLeak::Error`].
pub(in crate::data) fn check(leaks: &[Leak], on_leak: OnLeak) -> Result<(), DataError> {
    let found: Vec<_> = [Part::Test, Part::Validation]
        .into_iter()
        .filter_map(|part| words(leaks, part))
        .collect();
    if found.is_empty() || on_leak != OnLeak::Error {
        return Ok(());
    }
    Err(DataError::Classes(format!(
        "{}; remove them, or set data.on_leak = \"exclude\" to leave out the training and \
         validation copies; `emberlens inspect` lists all",
        found.join("; ")
    )))
}
