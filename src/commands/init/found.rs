//! Describes the images in a folder or list, and writes the section of a recipe about them.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use anyhow::bail;

use super::lists::{is_list, lists_beside};
use crate::{
    base::{names, usage::UsageError},
    commands::{
        common::{approach::Approach, first_recipe::Facts, folders},
        ui,
    },
    config::Color,
    data::{
        listing::{Exclude, Listing, Part, Splits, alike, list, splits},
        pixels::{
            decode::{Decoded, Wanted, decode_in},
            memory,
        },
        table::Skipped,
    },
    report::class_counts::count_words,
};

/// Number of images that are opened to measure size and color, spread over the listing.
const SAMPLE: usize = 120;

/// Fraction of the images that is held out for the test if there is no test folder.
const TEST: f64 = 0.15;

/// Number of images from which on a test set is held out. Its fifteen images or more already say
/// little.
const ENOUGH_FOR_TEST: usize = 100;

/// The images in a folder or list.
pub(super) struct Found {
    train: PathBuf,
    validation: Option<Given>,
    test: Option<Given>,
    pub(super) facts: Facts,
}

/// Images that the user has assigned to a part.
enum Given {
    /// A folder or list of their own.
    Path(PathBuf),
    /// The given number of lines in the list of training images.
    Lines(usize),
}

impl Found {
    /// Lists the images of the folder or list `source` and reports problems with them.
    ///
    /// # Errors
    /// Returns an error if there is no folder or list, or no image in it that can be decoded.
    pub(super) fn look(source: &Path) -> anyhow::Result<Self> {
        let Splits {
            parts: [train, validation, test],
            others,
        } = parts_of(source)?;
        let train = train.unwrap_or_else(|| source.to_owned());
        let mut listing = list(&train, &Exclude::default())?;
        others
            .iter()
            .chain(&listing.words(&train))
            .for_each(|words| ui::say(words));
        let skipped: Vec<_> = listing
            .unreadable
            .iter()
            .map(|file| Skipped::unopened(file, None))
            .collect();
        Skipped::words(&skipped)
            .iter()
            .chain(&alike::pairs(&listing.classes))
            .for_each(|words| ui::say(&format!("warning: {words}")));
        let given = |path: Option<PathBuf>, part: Part| {
            let lines = listing
                .entries
                .iter()
                .filter(|entry| entry.split == Some(part))
                .count();
            if lines > 0 {
                Some(Given::Lines(lines))
            } else {
                path.map(Given::Path)
            }
        };
        let (validation, test) = (given(validation, Part::Validation), given(test, Part::Test));
        listing
            .entries
            .retain(|entry| entry.split.is_none_or(|part| part == Part::Train));
        let (typical, is_gray) = sample(&listing)?;
        Ok(Self {
            train,
            validation,
            test,
            facts: Facts {
                classes: class_counts(&listing),
                typical,
                is_gray,
            },
        })
    }

    /// Returns the folders of images.
    pub(super) fn folders(&self, source: &Path) -> Vec<PathBuf> {
        if !source.is_dir() {
            return Vec::new();
        }
        let path = |given: &Option<Given>| match given {
            Some(Given::Path(path)) => Some(path.clone()),
            Some(Given::Lines(_)) | None => None,
        };
        folders::of_folder(
            source,
            &[
                Some(self.train.clone()),
                path(&self.validation),
                path(&self.test),
            ],
        )
    }

    /// Describes the images in a few lines.
    pub(super) fn describe(&self) -> String {
        let (classes, counts): (Vec<String>, Vec<usize>) = self
            .facts
            .classes
            .iter()
            .map(|(class, count)| (class.clone(), *count))
            .unzip();
        let [height, width] = self.facts.typical;
        let mut text = format!(
            "Classes: {}\nTypical size: {width}x{height}, {}",
            count_words(&classes, &counts),
            if self.facts.is_gray { "gray" } else { "color" }
        );
        let _ = write!(text, "\nTraining: {}", names::of_path(&self.train));
        for (what, given) in [("Validation", &self.validation), ("Test", &self.test)] {
            let _ = match given {
                Some(Given::Path(path)) => write!(text, "\n{what}: {}", names::of_path(path)),
                Some(Given::Lines(lines)) => {
                    write!(text, "\n{what}: {lines} lines of the same list")
                }
                None => Ok(()),
            };
        }
        text
    }

    /// Returns the recipe of this name by which `approach` trains on the images.
    pub(super) fn recipe(&self, name: &str, approach: &Approach) -> String {
        format!(
            "# Written by `emberlens init`. Every key: docs/configuration.md.\nname = {}\n\n\
             [data]\ntrain = {}\n{}\n{}\n{}",
            quoted(name),
            quoted_path(&self.train),
            self.test_line(),
            self.validation_line(),
            self.facts.recipe(approach)
        )
    }

    /// Returns the line of the recipe that says which images are for the test, or why none are.
    fn test_line(&self) -> String {
        let count = self.facts.count();
        match (&self.test, &self.validation) {
            (Some(Given::Path(test)), _) => format!("test = {}", quoted_path(test)),
            (Some(Given::Lines(lines)), _) => {
                format!("# The list itself has {lines} test images.")
            }
            // Whoever made a split keeps it, and learns what its figure is.
            (None, Some(_)) => "# No test images: the validation images choose the best epoch, so \
                                their accuracy is slightly optimistic."
                .to_owned(),
            (None, None) if count < ENOUGH_FOR_TEST => {
                format!("# {count} images are too few to hold any out for a test.")
            }
            (None, None) => format!(
                "test = {TEST}                       # a fraction of train, held out until the \
                 end; copies stay on one side"
            ),
        }
    }

    /// Returns the line of the recipe that says which images are for validation.
    fn validation_line(&self) -> String {
        match &self.validation {
            Some(Given::Path(validation)) => {
                format!("validation = {}", quoted_path(validation))
            }
            Some(Given::Lines(lines)) => {
                format!("# The list itself has {lines} validation images.")
            }
            None => "validation = 0.2                  # a fraction of the others, which chooses \
                     the best epoch"
                .to_owned(),
        }
    }
}

/// Returns the folders or lists of the parts that `source` has.
fn parts_of(source: &Path) -> anyhow::Result<Splits> {
    match source {
        _ if source.is_dir() => Ok(splits(source)?),
        _ if is_list(source) => Ok(Splits {
            parts: lists_beside(source),
            others: Vec::new(),
        }),
        _ => {
            let source = names::of_path(source);
            Err(UsageError(format!(
                "found no folder, CSV or tar file {source}, expected a folder of class folders or \
                 a list of images"
            ))
            .into())
        }
    }
}

/// Returns each class with its number of images.
fn class_counts(listing: &Listing) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&String, usize> =
        listing.classes.iter().map(|class| (class, 0)).collect();
    listing
        .entries
        .iter()
        .for_each(|entry| *counts.entry(&entry.class).or_default() += 1);
    counts
        .into_iter()
        .map(|(class, count)| (class.clone(), count))
        .collect()
}

/// Returns a text as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Returns a path as a TOML string.
fn quoted_path(path: &Path) -> String {
    quoted(&names::of_path(path))
}

/// Returns the median height and width, and whether all are gray, of images spread over the
/// listing.
fn sample(listing: &Listing) -> anyhow::Result<([usize; 2], bool)> {
    let step = listing.entries.len().div_ceil(SAMPLE).max(1);
    let (mut heights, mut widths, mut is_gray) = (Vec::new(), Vec::new(), true);
    for entry in listing.entries.iter().step_by(step) {
        let wanted = Wanted {
            color: Color::Rgb,
            repair: false,
        };
        match memory::with_file(&entry.path, |bytes, room| decode_in(bytes, wanted, room)) {
            Ok(Decoded { pixels, .. }) => {
                heights.push(pixels.height);
                widths.push(pixels.width);
                is_gray &= pixels.bytes.chunks_exact(pixels.channels).all(|pixel| {
                    pixel
                        .iter()
                        .max()
                        .zip(pixel.iter().min())
                        .is_some_and(|(high, low)| high - low <= 8)
                });
            }
            Err(reason) => ui::say(&format!(
                "warning: {reason}: {}",
                names::of_path(&entry.path)
            )),
        }
    }
    if heights.is_empty() {
        bail!(
            "found no image that can be decoded among {}, expected some in every class folder",
            listing.entries.len()
        );
    }
    let median = |sides: &mut Vec<usize>| {
        sides.sort_unstable();
        sides[sides.len() / 2]
    };
    Ok(([median(&mut heights), median(&mut widths)], is_gray))
}
