//! `split.csv`, `skipped.csv` and `damaged.csv`: the part of each image, the files that were
//! skipped or are damaged, and whether the data is still that of a run.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    batches::dataset::ImageSet,
    error::DataError,
    listing::{Part, Unreadable},
};
use crate::{
    base::{
        io::files::{self, digest_from_hex},
        names,
    },
    data::{batches::dataset::Image, pixels::image_stats::ImageStats},
};

/// A line of `split.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitRow {
    /// Path of the image.
    pub path: String,
    /// Class index.
    pub label: usize,
    /// Class name.
    pub class: String,
    /// Part: `train`, `val` or `test`.
    pub split: String,
    /// Group; empty if there is none.
    pub group: String,
    /// BLAKE3 digest of the decoded pixels, in hexadecimal.
    pub blake3: String,
    /// Factor on the loss in training.
    pub weight: f32,
    /// Path of the image that a validation or test image is a copy of; empty if there is none.
    #[serde(default)]
    pub copy_of: String,
}

/// The fields of a row that a run depends on.
#[derive(Serialize)]
struct Fixed<'a> {
    path: &'a str,
    label: usize,
    class: &'a str,
    split: &'a str,
    group: &'a str,
    blake3: &'a str,
    weight: f32,
}

impl<'a> Fixed<'a> {
    /// Returns the fields of a row.
    fn of(row: &'a SplitRow) -> Self {
        let SplitRow {
            path,
            label,
            class,
            split,
            group,
            blake3,
            weight,
            copy_of: _,
        } = row;
        Self {
            path,
            label: *label,
            class,
            split,
            group,
            blake3,
            weight: *weight,
        }
    }
}

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
            1 => "1 image's file is damaged and is used as far as it goes".to_owned(),
            _ => format!("{count} images' files are damaged and are used as far as they go"),
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

/// Returns the rows of a set.
pub fn rows(set: &ImageSet, part: Part) -> Vec<SplitRow> {
    let row = |image: &Image| SplitRow {
        path: names::of_path(&image.path),
        label: image.label,
        class: set.classes[image.label].clone(),
        split: part.name().to_owned(),
        group: image.group.clone().unwrap_or_default(),
        blake3: files::hex(&image.digest),
        weight: image.weight,
        copy_of: String::new(),
    };
    set.images.iter().map(row).collect()
}

/// Returns rows as the text of a CSV. Fields with spaces at their ends are quoted, because readers
/// of lists, ours included, trim others.
pub fn to_csv(rows: &[impl Serialize]) -> Vec<u8> {
    let plain = to_plain_csv(rows);
    // The `csv` crate quotes either all fields or those that it would misread itself, so fields are
    // quoted in a second pass.
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(plain.as_slice());
    let mut text = Vec::with_capacity(plain.len());
    for record in reader.records() {
        let fields: Vec<_> = record
            .expect("what was just written")
            .iter()
            .map(quoted)
            .collect();
        text.extend_from_slice(fields.join(",").as_bytes());
        text.push(b'\n');
    }
    text
}

/// Returns a field, in quotes if a reader would take it for something else without them.
fn quoted(field: &str) -> String {
    let is_plain = field.trim() == field && !field.contains([',', '"', '\n', '\r']);
    if is_plain {
        field.to_owned()
    } else {
        format!("\"{}\"", field.replace('"', "\"\""))
    }
}

/// Returns rows as the `csv` crate writes them, which doesn't quote spaces. Fingerprints are made
/// of this form.
fn to_plain_csv(rows: &[impl Serialize]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).expect("plain rows go into memory");
    }
    writer.into_inner().expect("memory takes every byte")
}

/// Reads a `split.csv`.
///
/// # Errors
/// Returns an error if the file can't be read or a row isn't a [`SplitRow`].
pub fn read_split(path: &Path) -> Result<Vec<SplitRow>, DataError> {
    let failed = |message: String| DataError::Csv {
        message,
        path: path.to_owned(),
        line: 1,
    };
    csv::Reader::from_reader(read_bytes(path)?.as_slice())
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))
}

/// Reads the bytes of a `split.csv`.
///
/// # Errors
/// Returns an error if the file can't be read.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|error| DataError::io("read", path, error))
}

/// Returns the digests of the decoded pixels of the images in these parts.
pub fn digests_of(rows: &[SplitRow], parts: &[Part]) -> BTreeSet<[u8; 32]> {
    let is_in = |row: &&SplitRow| parts.iter().any(|part| row.split == part.name());
    rows.iter()
        .filter(is_in)
        .filter_map(|row| digest_from_hex(&row.blake3))
        .collect()
}

/// Returns a digest of the table (SHA-256 in hexadecimal), which changes with any image, label,
/// part, group or weight, and with their order.
pub fn fingerprint(rows: &[SplitRow]) -> String {
    files::sha256_hex(&to_plain_csv(
        &rows.iter().map(Fixed::of).collect::<Vec<_>>(),
    ))
}

/// Which present image is which image of a run, wherever it is now. Images are matched by class and
/// decoded pixels; equal ones first by path, then in order.
#[derive(Debug, Default)]
pub struct Matched {
    /// For each row of the run, the index of the present row.
    pub now: Vec<Option<usize>>,
    /// Indices of the present rows that aren't in the run.
    pub added: Vec<usize>,
}

impl Matched {
    /// Matches the rows of a run with the present ones.
    pub fn of(before: &[SplitRow], now: &[SplitRow]) -> Self {
        let mut places: BTreeMap<(&str, &str), VecDeque<usize>> = BTreeMap::new();
        for (index, row) in now.iter().enumerate() {
            places
                .entry((&row.class, &row.blake3))
                .or_default()
                .push_back(index);
        }
        let mut found = vec![None; before.len()];
        // Two passes, so that an image that has moved doesn't take the place of one that hasn't.
        for is_at_its_path in [true, false] {
            for (row, found) in before
                .iter()
                .zip(&mut found)
                .filter(|(_, found)| found.is_none())
            {
                let Some(equals) = places.get_mut(&(row.class.as_str(), row.blake3.as_str()))
                else {
                    continue;
                };
                let at = if is_at_its_path {
                    equals.iter().position(|index| now[*index].path == row.path)
                } else {
                    Some(0)
                };
                *found = at.and_then(|at| equals.remove(at));
            }
        }
        let mut added: Vec<usize> = places.into_values().flatten().collect();
        added.sort_unstable();
        Self { now: found, added }
    }

    /// Returns whether they are the same images, one for one.
    pub fn is_whole(&self) -> bool {
        self.added.is_empty() && self.now.iter().all(Option::is_some)
    }
}

/// Maximum number of images named in a message.
const NAMED: usize = 5;

/// Describes what differs between the data of a run and the present data; `None` if nothing does.
/// If images are new, gone or changed, other differences aren't reported, since they may follow
/// from that.
pub fn difference(before: &[SplitRow], now: &[SplitRow]) -> Option<String> {
    let matched = Matched::of(before, now);
    let added: BTreeMap<&str, &SplitRow> = matched
        .added
        .iter()
        .map(|index| (now[*index].path.as_str(), &now[*index]))
        .collect();
    let gone: Vec<&SplitRow> = before
        .iter()
        .zip(&matched.now)
        .filter(|(_, now)| now.is_none())
        .map(|(row, _)| row)
        .collect();
    let mut changes = Changes::default();
    for row in &gone {
        match added.get(row.path.as_str()) {
            Some(other) if other.blake3 != row.blake3 => {
                changes.add(": its pixels have changed", "have other pixels", &row.path)
            }
            Some(other) => {
                let (was, is) = (&row.class, &other.class);
                changes.add(
                    &format!(": its class was {was} and is {is}"),
                    &format!("were of class {was} and are of {is}"),
                    &row.path,
                );
            }
            None => changes.add(
                &format!(" was in {} and is gone", row.split),
                &format!("were in {} and are gone", row.split),
                &row.path,
            ),
        }
    }
    let is_changed = |path: &str| gone.iter().any(|row| row.path == path);
    let new = matched
        .added
        .iter()
        .map(|index| &now[*index].path)
        .filter(|path| !is_changed(path));
    new.for_each(|path| changes.add(" is new", "are new", path));
    if changes.0.is_empty() {
        for (row, other) in before
            .iter()
            .zip(&matched.now)
            .filter_map(|(row, at)| Some((row, &now[(*at)?])))
        {
            let mut compare =
                |is_other: bool, what: &str, [was, is]: [&dyn std::fmt::Display; 2]| {
                    if is_other {
                        changes.add(
                            &format!(": its {what} was {was} and is {is}"),
                            &format!("had the {what} {was} and have {is}"),
                            &row.path,
                        );
                    }
                };
            compare(
                row.weight.to_bits() != other.weight.to_bits(),
                "weight",
                [&row.weight, &other.weight],
            );
            compare(
                row.label != other.label,
                "class number",
                [&row.label, &other.label],
            );
            compare(
                row.group != other.group,
                "group",
                [&format!("`{}`", row.group), &format!("`{}`", other.group)],
            );
            if row.split != other.split {
                let (was, is) = (&row.split, &other.split);
                changes.add(
                    &format!(": it was in {was} and would be in {is}"),
                    &format!("were in {was} and would be in {is}"),
                    &row.path,
                );
            }
        }
    }
    // A different order changes the batches, though all images are the same.
    changes
        .words()
        .or_else(|| (before != now).then(|| "the order of the images has changed".to_owned()))
}

/// Changes: the description for one image, for several, and the paths.
#[derive(Default)]
struct Changes(Vec<(String, String, Vec<String>)>);

impl Changes {
    /// Adds an image to the change with this description.
    fn add(&mut self, one: &str, several: &str, path: &str) {
        match self.0.iter_mut().find(|(known, ..)| known == one) {
            Some((.., paths)) => paths.push(path.to_owned()),
            None => self
                .0
                .push((one.to_owned(), several.to_owned(), vec![path.to_owned()])),
        }
    }

    /// Describes all changes; `None` if there are none.
    fn words(&self) -> Option<String> {
        let words = |(one, several, paths): &(String, String, Vec<String>)| {
            let named = paths
                .iter()
                .take(NAMED)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            let more = if paths.len() > NAMED { ", ..." } else { "" };
            if paths.len() == 1 {
                format!("{named}{one}")
            } else {
                format!("{} images {several}: {named}{more}", paths.len())
            }
        };
        (!self.0.is_empty()).then(|| self.0.iter().map(words).collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str) -> SplitRow {
        SplitRow {
            path: path.to_owned(),
            label: 0,
            class: "a, \"quoted\"".to_owned(),
            split: "train".to_owned(),
            group: String::new(),
            blake3: files::hex(&[7; 32]),
            weight: 1.0,
            copy_of: String::new(),
        }
    }

    #[test]
    fn rows_read_back_as_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("split.csv");
        let rows = vec![row("x/image(1).jpg"), row("y, z.png")];
        std::fs::write(&path, to_csv(&rows)).expect("written");
        assert_eq!(read_split(&path).expect("read"), rows);
        let held_back = SplitRow {
            split: "val".to_owned(),
            blake3: files::hex(&[8; 32]),
            ..row("z.png")
        };
        let rows = [rows, vec![held_back]].concat();
        for (parts, expected) in [
            (&[Part::Train][..], &[[7; 32]][..]),
            (&[Part::Train, Part::Validation], &[[7; 32], [8; 32]]),
        ] {
            assert_eq!(
                digests_of(&rows, parts).into_iter().collect::<Vec<_>>(),
                expected
            );
        }
    }

    #[test]
    fn images_are_known_by_class_and_pixels_wherever_they_lie() {
        let of = |path: &str, class: &str, pixels: u8| SplitRow {
            class: class.to_owned(),
            blake3: files::hex(&[pixels; 32]),
            ..row(path)
        };
        let before = [
            of("old/1", "a", 1),
            of("old/2", "a", 2),
            of("old/3", "a", 1),
            of("old/4", "b", 1),
        ];
        let moved = [
            of("new/1", "a", 1),
            of("new/3", "a", 1),
            of("new/4", "b", 1),
            of("new/2", "a", 2),
        ];
        let matched = Matched::of(&before, &moved);
        assert!(matched.is_whole());
        assert_eq!(matched.now, [Some(0), Some(3), Some(1), Some(2)]);
        // Of equal images, the one at its own path first.
        let half = [
            of("new/1", "a", 1),
            of("old/1", "a", 1),
            of("old/2", "a", 2),
            of("old/4", "b", 1),
        ];
        assert_eq!(
            Matched::of(&before, &half).now,
            [Some(1), Some(2), Some(0), Some(3)]
        );
        let other = [
            of("new/1", "b", 1),
            of("new/2", "a", 2),
            of("new/3", "a", 1),
            of("new/4", "b", 1),
        ];
        let matched = Matched::of(&before, &other);
        assert!(!matched.is_whole());
        assert_eq!(
            (matched.now, matched.added),
            (vec![Some(2), Some(1), None, Some(0)], vec![3])
        );
    }

    #[test]
    fn each_kind_of_change_is_named_with_the_image() {
        let before = vec![row("1.png"), row("2.png")];
        let changed = |change: &dyn Fn(&mut SplitRow)| {
            let mut rows = before.clone();
            change(&mut rows[1]);
            rows
        };
        let many: Vec<_> = (3..10)
            .map(|number| SplitRow {
                blake3: files::hex(&[number; 32]),
                ..row(&format!("{number}.png"))
            })
            .collect();
        let cases: [(Vec<SplitRow>, &str); 9] = [
            (
                [before.clone(), many].concat(),
                "7 images are new: 3.png, 4.png, 5.png, 6.png, 7.png, ...",
            ),
            // The split was drawn anew because of the new image, which is what the user has to
            // know.
            (
                [
                    changed(&|row| row.split = "val".to_owned()),
                    vec![SplitRow {
                        blake3: files::hex(&[3; 32]),
                        ..row("3.png")
                    }],
                ]
                .concat(),
                "3.png is new",
            ),
            (before[..1].to_vec(), "2.png was in train and is gone"),
            (
                [before.clone(), vec![row("3.png")]].concat(),
                "3.png is new",
            ),
            (
                changed(&|row| row.blake3 = files::hex(&[8; 32])),
                "2.png: its pixels have changed",
            ),
            (
                changed(&|row| row.class = "b".to_owned()),
                "2.png: its class was a, \"quoted\" and is b",
            ),
            (
                changed(&|row| row.split = "val".to_owned()),
                "2.png: it was in train and would be in val",
            ),
            (
                changed(&|row| row.weight = 2.0),
                "2.png: its weight was 1 and is 2",
            ),
            (vec![row("2.png"), row("1.png")], "the order"),
        ];
        for (now, expected) in cases {
            let difference = difference(&before, &now).expect(expected);
            assert!(difference.contains(expected), "{difference}");
            assert_ne!(fingerprint(&before), fingerprint(&now));
        }
        assert_eq!(difference(&before, &before), None);
    }
}
