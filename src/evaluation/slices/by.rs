//! What images are sliced by: a column of a CSV, their group, or what is known of their files.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::{
        names,
        usage::UsageError,
        words::{did_you_mean, listed},
    },
    data::{
        batches::dataset::{Image, ImageSet},
        listing::Values,
        pixels::image_stats::ImageStats,
        shards::is_shard,
    },
};

/// What is known of each image without a CSV.
const KNOWN: [&str; 5] = ["group", "format", "size", "brightness", "folder"];

/// Maximum number of different sizes and of different numbers in a column that are slices of their
/// own; more are cut into [`PARTS`] parts of about equal numbers of images.
const MOST_NUMBERS: usize = 10;
const PARTS: usize = 4;

/// The slice of images without a value.
const NONE: &str = "(none)";

/// What images are sliced by.
#[derive(Clone, Debug)]
pub struct By {
    /// Its name, as it was asked for.
    pub name: String,
    /// The value of each file, if it is a column.
    column: Option<BTreeMap<PathBuf, String>>,
}

impl By {
    /// Finds what the names mean: a column of one of the CSVs `lists`, else the group or what is
    /// known of a file.
    ///
    /// # Errors
    /// Returns an error if a CSV can't be read, or if nothing has one of the names.
    pub fn find(wanted: &[String], lists: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let lists = lists.iter().map(|path| Values::read(path));
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let by = |name: &String| {
            let columns: Vec<_> = lists.iter().filter_map(|list| list.column(name)).collect();
            if columns.is_empty() && !KNOWN.contains(&name.as_str()) {
                return Err(unknown(name, &lists));
            }
            Ok(Self {
                name: name.clone(),
                column: (!columns.is_empty()).then(|| columns.into_iter().flatten().collect()),
            })
        };
        // A name that is given twice would be tested twice.
        let mut different: Vec<&String> = Vec::new();
        for name in wanted {
            if !different.contains(&name) {
                different.push(name);
            }
        }
        Ok(different.into_iter().map(by).collect::<Result<_, _>>()?)
    }

    /// Returns the slice of each image of a set, whose files `files` are about.
    pub(super) fn parts(&self, set: &ImageSet, files: &[FileFacts]) -> Parts {
        let of_image = |value: fn(&Image) -> String| Parts::named(set.images.iter().map(value));
        let numbers = |value: fn(&FileFacts) -> f64| files.iter().map(value).collect::<Vec<_>>();
        if let Some(column) = &self.column {
            let value = |image: &Image| column.get(&image.path).cloned().unwrap_or_default();
            let values: Vec<String> = set.images.iter().map(value).collect();
            return Parts::of_numbers(&values).unwrap_or_else(|| Parts::named(values.into_iter()));
        }
        match self.name.as_str() {
            "group" => of_image(|image| image.group.clone().unwrap_or_default()),
            "format" => Parts::named(files.iter().map(|file| file.format.clone())),
            "size" => {
                let size = |file: &FileFacts| format!("{} x {}", file.height, file.width);
                let sizes = Parts::named(files.iter().map(size));
                if sizes.names.len() <= MOST_NUMBERS {
                    return sizes;
                }
                let pixels = numbers(|file| (file.height * file.width) as f64);
                Parts::quarters(&pixels, |value| format!("{value}"), " pixels")
            }
            "brightness" => {
                let levels = numbers(|file| f64::from(file.brightness));
                Parts::quarters(&levels, |value| format!("{value:.1}"), "")
            }
            _ => Parts::named(folders(set).into_iter()),
        }
    }
}

/// Returns the error for a name that nothing has.
fn unknown(name: &str, lists: &[Values]) -> UsageError {
    let columns: Vec<String> = lists.iter().flat_map(|list| list.names.clone()).collect();
    let meant = did_you_mean(name, columns.iter().map(String::as_str).chain(KNOWN));
    let of_lists = if columns.is_empty() {
        "a column of a CSV of the images, and there is no CSV".to_owned()
    } else {
        format!("a column of the CSV ({})", listed(&columns))
    };
    UsageError(format!(
        "--by: found no `{}`, expected {of_lists}, or {}{meant}",
        names::of_text(name),
        KNOWN.join(", ")
    ))
}

/// What is known of an image's file.
#[derive(Clone, Debug)]
pub(in crate::evaluation) struct FileFacts {
    format: String,
    height: usize,
    width: usize,
    brightness: f32,
}

impl FileFacts {
    /// Keeps what slices need, without the thumbnail.
    pub(in crate::evaluation) fn of(stats: &Arc<ImageStats>) -> Self {
        Self {
            format: stats.format.clone(),
            height: stats.height,
            width: stats.width,
            brightness: stats.brightness,
        }
    }
}

/// Returns the folder of each image, from the deepest one that has all of them, without folders
/// named as its class.
fn folders(set: &ImageSet) -> Vec<String> {
    // A shard is no folder: in which of them an image lies was drawn.
    let parent = |image: &Image| {
        let folder = image.path.parent().unwrap_or(Path::new(""));
        let shard = image.path.ancestors().skip(1).find(|above| is_shard(above));
        match shard.filter(|_| !image.path.is_file()) {
            Some(shard) => folder.strip_prefix(shard).unwrap_or(folder).to_owned(),
            None => folder.to_owned(),
        }
    };
    let parents: Vec<PathBuf> = set.images.iter().map(parent).collect();
    let mut common = parents.first().cloned().unwrap_or_default();
    while !parents.iter().all(|path| path.starts_with(&common)) {
        common.pop();
    }
    let of_image = |(image, path): (&Image, &PathBuf)| {
        let class = &set.classes[image.label];
        let inner = path.strip_prefix(&common).unwrap_or(path).components();
        let inner: PathBuf = inner
            .filter(|part| names::of_os(part.as_os_str()) != *class)
            .collect();
        names::of_path(&inner)
    };
    set.images.iter().zip(&parents).map(of_image).collect()
}

/// The slices of a set of images.
#[derive(Debug, PartialEq)]
pub(super) struct Parts {
    /// Names of the slices, in the order in which they are shown.
    pub(super) names: Vec<String>,
    /// Index of each image's slice.
    pub(super) of_image: Vec<usize>,
}

impl Parts {
    /// Makes a slice of each value, in alphabetical order; images without a value come last.
    fn named(values: impl Iterator<Item = String>) -> Self {
        let values: Vec<String> = values.collect();
        let names: BTreeSet<&String> = values.iter().filter(|name| !name.is_empty()).collect();
        let places: BTreeMap<&String, usize> = names
            .iter()
            .enumerate()
            .map(|(place, name)| (*name, place))
            .collect();
        Self::with_none(
            names.iter().map(|name| (*name).clone()).collect(),
            values
                .iter()
                .map(|value| places.get(value).copied())
                .collect(),
        )
    }

    /// Makes slices of numbers, with units of their own where there are few: `None` unless all
    /// values but empty ones are numbers.
    fn of_numbers(values: &[String]) -> Option<Self> {
        let number = |text: &String| {
            if text.is_empty() {
                Some(f64::NAN)
            } else {
                text.parse().ok().filter(|value: &f64| value.is_finite())
            }
        };
        let numbers: Vec<f64> = values.iter().map(number).collect::<Option<_>>()?;
        let mut different: Vec<f64> = numbers.iter().copied().filter(|at| !at.is_nan()).collect();
        different.sort_by(f64::total_cmp);
        different.dedup();
        if different.is_empty() {
            return None;
        }
        if different.len() > MOST_NUMBERS {
            return Some(Self::quarters(&numbers, |value| value.to_string(), ""));
        }
        let of_value = |value: &f64| different.iter().position(|other| other == value);
        Some(Self::with_none(
            different.iter().map(ToString::to_string).collect(),
            numbers.iter().map(of_value).collect(),
        ))
    }

    /// Cuts the range of the numbers into [`PARTS`] with about the same number of images; equal
    /// numbers stay together.
    fn quarters(numbers: &[f64], shown: fn(f64) -> String, unit: &str) -> Self {
        let mut sorted: Vec<f64> = numbers.iter().copied().filter(|at| !at.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        let mut lasts: Vec<f64> = (1..=PARTS)
            .map(|part| sorted[(sorted.len() * part).div_ceil(PARTS) - 1])
            .collect();
        lasts.dedup();
        let first = |part: usize| match part {
            0 => sorted[0],
            _ => sorted[sorted.partition_point(|value| *value <= lasts[part - 1])],
        };
        let name = |(part, last): (usize, &f64)| {
            let [first, last] = [shown(first(part)), shown(*last)];
            if first == last {
                format!("{first}{unit}")
            } else {
                format!("{first} to {last}{unit}")
            }
        };
        let of_value =
            |value: &f64| (!value.is_nan()).then(|| lasts.partition_point(|last| last < value));
        Self::with_none(
            lasts.iter().enumerate().map(name).collect(),
            numbers.iter().map(of_value).collect(),
        )
    }

    /// Adds a slice of images without a value, if there are some.
    fn with_none(mut names: Vec<String>, of_image: Vec<Option<usize>>) -> Self {
        let none = names.len();
        if of_image.contains(&None) {
            names.push(NONE.to_owned());
        }
        Self {
            names,
            of_image: of_image
                .into_iter()
                .map(|slice| slice.unwrap_or(none))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn words_are_slices_by_name_and_few_numbers_by_value() {
        let parts = Parts::named(texts(&["b", "", "a", "b"]).into_iter());
        assert_eq!(parts.names, ["a", "b", NONE]);
        assert_eq!(parts.of_image, [1, 2, 0, 1]);
        let parts = Parts::of_numbers(&texts(&["10", "9", "", "9.0"])).expect("numbers");
        assert_eq!(parts.names, ["9", "10", NONE]);
        assert_eq!(parts.of_image, [1, 0, 2, 0]);
        for other in [["10", "nine"], ["", ""], ["inf", "1"]] {
            assert_eq!(Parts::of_numbers(&texts(&other)), None, "{other:?}");
        }
    }

    #[test]
    fn many_numbers_are_cut_into_parts_with_as_many_images_each() {
        let numbers: Vec<String> = (1..=20).rev().map(|value| value.to_string()).collect();
        let parts = Parts::of_numbers(&numbers).expect("numbers");
        assert_eq!(parts.names, ["1 to 5", "6 to 10", "11 to 15", "16 to 20"]);
        assert_eq!(parts.of_image[..6], [3, 3, 3, 3, 3, 2]);
        // Equal numbers stay together, whatever becomes of the parts.
        let parts = Parts::quarters(
            &[1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0],
            |at| at.to_string(),
            "",
        );
        assert_eq!(parts.names, ["1 to 2", "3"]);
        let parts = Parts::quarters(&[5.0; 3], |at| at.to_string(), " pixels");
        assert_eq!(
            (parts.names, parts.of_image),
            (texts(&["5 pixels"]), vec![0; 3])
        );
    }
}
