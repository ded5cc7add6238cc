//! What is found among images and isn't one: files of the system, of a camera, or of this program.
//! Told by name and ending, or by the names of the files inside; only CSV manifests and recipes are
//! opened.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::has_image_extension;
use crate::base::names;

/// Why a file or folder isn't listed. Reported in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Hidden by its name.
    Hidden,
    /// A folder that an operating system or a network storage device creates.
    System,
    /// A run folder, or another output of this program.
    Own,
    /// Excluded by `data.exclude`.
    Excluded,
    /// A pipe, socket or device, which may never end.
    Special,
    /// A link to a folder that it is in.
    Loop,
    /// An image or document in a format that isn't read.
    Foreign(&'static Format),
    /// Neither an image nor a folder.
    NotAnImage,
    /// An image beside the class folders.
    WithoutClass,
    /// A line of a CSV without a label.
    WithoutLabel,
    /// An image in a shard without a label beside it, where others have one.
    Unlabeled,
}

/// A format that isn't read, told by its file name endings.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Format {
    endings: &'static [&'static str],
    name: &'static str,
    advice: &'static str,
}

const AS_IMAGES: &str = "save them as JPEG or PNG";

/// Common formats that this program doesn't read, with what to do instead.
static FOREIGN: [Format; 13] = [
    Format {
        endings: &["heic", "heif", "hif"],
        name: "HEIC image",
        advice: AS_IMAGES,
    },
    Format {
        endings: &["avif"],
        name: "AVIF image",
        advice: AS_IMAGES,
    },
    Format {
        endings: &["jxl"],
        name: "JPEG XL image",
        advice: AS_IMAGES,
    },
    Format {
        endings: &["jp2", "j2k", "j2c", "jpf", "jpx"],
        name: "JPEG 2000 image",
        advice: AS_IMAGES,
    },
    Format {
        endings: &["svg", "svgz"],
        name: "SVG drawing",
        advice: "save them as PNG",
    },
    Format {
        endings: &["pdf", "eps", "ps"],
        name: "PDF or PostScript file",
        advice: "save their pages as PNG",
    },
    Format {
        endings: &["dcm", "dicom"],
        name: "DICOM file",
        advice: "export them as PNG, with the display window that a radiologist would use",
    },
    Format {
        endings: &["nii", "mha", "mhd", "nrrd"],
        name: "volume (NIfTI, MetaImage or NRRD)",
        advice: "export their slices as PNG",
    },
    Format {
        endings: &["psd", "psb", "xcf"],
        name: "image editor file",
        advice: AS_IMAGES,
    },
    Format {
        endings: &[
            "cr2", "cr3", "nef", "dng", "arw", "orf", "rw2", "raf", "pef", "srw", "raw",
        ],
        name: "raw camera image",
        advice: "develop them as JPEG or PNG",
    },
    Format {
        endings: &["exr", "hdr", "tga", "pcx", "ico", "icns", "qoi", "dds"],
        name: "image in a rare format",
        advice: AS_IMAGES,
    },
    Format {
        endings: &["npy", "npz"],
        name: "NumPy array",
        advice: "save each image as PNG",
    },
    Format {
        endings: &["mp4", "avi", "mov", "mkv", "webm"],
        name: "video",
        advice: "save their frames as JPEG or PNG",
    },
];

impl Format {
    /// Describes `count` files of this format: "12 HEIC images, which can't be read; ...".
    fn words(&self, count: usize) -> String {
        let Self { name, advice, .. } = self;
        if count == 1 {
            return format!(
                "1 {name}, which can't be read; {}",
                advice.replace("them", "it").replace("their", "its")
            );
        }
        let (first, rest) = name
            .split_once([' '])
            .filter(|(first, _)| ["image", "volume"].contains(first))
            .unwrap_or((name, ""));
        format!(
            "{count} {first}s{}{rest}, which can't be read; {advice}",
            if rest.is_empty() { "" } else { " " }
        )
    }
}

/// Number of things of a kind, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Passed {
    count: usize,
    first: PathBuf,
}

/// Counts of everything that was passed over, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver(BTreeMap<Kind, Passed>);

impl PassedOver {
    /// Counts a file or folder.
    pub fn add(&mut self, kind: Kind, path: &Path) {
        self.0
            .entry(kind)
            .or_insert_with(|| Passed {
                count: 0,
                first: path.to_owned(),
            })
            .count += 1;
    }

    /// Adds the counts of `others`.
    pub fn extend(&mut self, others: Self) {
        for (kind, Passed { count, first }) in others.0 {
            self.0
                .entry(kind)
                .or_insert_with(|| Passed { count: 0, first })
                .count += count;
        }
    }

    /// Returns the number of things of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.0.get(&kind).map_or(0, |passed| passed.count)
    }

    /// Describes what was ignored in `place`, a line for each kind.
    pub fn words(&self, place: &Path) -> Vec<String> {
        let place = names::of_path(place);
        let words = |(kind, Passed { count, first }): (&Kind, &Passed)| {
            let first = names::of_path(first);
            match kind {
                Kind::Foreign(format) => {
                    format!(
                        "ignored in {place}: {}; the first: {first}",
                        format.words(*count)
                    )
                }
                Kind::Hidden | Kind::NotAnImage | Kind::WithoutClass | Kind::WithoutLabel => {
                    format!("ignored in {place}: {kind}, {count}")
                }
                Kind::System
                | Kind::Own
                | Kind::Excluded
                | Kind::Special
                | Kind::Loop
                | Kind::Unlabeled => {
                    format!("ignored in {place}: {kind}, {count}; the first: {first}")
                }
            }
        };
        self.0.iter().map(words).collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hidden => "hidden files and folders",
            Self::System => "folders of the system",
            Self::Own => "runs and results of this program",
            Self::Excluded => "left out by data.exclude",
            Self::Special => "pipes, sockets and devices",
            Self::Loop => "links to a folder that they are in",
            Self::Foreign(format) => format.name,
            Self::NotAnImage => "files that aren't images",
            Self::WithoutClass => "images without a class folder",
            Self::WithoutLabel => "lines without a label",
            Self::Unlabeled => "images in shards without a label beside them",
        })
    }
}

/// Returns why a file or folder is passed over, as far as its name tells.
pub(super) fn by_name(path: &Path) -> Option<Kind> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let is_checked_disk = name.strip_prefix("found.").is_some_and(|number| {
        number.len() == 3 && number.bytes().all(|digit| digit.is_ascii_digit())
    });
    match name.as_str() {
        "__macosx" | "desktop.ini" | "thumbs.db" | "ehthumbs.db" => Some(Kind::Hidden),
        // Folders of Linux, Windows, Synology, QNAP, macOS and Python.
        "lost+found"
        | "system volume information"
        | "$recycle.bin"
        | "@eadir"
        | "#recycle"
        | "@recycle"
        | "#snapshot"
        | "@recently-snapshot"
        | "network trash folder"
        | "temporary items"
        | "__pycache__" => Some(Kind::System),
        _ if name.starts_with('.') => Some(Kind::Hidden),
        _ if is_checked_disk => Some(Kind::System),
        _ => None,
    }
}

/// Returns why a file is passed over, as far as its ending tells; `None` for an image's.
pub(super) fn by_ending(path: &Path) -> Option<Kind> {
    if has_image_extension(path) {
        return None;
    }
    let ending = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let format = FOREIGN
        .iter()
        .find(|format| format.endings.contains(&ending.as_str()));
    Some(format.map_or(Kind::NotAnImage, Kind::Foreign))
}

/// Returns whether a folder was written by this program: a run, a checkpoint, an evaluation,
/// explanations, augmented images, or the cache.
pub(super) fn is_ours(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let is_checkpoint = |folder: &Path| {
        folder.join("meta.json").is_file() && folder.join("model.safetensors").is_file()
    };
    is_checkpoint(folder)
        || is_checkpoint(&folder.join("last"))
        || is_checkpoint(&folder.join("best"))
        || has("metrics.json") && has("predictions.csv")
        || has("explanations.jsonl")
        || is_manifest(&folder.join("manifest.csv"))
        || is_resolved_recipe(&folder.join("config.toml"))
        || is_cache(folder)
}

/// Returns whether a file is the list that `augment` writes beside its images.
fn is_manifest(path: &Path) -> bool {
    beginning(path).is_some_and(|bytes| bytes.starts_with(b"path,label,split,group,weight\n"))
}

/// Returns the first 64 KiB of a file, or `None` if it can't be read. Any file may have the name of
/// one of ours, whatever its size.
fn beginning(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = path.is_file().then(|| File::open(path).ok()).flatten()?;
    file.take(1 << 16).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Returns whether a file is a recipe with all defaults written out, as in a run folder. Recipes
/// written by hand leave most keys out.
fn is_resolved_recipe(path: &Path) -> bool {
    let table = beginning(path)
        .and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<toml::Table>().ok())
        .unwrap_or_default();
    let has = |section: &str, keys: &[&str]| {
        table
            .get(section)
            .and_then(toml::Value::as_table)
            .is_some_and(|section| keys.iter().all(|key| section.contains_key(*key)))
    };
    has("data", &["train", "image_size", "cache", "on_bad_image"])
        && has("model", &["architecture"])
        && has("train", &["batch_size"])
}

/// Returns whether a folder is a cache folder that holds this program's cache.
fn is_cache(folder: &Path) -> bool {
    ["pixels", "features", "weights"]
        .iter()
        .any(|part| folder.join("emberlens").join(part).is_dir())
}
