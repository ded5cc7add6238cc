//! Lists the images that a checkpoint is measured on: a folder, a CSV, or the test or validation
//! images of its run. Reads no image.

use std::{collections::BTreeMap, path::Path};

use anyhow::bail;

use crate::{
    base::{io::files::digest_from_hex, names, progress::Progress, usage::UsageError, words},
    checkpoint::Meta,
    config::{self, Config, Source},
    data::{
        TestListing, Unknown,
        batches::dataset::{Image, ImageSet},
        duplicates::leaks::known_to,
        listing::{Entry, Exclude, Part, Unlabeled, list_with, no_file},
        table::{Skipped, SplitRow, read_split},
        test_listing,
    },
};

/// A part of a run's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SplitName {
    /// Held back.
    Val,
    /// Held out.
    Test,
}

/// Returns the run that a checkpoint folder belongs to, or `None` if there is no run around it.
pub fn run_of(checkpoint: &Path) -> Option<&Path> {
    checkpoint
        .parent()
        .filter(|run| run.join("config.toml").is_file())
}

/// Returns the error for a checkpoint that belongs to no run, where one is needed.
pub fn no_run(path: &Path) -> UsageError {
    let path = names::of_path(path);
    UsageError(format!(
        "{path} has no run's config.toml next to it, which says what it was trained on; name \
         images with --data"
    ))
}

/// Origin of a run's test images, in words.
pub const RUNS_TEST: &str = "the run's test images";
/// Origin of a run's validation images, in words.
pub const RUNS_VALIDATION: &str = "the run's validation images";

/// Name of the images of a cross-validation, each classified by the network of the fold that held
/// it back.
pub const OUT_OF_FOLD: &str = "out-of-fold";

/// Images to measure on.
#[derive(Clone, Debug)]
pub struct EvalSet {
    /// The listed images.
    pub entries: Vec<Entry>,
    /// Files that are known to be unreadable.
    pub skipped: Vec<Skipped>,
    /// Name for the folder of the results.
    pub name: String,
    /// Origin of the images, in words.
    pub source: String,
    /// Parts of the run's data whose duplicates are measured apart. Validation images chose the
    /// best epoch, so they are among them, unless they are measured themselves.
    pub known: &'static [Part],
    /// Digest of each image's pixels at the time of training; `None` for images that weren't part
    /// of the run.
    pub digests: Vec<Option<[u8; 32]>>,
}

impl EvalSet {
    /// Returns the test images of a run to measure on, with those of the files in `skipped` that
    /// are test images; `None` if there are none.
    pub fn of_test(entries: Vec<Entry>, skipped: Vec<Skipped>) -> Option<Self> {
        let skipped = skipped.into_iter();
        (!entries.is_empty()).then(|| Self {
            entries,
            skipped: skipped
                .filter(|file| file.split == Part::Test.name())
                .collect(),
            name: "test".to_owned(),
            source: RUNS_TEST.to_owned(),
            known: known_to(Part::Test),
            digests: Vec::new(),
        })
    }

    /// Describes images whose pixels have changed since the run used them, or returns `None` if
    /// none have.
    pub fn changed(&self, set: &ImageSet) -> Option<String> {
        let held = |slot: usize| self.digests.get(slot).copied().flatten();
        let is_other =
            |image: &&Image| held(image.slot).is_some_and(|digest| digest != image.digest);
        let changed: Vec<_> = set.images.iter().filter(is_other).collect();
        let first = names::of_path(&changed.first()?.path);
        Some(format!(
            "warning: {} of {} images have other pixels than when the run held them back: they \
             were changed since, or another version of the program reads them; the first: {first}",
            changed.len(),
            set.images.len()
        ))
    }
}

/// Lists the images under a path: a folder with one folder per class, or a CSV.
///
/// # Errors
/// Returns an error if nothing can be listed there, or if the checkpoint is a classifier that
/// doesn't know a class.
pub fn from_path(path: &Path, meta: &Meta, progress: &dyn Progress) -> anyhow::Result<EvalSet> {
    let (classes, is_autoencoder) = (&meta.classes, meta.is_autoencoder());
    let unlabeled = if is_autoencoder {
        Unlabeled::Taken
    } else {
        Unlabeled::Refused
    };
    let listing = list_with(path, &Exclude::default(), unlabeled)?;
    if let Some(Unknown { names, meant, .. }) =
        Unknown::of(&listing.classes, classes).filter(|_| !is_autoencoder)
    {
        bail!(
            "found {names} that the checkpoint doesn't know, expected classes among {}{meant}; \
             rename or move what isn't one of them: {}",
            words::listed(classes),
            names::of_path(path)
        );
    }
    listing
        .words(path)
        .iter()
        .for_each(|words| progress.say(words));
    let mut skipped: Vec<_> = listing
        .unreadable
        .iter()
        .map(|file| Skipped::unopened(file, file.split))
        .collect();
    // Rows without a split, or with another one, aren't test images of a list that names some.
    let mut entries = listing.entries;
    if entries.iter().any(|entry| entry.split == Some(Part::Test)) {
        entries.retain(|entry| entry.split == Some(Part::Test));
        skipped.retain(|file| file.split == Part::Test.name());
        progress.say(&format!(
            "Of {}, the {} rows with split test",
            names::of_path(path),
            entries.len()
        ));
    }
    let name = path.file_stem().map_or("data".to_owned(), |name| {
        names::for_file(&names::of_os(name))
    });
    // Those of the run's own images.
    let name = if ["test", "val", OUT_OF_FOLD].contains(&name.as_str()) {
        format!("data-{name}")
    } else {
        name
    };
    Ok(told(
        EvalSet {
            entries,
            skipped,
            name,
            source: names::of_path(path),
            known: known_to(Part::Test),
            digests: Vec::new(),
        },
        progress,
    ))
}

/// Compares test images with those that the run has measured. Says which have gone, were added or
/// have another class, and returns the digest that each had then.
fn since_training(
    run: &Path,
    entries: &[Entry],
    progress: &dyn Progress,
) -> anyhow::Result<Vec<Option<[u8; 32]>>> {
    let mut rows: BTreeMap<String, SplitRow> = read_split(&run.join("split.csv"))?
        .into_iter()
        .filter(|row| row.split == Part::Test.name())
        .map(|row| (row.path.clone(), row))
        .collect();
    let before: Vec<Option<SplitRow>> = entries
        .iter()
        .map(|entry| rows.remove(&names::of_path(&entry.path)))
        .collect();
    let digests = before
        .iter()
        .map(|row| digest_from_hex(&row.as_ref()?.blake3))
        .collect();
    // A run of an older version, or a folder that has moved as a whole.
    if before.iter().all(Option::is_none) {
        return Ok(digests);
    }
    let moved = entries.iter().zip(&before);
    let moved =
        moved.filter(|(entry, row)| row.as_ref().is_some_and(|row| row.class != entry.class));
    let changes = [
        (rows.len(), "are gone"),
        (
            before.iter().filter(|row| row.is_none()).count(),
            "were added",
        ),
        (moved.count(), "have another class"),
    ];
    let changes: Vec<String> = changes
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !changes.is_empty() {
        progress.say(&format!(
            "warning: the test images aren't those that the run measured: {}",
            words::listed(&changes)
        ));
    }
    Ok(digests)
}

/// Reports the files of a set that can't be opened.
fn told(set: EvalSet, progress: &dyn Progress) -> EvalSet {
    for words in Skipped::words(&set.skipped) {
        progress.say(&format!("warning: {words}"));
    }
    set
}

/// Lists the test images of a run or, if it has none, its validation images.
///
/// # Errors
/// Returns an error if the configuration or the images of the run can't be listed.
pub fn held_out_or_back(run: &Path, progress: &dyn Progress) -> anyhow::Result<EvalSet> {
    let config: Config = config::load(&run.join("config.toml"), &[])?;
    if config.data.test.as_ref().and_then(Source::share).is_some() {
        return from_split(SplitName::Test, run, progress);
    }
    let TestListing { entries, unopened } = test_listing(&config.data)?;
    if entries.is_empty() && unopened.is_empty() {
        progress.say(
            "The run has no test images: measuring on its validation images, which chose the best \
             epoch (--data measures others)",
        );
        return from_split(SplitName::Val, run, progress);
    }
    from_split(SplitName::Test, run, progress)
}

/// Lists the images of a part of a run.
///
/// # Errors
/// Returns an error if the run has none, or none of them can be found.
pub fn from_split(
    split: SplitName,
    run: &Path,
    progress: &dyn Progress,
) -> anyhow::Result<EvalSet> {
    let config: Config = config::load(&run.join("config.toml"), &[])?;
    match split {
        SplitName::Test if config.data.test.as_ref().and_then(Source::share).is_some() => {
            from_rows(run, Part::Test, "test", RUNS_TEST)
        }
        SplitName::Test => {
            let TestListing { entries, unopened } = test_listing(&config.data)?;
            if !unopened.is_empty() && entries.is_empty() {
                bail!(
                    "none of the {} test images of the run can be opened; the first: {}",
                    unopened.len(),
                    Skipped::named(&unopened, 1)
                );
            }
            if entries.is_empty() {
                return Err(UsageError(
                    "the run has no test images; name some with --data, or --split val".to_owned(),
                )
                .into());
            }
            let source = RUNS_TEST.to_owned();
            let name = "test".to_owned();
            let digests = since_training(run, &entries, progress)?;
            Ok(told(
                EvalSet {
                    entries,
                    skipped: unopened,
                    name,
                    source,
                    known: known_to(Part::Test),
                    digests,
                },
                progress,
            ))
        }
        SplitName::Val => from_rows(run, Part::Validation, "val", RUNS_VALIDATION),
    }
}

/// Lists the training images of a run.
///
/// # Errors
/// Returns an error if none of them can be found.
pub fn training_images(run: &Path) -> anyhow::Result<EvalSet> {
    from_rows(run, Part::Train, "train", "the run's training images")
}

/// Returns the images of a part as `split.csv` has it.
fn from_rows(run: &Path, part: Part, name: &str, source: &str) -> anyhow::Result<EvalSet> {
    let rows = read_split(&run.join("split.csv"))?;
    let held_back: Vec<_> = rows
        .into_iter()
        .filter(|row| row.split == part.name())
        .collect();
    let digests = held_back
        .iter()
        .map(|row| digest_from_hex(&row.blake3))
        .collect();
    // Sample weights belong to training; evaluation counts each image once.
    let entry = |row: SplitRow| {
        let group = (!row.group.is_empty()).then_some(row.group);
        Entry {
            path: names::to_path(&row.path),
            class: row.class,
            group,
            weight: 1.0,
            split: None,
        }
    };
    let entries: Vec<_> = held_back.into_iter().map(entry).collect();
    check_there(&entries, run)?;
    Ok(EvalSet {
        entries,
        skipped: Vec::new(),
        name: name.to_owned(),
        source: source.to_owned(),
        known: known_to(part),
        digests,
    })
}

/// Fails if none of the images exists, most likely because paths are relative to another folder.
fn check_there(entries: &[Entry], run: &Path) -> anyhow::Result<()> {
    match entries
        .first()
        .filter(|_| entries.iter().all(|entry| no_file(&entry.path).is_some()))
    {
        Some(first) => bail!(
            "none of the {} images held back in {} is there, the first: {}; paths are relative to \
             the current directory: run it where the training ran, name the new folder of the \
             images with `emberlens train --resume RUN --set data.train=FOLDER`, or name others \
             with --data",
            entries.len(),
            names::of_path(&run.join("split.csv")),
            names::of_path(&first.path)
        ),
        None => Ok(()),
    }
}
