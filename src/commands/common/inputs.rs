//! Reads the inputs of commands: the data of a configuration, and images and folders given as
//! arguments.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commands::ui::{Terminal, say};
use crate::{
    base::{names, progress::Progress, usage::UsageError},
    checkpoint::Meta,
    config::{Config, Source},
    data::{
        self, TrainingData,
        batches::dataset::ImageSet,
        listing::{Entry, Exclude, Found, Listing, PassedOver, no_file, walk},
        load_for_training,
        table::{Damaged, Skipped},
    },
    evaluation::predictor::read,
    metrics::{Estimate, wilson},
    report::class_counts::{absent_words, count_words},
    train::check_augmented_classes,
};

/// Number of validation images below which a message says how little they tell.
const FEW: usize = 100;

/// Reads the images of a configuration and reports what was found, left out and skipped.
///
/// # Errors
/// Returns an error if the data can't be trained on, or a pattern of `data.exclude` matches
/// nothing.
pub(in crate::commands) fn load(config: &Config) -> anyhow::Result<TrainingData> {
    let data = read_data(config)?;
    match &data.without_effect {
        Some(words) => Err(UsageError(words.clone()).into()),
        None => Ok(data),
    }
}

/// Does the same as [`load`] for an existing run, where a pattern may match nothing any more
/// because the images it excluded are gone.
///
/// # Errors
/// Returns an error if the data can't be listed or trained on.
pub(in crate::commands) fn read_data(config: &Config) -> anyhow::Result<TrainingData> {
    let mut data = match (config.train.folds, config.train.fold) {
        (Some(folds), Some(fold)) => read_folds(config, folds)?.swap_remove(fold - 1),
        _ => {
            // The block ends the progress bar before the messages below.
            let task = Terminal.items("Reading images");
            load_for_training(
                &config.data,
                config.seed,
                &|count| task.set_total(count),
                &|count| task.add(count),
            )?
        }
    };
    if let Some(fraction) = config.train.fraction {
        data = data.with_fraction(fraction, config.seed);
    }
    check_augmented_classes(config, &data.classes)?;
    tell_found(&data, "training", data.train.images.len());
    tell_found(&data, "validation", data.validation.images.len());
    tell_test(&data);
    if !config.model.architecture.is_autoencoder() {
        warn_of_few(data.validation.images.len());
    }
    tell(config, &data, &data.train.class_counts());
    if let Some(absent) = absent_words(&data.classes, &data.validation.class_counts()) {
        say(&format!("warning: no validation image of {absent}"));
    }
    Ok(data)
}

/// Reads the images of a cross-validation and reports what was found. Returns the data of each
/// fold.
///
/// # Errors
/// Fails as [`read_data`] does, for any of the folds.
pub(in crate::commands) fn load_folds(
    config: &Config,
    count: usize,
) -> anyhow::Result<Vec<TrainingData>> {
    let folds = read_folds(config, count)?;
    let first = &folds[0];
    check_augmented_classes(config, &first.classes)?;
    let [trained, held] = [&first.train, &first.validation];
    let counts: Vec<usize> = trained
        .class_counts()
        .into_iter()
        .zip(held.class_counts())
        .map(|(trained, held)| trained + held)
        .collect();
    let sizes = || folds.iter().map(|fold| fold.validation.images.len());
    let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
    let dealt = format!("dealt into {count} folds of {least} to {most} images");
    tell_found(first, &dealt, counts.iter().sum());
    tell_test(first);
    tell(config, first, &counts);
    for (fold, data) in folds.iter().enumerate() {
        if let Some(absent) = absent_words(&data.classes, &data.validation.class_counts()) {
            say(&format!(
                "warning: no image of {absent} in fold {}",
                fold + 1
            ));
        }
    }
    Ok(folds)
}

fn read_folds(config: &Config, count: usize) -> anyhow::Result<Vec<TrainingData>> {
    let task = Terminal.items("Reading images");
    Ok(data::load_folds(
        &config.data,
        (count, config.seed),
        &|count| task.set_total(count),
        &|count| task.add(count),
    )?)
}

fn tell_found(data: &TrainingData, what: &str, count: usize) {
    say(&format!(
        "{} ({what})",
        Listing::found(count, data.classes.len())
    ))
}

fn tell_test(data: &TrainingData) {
    if !data.test.is_empty() {
        tell_found(data, "test, measured on at the end", data.test.len());
    }
}

/// Reports what was left out and skipped, and the number of images per class to train on.
fn tell(config: &Config, data: &TrainingData, counts: &[usize]) {
    data.survey
        .notes
        .iter()
        .chain(&data.survey.passed_over)
        .for_each(|line| say(line));
    Skipped::words(&data.skipped)
        .iter()
        .chain(&Damaged::words(&data.damaged))
        .for_each(|line| say(&format!("warning: {line}")));
    if let Some(test) = config
        .data
        .test
        .as_ref()
        .and_then(Source::path)
        .filter(|_| data.test.is_empty())
    {
        say(&format!(
            "warning: there is no image in {test} that can be read, so there is no test set"
        ));
    }
    say(&format!(
        "Training images per class: {}; {}",
        count_words(&data.classes, counts),
        data.train.store.place()
    ));
}

/// Reports how little `num_validation` images say if they are few.
fn warn_of_few(num_validation: usize) {
    if num_validation >= FEW {
        return;
    }
    // What nine right out of ten say.
    let Estimate { value, low, high } = wilson(
        (0.9 * num_validation as f64).round() as u64,
        num_validation as u64,
    );
    say(&format!(
        "warning: {num_validation} validation images say little: an accuracy of {value:.2} on them \
         means {low:.2} to {high:.2} (95 % interval)"
    ));
}

/// Returns the images that the arguments name or contain, and the number of files and folders that
/// can't be opened. A file that is named directly is taken whatever its extension.
pub(in crate::commands) fn find(arguments: &[PathBuf]) -> (Vec<PathBuf>, usize) {
    let (mut found, mut num_failed) = (Vec::new(), 0);
    let mut fail = |path: &Path, reason: &str| {
        say(&format!("error: {reason}: {}", names::of_path(path)));
        num_failed += 1;
    };
    for argument in arguments {
        if !argument.is_dir() {
            match no_file(argument) {
                None => found.push(argument.clone()),
                Some(reason) => fail(argument, &reason),
            }
            continue;
        }
        let (before, mut passed_over) = (found.len(), PassedOver::default());
        walk(
            argument,
            argument,
            &Exclude::default(),
            &mut |what| match what {
                Found::Image(path) => found.push(path),
                Found::Unreadable(path, reason) => fail(&path, &reason),
                Found::PassedOver(kind, path) => passed_over.add(kind, &path),
                Found::Folder(_) => {}
            },
        );
        passed_over
            .words(argument)
            .iter()
            .for_each(|words| say(words));
        if found.len() == before {
            fail(argument, "no image in this folder");
        }
    }
    (found, num_failed)
}

/// Reads images of unknown class for a network. Those that can't be read are reported and added to
/// `num_failed`.
///
/// # Errors
/// Returns an error if the images can't be stored; one that can't be read is no error.
pub(in crate::commands) fn read_unlabeled(
    paths: &[PathBuf],
    meta: &Meta,
    num_failed: &mut usize,
) -> anyhow::Result<Arc<ImageSet>> {
    // The set needs a class for each image. Any will do, because no label is used.
    let entry = |path: &PathBuf| Entry {
        path: path.clone(),
        class: meta.classes[0].clone(),
        group: None,
        weight: 1.0,
        split: None,
    };
    let entries: Vec<_> = paths.iter().map(entry).collect();
    let listed = read(&entries, meta, &meta.data(), &Terminal)?;
    for bad in &listed.skipped {
        say(&format!("error: {}: {}", bad.reason, bad.path));
    }
    for bad in &listed.damaged() {
        say(&format!(
            "warning: damaged, used as far as it can be read: {}: {}",
            bad.path, bad.reason
        ));
    }
    *num_failed += listed.skipped.len();
    Ok(listed.set)
}
