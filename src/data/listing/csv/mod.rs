//! Turns a CSV into a listing. Finds the file of each line; a file that isn't there is listed with
//! the reason and the line, and doesn't end the reading.

mod columns;
mod records;
mod text;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

pub use values::Values;

use self::{
    columns::{Columns, Role, understand},
    records::Record,
    text::{Text, decode, to_windows_1252},
};
use super::{
    EXTENSIONS, Entry, Exclude, Kind, Listing, Part, Unreadable,
    walk::{NOT_THERE, no_file},
};
use crate::{
    base::{io::http::joined, names},
    data::error::DataError,
};

/// Size of a list in bytes above which it is refused, since it is probably another kind of file.
const MOST_BYTES: u64 = 1 << 30;

/// Maximum number of missing files named in an error.
const NAMED: usize = 5;

/// How a file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// By the name in the list.
    AsWritten,
    /// With backslashes read as slashes.
    Slashes,
    /// With an image's ending appended.
    WithEnding,
}

/// Lists the images of a CSV. A line without a label is counted as passed over, and a line whose
/// file can't be opened is listed as unreadable.
///
/// # Errors
/// Returns an error if the file can't be read or is no CSV, if a line can't be understood, or if no
/// file of the list can be opened.
pub(super) fn list(path: &Path, exclude: &Exclude) -> Result<Listing, DataError> {
    let failed = |line: usize, message| DataError::Csv {
        message,
        path: path.to_owned(),
        line: line as u64,
    };
    let Text { text, encoding } = read(path)?.map_err(|message| failed(1, message))?;
    let (columns, records) = understand(&text).map_err(|(line, message)| failed(line, message))?;
    // Paths are relative to the list, so that it can be moved together with its images.
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut listing, mut classes, mut ways) =
        (Listing::default(), BTreeSet::new(), BTreeMap::new());
    for record in &records[columns.head..] {
        let row = Row::of(record, &columns).map_err(|message| failed(record.line, message))?;
        if row.label.is_empty() {
            listing.passed_over.add(Kind::WithoutLabel, path);
            continue;
        }
        let written = joined(folder, row.path);
        if exclude.takes(&written, folder) {
            listing.passed_over.add(Kind::Excluded, &written);
            continue;
        }
        let class = names::of_text(row.label);
        classes.insert(class.clone());
        match find(folder, row.path, encoding.is_some()) {
            Ok((found, how)) => {
                ways.entry(how).or_insert((0, found.clone())).0 += 1;
                listing.entries.push(Entry {
                    path: found,
                    class,
                    group: row.group,
                    weight: row.weight,
                    split: row.split,
                });
            }
            Err(reason) => {
                let reason = format!("{reason} ({}, line {})", names::of_path(path), record.line);
                listing.unreadable.push(Unreadable {
                    path: written,
                    reason,
                    class: Some(class),
                    split: row.split,
                });
            }
        }
    }
    if listing.entries.is_empty() {
        return Err(nothing(&listing, path, &records));
    }
    listing.classes = classes.into_iter().collect();
    listing.notes = notes(path, encoding, columns.words, &ways);
    Ok(listing)
}

/// Reads a list as text. The inner error says what the file is instead of a list.
fn read(path: &Path) -> Result<Result<Text, String>, DataError> {
    let ending = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let kind = match ending.as_str() {
        "toml" => Some("a recipe, which belongs after --config"),
        "json" | "jsonl" | "yaml" | "yml" | "xml" | "html" => Some("a file of another format"),
        _ => None,
    };
    if let Some(kind) = kind {
        return Ok(Err(format!(
            "found {kind}; it is neither a folder of class folders nor a CSV with the columns \
             path,label"
        )));
    }
    let failed = |error| DataError::io("read", path, error);
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MOST_BYTES {
        return Ok(Err(format!(
            "found a file of {} MiB, expected a CSV of {} MiB at most",
            length >> 20,
            MOST_BYTES >> 20
        )));
    }
    Ok(decode(&fs::read(path).map_err(failed)?))
}

/// The fields of a line.
struct Row<'a> {
    pub(super) path: &'a str,
    label: &'a str,
    split: Option<Part>,
    group: Option<String>,
    weight: f32,
}

impl<'a> Row<'a> {
    /// Reads the fields of a record. The error says what is wrong with it.
    fn of(record: &'a Record, columns: &Columns) -> Result<Self, String> {
        let fields = &record.fields;
        // Spreadsheets pad lines with empty fields, and leave out empty ones at the end.
        let is_longer = fields
            .get(columns.count..)
            .is_some_and(|more| more.iter().any(|field| !field.text.is_empty()));
        let most = columns.roles[..2]
            .iter()
            .flatten()
            .max()
            .map_or(0, |column| column + 1);
        if is_longer || fields.len() < most {
            let hint = if is_longer {
                format!("; quote a field that has `{}` in it", columns.separator)
            } else {
                String::new()
            };
            return Err(format!(
                "found {} fields, expected {}{hint}",
                fields.len(),
                columns.count
            ));
        }
        let field = |role: Role| {
            columns.roles[role as usize]
                .and_then(|column| fields.get(column))
                .map(|field| field.text.as_str())
        };
        let given = |role| field(role).filter(|text| !text.is_empty());
        let split = given(Role::Split).map(part_of);
        let weight = given(Role::Weight).map(|text| weight_of(text, columns.separator));
        let (path, label) = (
            field(Role::Path).unwrap_or_default(),
            field(Role::Label).unwrap_or_default(),
        );
        if path.is_empty() && !label.is_empty() {
            return Err("found an empty path, expected that of an image".to_owned());
        }
        let (split, weight) = (split.transpose()?, weight.transpose()?.unwrap_or(1.0));
        Ok(Self {
            path,
            label,
            split,
            group: given(Role::Group).map(names::of_text),
            weight,
        })
    }
}

/// Reads a part's name. The error says what was expected.
fn part_of(name: &str) -> Result<Part, String> {
    Part::from_name(name).ok_or_else(|| {
        format!(
            "unknown split `{}`, expected train, val or test",
            names::of_text(name)
        )
    })
}

/// Reads a weight. The error says what was expected.
fn weight_of(text: &str, separator: char) -> Result<f32, String> {
    // Where the decimal separator is a comma, Excel separates fields with a semicolon.
    let number = if separator == ',' {
        text.to_owned()
    } else {
        text.replace(',', ".")
    };
    let weight = number
        .parse()
        .ok()
        .filter(|weight: &f32| weight.is_finite() && *weight >= 0.0);
    weight.ok_or_else(|| {
        format!(
            "found the weight `{}`, expected a number of 0 or more",
            names::of_text(text)
        )
    })
}

/// Returns the file of a line, relative to `folder`, and how it was found, or the reason why there
/// is none. `is_latin` says that the list isn't encoded in UTF-8.
fn find(folder: &Path, text: &str, is_latin: bool) -> Result<(PathBuf, How), String> {
    let written = joined(folder, text);
    let Some(reason) = no_file(&written) else {
        return Ok((written, How::AsWritten));
    };
    let is_file = |path: &PathBuf| no_file(path).is_none();
    // Such a list may come from a file system whose names are in Windows-1252: the name is the
    // bytes of that encoding, not the text.
    let bytes = if is_latin {
        to_windows_1252(text).and_then(of_bytes)
    } else {
        None
    };
    let same_name = [names::unescaped(text), bytes]
        .into_iter()
        .flatten()
        .map(|name| folder.join(name))
        .find(is_file);
    if let Some(path) = same_name {
        return Ok((path, How::AsWritten));
    }
    // Lists from Windows separate folders with backslashes, which are ordinary characters
    // elsewhere.
    let slashed =
        (!cfg!(windows) && text.contains('\\')).then(|| folder.join(text.replace('\\', "/")));
    if let Some(path) = slashed.clone().filter(is_file) {
        return Ok((path, How::Slashes));
    }
    let endings = with_endings(slashed.as_ref().unwrap_or(&written));
    match &endings[..] {
        [path] => Ok((path.clone(), How::WithEnding)),
        [] => Err(why_missing(text, &reason, slashed)),
        [one, other, ..] => Err(format!(
            "{reason}; there are {} and {}: write the extension",
            names::of_path(one),
            names::of_path(other)
        )),
    }
}

/// Returns the existing files whose name is `path` with an image's ending appended.
fn with_endings(path: &Path) -> Vec<PathBuf> {
    let with = |ending: String| {
        let mut name: OsString = path.as_os_str().to_owned();
        name.push(format!(".{ending}"));
        PathBuf::from(name)
    };
    let files = |case: fn(&str) -> String| {
        EXTENSIONS
            .iter()
            .map(|ending| with(case(ending)))
            .filter(|path| path.is_file())
            .collect::<Vec<_>>()
    };
    let lower = files(str::to_owned);
    if lower.is_empty() {
        files(str::to_uppercase)
    } else {
        lower
    }
}

/// Explains why a path leads to no file: `reason`, or a more specific one.
fn why_missing(text: &str, reason: &str, slashed: Option<PathBuf>) -> String {
    let has_drive =
        matches!(text.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic());
    if text.contains("://") && reason == NOT_THERE {
        "a web address, expected a file: download it".to_owned()
    } else if has_drive && !cfg!(windows) {
        "a Windows path with a drive, expected a path on this machine".to_owned()
    } else if let Some(slashed) = slashed {
        format!(
            "{reason}, and neither is {}; backslashes separate folders on Windows only",
            names::of_path(&slashed)
        )
    } else if Path::new(text).is_relative() && Path::new(text).is_file() {
        format!(
            "{reason}: paths are relative to the CSV, and this one is relative to the current \
             directory"
        )
    } else {
        reason.to_owned()
    }
}

#[cfg(unix)]
fn of_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn of_bytes(_bytes: Vec<u8>) -> Option<PathBuf> {
    None
}

/// Returns the error for a list without any usable file.
fn nothing(listing: &Listing, path: &Path, records: &[Record]) -> DataError {
    if listing.unreadable.is_empty() {
        let passed_over: String = listing
            .passed_over
            .words(path)
            .iter()
            .map(|words| format!("; {words}"))
            .collect();
        let line = records.first().map_or(1, |record| record.line as u64);
        let message = format!(
            "found no images, expected lines of path,label[,split][,group][,weight] after the \
             header{passed_over}"
        );
        return DataError::Csv {
            message,
            path: path.to_owned(),
            line,
        };
    }
    let named: Vec<_> = listing
        .unreadable
        .iter()
        .take(NAMED)
        .map(|file| format!("{}: {}", names::of_path(&file.path), file.reason))
        .collect();
    let is_plain = listing.unreadable[0].reason.starts_with(NOT_THERE);
    DataError::Classes(format!(
        "found no file {}; none of the {} files of the list can be opened{}",
        named.join("; "),
        listing.unreadable.len(),
        if is_plain {
            "; paths are relative to the CSV"
        } else {
            ""
        }
    ))
}

/// Describes how the list was read, where that isn't obvious.
fn notes(
    path: &Path,
    encoding: Option<&str>,
    mut words: Vec<String>,
    ways: &BTreeMap<How, (usize, PathBuf)>,
) -> Vec<String> {
    words.extend(encoding.map(|encoding| format!("in the encoding {encoding}")));
    for (how, (count, first)) in ways {
        let first = names::of_path(first);
        match how {
            How::AsWritten => {}
            How::Slashes => words.push(format!(
                "{count} paths with backslashes as folders, the first {first}"
            )),
            How::WithEnding => words.push(format!(
                "{count} paths completed by the extension of the file, the first {first}"
            )),
        }
    }
    if words.is_empty() {
        Vec::new()
    } else {
        vec![format!(
            "{} is read as follows: {}",
            names::of_path(path),
            words.join(", ")
        )]
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::folder_with, *};

    /// Lists a CSV with this text, written to `folder`.
    fn listed(folder: &Path, text: impl AsRef<[u8]>) -> Result<Listing, String> {
        let csv = folder.join("list.csv");
        fs::write(&csv, text).expect("written");
        list(&csv, &Exclude::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_csv_gives_labels_splits_groups_and_weights() {
        let folder = folder_with(&["1.png", "sub/2.png"]);
        let listing = listed(
            folder.path(),
            "path,label,split,group,weight\n1.png, cat ,Training,p1,\nsub/2.png,dog,val,,2.5\n",
        )
        .expect("listed");
        assert_eq!(listing.classes, ["cat", "dog"]);
        assert_eq!(
            (listing.entries[0].split, listing.entries[1].split),
            (Some(Part::Train), Some(Part::Validation))
        );
        assert_eq!(
            (
                listing.entries[0].group.as_deref(),
                listing.entries[1].weight
            ),
            (Some("p1"), 2.5)
        );
        assert!(listing.notes.is_empty(), "{:?}", listing.notes);
    }

    #[test]
    fn a_csv_line_that_makes_no_sense_is_named_with_its_number() {
        let folder = folder_with(&["1.png"]);
        for (text, expected) in [
            (
                "path,label\n\n1.png,\"a\nb\"\n\n1.png\n",
                "found 1 fields, expected 2: ",
            ),
            (
                "path,label\n\n1.png,\"a\nb\"\n\n1.png\n",
                "list.csv, line 6",
            ),
            (
                "path,label\n1.png,a,b\n",
                "found 3 fields, expected 2; quote a field that has `,` in it: ",
            ),
            ("path,label,split\n1.png,a,later\n", "unknown split `later`"),
            ("path,label,weight\n1.png,a,-1\n", "found the weight `-1`"),
            ("path,label\n1.png,\n", "found no images"),
            ("path,label\n,a\n", "found an empty path"),
            ("what,label\n1.png,a\n", "expected the columns path,label"),
            ("path,label\n", "found no images"),
            (
                "path,label\n1.png,\"a\n",
                "found a quote that opens here and never closes: ",
            ),
            ("path,label\nno.png,a\n", "found no file "),
            ("\u{89}PNG", "expected the columns path,label"),
        ] {
            let error = listed(folder.path(), text).expect_err(text);
            assert!(
                error.contains(expected) && error.contains("list.csv"),
                "{error}"
            );
        }
        let image = listed(folder.path(), b"\x89PNG\r\n\x1A\n\0").expect_err("an image");
        assert!(
            image.starts_with(
                "found a PNG image, which is neither a folder of class folders nor a CSV"
            ),
            "{image}"
        );
    }

    #[test]
    fn files_that_are_not_there_are_listed_apart_with_their_line_and_what_is_there() {
        let folder = folder_with(&["a/1.png", "a/2.jpg", "a/2.png"]);
        fs::create_dir(folder.path().join("a/3.png")).expect("created");
        let text = "path,label,split\na/1.png,x,\n\na/gone.png,y,test\na/2,x,\na\\gone.png,x,\n\
                    C:\\p\\1.png,x,\nhttps://h/1.png,x,\na/3.png,x,\n";
        let listing = listed(folder.path(), text).expect("listed");
        assert_eq!(
            (listing.entries.len(), &listing.classes[..]),
            (1, &["x".to_owned(), "y".to_owned()][..])
        );
        let reasons: Vec<_> = listing
            .unreadable
            .iter()
            .map(|file| file.reason.replace(&*folder.path().to_string_lossy(), "."))
            .collect();
        let expected = [
            "not there (./list.csv, line 4)",
            "not there; there are ./a/2.jpg and ./a/2.png: write the extension (./list.csv, line \
             5)",
            "not there, and neither is ./a/gone.png; backslashes separate folders on Windows only \
             (./list.csv, line 6)",
            "a Windows path with a drive, expected a path on this machine (./list.csv, line 7)",
            "a web address, expected a file: download it (./list.csv, line 8)",
            "a folder, expected a file (./list.csv, line 9)",
        ];
        if cfg!(unix) {
            assert_eq!(reasons, expected);
        }
        assert_eq!(
            (
                listing.unreadable[0].class.as_deref(),
                listing.unreadable[0].split
            ),
            (Some("y"), Some(Part::Test))
        );
    }

    #[test]
    fn a_list_of_nothing_but_missing_files_names_the_first_five() {
        let folder = folder_with(&["a/1.png"]);
        let lines: String = (0..7).map(|index| format!("gone{index}.png,a\n")).collect();
        let error =
            listed(folder.path(), format!("path,label\n{lines}")).expect_err("nothing there");
        assert!(
            error.contains(
                "none of the 7 files of the list can be opened; paths are relative to the CSV"
            ),
            "{error}"
        );
        assert!(
            error.contains("gone4.png: not there")
                && error.contains("line 6)")
                && !error.contains("gone5"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn backslashes_and_missing_endings_are_read_where_they_leave_no_doubt_and_told() {
        let folder = folder_with(&["a/1.png", "a/2.JPG", "b/3.png"]);
        let listing = listed(
            folder.path(),
            "sep=;\r\nfilename;class;w\r\na\\1.png;x;1\r\na/2;x;2\r\nb\\3;y;3\r\n",
        )
        .expect("listed");
        let paths: Vec<_> = listing
            .entries
            .iter()
            .map(|entry| entry.path.strip_prefix(folder.path()).expect("inside"))
            .collect();
        assert_eq!(paths, ["a/1.png", "a/2.JPG", "b/3.png"].map(Path::new));
        let place = folder.path().display();
        let expected = format!(
            "{place}/list.csv is read as follows: `;` between the columns, `filename` as path, \
             `class` as label, `w` passed over, 1 paths with backslashes as folders, the first \
             {place}/a/1.png, 2 paths completed by the extension of the file, the first \
             {place}/a/2.JPG"
        );
        assert_eq!(listing.notes, [expected]);
    }

    #[test]
    fn a_decimal_comma_is_one_where_commas_separate_nothing() {
        let folder = folder_with(&["1.png"]);
        assert_eq!(
            listed(folder.path(), "path;label;weight\n1.png;a;0,5\n")
                .expect("listed")
                .entries[0]
                .weight,
            0.5
        );
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf_8_are_found_in_lists_of_ours_and_of_their_time() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let folder = folder_with(&[]);
        let path = folder.path().join(OsStr::from_bytes(b"f\xE9.png"));
        fs::write(&path, b"x").expect("written");
        for text in [
            &b"path,label\nf\\xE9.png,a\n"[..],
            b"path,label\nf\xE9.png,a\n",
        ] {
            assert_eq!(
                listed(folder.path(), text).expect("listed").entries[0].path,
                path
            );
        }
    }

    #[test]
    fn labels_come_back_as_they_were_written() {
        let folder = folder_with(&["1.png"]);
        let labels = [
            "  a", "b ", "c,d", "e\"f", "#g", "=h", "i\\x0Aj", "k'l", " ", "\u{e9}", "a;b",
            "tab\\x09",
        ];
        for label in labels {
            #[derive(serde::Serialize)]
            struct Line<'a> {
                path: &'a str,
                label: &'a str,
            }
            let text = crate::data::table::to_csv(&[Line {
                path: "1.png",
                label,
            }]);
            assert_eq!(
                listed(folder.path(), text).expect("listed").classes,
                [label]
            );
        }
        // Control characters are replaced by their codes from the listing on.
        assert_eq!(
            listed(folder.path(), "path,label\n1.png,\"i\nj\"\n")
                .expect("listed")
                .classes,
            ["i\\x0Aj"]
        );
    }
}
