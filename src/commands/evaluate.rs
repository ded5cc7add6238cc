//! `emberlens evaluate`: a checkpoint and pictures whose class is known become a table, `metrics.json` and `predictions.csv`.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use serde::Serialize;

use super::{
    ui::{self, Reading, UsageError, say},
    weights,
};
use crate::{
    base::files::write_atomic,
    checkpoint::{self, Checkpoint, Meta},
    cli::Ending,
    config::{self, Cache, Config, Data, DeviceName, Normalize, OnBadImage, Validation},
    data::{
        dataset::{PictureSet, View},
        listing::{self, Entry, Part},
        load_listed,
        table::{self, Skipped, read_split, training_digests},
        test_listing,
    },
    metrics::{ClassScores, Confusion, argmax},
    nn::{
        device::Compute,
        infer::{Predictions, Settings, predict},
        loss::LossFn,
        model::Entrance,
    },
};

/// Arguments of `evaluate`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch), or one checkpoint in it
    #[arg(long, value_name = "RUN")]
    checkpoint: PathBuf,
    /// A folder with one folder a class, or a CSV
    #[arg(long, value_name = "DIR|CSV", conflicts_with = "split")]
    data: Option<PathBuf>,
    /// The pictures that the run held back or out
    #[arg(long, value_enum, default_value = "test")]
    split: SplitName,
    /// Where predictions.csv and metrics.json go, instead of RUN/evaluation/NAME
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
    /// One JSON document on stdout instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SplitName {
    Val,
    Test,
}

/// Runs the command.
///
/// # Errors
/// A checkpoint or pictures that can't be used.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let path = checkpoint::resolve(&args.checkpoint, "best")?;
    let checkpoint = checkpoint::load(&path)?;
    let run = path.parent().filter(|run| run.join("config.toml").is_file());
    let pictures = match &args.data {
        Some(data) => from_path(data)?,
        None => from_split(args.split, run.ok_or_else(|| no_run(&path))?)?,
    };
    let compute = ui::open_device(args.device)?;
    let data = data_settings(&checkpoint.meta);
    let name = pictures.name.clone();
    let evaluation = Evaluation::run(&checkpoint, pictures, run, &data, &compute, 32)?;
    let out = args.out.clone().unwrap_or_else(|| path.parent().unwrap_or(Path::new(".")).join("evaluation").join(name));
    evaluation.write(&out)?;
    say(&format!("Predictions and metrics: {}", out.display()));
    ui::print(&if args.json { evaluation.to_json()? } else { evaluation.to_text() })?;
    Ok(Ending::Done)
}

fn no_run(path: &Path) -> UsageError {
    UsageError(format!("{} stands alone, without a run's config.toml beside it; say which pictures with --data", path.display()))
}

/// Pictures to measure on.
#[derive(Debug)]
pub struct Pictures {
    /// Listed, unread.
    pub entries: Vec<Entry>,
    /// For the folder of the results.
    pub name: String,
}

fn from_path(path: &Path) -> anyhow::Result<Pictures> {
    let mut entries = listing::list(path)?.entries;
    if entries.iter().any(|entry| entry.split == Some(Part::Test)) {
        entries.retain(|entry| entry.split == Some(Part::Test));
        say(&format!("Of {}, the {} rows with split test", path.display(), entries.len()));
    }
    let name = path.file_stem().map_or("data".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(Pictures { entries, name })
}

fn from_split(split: SplitName, run: &Path) -> anyhow::Result<Pictures> {
    let config: Config = config::load(&run.join("config.toml"), &[])?;
    match split {
        SplitName::Test => {
            let entries = test_listing(&config.data)?;
            if entries.is_empty() {
                return Err(UsageError("the run has no test pictures; say which with --data, or --split val".to_owned()).into());
            }
            Ok(Pictures { entries, name: "test".to_owned() })
        }
        SplitName::Val => {
            let rows = read_split(&run.join("split.csv"))?;
            let held_back = rows.into_iter().filter(|row| row.split == Part::Validation.name());
            let entries =
                held_back.map(|row| Entry { path: PathBuf::from(row.path), class: row.class, group: None, weight: 1.0, split: None });
            Ok(Pictures { entries: entries.collect(), name: "val".to_owned() })
        }
    }
}

/// How pictures are read for this checkpoint.
pub(super) fn data_settings(meta: &Meta) -> Data {
    Data {
        train: String::new(),
        test: None,
        validation: Validation::default(),
        image_size: meta.image_size,
        color: meta.color,
        resize: meta.resize,
        interpolation: meta.interpolation,
        // The checkpoint's own, which has its statistics, is used.
        normalize: Normalize::default(),
        cache: Cache::Auto,
        cache_memory_mb: 1024,
        on_bad_image: OnBadImage::Skip,
    }
}

/// Runs a checkpoint's network over a set. Probabilities and losses in the set's order.
pub(super) fn infer(checkpoint: &Checkpoint, set: &Arc<PictureSet>, compute: &Compute, batch_size: usize) -> anyhow::Result<Predictions> {
    let meta = &checkpoint.meta;
    weights::ensure_for(checkpoint)?;
    let model = checkpoint.network(&compute.device)?;
    let view = View::plain(set, &meta.normalize);
    let settings = Settings {
        device: compute.device.clone(),
        entrance: Entrance { shape: meta.design.input, group: 0 },
        batch_size,
        workers: 1,
        output: meta.design.output,
        loss: LossFn { kind: meta.loss, gamma: meta.focal_gamma, label_smoothing: 0.0 },
    };
    let bar = Reading::new("Classifying");
    bar.start(set.pictures.len());
    Ok(predict(&model, view, &settings, &|count| bar.done(count))?)
}

/// The result: what `--json` prints.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// Pictures measured on.
    pub images: usize,
    /// Share of right predictions.
    pub accuracy: f64,
    /// Mean F1 of the classes that occur.
    pub macro_f1: f64,
    /// Mean, unweighted.
    pub loss: f64,
    /// In the order of the matrix.
    pub classes: Vec<String>,
    /// Rows are the truth, columns the prediction.
    pub confusion_matrix: Vec<Vec<u64>>,
    /// By name.
    pub per_class: BTreeMap<String, ClassScores>,
    /// Pictures without a copy (equal decoded pixels) among those trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<Unseen>,
    /// Pictures that couldn't be decoded.
    pub skipped: Vec<Skipped>,
    #[serde(skip)]
    rows: Vec<PredictionRow>,
}

/// The pictures that the network has never seen.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Unseen {
    /// How many.
    pub count: usize,
    /// `None` where there is none.
    pub accuracy: Option<f64>,
    /// `None` where there is none.
    pub macro_f1: Option<f64>,
}

#[derive(Debug)]
struct PredictionRow {
    path: String,
    label: String,
    predicted: String,
    probabilities: Vec<f32>,
}

impl Evaluation {
    /// Measures `checkpoint` on `pictures`. With its `run`, test pictures that are copies of training pictures are told apart.
    ///
    /// # Errors
    /// A class that the checkpoint doesn't know; no picture that can be read; a device that fails.
    pub fn run(
        checkpoint: &Checkpoint,
        pictures: Pictures,
        run: Option<&Path>,
        data: &Data,
        compute: &Compute,
        batch_size: usize,
    ) -> anyhow::Result<Self> {
        let classes = Arc::new(checkpoint.meta.classes.clone());
        let (set, skipped) = {
            let bar = Reading::new("Reading pictures");
            bar.start(pictures.entries.len());
            load_listed(&pictures.entries, &classes, data, &|count| bar.done(count))?
        };
        for bad in &skipped {
            say(&format!("warning: skipped, can't be decoded: {}: {}", bad.path, bad.reason));
        }
        if set.pictures.is_empty() {
            bail!("found no picture to evaluate on among {}, expected one or more", pictures.entries.len());
        }
        let found = infer(checkpoint, &set, compute, batch_size)?;
        let seen = match run.map(|run| run.join("split.csv")).filter(|path| path.is_file()) {
            Some(path) => Some(training_digests(&read_split(&path)?)),
            None => None,
        };
        let (mut all, mut unseen) = (Confusion::new(classes.len()), Confusion::new(classes.len()));
        let mut rows = Vec::with_capacity(set.pictures.len());
        for (picture, probabilities) in set.pictures.iter().zip(found.probabilities) {
            let predicted = argmax(&probabilities);
            all.add(picture.label, predicted);
            if seen.as_ref().is_some_and(|seen| !seen.contains(&picture.digest)) {
                unseen.add(picture.label, predicted);
            }
            rows.push(PredictionRow {
                path: picture.path.display().to_string(),
                label: classes[picture.label].clone(),
                predicted: classes[predicted].clone(),
                probabilities,
            });
        }
        let count = usize::try_from(unseen.total())?;
        let if_any = |value: f64| (count > 0).then_some(value);
        Ok(Self {
            images: set.pictures.len(),
            accuracy: all.accuracy(),
            macro_f1: all.macro_f1(),
            loss: found.losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / found.losses.len() as f64,
            per_class: classes.iter().cloned().zip(all.per_class()).collect(),
            classes: classes.to_vec(),
            confusion_matrix: all.counts,
            unseen: seen.map(|_| Unseen { count, accuracy: if_any(unseen.accuracy()), macro_f1: if_any(unseen.macro_f1()) }),
            skipped,
            rows,
        })
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
        for row in &self.rows {
            let start = [&row.path, &row.label, &row.predicted].map(String::clone).into_iter();
            writer.write_record(start.chain(row.probabilities.iter().map(ToString::to_string)))?;
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
        let mut scores = ui::table(&["Class", "Precision", "Recall", "F1", "Support"]);
        for class in &self.classes {
            let ClassScores { precision, recall, f1, support } = self.per_class[class];
            scores.add_row([class.clone(), format!("{precision:.4}"), format!("{recall:.4}"), format!("{f1:.4}"), support.to_string()]);
        }
        ui::align_right(&mut scores, 1..5);
        let head: Vec<_> = std::iter::once("True \\ predicted").chain(self.classes.iter().map(String::as_str)).collect();
        let mut confusion = ui::table(&head);
        for (class, counts) in self.classes.iter().zip(&self.confusion_matrix) {
            confusion.add_row(std::iter::once(class.clone()).chain(counts.iter().map(ToString::to_string)));
        }
        ui::align_right(&mut confusion, 1..=self.classes.len());
        let mut text = format!("{scores}\n\n{confusion}\n\n");
        let Self { images, accuracy, macro_f1, loss, .. } = self;
        let _ = writeln!(text, "{images} images: accuracy {accuracy:.4}, macro-F1 {macro_f1:.4}, loss {loss:.4}");
        if let Some(Unseen { count, accuracy, macro_f1 }) = self.unseen
            && count < *images
        {
            let numbers = match (accuracy, macro_f1) {
                (Some(accuracy), Some(macro_f1)) => format!("accuracy {accuracy:.4}, macro-F1 {macro_f1:.4}"),
                _ => "none is new".to_owned(),
            };
            let _ = writeln!(text, "{} of them are copies of training pictures; on the {count} that are not: {numbers}", images - count);
        }
        if !self.skipped.is_empty() {
            let _ = writeln!(text, "{} images can't be decoded and were skipped", self.skipped.len());
        }
        text
    }
}
