//! A checkpoint measured on images: as JSON, as files, as tables and a page for a person.

pub mod decisions;
pub mod images;
pub mod page;
pub mod place;
mod predictions;
pub mod predictor;
mod subset;
mod tables;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Context, bail};
use serde::Serialize;

use self::{
    decisions::Decisions,
    images::EvalSet,
    predictor::{Predictor, loss_reasons},
    subset::{Chosen, SEED},
};
use crate::{
    base::{files::write_atomic, names, progress::Progress, words},
    checkpoint::Meta,
    data::{
        Listed,
        copies::Likeness,
        dataset::PictureSet,
        facts::Facts,
        known::{Known, KnownCopy},
        listing::Part,
        table::{self, Skipped},
    },
    metrics::{Calibration, ClassReport, Comparison, Confusion, Estimate, Judged, argmax},
    record::LISTED_CLASSES,
    report::class_counts::absent_words,
};

/// Which pictures were measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Where they come from, for a person.
    pub source: String,
    /// BLAKE3 over the digests of their pixels, each with its class, in an order of its own: the same pictures give the same wherever they lie.
    pub blake3: String,
}

impl Measured {
    fn of(set: &PictureSet, source: String) -> Self {
        let mut pictures: Vec<_> = set.pictures.iter().map(|picture| (picture.digest, set.classes[picture.label].as_str())).collect();
        pictures.sort_unstable();
        let mut hash = blake3::Hasher::new();
        for (pixels, class) in pictures {
            hash.update(&pixels).update(class.as_bytes()).update(&[0]);
        }
        Self { source, blake3: hash.finalize().to_hex().to_string() }
    }
}

/// The result: what `--json` prints.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// Which pictures these are.
    pub data: Measured,
    /// Pictures measured on.
    pub images: usize,
    /// Share of right predictions.
    pub accuracy: f64,
    /// Mean F1 of the classes that occur.
    pub macro_f1: f64,
    /// The run's own loss: mean, unweighted, of the network's outputs, without bound. `metrics.log_loss` beside it is scikit-learn's, of the
    /// probabilities.
    pub loss: f64,
    /// In the order of the matrix.
    pub classes: Vec<String>,
    /// Rows are the truth, columns the prediction; up to [`LISTED_CLASSES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion_matrix: Option<Vec<Vec<u64>>>,
    /// Each row divided by its sum; null where a class has no picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion_matrix_normalized: Option<Vec<Vec<f64>>>,
    /// The same without its empty places, for any number of classes.
    pub confusions: Vec<Confused>,
    /// Every figure with its 95 % interval, by name.
    pub metrics: BTreeMap<String, Estimate>,
    /// By name.
    pub per_class: BTreeMap<String, ClassReport>,
    /// How far probabilities can be taken at their word.
    pub calibration: Calibration,
    /// Pictures without a copy (equal pixels, or much the same to the eye) among those that the run trained on or chose its best epoch by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<Unseen>,
    /// Pictures that couldn't be decoded.
    pub skipped: Vec<Skipped>,
    /// What the checkpoint decides beyond the most probable class.
    #[serde(flatten)]
    pub decisions: Decisions,
    /// Beside another network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Compared>,
    /// The pictures.
    #[serde(skip)]
    pub(super) set: Arc<PictureSet>,
    /// Of each class, picture by picture.
    #[serde(skip)]
    pub(super) probabilities: Vec<Vec<f32>>,
    /// The same before any temperature and augmentation, where they are wanted.
    #[serde(skip)]
    pub(super) logits: Vec<Vec<f32>>,
    /// Why the loss and the log loss are two numbers, where they are.
    #[serde(skip)]
    pub(super) loss_reasons: Vec<String>,
    /// Counts by class.
    #[serde(skip)]
    pub(super) confusion: Confusion,
    /// Is it a copy of one that the run knew? Empty where nobody knows.
    #[serde(skip)]
    pub(super) copies: Vec<bool>,
    /// Of which, in the same order.
    #[serde(skip)]
    copied: Vec<Option<KnownCopy>>,
    /// Pictures of one group are drawn together.
    #[serde(skip)]
    groups: Vec<usize>,
}

/// Pictures of one class that were taken for one class, another or the same.
#[derive(Clone, Debug, Serialize)]
pub struct Confused {
    /// The true class.
    pub truth: String,
    /// What it was taken for.
    pub predicted: String,
    /// How often.
    pub count: u64,
}

/// This network beside another on the same pictures; differences are the other's figures minus this one's.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The other.
    pub with: String,
    /// What was found.
    #[serde(flatten)]
    pub found: Comparison,
    /// The same for a person.
    pub words: String,
}

/// The pictures that the network has never seen.
#[derive(Clone, Debug, Serialize)]
pub struct Unseen {
    /// How many.
    pub count: usize,
    /// Of the others, those with equal pixels.
    pub exact_copies: usize,
    /// Of the others, those saved again, resized, cropped, turned or the like.
    pub near_copies: usize,
    /// `None` where there is none.
    pub accuracy: Option<f64>,
    /// `None` where there is none.
    pub macro_f1: Option<f64>,
    /// Every figure on them with its 95 % interval, by name; empty where there is none.
    pub metrics: BTreeMap<String, Estimate>,
    /// What the checkpoint decides on them.
    #[serde(flatten)]
    pub decisions: Decisions,
}

impl Evaluation {
    /// Measures a checkpoint on images. Where its run is known, images that are copies of those that the run knew are told apart.
    ///
    /// # Errors
    /// A class that the checkpoint doesn't know; no image that can be read; probabilities that are no numbers; a device that fails.
    pub fn run(predictor: &Predictor<'_>, images: EvalSet, run: Option<&Path>) -> anyhow::Result<Self> {
        let progress = predictor.progress;
        let mut listed = predictor.read(&images.entries)?;
        for words in Skipped::words(&listed.skipped) {
            progress.say(&format!("warning: {words}"));
        }
        if let Some(words) = images.changed(&listed.set) {
            progress.say(&words);
        }
        listed.skipped.splice(0..0, images.skipped);
        if listed.set.pictures.is_empty() {
            bail!("found no picture to evaluate on among {}, expected one or more", images.entries.len());
        }
        Self::of(predictor, listed, images.source, images.known, run)
    }

    /// Measures a checkpoint on images that are read already; copies of the `known` parts of its run are told apart, by their looks where
    /// there are facts.
    ///
    /// # Errors
    /// Probabilities that are no numbers; a device that fails; what the run knew can't be read.
    pub fn of(predictor: &Predictor<'_>, listed: Listed, source: String, known: &[Part], run: Option<&Path>) -> anyhow::Result<Self> {
        let Listed { set, facts, skipped } = listed;
        let classes = Arc::clone(&set.classes);
        if let Some(absent) = absent_words(&classes, &set.class_counts()) {
            predictor.progress.say(&format!("warning: no picture of {absent} to measure on"));
        }
        let found = predictor.predict(&set)?;
        let copied = copies_of_known(&set, &facts, known, run, predictor.progress)?;
        let meta = decided(predictor);
        let indices: Vec<_> = (0..set.pictures.len()).collect();
        let unseen = copied.as_deref().map(|copied| Unseen::of(&meta, &set, &found.probabilities, copied));
        let all = Chosen::of(&set, &found.probabilities, &indices);
        let report = all.report(&classes);
        let mut confusion = Confusion::new(classes.len());
        all.labels.iter().zip(&all.probabilities).for_each(|(label, row)| confusion.add(*label, argmax(row)));
        let dense = (classes.len() <= LISTED_CLASSES).then(|| confusion.dense());
        let share = |row: &Vec<u64>| row.iter().map(|count| *count as f64 / row.iter().sum::<u64>() as f64).collect();
        let confused = |(truth, predicted, count): (usize, usize, u64)| Confused {
            truth: classes[truth].clone(),
            predicted: classes[predicted].clone(),
            count,
        };
        Ok(Self {
            data: Measured::of(&set, source),
            images: set.pictures.len(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(),
            loss: found.losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / found.losses.len() as f64,
            classes: classes.to_vec(),
            confusion_matrix_normalized: dense.as_ref().map(|dense| dense.iter().map(share).collect()),
            confusion_matrix: dense,
            confusions: confusion.cells().map(confused).collect(),
            metrics: report.metrics,
            per_class: report.per_class,
            calibration: report.calibration,
            unseen,
            skipped,
            loss_reasons: loss_reasons(predictor, all.labels.iter().zip(&all.probabilities).map(|(label, row)| row[*label])),
            decisions: all.decisions(&meta),
            comparison: None,
            copies: copied.iter().flatten().map(Option::is_some).collect(),
            copied: copied.unwrap_or_default(),
            groups: all.groups,
            probabilities: found.probabilities,
            logits: found.logits,
            confusion,
            set,
        })
    }

    /// Compares this network with another that was measured on the same pictures; `paths` are what the two are called.
    ///
    /// # Errors
    /// Other classes or other pictures.
    pub fn compare(&mut self, other: &Self, paths: [&Path; 2]) -> anyhow::Result<()> {
        let [own_name, other_name] = paths.map(names::of_path);
        let theirs: BTreeMap<&String, usize> = other.classes.iter().enumerate().map(|(place, class)| (class, place)).collect();
        let places: Option<Vec<usize>> = self.classes.iter().map(|class| theirs.get(class).copied()).collect();
        let Some(places) = places.filter(|places| places.len() == other.classes.len()) else {
            bail!(
                "found the classes {} in {own_name} and {} in {other_name}, expected the same",
                words::listed(&self.classes),
                words::listed(&other.classes)
            );
        };
        let paths = |evaluation: &Self| evaluation.set.pictures.iter().map(|picture| picture.path.clone()).collect::<Vec<_>>();
        if paths(self) != paths(other) {
            bail!("the two runs could not read the same pictures, so they can't be compared; see the warnings above");
        }
        let labels = self.set.labels();
        let theirs: Vec<Vec<f32>> = other.probabilities.iter().map(|row| places.iter().map(|place| row[*place]).collect()).collect();
        let judge = |rows: Vec<_>| Judged::new(labels.clone(), rows, self.classes.len());
        let [own, theirs] = [&self.probabilities, &theirs].map(|rows| judge(rows.iter().map(Vec::as_slice).collect()));
        let found = Comparison::new(&own, &theirs, &self.groups, SEED);
        self.comparison = Some(Compared { words: found.words(&own_name, &other_name), with: other_name, found });
        Ok(())
    }

    /// Writes `predictions.csv` and `metrics.json` (and `copies.csv`, `skipped.csv` where there is something to list).
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("can't create {}", names::of_path(folder)))?;
        write_atomic(&folder.join("metrics.json"), self.to_json()?.as_bytes())?;
        if !self.skipped.is_empty() {
            write_atomic(&folder.join("skipped.csv"), &table::to_csv(&self.skipped))?;
        }
        let copies: Vec<CopyRow> =
            self.set.pictures.iter().zip(&self.copied).filter_map(|(picture, copy)| CopyRow::of(&picture.path, copy)).collect();
        if !copies.is_empty() {
            write_atomic(&folder.join("copies.csv"), &table::to_csv(&copies))?;
        }
        Ok(write_atomic(&folder.join("predictions.csv"), &self.predictions_csv()?)?)
    }

    /// One JSON document.
    ///
    /// # Errors
    /// None that happens: plain values are JSON.
    pub fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// What the checkpoint decides. Nothing where predictions are averaged over augmentations, which it wasn't fitted for.
fn decided(predictor: &Predictor<'_>) -> Meta {
    let meta = &predictor.checkpoint.meta;
    if predictor.tta.is_none() || (meta.threshold.is_none() && meta.coverage.is_none()) {
        return meta.clone();
    }
    predictor.progress.say("The checkpoint's threshold and sets were fitted without --tta: they are not measured with it");
    Meta { threshold: None, coverage: None, ..meta.clone() }
}

/// Of each image, what it is a copy of among the `known` parts of its run; `None` where the run isn't known.
fn copies_of_known(
    set: &PictureSet,
    facts: &[Arc<Facts>],
    known: &[Part],
    run: Option<&Path>,
    progress: &dyn Progress,
) -> anyhow::Result<Option<Vec<Option<KnownCopy>>>> {
    let run = run.map(Known::open).transpose()?.flatten();
    if run.as_ref().is_some_and(|run| !run.has_looks()) && !facts.is_empty() {
        progress
            .say("The run is of an older version, which kept no looks: copies that were saved again are told among its own pictures only");
    }
    let pixels: Vec<_> = set.pictures.iter().map(|picture| picture.digest).collect();
    Ok(run.map(|run| run.copies(known, &pixels, facts)))
}

/// A line of `copies.csv`.
#[derive(Serialize)]
struct CopyRow {
    path: String,
    /// The picture of the run that it is a copy of.
    copy_of: String,
    likeness: Likeness,
}

impl CopyRow {
    fn of(path: &Path, copy: &Option<KnownCopy>) -> Option<Self> {
        copy.as_ref().map(|copy| Self { path: names::of_path(path), copy_of: copy.path.clone(), likeness: copy.likeness })
    }
}

impl Unseen {
    fn of(meta: &Meta, set: &PictureSet, probabilities: &[Vec<f32>], copied: &[Option<KnownCopy>]) -> Self {
        let unseen: Vec<usize> = (0..copied.len()).filter(|index| copied[*index].is_none()).collect();
        let near_copies = copied.iter().flatten().filter(|copy| copy.likeness == Likeness::Near).count();
        let mut found = Self {
            count: unseen.len(),
            exact_copies: copied.len() - unseen.len() - near_copies,
            near_copies,
            accuracy: None,
            macro_f1: None,
            metrics: BTreeMap::new(),
            decisions: Decisions::default(),
        };
        if !unseen.is_empty() {
            let part = Chosen::of(set, probabilities, &unseen);
            found.metrics = part.report(&meta.classes).metrics;
            let value = |name: &str| found.metrics.get(name).map(|estimate| estimate.value);
            (found.accuracy, found.macro_f1, found.decisions) = (value("accuracy"), value("macro_f1"), part.decisions(meta));
        }
        found
    }
}
