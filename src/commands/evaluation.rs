//! What an evaluation found: as JSON, as files, as tables for a person.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail};
use serde::Serialize;

use super::{
    decisions::Decisions,
    evaluate::{Pictures, Setup, infer},
    ui::{Reading, say},
};
use crate::{
    base::files::write_atomic,
    checkpoint::{Checkpoint, Meta},
    data::{
        dataset::PictureSet,
        listing::Part,
        load_listed,
        table::{self, Skipped, digests_of, read_split},
    },
    metrics::{Calibration, ClassReport, Comparison, Confusion, Estimate, Judged, Report, argmax},
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
        Self::of(checkpoint, set, skipped, pictures.known, setup)
    }

    /// The same of pictures that are read already; copies of the `known` parts of the run are told apart.
    ///
    /// # Errors
    /// Probabilities that are no numbers; a device that fails.
    pub fn of(
        checkpoint: &Checkpoint,
        set: Arc<PictureSet>,
        skipped: Vec<Skipped>,
        known: &[Part],
        setup: &Setup<'_>,
    ) -> anyhow::Result<Self> {
        let classes = Arc::clone(&set.classes);
        for (class, _) in classes.iter().zip(set.class_counts()).filter(|(_, count)| *count == 0) {
            say(&format!("warning: no picture of the class {class} to measure it on"));
        }
        let found = infer(checkpoint, &set, setup)?;
        let seen = match setup.run.map(|run| run.join("split.csv")).filter(|path| path.is_file()) {
            Some(path) => Some(digests_of(&read_split(&path)?, known)),
            None => None,
        };
        let is_unseen = |index: &usize| seen.as_ref().is_some_and(|seen| !seen.contains(&set.pictures[*index].digest));
        let indices: Vec<_> = (0..set.pictures.len()).collect();
        let unseen: Vec<usize> = indices.iter().copied().filter(is_unseen).collect();
        let unseen = seen.is_some().then(|| Unseen::of(&checkpoint.meta, &Chosen::of(&set, &found.probabilities, &unseen)));
        let all = Chosen::of(&set, &found.probabilities, &indices);
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
}

impl Unseen {
    fn of(meta: &Meta, part: &Chosen) -> Self {
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
struct Chosen {
    labels: Vec<usize>,
    probabilities: Vec<Vec<f32>>,
    groups: Vec<usize>,
}

impl Chosen {
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
