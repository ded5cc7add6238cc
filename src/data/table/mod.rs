//! `split.csv`, `skipped.csv` and `damaged.csv`: the part of each image, the files that were
//! skipped or are damaged, and whether the data is still that of a run.

mod difference;
mod unread;

use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Serialize};

pub use self::{
    difference::{Matched, difference},
    unread::{Damaged, Failure, Skipped},
};
use super::{batches::dataset::ImageSet, error::DataError, listing::Part};
use crate::{
    base::{
        io::files::{self, digest_from_hex},
        names,
    },
    data::batches::dataset::Image,
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

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn row(path: &str) -> SplitRow {
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
}
