//! Turns a folder of class folders or a CSV into a sorted list of images with their classes. Opens
//! no image: a file counts as an image by its ending.

pub mod alike;
mod columns;
mod csv;
mod exclude;
mod passed_over;
pub mod phantom;
mod records;
pub mod split;
mod text;
mod walk;

use std::path::{Path, PathBuf};

pub use exclude::Exclude;
pub use passed_over::{Kind, PassedOver};
pub use walk::{Found, no_file, walk};

use super::error::DataError;
use crate::base::{names, words};

/// File name endings of images, in any case. The format is decided by the content when it is
/// decoded.
pub const EXTENSIONS: [&str; 15] =
    ["bmp", "dib", "gif", "jfif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"];

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

    /// Describes how `path` was read and what was passed over in it, a line each.
    pub fn words(&self, path: &Path) -> Vec<String> {
        self.notes.iter().cloned().chain(self.passed_over.words(path)).collect()
    }
}

/// Lists a folder of class folders, or a CSV.
///
/// # Errors
/// Returns [`DataError`] if nothing is there, if a folder has no class folders, or if a CSV has a
/// line that can't be understood.
pub fn list(path: &Path, exclude: &Exclude) -> Result<Listing, DataError> {
    if path.is_dir() {
        list_folder(path, exclude)
    } else if path.is_file() {
        csv::list(path, exclude)
    } else {
        let parent = path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
        let is_link = path.symlink_metadata().is_ok();
        Err(DataError::Missing {
            expected: "folder of class folders and no CSV",
            path: path.to_owned(),
            hint: match (parent.filter(|parent| parent.is_dir()), no_file(path)) {
                (_, Some(reason)) if is_link => format!("it is {reason}"),
                (Some(parent), _) => format!("{} has: {}", names::of_path(parent), names_in(parent)),
                _ => "check the path; it is relative to the folder that the program runs in".to_owned(),
            },
        })
    }
}

/// Whether the folders in `folder` are parts of a data set, each with class folders of its own, rather
/// than classes.
fn are_parts(folder: &Path, names: &[String]) -> bool {
    let parts: Vec<_> = names.iter().map(|name| Part::from_name(name)).collect();
    let has_folders = |name: &String| {
        let found = walk::children(&folder.join(name), &Exclude::default()).unwrap_or_default();
        found.iter().any(|found| matches!(found, Found::Folder(_)))
    };
    parts.len() > 1 && parts.contains(&Some(Part::Train)) && parts.iter().all(Option::is_some) && names.iter().all(has_folders)
}

/// Lists a folder of class folders.
fn list_folder(folder: &Path, exclude: &Exclude) -> Result<Listing, DataError> {
    let mut listing = Listing::default();
    for found in walk::children(folder, exclude).map_err(|error| DataError::io("list", folder, error))? {
        match found {
            Found::Folder(path) => list_class(&path, folder, exclude, &mut listing),
            Found::Image(path) => listing.passed_over.add(Kind::WithoutClass, &path),
            Found::PassedOver(kind, path) => listing.passed_over.add(kind, &path),
            Found::Unreadable(path, reason) => listing.unreadable.push(Unreadable { path, reason, class: None, split: None }),
        }
    }
    if are_parts(folder, &listing.classes) {
        let folder = names::of_path(folder);
        return Err(DataError::Classes(format!(
            "found the parts {} in {folder}, expected classes; name the parts one by one, as in data.train = \"{folder}/{}\"",
            words::listed(&listing.classes),
            listing.classes.iter().find(|class| Part::from_name(class) == Some(Part::Train)).map_or("train", String::as_str),
        )));
    }
    if listing.classes.is_empty() {
        let closed = listing.unreadable.iter().take(1).map(|first| format!("{}: {}", names::of_path(&first.path), first.reason));
        let reasons: String = closed.chain(listing.passed_over.words(folder)).map(|words| format!("; {words}")).collect();
        return Err(DataError::Classes(format!(
            "found no class folders in {}, expected one folder a class with images in it; it has: {}{reasons}",
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
    let (mut entries, mut unreadable, mut passed_over) = (Vec::new(), Vec::new(), PassedOver::default());
    walk(path, root, exclude, &mut |found| match found {
        Found::Image(path) => entries.push(Entry { path, class: class.clone(), group: None, weight: 1.0, split: None }),
        Found::Unreadable(path, reason) => unreadable.push(Unreadable { path, reason, class: Some(class.clone()), split: None }),
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
    for found in walk::children(dir, &Exclude::default()).map_err(|error| DataError::io("list", dir, error))? {
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
        let Some(part) = Part::from_name(&names::of_os(path.file_name().unwrap_or_default())) else {
            others.push(format!("passed over: {}, a folder that is none of train, val (or dev) and test", names::of_path(&path)));
            continue;
        };
        if let Some(other) = parts[part as usize].replace(path.clone()) {
            let (part, other, path) = (part.name(), names::of_path(&other), names::of_path(&path));
            return Err(DataError::Classes(format!("found two folders for {part}: {other} and {path}; rename or remove one")));
        }
    }
    Ok(match parts[0] {
        Some(_) => Splits { parts, others },
        None => Splits { parts: [Some(dir.to_owned()), None, None], others: Vec::new() },
    })
}

/// Returns whether a folder holds something that this program wrote, and no other folder or image.
fn holds_ours(folder: &Path) -> bool {
    let found = walk::children(folder, &Exclude::default()).unwrap_or_default();
    let is_ours = |found: &Found| matches!(found, Found::PassedOver(Kind::Own, _));
    found.iter().any(is_ours) && found.iter().all(|found| is_ours(found) || !matches!(found, Found::Folder(_) | Found::Image(_)))
}

/// Returns whether a path ends in one of [`EXTENSIONS`], in any case.
pub fn has_image_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.contains(&extension.to_string_lossy().to_lowercase().as_str()))
}

/// Returns the names in a folder for a message.
fn names_in(folder: &Path) -> String {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| names::of_os(&entry.file_name())).collect())
        .unwrap_or_default();
    names.sort();
    if names.is_empty() { "nothing".to_owned() } else { words::listed(&names) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Data;

    pub(in crate::data::listing) fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        files.iter().for_each(|file| add(folder.path(), file, "x"));
        folder
    }

    fn add(folder: &Path, file: &str, content: &str) {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("created");
        std::fs::write(path, content).expect("written");
    }

    fn listed(folder: &Path) -> Listing {
        list(folder, &Exclude::default()).expect("listed")
    }

    /// Returns the paths of the images, relative to `folder`.
    fn images(listing: &Listing, folder: &Path) -> Vec<String> {
        listing.entries.iter().map(|entry| names::of_path(entry.path.strip_prefix(folder).expect("inside"))).collect()
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
        let listing = listed(folder.path());
        assert_eq!(listing.classes, ["a", "b"]);
        assert_eq!(images(&listing, folder.path()), ["a/x.jpeg", "b/2.PNG", "b/deep/er/1.jpg"]);
        // `loose.jpg` is outside the class folders, `notes.txt` is no image, and the others are
        // hidden.
        for (kind, count) in [(Kind::NotAnImage, 1), (Kind::Hidden, 4), (Kind::WithoutClass, 1), (Kind::System, 0)] {
            assert_eq!(listing.passed_over.count(kind), count, "{kind}");
        }
    }

    #[test]
    fn the_parts_of_a_data_set_are_no_classes() {
        let folder = folder_with(&["Training/a/1.png", "Training/b/1.png", "test/a/1.png", "test/b/1.png"]);
        let error = list(folder.path(), &Exclude::default()).expect_err("parts").to_string();
        let expected = format!("found the parts Training, test in {0}, expected classes", names::of_path(folder.path()));
        assert!(error.contains(&expected) && error.ends_with("/Training\""), "{error}");
        // Vehicles, say.
        for files in [["train/1.png", "test/1.png"], ["train/old/1.png", "bus/new/1.png"]] {
            assert_eq!(listed(folder_with(&files).path()).entries.len(), 2, "{files:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let folder = folder_with(&["Training/a/1.png", "readme.md"]);
        let error = |path: &str| list(&folder.path().join(path), &Exclude::default()).expect_err(path).to_string();
        let missing = error("training");
        assert!(missing.contains("training") && missing.contains("Training, readme.md"), "{missing}");
        let empty = error("Training/a");
        assert!(empty.contains("no class folders") && empty.contains("1.png"), "{empty}");
    }

    #[test]
    fn folders_of_systems_are_passed_over_whatever_is_in_them() {
        let names =
            ["lost+found", "$RECYCLE.BIN", "System Volume Information", "b/@eaDir", "#recycle", "found.000", "b/@Recycle", "__pycache__"];
        let folder = folder_with(&["a/1.png", "b/2.png", "__MACOSX/b/2.png", ".Trash-1000/3.png"]);
        names.iter().for_each(|name| add(folder.path(), &format!("{name}/thumb.png"), "x"));
        let listing = listed(folder.path());
        assert_eq!((&listing.classes[..], listing.entries.len()), (&["a".to_owned(), "b".to_owned()][..], 2));
        assert_eq!((listing.passed_over.count(Kind::System), listing.passed_over.count(Kind::Hidden)), (names.len(), 2));
        let words = listing.passed_over.words(Path::new("x"));
        assert!(
            words[1].starts_with("passed over in x: folders of the system, 8; the first: ") && words[1].ends_with("#recycle"),
            "{words:?}"
        );
    }

    #[test]
    fn what_this_program_wrote_is_no_class_wherever_it_lies() {
        let folder = folder_with(&[
            "a/1.png",
            "b/2.png",
            "checkpoints/run/last/meta.json",
            "checkpoints/run/last/model.safetensors",
            "checkpoints/run/augmentation.png",
            "checkpoints/run/plots/x.png",
            "a/checkpoint/meta.json",
            "a/checkpoint/model.safetensors",
            "a/checkpoint/x.png",
            "results/metrics.json",
            "results/predictions.csv",
            "results/plots/x.png",
            "maps/explanations.jsonl",
            "maps/0001.overlay.png",
            "cache/emberlens/pixels/x.u8",
        ]);
        add(folder.path(), "more/manifest.csv", "path,label,split,group,weight\n");
        add(folder.path(), "more/a/1.png", "x");
        // A run that was killed before its first checkpoint.
        add(folder.path(), "young/x.png", "x");
        let recipe = crate::config::parse("name = 'x'\n[data]\ntrain = '.'\n", Path::new("x"), &[]).expect("a recipe");
        add(folder.path(), "young/config.toml", &recipe.to_toml());
        let listing = listed(folder.path());
        assert_eq!(listing.classes, ["a", "b"]);
        assert_eq!(images(&listing, folder.path()), ["a/1.png", "b/2.png"]);
        assert_eq!(listing.passed_over.count(Kind::Own), 7);
    }

    #[test]
    fn what_looks_like_ours_and_is_a_class_stays_one() {
        let folder = folder_with(&[
            "best/1.png",
            "checkpoints/2.png",
            "last/3.png",
            "manifest/manifest.csv",
            "manifest/4.png",
            "x/config.toml",
            "x/5.png",
        ]);
        add(folder.path(), "x/config.toml", "name = 'x'\n[data]\ntrain = '.'\n");
        let listing = listed(folder.path());
        assert_eq!((listing.classes.len(), listing.entries.len(), listing.passed_over.count(Kind::Own)), (5, 5, 0));
    }

    #[test]
    fn formats_that_are_not_read_are_named_with_what_to_do() {
        let folder = folder_with(&["a/1.png", "a/2.HEIC", "b/3.heif", "b/4.dcm", "b/5.svg", "b/6.txt"]);
        let words = listed(folder.path()).passed_over.words(Path::new("x"));
        let first = |name: &str| format!("the first: {}", folder.path().join(name).display());
        assert_eq!(
            words,
            [
                format!(
                    "passed over in x: 1 DICOM file, which can't be read; export it as PNG, with the window that a reader would set; {}",
                    first("b/4.dcm")
                ),
                format!("passed over in x: 2 HEIC images, which can't be read; save them as JPEG or PNG; {}", first("a/2.HEIC")),
                format!("passed over in x: 1 SVG drawing, which can't be read; save it as PNG; {}", first("b/5.svg")),
                "passed over in x: files that aren't images, 1".to_owned(),
            ]
        );
    }

    #[test]
    fn patterns_leave_out_folders_and_files_and_a_class_that_they_empty() {
        let folder = folder_with(&["a/1.png", "a/1_mask.png", "a/deep/2_mask.png", "b/3.png", "drafts/4.png", "old/5.png"]);
        let data =
            |patterns: &[&str]| Data { exclude: patterns.iter().map(|text| (*text).to_owned()).collect(), ..Data::of(String::new()) };
        let exclude = Exclude::of(&data(&["drafts", "**/*_mask.png", "old/**"])).expect("patterns");
        let listing = list(folder.path(), &exclude).expect("listed");
        assert_eq!(
            (&listing.classes[..], images(&listing, folder.path())),
            (&["a".to_owned(), "b".to_owned()][..], vec!["a/1.png".to_owned(), "b/3.png".to_owned()])
        );
        assert_eq!(listing.passed_over.count(Kind::Excluded), 4);
        assert_eq!(exclude.without_effect(), None);
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_nowhere_or_round_and_pipes_end_nothing() {
        use std::os::unix::{fs::symlink, net::UnixListener};
        let folder = folder_with(&["a/1.png", "b/2.png", "elsewhere/c/3.png"]);
        let at = |name: &str| folder.path().join(name);
        for (target, link) in [
            ("/nowhere/x.png", "a/gone.png"),
            ("/nowhere", "gone"),
            ("self.png", "a/self.png"),
            ("..", "a/up"),
            ("/nowhere/notes.txt", "a/notes.txt"),
            ("../elsewhere/c", "b/linked"),
            ("/dev/zero", "b/zero.png"),
        ] {
            symlink(target, at(link)).expect("linked");
        }
        let _socket = UnixListener::bind(at("b/socket.png")).expect("bound");
        let listing = listed(folder.path());
        assert_eq!(listing.classes, ["a", "b", "elsewhere"]);
        assert_eq!(images(&listing, folder.path()), ["a/1.png", "b/2.png", "b/linked/3.png", "elsewhere/c/3.png"]);
        let counts = [Kind::Loop, Kind::Special, Kind::NotAnImage].map(|kind| listing.passed_over.count(kind));
        assert_eq!(counts, [1, 2, 1]);
        let mut unreadable: Vec<_> =
            listing.unreadable.iter().map(|file| (file.path.clone(), file.class.as_deref(), file.reason.as_str())).collect();
        unreadable.sort();
        assert_eq!(unreadable[0], (at("a/gone.png"), Some("a"), "a link to /nowhere/x.png, which is not there"));
        assert_eq!((&unreadable[1].0, unreadable[1].1), (&at("a/self.png"), Some("a")));
        assert!(unreadable[1].2.starts_with("a link to self.png, which can't be followed: "), "{}", unreadable[1].2);
        assert_eq!(unreadable[2], (at("gone"), None, "a link to /nowhere, which is not there"));
        assert_eq!(unreadable.len(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf_8_stay_apart_and_are_found_again() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in [&b"na\xEFve"[..], b"na\xEEve", b"na\nve"] {
            let class = folder.path().join(OsStr::from_bytes(name));
            std::fs::create_dir(&class).expect("created");
            std::fs::write(class.join(OsStr::from_bytes(b"f\xE9.png")), b"x").expect("written");
        }
        let listing = listed(folder.path());
        assert_eq!(listing.classes, ["na\\x0Ave", "na\\xEEve", "na\\xEFve"]);
        assert!(listing.entries.iter().all(|entry| names::to_path(&names::of_path(&entry.path)) == entry.path));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_too_long_is_named_and_ends_nothing() {
        let folder = folder_with(&["a/1.png", "b/2.png"]);
        let deep = |name: &str, levels: usize| {
            let mut path = folder.path().join(name);
            (0..levels).for_each(|_| path.push("d".repeat(200)));
            path
        };
        // Create the longest path that the system allows, then move it into a deeper folder.
        std::fs::create_dir_all(deep("b", 18)).expect("created");
        std::fs::create_dir_all(deep("other", 18)).expect("created");
        std::fs::rename(folder.path().join("other"), deep("b", 3).join("other")).expect("moved");
        let listing = listed(folder.path());
        assert_eq!(images(&listing, folder.path()), ["a/1.png", "b/2.png"]);
        assert_eq!(listing.unreadable.len(), 1);
        assert!(listing.unreadable[0].reason.starts_with("its path has 4"), "{}", listing.unreadable[0].reason);
    }

    #[test]
    fn parts_go_by_many_names_and_what_is_none_of_them_is_told() {
        let folder = folder_with(&["Training/a/1.png", "dev/a/2.png", "testing/a/3.png", "extra/a/4.png", ".cache/5.png", "notes.txt"]);
        add(folder.path(), "checkpoints/run/metrics.json", "x");
        add(folder.path(), "checkpoints/run/predictions.csv", "x");
        let found = splits(folder.path()).expect("looked at");
        assert_eq!(found.parts, ["Training", "dev", "testing"].map(|name| Some(folder.path().join(name))));
        let extra =
            format!("passed over: {}, a folder that is none of train, val (or dev) and test", folder.path().join("extra").display());
        assert_eq!(found.others, [extra]);
        // Without a training folder, these are classes.
        let classes = folder_with(&["dev/1.png", "test/2.png"]);
        let whole = Splits { parts: [Some(classes.path().to_owned()), None, None], others: Vec::new() };
        assert_eq!(splits(classes.path()).expect("looked at"), whole);
        add(folder.path(), "val/a/6.png", "x");
        assert!(splits(folder.path()).expect_err("two for one").to_string().contains("found two folders for val"));
    }
}
