//! Turns `[data]` into its listed, unread parts: the training, validation and test images, and
//! remarks on the lists.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    duplicates::scan::{Scan, ScannedImage},
    entries::Loaded,
    error::DataError,
    listing::{Entry, Exclude, Listing, Part, Unlabeled, alike, list_with, phantom},
    pixels::image_stats::ImageStats,
    table::Skipped,
};
use crate::{
    base::{names, words},
    config::{Data, PHANTOM, Source},
};

/// Paths of the parts of a recipe's data.
struct Sources {
    train: PathBuf,
    validation: Option<PathBuf>,
    test: Option<PathBuf>,
}

impl Sources {
    /// Returns the paths that a recipe names. Draws the phantom images if it asks for them.
    ///
    /// # Errors
    /// Returns an error if a part can't be listed, or if the parts contradict each other.
    fn of(data: &Data) -> Result<Self, DataError> {
        let path = |source: &Source| source.path().map(names::to_path);
        let validation = path(&data.validation);
        if data.train == PHANTOM {
            let [train, test] = phantom::draw_set()?;
            return Ok(Self {
                train,
                validation,
                test: Some(test),
            });
        }
        Ok(Self {
            train: names::to_path(&data.train),
            validation,
            test: data.test.as_ref().and_then(path),
        })
    }
}

/// The listed, unread parts.
pub(super) struct Parts {
    /// Class names of the training source.
    pub classes: Vec<String>,
    pub train: Vec<Entry>,
    pub validation: Vec<Entry>,
    pub test: Vec<Entry>,
    /// Files that can't be opened.
    pub unopened: Vec<Skipped>,
    /// Descriptions of what was passed over.
    pub passed_over: Vec<String>,
    /// Descriptions of how lists were read.
    pub notes: Vec<String>,
    /// Patterns of `data.exclude`, with whether they have excluded something.
    pub exclude: Exclude,
}

impl Parts {
    /// Lists the parts of a recipe's data. A CSV may assign its images to parts; then no other
    /// source for such a part is allowed, but for the share of validation images, which is a
    /// default.
    pub(super) fn of(data: &Data) -> Result<Self, DataError> {
        let (sources, exclude) = (Sources::of(data)?, Exclude::of(data)?);
        let listing = list_with(&sources.train, &exclude, Unlabeled::of(data))?;
        let part = |part| {
            listing
                .entries
                .iter()
                .filter(move |entry| entry.split.unwrap_or(Part::Train) == part)
                .cloned()
                .collect()
        };
        let mut parts = Self {
            train: part(Part::Train),
            validation: part(Part::Validation),
            test: part(Part::Test),
            unopened: Vec::new(),
            passed_over: Vec::new(),
            notes: Vec::new(),
            classes: listing.classes.clone(),
            exclude,
        };
        parts.note(&listing, &sources.train, None);
        if let Some(path) = &sources.validation {
            parts.add_source(path, Part::Validation, (&sources.train, data))?;
        }
        if let Some(path) = &sources.test {
            parts.add_source(path, Part::Test, (&sources.train, data))?;
        }
        let test_share = data.test.as_ref().and_then(Source::share);
        if let Some(share) = test_share.filter(|_| !parts.test.is_empty()) {
            let share = share.to_string();
            return Err(twice("test", &parts.test, &sources.train, &share));
        }
        parts.group_by_name(data)?;
        Ok(parts)
    }

    /// Lists a part other than training from a source of its own. `list_path` is that of the list
    /// of training images, which must not assign images to the part.
    fn add_source(
        &mut self,
        path: &Path,
        part: Part,
        (list_path, data): (&Path, &Data),
    ) -> Result<(), DataError> {
        let (listed, what) = if part == Part::Test {
            (&self.test, "test")
        } else {
            (&self.validation, "validation")
        };
        if !listed.is_empty() {
            let value = format!("\"{}\"", names::of_path(path));
            return Err(twice(what, listed, list_path, &value));
        }
        let other = list_with(path, &self.exclude, Unlabeled::of(data))?;
        // A label is an index into the classes of training, which an unknown class doesn't have.
        check_known(&other, &self.classes, path, what)?;
        self.note(&other, path, Some(part));
        if part == Part::Test {
            self.test = other.entries;
        } else {
            self.validation = other.entries;
        }
        Ok(())
    }

    /// Keeps what there is to report of a listing. Its files are of `part`, or of the part that the
    /// list assigns.
    fn note(&mut self, listing: &Listing, path: &Path, part: Option<Part>) {
        let of_file = |split: Option<Part>| part.unwrap_or(split.unwrap_or(Part::Train));
        self.unopened.extend(
            listing
                .unreadable
                .iter()
                .map(|file| Skipped::unopened(file, Some(of_file(file.split)))),
        );
        self.passed_over.extend(listing.passed_over.words(path));
        self.notes.extend(listing.notes.iter().cloned());
    }

    /// Returns the training and validation images.
    pub(super) fn known(&self) -> Vec<&Entry> {
        self.train.iter().chain(&self.validation).collect()
    }

    /// Returns the part of an image of [`Self::known`].
    pub(super) fn part_of(&self, index: usize) -> Part {
        if index < self.train.len() {
            Part::Train
        } else {
            Part::Validation
        }
    }

    /// Returns the files that can't be opened, those of [`Self::known`] that can't be decoded, and
    /// the test images that can't be decoded.
    pub(super) fn skipped(&self, known: &Loaded, tests: &Loaded) -> Vec<Skipped> {
        let of_part = |part: Part, skipped: &Skipped| Skipped {
            split: part.name(),
            ..skipped.clone()
        };
        let of_known = known
            .skipped
            .iter()
            .map(|(index, skipped)| of_part(self.part_of(*index), skipped));
        let of_tests = tests
            .skipped
            .iter()
            .map(|(_, skipped)| of_part(Part::Test, skipped));
        self.unopened
            .iter()
            .cloned()
            .chain(of_known)
            .chain(of_tests)
            .collect()
    }

    /// Returns the scan of [`Self::known`] and the test images.
    pub(super) fn survey(&self, known: &Loaded, tests: &Loaded) -> Scan {
        let entries = self.known();
        let seen = |entry: &Entry, part: Part, facts: &std::sync::Arc<ImageStats>| ScannedImage {
            entry: entry.clone(),
            part,
            facts: facts.clone(),
        };
        let of_known = known
            .images
            .iter()
            .zip(&known.facts)
            .map(|((index, _), facts)| seen(entries[*index], self.part_of(*index), facts));
        let of_tests = tests
            .images
            .iter()
            .zip(&tests.facts)
            .map(|((index, _), facts)| seen(&self.test[*index], Part::Test, facts));
        let mut survey = Scan::new(
            of_known.chain(of_tests).collect(),
            self.skipped(known, tests),
        );
        survey.passed_over.clone_from(&self.passed_over);
        survey.notes.clone_from(&self.notes);
        survey
    }

    /// Gives images without a group the one that `data.group` finds in their file name.
    fn group_by_name(&mut self, data: &Data) -> Result<(), DataError> {
        let Some(pattern) = data.group_pattern().map_err(DataError::Classes)? else {
            return Ok(());
        };
        let mut first = None;
        let mut found = 0;
        for entry in [&mut self.train, &mut self.validation, &mut self.test]
            .into_iter()
            .flatten()
        {
            let name = names::of_os(entry.path.file_name().unwrap_or_default());
            let group = pattern
                .captures(&name)
                .and_then(|captures| captures.get(1))
                .map(|group| group.as_str().to_owned());
            found += usize::from(group.is_some());
            if entry.group.is_none() {
                entry.group = group;
            }
            first.get_or_insert(name);
        }
        if found > 0 {
            return Ok(());
        }
        let name = first.unwrap_or_default();
        Err(DataError::Classes(format!(
            "found no file that data.group = \"regex:{pattern}\" fits, expected some; the first \
             file is {name}"
        )))
    }
}

/// Returns the error for a part that a list assigns images to and that the recipe has another
/// source for.
fn twice(what: &str, listed: &[Entry], list: &Path, value: &str) -> DataError {
    DataError::Classes(format!(
        "found {what} images twice: {} lines of {} and data.{what} = {value}; take one of them out",
        listed.len(),
        names::of_path(list)
    ))
}

/// Returns an error if a listing has classes that training doesn't know.
fn check_known(
    other: &Listing,
    classes: &[String],
    path: &Path,
    what: &str,
) -> Result<(), DataError> {
    let Some(Unknown {
        names,
        meant,
        count,
    }) = Unknown::of(&other.classes, classes)
    else {
        return Ok(());
    };
    let (plural, them) = if count == 1 {
        ("", "it")
    } else {
        ("es", "them")
    };
    Err(DataError::Classes(format!(
        "found the {what} class{plural} {names} that training doesn't know, in {}; training knows \
         {}{meant}; rename or remove {them}",
        names::of_path(path),
        words::listed(classes),
    )))
}

/// Class names that training or a model doesn't know.
pub struct Unknown {
    /// The names.
    pub names: String,
    /// What may have been meant by them, after a semicolon; empty if no known name is similar.
    pub meant: String,
    /// Number of unknown names.
    pub count: usize,
}

impl Unknown {
    /// Returns the names in `classes` that `known` lacks, or `None` if there are none.
    pub fn of(classes: &[String], known: &[String]) -> Option<Self> {
        let names: BTreeSet<&String> = known.iter().collect();
        let unknown: Vec<String> = classes
            .iter()
            .filter(|class| !names.contains(class))
            .cloned()
            .collect();
        let meant = unknown
            .iter()
            .take(5)
            .map(|class| alike::meant(class, known))
            .collect();
        (!unknown.is_empty()).then(|| Self {
            names: words::listed(&unknown),
            meant,
            count: unknown.len(),
        })
    }
}

/// The test images of a recipe.
#[derive(Debug)]
pub struct TestListing {
    /// Files that can be opened.
    pub entries: Vec<Entry>,
    /// Files that can't be opened.
    pub unopened: Vec<Skipped>,
}

/// Lists the test images of a recipe without reading them.
///
/// # Errors
/// Returns [`DataError`] if the recipe's data can't be listed.
pub fn test_listing(data: &Data) -> Result<TestListing, DataError> {
    let Parts {
        test, mut unopened, ..
    } = Parts::of(data)?;
    unopened.retain(|file| file.split == Part::Test.name());
    Ok(TestListing {
        entries: test,
        unopened,
    })
}
