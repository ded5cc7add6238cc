//! Measures a checkpoint on images and presents the result: as JSON, as files, as tables and as a
//! page. Never writes into a checkpoint.

pub mod classified;
mod comparison;
mod curve;
pub mod decisions;
mod folds;
pub mod images;
mod measured;
pub mod page;
pub mod predictor;
pub mod reconstruction;
mod results;
pub mod runs;
pub mod slices;
mod subset;
mod tables;
mod unseen;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Context, bail};
use serde::Serialize;

pub use comparison::{RunComparison, corrected};
pub use curve::{CurvePoint, LearningCurve, Trained};
pub use folds::{FoldFigures, Folds, HeldBack, RepeatFigures, Repeats};
pub use measured::Measured;
pub use results::{place, predictions};
pub use slices::Slicing;
pub use unseen::Unseen;

use self::{
    decisions::{Decisions, Unlike},
    images::EvalSet,
    predictor::{Predictor, loss_reasons},
    results::document,
    slices::FileFacts,
    subset::Subset,
    unseen::{CopyRow, copies_of_known},
};
use crate::{
    base::names,
    checkpoint::Meta,
    data::{
        Listed,
        batches::dataset::ImageSet,
        duplicates::known::KnownCopy,
        listing::Part,
        table::{Damaged, Skipped},
    },
    metrics::{Calibration, ClassReport, Confusion, Estimate},
    record::LISTED_CLASSES,
    report::class_counts::absent_words,
};

/// The result of an evaluation, as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// The images measured.
    pub data: Measured,
    /// Number of images measured.
    pub images: usize,
    /// Fraction of correct predictions.
    pub accuracy: f64,
    /// Mean F1 of the classes that occur.
    pub macro_f1: f64,
    /// Mean loss of the network's outputs with the loss of the run, unweighted and not clipped.
    /// `metrics.log_loss` is scikit-learn's, of the probabilities.
    pub loss: f64,
    /// Class names in the order of the matrix.
    pub classes: Vec<String>,
    /// Rows are true classes, columns predictions; up to [`LISTED_CLASSES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion_matrix: Option<Vec<Vec<u64>>>,
    /// The matrix with each row divided by its sum; null for a class without images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion_matrix_normalized: Option<Vec<Vec<f64>>>,
    /// The nonzero entries of the matrix, for any number of classes.
    pub confusions: Vec<Confused>,
    /// Every metric with its 95 % confidence interval, by name.
    pub metrics: BTreeMap<String, Estimate>,
    /// Metrics of each class by name.
    pub per_class: BTreeMap<String, ClassReport>,
    /// How well probabilities agree with frequencies.
    pub calibration: Calibration,
    /// Metrics on images that duplicate neither a training image nor one that chose the best epoch,
    /// with equal pixels or nearly so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<Unseen>,
    /// Images that couldn't be read.
    pub skipped: Vec<Skipped>,
    /// Images that were used though their files are damaged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Damaged>,
    /// Metrics of the checkpoint's threshold and prediction sets.
    #[serde(flatten)]
    pub decisions: Decisions,
    /// Share of the images that are unlike the training images, if novelty was fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlike: Option<Unlike>,
    /// Figures of each fold, if each image was classified by the network of the fold that held it
    /// back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<Folds>,
    /// Figures of each repeat, if cross-validations with several seeds were averaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeats>,
    /// The same figures by slice, if images were sliced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slicing>,
    /// Comparisons with other networks; a single one is `comparison` in JSON.
    #[serde(flatten, serialize_with = "comparison::serialize")]
    pub comparisons: Vec<RunComparison>,
    /// The images measured.
    #[serde(skip)]
    pub(super) set: Arc<ImageSet>,
    /// What is known of each image's file; empty if the images were read for training.
    #[serde(skip)]
    files: Vec<FileFacts>,
    /// Probabilities of each image.
    #[serde(skip)]
    pub(super) probabilities: Vec<Vec<f32>>,
    /// Logits of each image before temperature and augmentation, if they are kept.
    #[serde(skip)]
    pub(super) logits: Vec<Vec<f32>>,
    /// Why loss and log loss differ, if they do.
    #[serde(skip)]
    pub(super) loss_reasons: Vec<String>,
    /// Confusion matrix.
    #[serde(skip)]
    pub(super) confusion: Confusion,
    /// Whether each image duplicates one that the run knew; empty if the run is unknown.
    #[serde(skip)]
    pub(super) copies: Vec<bool>,
    /// The image that each one duplicates, in the same order.
    #[serde(skip)]
    copied: Vec<Option<KnownCopy>>,
    /// Group of each image; groups are resampled as a whole.
    #[serde(skip)]
    groups: Vec<usize>,
}

/// Number of images of one class that were predicted as a class.
#[derive(Clone, Debug, Serialize)]
pub struct Confused {
    /// The true class.
    pub truth: String,
    /// The predicted class.
    pub predicted: String,
    /// Number of images.
    pub count: u64,
}

impl Evaluation {
    /// Measures a checkpoint on images. If its run is known, images that duplicate one the run knew
    /// are measured apart.
    ///
    /// # Errors
    /// Returns an error if the images have a class that the checkpoint doesn't know, none can be
    /// read, a probability is not finite, or the device fails.
    pub fn run(
        predictor: &Predictor<'_>,
        images: EvalSet,
        run: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let listed = read(predictor, &images)?;
        Self::of(predictor, listed, images.source, images.known, run)
    }

    /// Measures a checkpoint on images that have been read.
    ///
    /// Duplicates of the `known` parts of its run are measured apart: exact ones, and
    /// near-duplicates if `listed` has thumbnails.
    ///
    /// # Errors
    /// Returns an error if a probability is not finite, the device fails, or the thumbnails of the
    /// run can't be read.
    pub fn of(
        predictor: &Predictor<'_>,
        listed: Listed,
        source: String,
        known: &[Part],
        run: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let damaged = listed.damaged();
        let Listed {
            set,
            facts,
            skipped,
        } = listed;
        if let Some(absent) = absent_words(&set.classes, &set.class_counts()) {
            predictor
                .progress
                .say(&format!("warning: no image of {absent} to measure on"));
        }
        let found = predictor.predict(&set)?;
        let copied = copies_of_known(&set, &facts, known, run, predictor.progress)?;
        let losses = found.losses.iter().map(|loss| f64::from(*loss));
        let judged = Judged {
            files: facts.iter().map(FileFacts::of).collect(),
            loss: losses.sum::<f64>() / found.losses.len() as f64,
            averaged_over: predictor.averaged_over(),
            features: found.features,
            probabilities: found.probabilities,
            logits: found.logits,
            copied,
            skipped,
            damaged,
            set,
        };
        Ok(judged.evaluated(&decided(predictor), source))
    }

    /// Writes `predictions.csv` and `metrics.json`, with a summary in sentences, into `folder`, and
    /// `copies.csv`, `skipped.csv`, `damaged.csv` and `slices.csv` unless they would be empty.
    ///
    /// # Errors
    /// Returns an error if a file can't be written.
    pub fn write(&self, folder: &Path, summary: &[String]) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't create {}", names::of_path(folder)))?;
        let rows = self.predictions_csv()?;
        document::write(folder, summary, self, (predictions::FILE, &rows))?;
        place::write_rows(&folder.join("skipped.csv"), &self.skipped)?;
        place::write_rows(&folder.join("damaged.csv"), &self.damaged)?;
        let copies: Vec<CopyRow> = self
            .set
            .images
            .iter()
            .zip(&self.copied)
            .filter_map(|(image, copy)| CopyRow::of(&image.path, copy))
            .collect();
        place::write_rows(&folder.join("copies.csv"), &copies)?;
        place::write_rows(&folder.join("slices.csv"), &self.slice_rows())
    }

    /// Returns the evaluation as a JSON document.
    ///
    /// # Errors
    /// Never fails in practice: all values can be written as JSON.
    pub fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// Reads images to measure on, and says what can't be read or was changed.
///
/// # Errors
/// Returns an error if none can be read, or one has a class that the checkpoint doesn't know.
fn read(predictor: &Predictor<'_>, images: &EvalSet) -> anyhow::Result<Listed> {
    let mut listed = predictor.read(&images.entries)?;
    for words in Skipped::words(&listed.skipped) {
        predictor.progress.say(&format!("warning: {words}"));
    }
    if let Some(words) = images.changed(&listed.set) {
        predictor.progress.say(&words);
    }
    listed.skipped.splice(0..0, images.skipped.clone());
    if listed.set.images.is_empty() {
        bail!(
            "found no image to evaluate on among {}, expected one or more",
            images.entries.len()
        );
    }
    Ok(listed)
}

/// What networks make of the images of a set.
struct Judged {
    set: Arc<ImageSet>,
    probabilities: Vec<Vec<f32>>,
    logits: Vec<Vec<f32>>,
    /// Features of each image, if novelty is to be measured.
    features: Vec<Vec<f32>>,
    loss: f64,
    /// What the probabilities are averaged over.
    averaged_over: Vec<&'static str>,
    /// The image of the run that each one duplicates, if the run is known.
    copied: Option<Vec<Option<KnownCopy>>>,
    skipped: Vec<Skipped>,
    damaged: Vec<Damaged>,
    files: Vec<FileFacts>,
}

impl Judged {
    /// Returns every figure. `meta` has the decisions to measure.
    fn evaluated(self, meta: &Meta, source: String) -> Evaluation {
        let Self {
            set,
            probabilities,
            copied,
            ..
        } = self;
        let classes = Arc::clone(&set.classes);
        let indices: Vec<_> = (0..set.images.len()).collect();
        let unseen = copied
            .as_deref()
            .map(|copied| Unseen::of(meta, &set, &probabilities, copied));
        let all = Subset::of(&set, &probabilities, &indices);
        let report = all.report(&classes);
        let confusion = all.confusion(classes.len());
        // The dense matrix grows with the square of the number of classes.
        let dense = (classes.len() <= LISTED_CLASSES).then(|| confusion.dense());
        let of_truth = all.labels.iter().zip(&all.probabilities);
        let of_truth = of_truth.map(|(label, row)| row[*label]);
        let confused = |(truth, predicted, count): (usize, usize, u64)| Confused {
            truth: classes[truth].clone(),
            predicted: classes[predicted].clone(),
            count,
        };
        Evaluation {
            data: Measured::of(&set, source),
            images: set.images.len(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(),
            loss: self.loss,
            classes: classes.to_vec(),
            confusion_matrix_normalized: dense.as_deref().map(normalized),
            confusion_matrix: dense,
            confusions: confusion.cells().map(confused).collect(),
            metrics: report.metrics,
            per_class: report.per_class,
            calibration: report.calibration,
            unseen,
            skipped: self.skipped,
            damaged: self.damaged,
            loss_reasons: loss_reasons(meta, &self.averaged_over, of_truth),
            decisions: all.decisions(meta),
            unlike: meta
                .novelty
                .as_ref()
                .filter(|_| !self.features.is_empty())
                .map(|novelty| Unlike::of(novelty, &self.features, &all.groups)),
            folds: None,
            repeats: None,
            slices: Vec::new(),
            comparisons: Vec::new(),
            files: self.files,
            copies: copied.iter().flatten().map(Option::is_some).collect(),
            copied: copied.unwrap_or_default(),
            groups: all.groups,
            probabilities,
            logits: self.logits,
            confusion,
            set,
        }
    }
}

/// Divides each row of a matrix by its sum.
fn normalized(matrix: &[Vec<u64>]) -> Vec<Vec<f64>> {
    let of_row = |row: &Vec<u64>| {
        let sum = row.iter().sum::<u64>() as f64;
        row.iter().map(|count| *count as f64 / sum).collect()
    };
    matrix.iter().map(of_row).collect()
}

/// Returns the checkpoint's metadata, without its decisions if predictions are averaged over
/// augmentations, for which these weren't fitted.
fn decided(predictor: &Predictor<'_>) -> Meta {
    let meta = predictor.meta();
    if predictor.tta.is_none() || (meta.threshold.is_none() && meta.coverage.is_none()) {
        return meta.clone();
    }
    predictor.progress.say(
        "The checkpoint's threshold and sets were fitted without --tta: they are not measured with \
         it",
    );
    Meta {
        threshold: None,
        coverage: None,
        ..meta.clone()
    }
}
