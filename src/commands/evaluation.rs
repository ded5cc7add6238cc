//! What an evaluation found: as JSON, as files, as tables for a person.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail};
use serde::Serialize;

use super::{
    decisions::Decisions,
    evaluate::{Pictures, Setup, infer},
    ui::{self, Reading, say},
};
use crate::{
    base::files::write_atomic,
    checkpoint::{Checkpoint, Meta},
    data::{
        dataset::PictureSet,
        load_listed,
        table::{self, Skipped, digests_of, read_split},
    },
    metrics::{Calibration, ClassReport, Comparison, Confusion, Estimate, Judged, Report, argmax},
    report::Table,
};

/// Of the draws behind the intervals: the same figures give the same intervals.
const SEED: u64 = 0;

/// The result: what `--json` prints.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// Pictures measured on.
    pub images: usize,
    /// Share of right predictions.
    pub accuracy: f64,
    /// Mean F1 of the classes that occur.
    pub macro_f1: f64,
    /// The run's own loss: mean, unweighted.
    pub loss: f64,
    /// In the order of the matrix.
    pub classes: Vec<String>,
    /// Rows are the truth, columns the prediction.
    pub confusion_matrix: Vec<Vec<u64>>,
    /// Each row divided by its sum; null where a class has no picture.
    pub confusion_matrix_normalized: Vec<Vec<f64>>,
    /// Every figure with its 95 % interval, by name.
    pub metrics: BTreeMap<String, Estimate>,
    /// By name.
    pub per_class: BTreeMap<String, ClassReport>,
    /// How far probabilities can be taken at their word.
    pub calibration: Calibration,
    /// Pictures without a copy (equal decoded pixels) among those that the run trained on or chose its best epoch by.
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
    /// Is it a copy of one that the run knew? Empty where nobody knows.
    #[serde(skip)]
    pub(super) copies: Vec<bool>,
    /// Pictures of one group are drawn together.
    #[serde(skip)]
    groups: Vec<usize>,
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
    /// Measures `checkpoint` on `pictures`. With its run, pictures that are copies of those that the run knew are told apart.
    ///
    /// # Errors
    /// A class that the checkpoint doesn't know; no picture that can be read; probabilities that are no numbers; a device that fails.
    pub fn run(checkpoint: &Checkpoint, pictures: Pictures, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let classes = Arc::new(checkpoint.meta.classes.clone());
        let (set, skipped) = {
            let bar = Reading::new("Reading pictures");
            bar.start(pictures.entries.len());
            load_listed(&pictures.entries, &classes, setup.data, &|count| bar.done(count))?
        };
        for bad in &skipped {
            say(&format!("warning: skipped, can't be decoded: {}: {}", bad.path, bad.reason));
        }
        if set.pictures.is_empty() {
            bail!("found no picture to evaluate on among {}, expected one or more", pictures.entries.len());
        }
        for (class, _) in classes.iter().zip(set.class_counts()).filter(|(_, count)| *count == 0) {
            say(&format!("warning: no picture of the class {class} to measure it on"));
        }
        let found = infer(checkpoint, &set, setup)?;
        let seen = match setup.run.map(|run| run.join("split.csv")).filter(|path| path.is_file()) {
            Some(path) => Some(digests_of(&read_split(&path)?, pictures.known)),
            None => None,
        };
        let is_unseen = |index: &usize| seen.as_ref().is_some_and(|seen| !seen.contains(&set.pictures[*index].digest));
        let indices: Vec<_> = (0..set.pictures.len()).collect();
        let unseen: Vec<usize> = indices.iter().copied().filter(is_unseen).collect();
        let unseen = seen.is_some().then(|| Unseen::of(&checkpoint.meta, &Part::of(&set, &found.probabilities, &unseen)));
        let all = Part::of(&set, &found.probabilities, &indices);
        let report = all.report(&classes);
        let mut confusion = Confusion::new(classes.len());
        all.labels.iter().zip(&all.probabilities).for_each(|(label, row)| confusion.add(*label, argmax(row)));
        let share = |row: &Vec<u64>| row.iter().map(|count| *count as f64 / row.iter().sum::<u64>() as f64).collect();
        Ok(Self {
            images: set.pictures.len(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(),
            loss: found.losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / found.losses.len() as f64,
            classes: classes.to_vec(),
            confusion_matrix_normalized: confusion.counts.iter().map(share).collect(),
            confusion_matrix: confusion.counts,
            metrics: report.metrics,
            per_class: report.per_class,
            calibration: report.calibration,
            unseen,
            skipped,
            decisions: all.decisions(&checkpoint.meta),
            comparison: None,
            copies: seen.map_or_else(Vec::new, |seen| set.pictures.iter().map(|picture| seen.contains(&picture.digest)).collect()),
            groups: all.groups,
            probabilities: found.probabilities,
            set,
        })
    }

    /// Compares this network with another that was measured on the same pictures; `paths` are what the two are called.
    ///
    /// # Errors
    /// Other classes or other pictures.
    pub fn compare(&mut self, other: &Self, paths: [&Path; 2]) -> anyhow::Result<()> {
        let [own_name, other_name] = paths.map(|path| path.display().to_string());
        let place = |class: &String| other.classes.iter().position(|other| other == class);
        let places: Option<Vec<usize>> = self.classes.iter().map(place).collect();
        let Some(places) = places.filter(|places| places.len() == other.classes.len()) else {
            bail!(
                "found the classes {} in {own_name} and {} in {other_name}, expected the same",
                self.classes.join(", "),
                other.classes.join(", ")
            );
        };
        let paths = |evaluation: &Self| evaluation.set.pictures.iter().map(|picture| picture.path.clone()).collect::<Vec<_>>();
        if paths(self) != paths(other) {
            bail!("the two runs could not read the same pictures, so they can't be compared; see the warnings above");
        }
        let labels = self.set.labels();
        let theirs: Vec<Vec<f32>> = other.probabilities.iter().map(|row| places.iter().map(|place| row[*place]).collect()).collect();
        let judged = |rows| Judged::new(labels.clone(), rows, self.classes.len());
        let found = Comparison::new(&judged(&self.probabilities), &judged(&theirs), &self.groups, SEED);
        self.comparison = Some(Compared { words: found.words(&own_name, &other_name), with: other_name, found });
        Ok(())
    }

    /// Writes `predictions.csv` and `metrics.json` (and `skipped.csv` where there is something to list).
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("can't create {}", folder.display()))?;
        write_atomic(&folder.join("metrics.json"), self.to_json()?.as_bytes())?;
        if !self.skipped.is_empty() {
            write_atomic(&folder.join("skipped.csv"), &table::to_csv(&self.skipped))?;
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        let head = ["path", "label", "predicted"].map(str::to_owned).into_iter().chain(self.classes.iter().cloned());
        writer.write_record(head)?;
        for (picture, probabilities) in self.set.pictures.iter().zip(&self.probabilities) {
            let path = picture.path.display().to_string();
            let start = [path, self.classes[picture.label].clone(), self.classes[argmax(probabilities)].clone()].into_iter();
            writer.write_record(start.chain(probabilities.iter().map(ToString::to_string)))?;
        }
        Ok(write_atomic(&folder.join("predictions.csv"), &writer.into_inner()?)?)
    }

    /// One JSON document.
    ///
    /// # Errors
    /// None that happens: plain values are JSON.
    pub fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Tables for a person.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n\n{}\n\n{}\n\n", as_text(&self.class_figures()), self.confusion_table(), as_text(&self.measures()));
        let Self { images, accuracy, macro_f1, loss, .. } = self;
        let _ = writeln!(text, "{images} images: accuracy {accuracy:.4}, macro-F1 {macro_f1:.4}, loss {loss:.4}");
        if let Some(Unseen { count, accuracy, macro_f1, .. }) = &self.unseen
            && count < images
        {
            let numbers = match (accuracy, macro_f1) {
                (Some(accuracy), Some(macro_f1)) => format!("accuracy {accuracy:.4}, macro-F1 {macro_f1:.4}"),
                _ => "none is new".to_owned(),
            };
            let _ = writeln!(
                text,
                "{} of them are copies of pictures that the training knew; on the {count} that are not: {numbers}",
                images - count
            );
        }
        for words in self.decisions.words() {
            let _ = writeln!(text, "{words}");
        }
        for words in self.unseen.iter().filter(|unseen| unseen.count < *images).flat_map(|unseen| unseen.decisions.words()) {
            let _ = writeln!(text, "On those never seen: {words}");
        }
        if !self.skipped.is_empty() {
            let _ = writeln!(text, "{} images can't be decoded and were skipped", self.skipped.len());
        }
        if let Some(comparison) = &self.comparison {
            let _ = writeln!(text, "\nBeside {}: {}", comparison.with, comparison.words);
        }
        text
    }

    /// The figures of each class.
    pub(super) fn class_figures(&self) -> Table {
        let head = ["Class", "Precision", "Recall [95 %]", "Specificity", "F1", "ROC AUC", "Support"].map(str::to_owned).to_vec();
        let row = |class: &String| {
            let ClassReport { measures: scores, intervals } = &self.per_class[class];
            let recall = intervals.recall;
            vec![
                class.clone(),
                number(scores.precision),
                format!("{} [{}, {}]", number(recall.value), number(recall.low), number(recall.high)),
                number(scores.specificity),
                number(scores.f1),
                number(scores.roc_auc),
                scores.support.to_string(),
            ]
        };
        Table { head, rows: self.classes.iter().map(row).collect() }
    }

    fn confusion_table(&self) -> String {
        let head: Vec<_> = std::iter::once("True \\ predicted").chain(self.classes.iter().map(String::as_str)).collect();
        let mut table = ui::table(&head);
        for (class, counts) in self.classes.iter().zip(&self.confusion_matrix) {
            table.add_row(std::iter::once(class.clone()).chain(counts.iter().map(ToString::to_string)));
        }
        ui::align_right(&mut table, 1..=self.classes.len());
        table.to_string()
    }

    /// Each measure on all pictures and, where some are copies of pictures that the training knew, on those that are not.
    pub(super) fn measures(&self) -> Table {
        let unseen = self.unseen.as_ref().filter(|unseen| unseen.count < self.images && unseen.count > 0);
        let mut head = vec!["Measure".to_owned(), format!("All {}", self.images), "95 %".to_owned()];
        head.extend(unseen.iter().flat_map(|unseen| [format!("The {} never seen", unseen.count), "95 % ".to_owned()]));
        let cells = |estimate: &Estimate| [number(estimate.value), format!("{} to {}", number(estimate.low), number(estimate.high))];
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (name, words) in MEASURES {
            let Some(estimate) = self.metrics.get(name) else { continue };
            let other = unseen.and_then(|unseen| unseen.metrics.get(name));
            rows.push(std::iter::once(words.to_owned()).chain(cells(estimate)).chain(other.into_iter().flat_map(cells)).collect());
        }
        rows.push(vec!["Calibration error".to_owned(), number(self.calibration.expected_calibration_error)]);
        Table { head, rows }
    }
}

/// A table for a terminal.
fn as_text(table: &Table) -> String {
    let mut text = ui::table(&table.head.iter().map(String::as_str).collect::<Vec<_>>());
    text.add_rows(&table.rows);
    ui::align_right(&mut text, 1..table.head.len());
    text.to_string()
}

impl Unseen {
    fn of(meta: &Meta, part: &Part) -> Self {
        let count = part.labels.len();
        if count == 0 {
            return Self { count, accuracy: None, macro_f1: None, metrics: BTreeMap::new(), decisions: Decisions::default() };
        }
        let metrics = part.report(&meta.classes).metrics;
        let value = |name: &str| metrics.get(name).map(|estimate| estimate.value);
        Self { count, accuracy: value("accuracy"), macro_f1: value("macro_f1"), decisions: part.decisions(meta), metrics }
    }
}

/// Some of the pictures; those of one group are drawn together.
struct Part {
    labels: Vec<usize>,
    probabilities: Vec<Vec<f32>>,
    groups: Vec<usize>,
}

impl Part {
    fn of(set: &PictureSet, probabilities: &[Vec<f32>], indices: &[usize]) -> Self {
        Self {
            labels: indices.iter().map(|index| set.pictures[*index].label).collect(),
            probabilities: indices.iter().map(|index| probabilities[*index].clone()).collect(),
            groups: groups(set, indices),
        }
    }

    fn report(&self, classes: &[String]) -> Report {
        Report::new(&Judged::new(self.labels.clone(), &self.probabilities, classes.len()), classes, &self.groups, SEED)
    }

    fn decisions(&self, meta: &Meta) -> Decisions {
        Decisions::measure(meta, &self.labels, &self.probabilities, &self.groups)
    }
}

/// The number of each picture's group; a picture without one has its own.
fn groups(set: &PictureSet, indices: &[usize]) -> Vec<usize> {
    let names: BTreeSet<&str> = indices.iter().filter_map(|index| set.pictures[*index].group.as_deref()).collect();
    let mut alone = names.len();
    let group = |index: &usize| match &set.pictures[*index].group {
        Some(name) => names.range(..name.as_str()).count(),
        None => {
            alone += 1;
            alone - 1
        }
    };
    indices.iter().map(group).collect()
}

/// The measures of the table, in its order.
const MEASURES: [(&str, &str); 17] = [
    ("accuracy", "Accuracy"),
    ("top_2_accuracy", "Top-2 accuracy"),
    ("top_3_accuracy", "Top-3 accuracy"),
    ("top_5_accuracy", "Top-5 accuracy"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("macro_precision", "Precision, macro"),
    ("macro_recall", "Recall, macro"),
    ("macro_f1", "F1, macro"),
    ("weighted_precision", "Precision, weighted"),
    ("weighted_recall", "Recall, weighted"),
    ("weighted_f1", "F1, weighted"),
    ("mcc", "Matthews correlation"),
    ("kappa", "Cohen's kappa"),
    ("roc_auc", "ROC AUC, one against rest"),
    ("average_precision", "Average precision"),
    ("log_loss", "Log loss"),
    ("brier", "Brier score"),
];

/// Four decimals, or a dash where there is no number.
fn number(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.4}") }
}
