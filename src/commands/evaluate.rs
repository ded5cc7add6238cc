//! `emberlens evaluate`: a checkpoint and pictures whose class is known become a table, `metrics.json` and `predictions.csv`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{anyhow, bail};
use clap::{Parser, ValueEnum};

use super::{
    decisions::{Sensitivity, Share, Wishes, fit},
    evaluation::Evaluation,
    report::{self, Subject},
    ui::{self, Reading, UsageError, say},
    weights,
};
use crate::{
    checkpoint::{self, Checkpoint, Meta},
    cli::Ending,
    config::{self, Config, Data, DeviceName},
    data::{
        dataset::{PictureSet, View},
        listing::{self, Entry, Part},
        table::{SplitRow, read_split},
        test_listing,
    },
    nn::{
        device::Compute,
        infer::{Predictions, Settings, predict},
        loss::LossFn,
        model::Entrance,
    },
    train::unlabelled_view,
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
    /// First fit a temperature on the run's validation pictures, so that probabilities can be taken at their word, and keep it in the
    /// checkpoint; predictions stay the same, `predict` uses it too
    #[arg(long)]
    calibrate: bool,
    /// First find, on the run's validation pictures, the probability from which a picture counts as CLASS so that SHARE of the class is
    /// found, as in glioma=0.95; kept in the checkpoint, `predict` then says which pictures it flags
    #[arg(long, value_name = "CLASS=SHARE")]
    sensitivity: Option<Sensitivity>,
    /// First fit, on the run's validation pictures, sets of classes that hold the true one for SHARE of new pictures (conformal prediction);
    /// kept in the checkpoint, for `predict --abstain`
    #[arg(long, value_name = "SHARE")]
    coverage: Option<Share>,
    /// Average the probabilities of each picture and of N augmentations of it, drawn as the run's recipe says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    tta: Option<u16>,
    /// Another run or checkpoint, measured on the same pictures: is one of them better?
    #[arg(long, value_name = "RUN")]
    compare: Option<PathBuf>,
    /// Where report.html, plots, predictions.csv and metrics.json go, instead of RUN/evaluation/NAME
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
    /// One JSON document on stdout instead of the table
    #[arg(long)]
    json: bool,
}

/// A part of a run's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// Held back.
    Val,
    /// Held out.
    Test,
}

/// Runs the command.
///
/// # Errors
/// A checkpoint or pictures that can't be used.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let path = checkpoint::resolve(&args.checkpoint, "best")?;
    let mut checkpoint = checkpoint::load(&path)?;
    let run = path.parent().filter(|run| run.join("config.toml").is_file());
    let pictures = match &args.data {
        Some(data) => from_path(data, &checkpoint.meta.classes)?,
        None => from_split(args.split, run.ok_or_else(|| no_run(&path))?)?,
    };
    let compute = ui::open_device(args.device)?;
    let data = data_settings(&checkpoint.meta);
    let wishes = Wishes { calibrate: args.calibrate, sensitivity: args.sensitivity.clone(), coverage: args.coverage };
    if wishes.any() {
        fit(&mut checkpoint, &path, run.ok_or_else(|| no_run(&path))?, &compute, &wishes)?;
    }
    let name = pictures.name.clone();
    let other = match &args.compare {
        Some(other) => Some((other, checkpoint::load(&checkpoint::resolve(other, "best")?)?)),
        None => None,
    };
    let tta = match args.tta {
        Some(rounds) => Some(Tta::new(run.ok_or_else(|| no_run(&path))?, rounds.into())?),
        None => None,
    };
    let setup = Setup { run, data: &data, compute: &compute, batch_size: 32, tta };
    let mut evaluation = Evaluation::run(&checkpoint, pictures.clone(), &setup)?;
    if let Some((path, other)) = other {
        let data = data_settings(&other.meta);
        let theirs = Evaluation::run(&other, pictures, &Setup { run: None, data: &data, ..setup })?;
        evaluation.compare(&theirs, [&args.checkpoint, path])?;
    }
    let out = args.out.clone().unwrap_or_else(|| path.parent().unwrap_or(Path::new(".")).join("evaluation").join(&name));
    evaluation.write(&out)?;
    say(&format!("Predictions and metrics: {}", out.display()));
    ui::print(&if args.json { evaluation.to_json()? } else { evaluation.to_text() })?;
    report::write(&Subject { evaluation: &evaluation, name: &name, checkpoint: &checkpoint, run, compute: &compute }, &out)?;
    Ok(Ending::Done)
}

/// How pictures are measured on.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The run that the checkpoint belongs to, which knows what was trained on.
    pub run: Option<&'a Path>,
    /// How pictures are read.
    pub data: &'a Data,
    /// On what is computed.
    pub compute: &'a Compute,
    /// Pictures at a time.
    pub batch_size: usize,
    /// Test-time augmentation.
    pub tta: Option<Tta>,
}

/// Test-time augmentation.
#[derive(Debug)]
pub struct Tta {
    config: Config,
    rounds: usize,
}

impl Tta {
    /// So many augmentations as the recipe of `run` draws them.
    fn new(run: &Path, rounds: usize) -> anyhow::Result<Self> {
        let config = config::load(&run.join("config.toml"), &[])?;
        if !config.augment.is_active() {
            let message = format!(
                "--tta has no effect: the recipe of the run augments nothing; see [augment] in {}",
                run.join("config.toml").display()
            );
            return Err(UsageError(message).into());
        }
        Ok(Self { config, rounds })
    }
}

fn no_run(path: &Path) -> UsageError {
    UsageError(format!("{} stands alone, without a run's config.toml beside it; say which pictures with --data", path.display()))
}

/// Pictures to measure on.
#[derive(Clone, Debug)]
pub struct Pictures {
    /// Listed, unread.
    pub entries: Vec<Entry>,
    /// For the folder of the results.
    pub name: String,
    /// What the run knew before: copies of these parts of its data are no news. Validation pictures chose the best epoch, so they count,
    /// unless they are what is measured.
    pub known: &'static [Part],
}

/// Of a run's data, everything that its weights depend on.
pub const KNOWN: &[Part] = &[Part::Train, Part::Validation];

fn from_path(path: &Path, classes: &[String]) -> anyhow::Result<Pictures> {
    let listing = listing::list(path)?;
    let unknown: Vec<_> = listing.classes.iter().filter(|class| !classes.contains(class)).cloned().collect();
    if !unknown.is_empty() {
        bail!(
            "found {} that the checkpoint doesn't know, expected classes among {}; rename or move what isn't one of them: {}",
            unknown.join(", "),
            classes.join(", "),
            path.display()
        );
    }
    listing.passed_over_words(path).iter().for_each(|words| say(words));
    let mut entries = listing.entries;
    if entries.iter().any(|entry| entry.split == Some(Part::Test)) {
        entries.retain(|entry| entry.split == Some(Part::Test));
        say(&format!("Of {}, the {} rows with split test", path.display(), entries.len()));
    }
    let name = path.file_stem().map_or("data".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(Pictures { entries, name, known: KNOWN })
}

/// The pictures of a part of a run.
///
/// # Errors
/// The run has none.
pub(super) fn from_split(split: SplitName, run: &Path) -> anyhow::Result<Pictures> {
    let config: Config = config::load(&run.join("config.toml"), &[])?;
    match split {
        SplitName::Test => {
            let entries = test_listing(&config.data)?;
            if entries.is_empty() {
                return Err(UsageError("the run has no test pictures; say which with --data, or --split val".to_owned()).into());
            }
            Ok(Pictures { entries, name: "test".to_owned(), known: KNOWN })
        }
        SplitName::Val => {
            let rows = read_split(&run.join("split.csv"))?;
            let held_back = rows.into_iter().filter(|row| row.split == Part::Validation.name());
            let entry = |row: SplitRow| {
                let group = (!row.group.is_empty()).then_some(row.group);
                Entry { path: PathBuf::from(row.path), class: row.class, group, weight: 1.0, split: None }
            };
            Ok(Pictures { entries: held_back.map(entry).collect(), name: "val".to_owned(), known: &[Part::Train] })
        }
    }
}

/// How pictures are read for this checkpoint.
pub(super) fn data_settings(meta: &Meta) -> Data {
    // The normalisation is the checkpoint's own, which has its statistics.
    Data {
        image_size: meta.image_size,
        color: meta.color,
        resize: meta.resize,
        interpolation: meta.interpolation,
        ..Data::of(String::new())
    }
}

/// The error of outputs that are no numbers.
pub(super) fn no_number(picture: &Path) -> anyhow::Error {
    let path = picture.display();
    anyhow!("the network's output is no number: its weights are damaged or its training diverged; the first such picture: {path}")
}

/// Runs a checkpoint's network over a set. Probabilities and losses in the set's order; losses are those of the pictures as they are.
pub(super) fn infer(checkpoint: &Checkpoint, set: &Arc<PictureSet>, setup: &Setup<'_>) -> anyhow::Result<Predictions> {
    let meta = &checkpoint.meta;
    weights::ensure_for(checkpoint)?;
    let model = checkpoint.network(&setup.compute.device)?;
    let settings = Settings {
        device: setup.compute.device.clone(),
        entrance: Entrance { shape: meta.design.input, group: 0 },
        batch_size: setup.batch_size,
        workers: 1,
        output: meta.design.output,
        temperature: meta.temperature,
        loss: LossFn { kind: meta.loss, gamma: meta.focal_gamma, label_smoothing: 0.0 },
    };
    let rounds = setup.tta.as_ref().map_or(0, |tta| tta.rounds);
    let bar = Reading::new("Classifying");
    bar.start(set.pictures.len() * (rounds + 1));
    let mut found = predict(&model, View::plain(set, &meta.normalize), &settings, &|count| bar.done(count))?;
    let is_number = |row: &Vec<f32>| row.iter().all(|value| value.is_finite());
    if let Some(bad) = found.logits.iter().position(|row| !is_number(row)) {
        return Err(no_number(&set.pictures[bad].path));
    }
    for round in 0..rounds {
        let Some(Tta { config, .. }) = &setup.tta else { break };
        let view = unlabelled_view(config, set, &meta.normalize, round);
        let again = predict(&model, view, &settings, &|count| bar.done(count))?;
        for (sums, row) in found.probabilities.iter_mut().zip(&again.probabilities) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
    let share = 1.0 / (rounds + 1) as f32;
    found.probabilities.iter_mut().flatten().for_each(|value| *value *= share);
    Ok(found)
}
