//! Which pictures there are: class folders or a CSV in, a sorted list with class names out. Opens no picture.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use walkdir::{DirEntry, WalkDir};

use super::DataError;

/// File name endings that are taken for pictures, in any case. What a file really is, its content decides.
pub const EXTENSIONS: [&str; 15] =
    ["bmp", "dib", "gif", "jfif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"];

/// One picture as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where the file is.
    pub path: PathBuf,
    /// The name of its class.
    pub class: String,
    /// Pictures of one group (a patient, say) stay on one side of a split.
    pub group: Option<String>,
    /// Factor on the picture's loss in training.
    pub weight: f32,
    /// The split that a CSV asks for.
    pub split: Option<Part>,
}

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Trained on.
    Train,
    /// Looked at after each epoch.
    Validation,
    /// Looked at once, at the end.
    Test,
}

impl Part {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "val",
            Self::Test => "test",
        }
    }

    /// A part by any name that people give it, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }
}

/// The pictures of a folder or CSV.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Class names in the order of the alphabet, also those without a picture.
    pub classes: Vec<String>,
    /// Pictures, sorted by class and path (folders) or as they stand (CSV).
    pub entries: Vec<Entry>,
    /// What was passed over, by kind: hidden files, files that aren't pictures, pictures without a class.
    pub passed_over: BTreeMap<&'static str, usize>,
}

impl Listing {
    /// Keras's line for one part.
    pub fn found(count: usize, classes: usize) -> String {
        format!("Found {count} images belonging to {classes} classes.")
    }

    /// What was passed over of `path`, in words.
    pub fn passed_over_words(&self, path: &Path) -> Vec<String> {
        self.passed_over.iter().map(|(kind, count)| format!("passed over in {}: {kind}, {count}", path.display())).collect()
    }
}

/// Lists a folder of class folders, or a CSV.
///
/// # Errors
/// [`DataError`] where nothing is there, or a CSV has a line that can't be understood.
pub fn list(path: &Path) -> Result<Listing, DataError> {
    if path.is_dir() {
        list_folder(path)
    } else if path.is_file() {
        list_csv(path)
    } else {
        Err(DataError::Missing {
            expected: "folder of class folders and no CSV",
            path: path.to_owned(),
            hint: match path.parent() {
                Some(parent) if parent.is_dir() => format!("{} has: {}", parent.display(), names_in(parent)),
                _ => "check the path; it is relative to the folder that the program runs in".to_owned(),
            },
        })
    }
}

fn list_folder(folder: &Path) -> Result<Listing, DataError> {
    let mut listing = Listing::default();
    for entry in children(folder)? {
        if let Some(kind) = passed_over(&entry) {
            *listing.passed_over.entry(kind).or_default() += 1;
        } else if entry.file_type().is_dir() {
            list_class(&entry, &mut listing)?;
        } else {
            *listing.passed_over.entry("pictures without a class folder").or_default() += 1;
        }
    }
    if listing.classes.is_empty() {
        let message = format!(
            "found no class folders in {}, expected one folder a class with pictures in it; it has: {}",
            folder.display(),
            names_in(folder)
        );
        return Err(DataError::Classes(message));
    }
    Ok(listing)
}

/// Adds one class folder, whatever folders it has inside, sorted.
fn list_class(folder: &DirEntry, listing: &mut Listing) -> Result<(), DataError> {
    let class = folder.file_name().to_string_lossy().into_owned();
    let mut walk = WalkDir::new(folder.path()).follow_links(true).sort_by_file_name().min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| walk_error(folder.path(), error))?;
        if let Some(kind) = passed_over(&entry) {
            *listing.passed_over.entry(kind).or_default() += 1;
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
        } else if entry.file_type().is_file() {
            let path = entry.into_path();
            listing.entries.push(Entry { path, class: class.clone(), group: None, weight: 1.0, split: None });
        }
    }
    listing.classes.push(class);
    Ok(())
}

/// The folders for training, validation and test in a folder, by any name that people give them; the folder itself for training where there
/// is none for that (a class may be called "test").
///
/// # Errors
/// Two folders for the same; a folder that can't be listed.
pub fn splits(dir: &Path) -> Result<[Option<PathBuf>; 3], DataError> {
    let mut parts = [None, None, None];
    for entry in children(dir)?.iter().filter(|entry| entry.file_type().is_dir() && passed_over(entry).is_none()) {
        if let Some(part) = Part::from_name(&entry.file_name().to_string_lossy()) {
            let path = entry.path().to_owned();
            if let Some(other) = parts[part as usize].replace(path.clone()) {
                let (part, other) = (part.name(), other.display());
                return Err(DataError::Classes(format!(
                    "found two folders for {part}: {other} and {}; rename or remove one",
                    path.display()
                )));
            }
        }
    }
    Ok(if parts[0].is_some() { parts } else { [Some(dir.to_owned()), None, None] })
}

/// The direct children of a folder, sorted by name, symbolic links followed.
pub fn children(folder: &Path) -> Result<Vec<DirEntry>, DataError> {
    WalkDir::new(folder)
        .follow_links(true)
        .sort_by_file_name()
        .min_depth(1)
        .max_depth(1)
        .into_iter()
        .map(|entry| entry.map_err(|error| walk_error(folder, error)))
        .collect()
}

/// Why an entry is none of ours, if so.
pub fn passed_over(entry: &DirEntry) -> Option<&'static str> {
    let name = entry.file_name().to_string_lossy().to_lowercase();
    if name.starts_with('.') || name == "__macosx" || name == "desktop.ini" || name == "thumbs.db" {
        Some("hidden files and folders")
    } else if entry.file_type().is_file() && !has_picture_extension(entry.path()) {
        Some("files that aren't pictures")
    } else {
        None
    }
}

/// Does the name end like a picture's?
pub fn has_picture_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.contains(&extension.to_string_lossy().to_lowercase().as_str()))
}

fn walk_error(folder: &Path, error: walkdir::Error) -> DataError {
    let path = error.path().unwrap_or(folder).to_owned();
    let text = error.to_string();
    DataError::io("list", path, error.into_io_error().unwrap_or_else(|| std::io::Error::other(text)))
}

/// What is in a folder, for a message.
fn names_in(folder: &Path) -> String {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    let more = names.len().saturating_sub(8);
    names.truncate(8);
    match (names.is_empty(), more) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

/// A line of a CSV.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    path: String,
    label: String,
    #[serde(default)]
    split: Option<String>,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    weight: Option<String>,
}

fn list_csv(path: &Path) -> Result<Listing, DataError> {
    let failed = |line, message| DataError::Csv { message, path: path.to_owned(), line };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(|error| failed(1, error.to_string()))?;
    let (mut entries, mut passed_over) = (Vec::new(), BTreeMap::new());
    for (index, row) in reader.deserialize::<Row>().enumerate() {
        let line = index as u64 + 2;
        let row =
            row.map_err(|error| failed(line, format!("{error}; expected the columns path,label and, where wanted, split,group,weight")))?;
        if row.label.is_empty() {
            *passed_over.entry("lines without a label").or_default() += 1;
            continue;
        }
        entries.push(entry(row, path).map_err(|message| failed(line, message))?);
    }
    if entries.is_empty() {
        return Err(failed(1, "found no pictures, expected lines of path,label[,split][,group][,weight] after the header".to_owned()));
    }
    let classes: BTreeSet<_> = entries.iter().map(|entry| entry.class.clone()).collect();
    Ok(Listing { classes: classes.into_iter().collect(), entries, passed_over })
}

fn entry(row: Row, csv: &Path) -> Result<Entry, String> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let split = given(row.split)
        .map(|name| Part::from_name(&name).ok_or_else(|| format!("unknown split `{name}`, expected train, val or test")))
        .transpose()?;
    let weight = given(row.weight).map_or(Ok(1.0), |text| {
        text.parse()
            .ok()
            .filter(|weight: &f32| weight.is_finite() && *weight >= 0.0)
            .ok_or_else(|| format!("found the weight `{text}`, expected a number from 0 on"))
    })?;
    if row.path.is_empty() {
        return Err("found an empty path, expected that of a picture".to_owned());
    }
    let path = csv.parent().unwrap_or(Path::new("")).join(&row.path);
    if !path.is_file() {
        return Err(format!("found no file {}; paths are relative to the CSV", path.display()));
    }
    Ok(Entry { path, class: row.label, group: given(row.group), weight, split })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("inside")).expect("created");
            std::fs::write(path, b"x").expect("written");
        }
        folder
    }

    #[test]
    fn class_folders_are_listed_recursively_and_foreign_files_counted() {
        let folder = folder_with(&[
            "b/2.PNG",
            "b/deep/er/1.jpg",
            "a/x.jpeg",
            "a/desktop.ini",
            "a/Thumbs.db",
            "a/notes.txt",
            ".git/x.png",
            "b/.ipynb_checkpoints/2.png",
            "loose.jpg",
        ]);
        let listing = list(folder.path()).expect("listed");
        assert_eq!(listing.classes, ["a", "b"]);
        let names: Vec<_> =
            listing.entries.iter().map(|e| e.path.strip_prefix(folder.path()).expect("inside").display().to_string()).collect();
        assert_eq!(names, ["a/x.jpeg", "b/2.PNG", "b/deep/er/1.jpg"]);
        let counts = [("files that aren't pictures", 1), ("hidden files and folders", 4), ("pictures without a class folder", 1)];
        // `loose.jpg` stands outside, `notes.txt` is no picture, the rest is hidden.
        assert_eq!(listing.passed_over.into_iter().collect::<Vec<_>>(), counts);
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let folder = folder_with(&["Training/a/1.png", "readme.md"]);
        let missing = list(&folder.path().join("training")).expect_err("another case").to_string();
        assert!(missing.contains("training") && missing.contains("Training, readme.md"), "{missing}");
        let empty = list(&folder.path().join("Training/a")).expect_err("no class folders").to_string();
        assert!(empty.contains("no class folders") && empty.contains("1.png"), "{empty}");
    }

    #[test]
    fn a_csv_gives_labels_splits_groups_and_weights() {
        let folder = folder_with(&["1.png", "sub/2.png"]);
        let csv = folder.path().join("list.csv");
        std::fs::write(&csv, "path,label,split,group,weight\n1.png, cat ,Training,p1,\nsub/2.png,dog,val,,2.5\n").expect("written");
        let listing = list(&csv).expect("listed");
        assert_eq!(listing.classes, ["cat", "dog"]);
        assert_eq!((listing.entries[0].split, listing.entries[1].split), (Some(Part::Train), Some(Part::Validation)));
        assert_eq!((listing.entries[0].group.as_deref(), listing.entries[1].weight), (Some("p1"), 2.5));
    }

    #[test]
    fn a_csv_line_that_makes_no_sense_is_named_with_its_number() {
        let folder = folder_with(&["1.png"]);
        for (text, expected) in [
            ("path,label\n1.png,a\n2.png,b\n", "line 3"),
            ("path,label,split\n1.png,a,later\n", "unknown split `later`"),
            ("path,label,weight\n1.png,a,-1\n", "found the weight `-1`"),
            ("path,label\n1.png,\n", "found no pictures"),
            ("path,label\n,a\n", "found an empty path"),
            ("file,label\n1.png,a\n", "expected the columns path,label"),
            ("path,label\n", "found no pictures"),
        ] {
            let csv = folder.path().join("list.csv");
            std::fs::write(&csv, text).expect("written");
            let error = list(&csv).expect_err(text).to_string();
            assert!(error.contains(expected) && error.contains("list.csv"), "{error}");
        }
    }
}
