//! `split.csv` and `skipped.csv`: which picture went where, which didn't, and whether the data is still the same.

use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    DataError,
    dataset::PictureSet,
    listing::{Part, Unreadable},
    pictures::digest_from_hex,
};
use crate::base::{files, names};

/// A line of `split.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitRow {
    /// Where the picture is.
    pub path: String,
    /// Class index.
    pub label: usize,
    /// Class name.
    pub class: String,
    /// `train`, `val` or `test`.
    pub split: String,
    /// Empty where there is none.
    pub group: String,
    /// BLAKE3 of the decoded picture, in hexadecimal.
    pub blake3: String,
    /// Factor on the loss in training.
    pub weight: f32,
    /// The training picture that a validation or test picture is a copy of; empty where there is none.
    #[serde(default)]
    pub copy_of: String,
}

/// The part of a row that a run depends on.
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
    fn of(row: &'a SplitRow) -> Self {
        let SplitRow { path, label, class, split, group, blake3, weight, copy_of: _ } = row;
        Self { path, label: *label, class, split, group, blake3, weight: *weight }
    }
}

/// A file that was left out: a line of `skipped.csv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Where it is.
    pub path: String,
    /// Why.
    pub reason: String,
    /// `train`, `val` or `test`; empty where it is for none of them.
    pub split: &'static str,
    /// The name of its class; empty where that isn't known.
    pub class: String,
    /// How far reading it came.
    #[serde(skip)]
    pub failure: Failure,
}

/// How far reading a file came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It isn't there, or nobody may open it.
    Opening,
    /// It is no picture, or a damaged one.
    Decoding,
}

impl Failure {
    /// What can't be done with such files.
    pub fn words(self) -> &'static str {
        match self {
            Self::Opening => "can't be opened",
            Self::Decoding => "can't be decoded",
        }
    }
}

impl Skipped {
    /// What couldn't be opened, for `part`.
    pub fn unopened(file: &Unreadable, part: Option<Part>) -> Self {
        Self {
            path: names::of_path(&file.path),
            reason: file.reason.clone(),
            split: part.map_or("", Part::name),
            class: file.class.clone().unwrap_or_default(),
            failure: Failure::Opening,
        }
    }

    /// "path: reason" of the first so many.
    pub fn named<'a>(skipped: impl IntoIterator<Item = &'a Self>, count: usize) -> String {
        skipped.into_iter().take(count).map(|file| format!("{}: {}", file.path, file.reason)).collect::<Vec<_>>().join("; ")
    }

    /// A line for what can't be opened, with the first five, and one for what can't be decoded, with the first.
    pub fn words(skipped: &[Self]) -> Vec<String> {
        let of = |failure: Failure, what: &str, most: usize| {
            let files: Vec<&Self> = skipped.iter().filter(|file| file.failure == failure).collect();
            let count = |part: Part| files.iter().filter(|file| file.split == part.name()).count();
            let parts = [Part::Train, Part::Validation, Part::Test].map(|part| (part.name(), count(part)));
            let parts: Vec<_> = parts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
            let parts = if parts.len() > 1 || count(Part::Test) > 0 { format!(" ({})", parts.join(", ")) } else { String::new() };
            let (plural, are) = if files.len() == 1 { ("", "is") } else { ("s", "are") };
            let first = if files.len().min(most) > 1 { format!("the first {}", files.len().min(most)) } else { "the first".to_owned() };
            let named = Self::named(files.iter().copied(), most);
            let line = format!("{} {what}{plural} {} and {are} skipped{parts}; {first}: {named}", files.len(), failure.words());
            (!files.is_empty()).then_some(line)
        };
        [of(Failure::Opening, "file", 5), of(Failure::Decoding, "picture", 1)].into_iter().flatten().collect()
    }
}

/// The lines for one set.
pub fn rows(set: &PictureSet, part: Part) -> Vec<SplitRow> {
    let row = |picture: &super::dataset::Picture| SplitRow {
        path: names::of_path(&picture.path),
        label: picture.label,
        class: set.classes[picture.label].clone(),
        split: part.name().to_owned(),
        group: picture.group.clone().unwrap_or_default(),
        blake3: files::hex(&picture.digest),
        weight: picture.weight,
        copy_of: String::new(),
    };
    set.pictures.iter().map(row).collect()
}

/// Rows as the text of a CSV. Spaces at the ends of a field are quoted: readers of lists, ours as well, trim others.
pub fn to_csv(rows: &[impl Serialize]) -> Vec<u8> {
    let plain = to_plain_csv(rows);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(plain.as_slice());
    let mut text = Vec::with_capacity(plain.len());
    for record in reader.records() {
        let fields: Vec<_> = record.expect("what was just written").iter().map(quoted).collect();
        text.extend_from_slice(fields.join(",").as_bytes());
        text.push(b'\n');
    }
    text
}

/// A field, in quotes where a reader would take it for something else.
fn quoted(field: &str) -> String {
    let is_plain = field.trim() == field && !field.contains([',', '"', '\n', '\r']);
    if is_plain { field.to_owned() } else { format!("\"{}\"", field.replace('"', "\"\"")) }
}

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
/// The file is missing or not one of ours.
pub fn read_split(path: &Path) -> Result<Vec<SplitRow>, DataError> {
    let failed = |message: String| DataError::Csv { message, path: path.to_owned(), line: 1 };
    let text = std::fs::read(path).map_err(|error| DataError::io("read", path, error))?;
    csv::Reader::from_reader(text.as_slice()).deserialize().collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))
}

/// The decoded digests of the pictures in these parts of a `split.csv`.
pub fn digests_of(rows: &[SplitRow], parts: &[Part]) -> BTreeSet<[u8; 32]> {
    let is_in = |row: &&SplitRow| parts.iter().any(|part| row.split == part.name());
    rows.iter().filter(is_in).filter_map(|row| digest_from_hex(&row.blake3)).collect()
}

/// One number for the whole table: it changes when any picture, label, split, group or weight does.
pub fn fingerprint(rows: &[SplitRow]) -> String {
    files::sha256_hex(&to_plain_csv(&rows.iter().map(Fixed::of).collect::<Vec<_>>()))
}

/// The first difference between the data of a run and the data that is there now, in words; `None` where they are equal.
pub fn difference(before: &[SplitRow], now: &[SplitRow]) -> Option<String> {
    let by_path = |rows: &[SplitRow]| rows.iter().map(|row| (row.path.clone(), row.clone())).collect::<std::collections::BTreeMap<_, _>>();
    let (old, new) = (by_path(before), by_path(now));
    for (path, row) in &old {
        let Some(other) = new.get(path) else { return Some(format!("{path} was in {} and is gone", row.split)) };
        let differs = [
            (row.blake3 != other.blake3, "its pixels have changed".to_owned()),
            (row.class != other.class || row.label != other.label, format!("its class was {} and is {}", row.class, other.class)),
            (row.split != other.split, format!("it was in {} and would be in {}", row.split, other.split)),
            (row.group != other.group, format!("its group was `{}` and is `{}`", row.group, other.group)),
            (row.weight.to_bits() != other.weight.to_bits(), format!("its weight was {} and is {}", row.weight, other.weight)),
        ];
        if let Some((_, what)) = differs.into_iter().find(|(differs, _)| *differs) {
            return Some(format!("{path}: {what}"));
        }
    }
    let added = new.keys().find(|path| !old.contains_key(*path)).map(|path| format!("{path} is new"));
    added.or_else(|| (before != now).then(|| "the order of the pictures has changed".to_owned()))
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
        let held_back = SplitRow { split: "val".to_owned(), blake3: files::hex(&[8; 32]), ..row("z.png") };
        let rows = [rows, vec![held_back]].concat();
        for (parts, expected) in [(&[Part::Train][..], &[[7; 32]][..]), (&[Part::Train, Part::Validation], &[[7; 32], [8; 32]])] {
            assert_eq!(digests_of(&rows, parts).into_iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn each_kind_of_change_is_named_with_the_picture() {
        let before = vec![row("1.png"), row("2.png")];
        let changed = |change: &dyn Fn(&mut SplitRow)| {
            let mut rows = before.clone();
            change(&mut rows[1]);
            rows
        };
        let cases: [(Vec<SplitRow>, &str); 7] = [
            (before[..1].to_vec(), "2.png was in train and is gone"),
            ([before.clone(), vec![row("3.png")]].concat(), "3.png is new"),
            (changed(&|row| row.blake3 = files::hex(&[8; 32])), "2.png: its pixels have changed"),
            (changed(&|row| row.class = "b".to_owned()), "2.png: its class was a, \"quoted\" and is b"),
            (changed(&|row| row.split = "val".to_owned()), "2.png: it was in train and would be in val"),
            (changed(&|row| row.weight = 2.0), "2.png: its weight was 1 and is 2"),
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
