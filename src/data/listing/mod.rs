//! Turns a folder of class folders or a CSV into a sorted list of images with their classes. Opens
//! no image: a file counts as an image by its ending.

pub mod alike;
mod csv;
mod exclude;
mod passed_over;
pub mod phantom;
mod shards;
pub mod split;
mod unlabeled;
mod walk;

use std::path::{Path, PathBuf};

pub use csv::Values;
pub use exclude::Exclude;
pub use passed_over::{Kind, PassedOver};
pub use unlabeled::{UNLABELED, Unlabeled};
pub use walk::{Found, no_file, walk};

use super::{error::DataError, shards::is_shard};
use crate::base::{names, words};

/// File name endings of images, in any case. The format is decided by the content when it is
/// decoded.
pub const EXTENSIONS: [&str; 15] = [
    "bmp", "dib", "gif", "jfif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif",
    "tiff", "webp",
];

/// A listed image.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Path of the file.
    pub path: PathBuf,
    /// Name of the class.
    pub class: String,
    /// Group, such as a patient. Images of a group stay on the same side of a split.
    pub group: Option<String>,
    /// Factor on the image's loss in training.
    pub weight: f32,
    /// The part that a CSV assigns it to.
    pub split: Option<Part>,
}

impl Entry {
    /// Returns the entry of an image of which nothing but its class is known.
    pub fn of(path: PathBuf, class: &str) -> Self {
        Self {
            path,
            class: class.to_owned(),
            group: None,
            weight: 1.0,
            split: None,
        }
    }
}

/// A file or folder that should have been listed and can't be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// Path in the folder or list.
    pub path: PathBuf,
    /// Why it can't be opened.
    pub reason: String,
    /// Name of the class, if known.
    pub class: Option<String>,
    /// The part that a CSV assigns it to.
    pub split: Option<Part>,
}

/// A part of the data: the training, validation or test set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Images that the weights are fitted to.
    Train,
    /// Images that are measured after each epoch and decide which epoch is the best.
    Validation,
    /// Images that are measured once, after training.
    Test,
}

impl Part {
    /// Returns the name in files: `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "val",
            Self::Test => "test",
        }
    }

    /// Returns the part with this name, in any case and any of the usual spellings.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" | "dev" | "development" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }
}

/// The images of a folder or CSV.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Class names in alphabetical order, including those without an image.
    pub classes: Vec<String>,
    /// The images, sorted by class and path (folders) or in the order of the lines (CSV).
    pub entries: Vec<Entry>,
    /// What can't be opened: broken links, folders without permission, lines whose file is missing.
    pub unreadable: Vec<Unreadable>,
    /// Counts of what is there and isn't listed.
    pub passed_over: PassedOver,
    /// How a CSV was read, where that isn't obvious.
    pub notes: Vec<String>,
}

impl Listing {
    /// Returns the line that Keras prints for a listed directory.
    pub fn found(count: usize, classes: usize) -> String {
        format!("Found {count} images belonging to {classes} classes.")
    }

    /// Describes how `path` was read and what was ignored in it, a line each.
    pub fn words(&self, path: &Path) -> Vec<String> {
        self.notes
            .iter()
            .cloned()
            .chain(self.passed_over.words(path))
            .collect()
    }
}

/// Lists a folder of class folders, a CSV, or shards: a tar file, a folder of them, or a pattern of
/// their names such as `train-{000000..000009}.tar`.
///
/// # Errors
/// Returns [`DataError`] if nothing is there, if a folder has no class folders, if a CSV has a line
/// that can't be understood, or if a shard can't be read or has no classes.
pub fn list(path: &Path, exclude: &Exclude) -> Result<Listing, DataError> {
    list_with(path, exclude, Unlabeled::Refused)
}

/// As [`list`], for a network that may need no classes.
///
/// # Errors
/// As [`list`], but for a folder without class folders whose images are taken.
pub fn list_with(
    path: &Path,
    exclude: &Exclude,
    unlabeled: Unlabeled,
) -> Result<Listing, DataError> {
    if let Some(found) = shards::find(path, exclude)? {
        shards::list(path, &found, exclude)
    } else if path.is_dir() {
        list_folder(path, exclude, unlabeled)
    } else if path.is_file() {
        csv::list(path, exclude)
    } else {
        let parent = path.parent().map(|parent| {
            if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            }
        });
        let is_link = path.symlink_metadata().is_ok();
        Err(DataError::Missing {
            expected: "folder of class folders and no CSV",
            path: path.to_owned(),
            hint: match (parent.filter(|parent| parent.is_dir()), no_file(path)) {
                (_, Some(reason)) if is_link => format!("it is {reason}"),
                (Some(parent), _) => {
                    format!("{} has: {}", names::of_path(parent), names_in(parent))
                }
                _ => "check the path; it is relative to the current directory".to_owned(),
            },
        })
    }
}

/// Whether the folders in `folder` are parts of a data set, each with class folders of its own,
/// rather than classes.
fn are_parts(folder: &Path, names: &[String]) -> bool {
    let parts: Vec<_> = names.iter().map(|name| Part::from_name(name)).collect();
    let has_folders = |name: &String| {
        let found = walk::children(&folder.join(name), &Exclude::default()).unwrap_or_default();
        found.iter().any(|found| match found {
            Found::Folder(_) => true,
            Found::PassedOver(_, path) => is_shard(path),
            Found::Image(_) | Found::Unreadable(..) => false,
        })
    };
    parts.len() > 1
        && parts.contains(&Some(Part::Train))
        && parts.iter().all(Option::is_some)
        && names.iter().all(has_folders)
}

/// Lists a folder of class folders.
fn list_folder(
    folder: &Path,
    exclude: &Exclude,
    unlabeled: Unlabeled,
) -> Result<Listing, DataError> {
    let (mut listing, mut loose) = (Listing::default(), Vec::new());
    for found in
        walk::children(folder, exclude).map_err(|error| DataError::io("list", folder, error))?
    {
        match found {
            Found::Folder(path) => list_class(&path, folder, exclude, &mut listing),
            Found::Image(path) => loose.push(path),
            Found::PassedOver(kind, path) => listing.passed_over.add(kind, &path),
            Found::Unreadable(path, reason) => listing.unreadable.push(Unreadable {
                path,
                reason,
                class: None,
                split: None,
            }),
        }
    }
    if unlabeled == Unlabeled::Taken && listing.classes.is_empty() && !loose.is_empty() {
        listing.classes.push(UNLABELED.to_owned());
        let entries = loose.into_iter().map(|path| Entry::of(path, UNLABELED));
        listing.entries.extend(entries);
        return Ok(listing);
    }
    for path in &loose {
        listing.passed_over.add(Kind::WithoutClass, path);
    }
    if are_parts(folder, &listing.classes) {
        let folder = names::of_path(folder);
        return Err(DataError::Classes(format!(
            "found the parts {} in {folder}, expected classes; name the parts one by one, as in \
             data.train = \"{folder}/{}\"",
            words::listed(&listing.classes),
            listing
                .classes
                .iter()
                .find(|class| Part::from_name(class) == Some(Part::Train))
                .map_or("train", String::as_str),
        )));
    }
    if listing.classes.is_empty() {
        let closed = listing
            .unreadable
            .iter()
            .take(1)
            .map(|first| format!("{}: {}", names::of_path(&first.path), first.reason));
        let reasons: String = closed
            .chain(listing.passed_over.words(folder))
            .map(|words| format!("; {words}"))
            .collect();
        return Err(DataError::Classes(format!(
            "found no class folders in {}, expected one folder per class with images in it; it \
             has: {}{reasons}",
            names::of_path(folder),
            names_in(folder)
        )));
    }
    // The walk sorts by bytes; names that were escaped may be in another order as text.
    listing.classes.sort();
    Ok(listing)
}

/// Adds a class folder and all folders in it. A folder that can't be opened is no class, and
/// neither is one that holds nothing but what this program wrote or the configuration excludes.
fn list_class(path: &Path, root: &Path, exclude: &Exclude, listing: &mut Listing) {
    let class = names::of_os(path.file_name().unwrap_or_default());
    let (mut entries, mut unreadable, mut passed_over) =
        (Vec::new(), Vec::new(), PassedOver::default());
    walk(path, root, exclude, &mut |found| match found {
        Found::Image(path) => entries.push(Entry::of(path, &class)),
        Found::Unreadable(path, reason) => unreadable.push(Unreadable {
            path,
            reason,
            class: Some(class.clone()),
            split: None,
        }),
        Found::PassedOver(kind, path) => passed_over.add(kind, &path),
        Found::Folder(_) => {}
    });
    let is_empty = entries.is_empty() && unreadable.is_empty();
    if let Some(closed) = unreadable.first_mut().filter(|first| first.path == path) {
        // Otherwise the folder would be counted as an unreadable image of a class that isn't
        // listed.
        closed.class = None;
    } else if is_empty && passed_over.count(Kind::Own) > 0 {
        // Such as `checkpoints` beside the class folders.
        return listing.passed_over.add(Kind::Own, path);
    } else if !is_empty || passed_over.count(Kind::Excluded) == 0 {
        listing.classes.push(class);
    }
    listing.entries.extend(entries);
    listing.unreadable.extend(unreadable);
    listing.passed_over.extend(passed_over);
}

/// The training, validation and test folders inside a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits {
    /// Training, validation and test folder, under any of the usual names. If there is no training
    /// folder, the folder itself is it, since a class may be called "test".
    pub parts: [Option<PathBuf>; 3],
    /// A line about each folder beside them that isn't used.
    pub others: Vec<String>,
}

/// Finds the folders of the parts in `dir`.
///
/// # Errors
/// Returns an error if two folders have names of the same part, or if `dir` can't be listed.
pub fn splits(dir: &Path) -> Result<Splits, DataError> {
    let (mut parts, mut others) = ([None, None, None], Vec::new());
    for found in walk::children(dir, &Exclude::default())
        .map_err(|error| DataError::io("list", dir, error))?
    {
        let path = match found {
            // Such as `checkpoints` beside the parts.
            Found::Folder(path) if holds_ours(&path) => continue,
            Found::Folder(path) => path,
            Found::Unreadable(path, reason) => {
                others.push(format!("{}: {reason}", names::of_path(&path)));
                continue;
            }
            Found::Image(_) | Found::PassedOver(..) => continue,
        };
        let Some(part) = Part::from_name(&names::of_os(path.file_name().unwrap_or_default()))
        else {
            others.push(format!(
                "ignored: {}, a folder that is neither train, val (or dev) nor test",
                names::of_path(&path)
            ));
            continue;
        };
        if let Some(other) = parts[part as usize].replace(path.clone()) {
            let (part, other, path) = (part.name(), names::of_path(&other), names::of_path(&path));
            return Err(DataError::Classes(format!(
                "found two folders for {part}: {other} and {path}; rename or remove one"
            )));
        }
    }
    Ok(match parts[0] {
        Some(_) => Splits { parts, others },
        None => Splits {
            parts: [Some(dir.to_owned()), None, None],
            others: Vec::new(),
        },
    })
}

/// Returns whether a folder holds something that this program wrote, and no other folder or image.
fn holds_ours(folder: &Path) -> bool {
    let found = walk::children(folder, &Exclude::default()).unwrap_or_default();
    let is_ours = |found: &Found| matches!(found, Found::PassedOver(Kind::Own, _));
    found.iter().any(is_ours)
        && found
            .iter()
            .all(|found| is_ours(found) || !matches!(found, Found::Folder(_) | Found::Image(_)))
}

/// Returns whether a path ends in one of [`EXTENSIONS`], in any case.
pub fn has_image_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        EXTENSIONS.contains(&extension.to_string_lossy().to_lowercase().as_str())
    })
}

/// Returns the names in a folder for a message.
fn names_in(folder: &Path) -> String {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| names::of_os(&entry.file_name()))
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        words::listed(&names)
    }
}

#[cfg(test)]
pub(super) mod tests;
