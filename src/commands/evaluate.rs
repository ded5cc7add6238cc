//! `emberlens evaluate`: a checkpoint and pictures whose class is known become a table, `metrics.json` and `predictions.csv`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{anyhow, bail};
use clap::{Parser, ValueEnum};

use super::{
    data_folders,
    evaluation::Evaluation,
    place,
    raw::RawFile,
    report::{self, Subject},
    ui::{self, Reading, UsageError, say},
    weights,
};
use crate::{
    base::{names, words},
    checkpoint::{self, Checkpoint, Meta},
    cli::Ending,
    config::{self, Config, Data, DeviceName},
    data::{
        TestListing, Unknown,
        dataset::{Picture, PictureSet, View},
        leaks::known_to,
        listing::{self, Entry, Exclude, Part},
        pictures::digest_from_hex,
        table::{Skipped, SplitRow, read_split},
        test_listing,
    },
    nn::{
        device::Compute,
        infer::{Keep, Predictions, Settings, predict},
        loss::LossFn,
        networks::classifier::Entrance,
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
    /// The pictures that the run held out or, with `val`, held back; without this option those held out if there are any
    #[arg(long, value_enum)]
    split: Option<SplitName>,
    /// Average the probabilities of each picture and of N augmentations of it, drawn as the run's recipe says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    tta: Option<u16>,
    /// Another run or checkpoint, measured on the same pictures: is one of them better? With --tta, each by its own recipe
    #[arg(long, value_name = "RUN")]
    compare: Option<PathBuf>,
    /// Where report.html, plots, predictions.csv and metrics.json go, instead of RUN/evaluation/NAME
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the logits of all pictures, in the order of predictions.csv: a NumPy array of pictures x classes, or a CSV
    #[arg(long, value_name = "FILE.npy|csv")]
    logits: Option<RawFile>,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
    /// One JSON document on stdout instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    moved: Moved,
}

/// Options that once changed the checkpoint before it was measured.
#[derive(Debug, Parser)]
struct Moved {
    #[arg(long, hide = true)]
    calibrate: bool,
    #[arg(long, hide = true, value_name = "CLASS=SHARE")]
    sensitivity: Option<String>,
    #[arg(long, hide = true, value_name = "SHARE")]
    coverage: Option<String>,
}

impl Moved {
    /// Says where they are now.
    fn refuse(&self, run: &Path) -> Result<(), UsageError> {
        let wishes = [
            self.calibrate.then(|| "--temperature".to_owned()),
            self.sensitivity.as_ref().map(|wish| format!("--sensitivity {wish}")),
            self.coverage.as_ref().map(|wish| format!("--coverage {wish}")),
        ];
        let wishes: Vec<_> = wishes.into_iter().flatten().collect();
        if wishes.is_empty() {
            return Ok(());
        }
        Err(UsageError(format!(
            "evaluate only measures; what a checkpoint decides is fitted by: emberlens calibrate {} {}",
            names::of_path(run),
            wishes.join(" ")
        )))
    }
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
    args.moved.refuse(&args.checkpoint)?;
    args.logits.as_ref().map_or(Ok(()), RawFile::check)?;
    let path = checkpoint::resolve(&args.checkpoint, "best")?;
    let checkpoint = checkpoint::load(&path)?;
    let run = run_of(&path);
    if let Some(out) = &args.out {
        let folders: Vec<_> = data_folders::of_run(run).into_iter().chain(args.data.clone().filter(|data| data.is_dir())).collect();
        data_folders::refuse_inside(out, &folders, "--out")?;
    }
    if run.is_some() {
        checkpoint::check_run(checkpoint.meta.run.as_ref(), &path)?;
    }
    let pictures = match (&args.data, args.split) {
        (Some(data), _) => from_path(data, &checkpoint.meta.classes)?,
        (None, Some(split)) => from_split(split, run.ok_or_else(|| no_run(&path))?)?,
        (None, None) => held_out_or_back(run.ok_or_else(|| no_run(&path))?)?,
    };
    let other = match &args.compare {
        Some(other) => {
            let path = checkpoint::resolve(other, "best")?;
            Some((other, checkpoint::load(&path)?, Tta::of(args.tta, &path)?))
        }
        None => None,
    };
    let tta = Tta::of(args.tta, &path)?;
    let compute = ui::open_device(args.device)?;
    let data = data_settings(&checkpoint.meta);
    let keep = if args.logits.is_some() { Keep::Logits } else { Keep::Probabilities };
    let setup = Setup { run, data: &data, compute: &compute, batch_size: 32, tta, keep };
    let mut evaluation = Evaluation::run(&checkpoint, pictures.clone(), &setup)?;
    if let Some((path, other, tta)) = other {
        let data = data_settings(&other.meta);
        let theirs = Evaluation::run(&other, pictures.clone(), &Setup { run: None, data: &data, tta, ..setup })?;
        evaluation.compare(&theirs, [&args.checkpoint, path])?;
    }
    let digest = evaluation.data.blake3.as_str();
    let out = match &args.out {
        Some(out) => place::chosen(out, digest)?,
        None => {
            let folder = path.parent().unwrap_or(Path::new(".")).join("evaluation");
            place::free(&folder, &place::name(&pictures.name, &path), digest)?
        }
    };
    evaluation.write(&out)?;
    if let Some(file) = &args.logits {
        evaluation.write_logits(file)?;
    }
    say(&format!("Predictions and metrics: {}", names::of_path(&out)));
    ui::print(&if args.json { evaluation.to_json()? } else { evaluation.to_text() })?;
    report::write(&Subject { evaluation: &evaluation, name: &pictures.name, checkpoint: &checkpoint, run, compute: &compute }, &out)?;
    Ok(Ending::Done)
}

/// The run that a checkpoint folder is in, which knows what was trained on.
pub(super) fn run_of(checkpoint: &Path) -> Option<&Path> {
    checkpoint.parent().filter(|run| run.join("config.toml").is_file())
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
    /// What is kept of each picture.
    pub keep: Keep,
}

/// Test-time augmentation.
#[derive(Debug)]
pub struct Tta {
    config: Config,
    rounds: usize,
}

impl Tta {
    /// So many augmentations as the recipe of the checkpoint's own run draws them, if any are wanted.
    fn of(rounds: Option<u16>, checkpoint: &Path) -> anyhow::Result<Option<Self>> {
        let Some(rounds) = rounds else { return Ok(None) };
        let run = run_of(checkpoint).ok_or_else(|| no_run(checkpoint))?;
        let config = config::load(&run.join("config.toml"), &[])?;
        if !config.augment.is_active() {
            let message = format!(
                "--tta has no effect: the recipe of the run augments nothing; see [augment] in {}",
                names::of_path(&run.join("config.toml"))
            );
            return Err(UsageError(message).into());
        }
        Ok(Some(Self { config, rounds: rounds.into() }))
    }
}

pub(super) fn no_run(path: &Path) -> UsageError {
    let path = names::of_path(path);
    UsageError(format!(
        "{path} stands alone, without a run's config.toml beside it, which says what it was trained on; name pictures with --data"
    ))
}

/// Where a run's own pictures come from, for a person.
pub(super) const RUNS_TEST: &str = "the run's test pictures";
pub(super) const RUNS_VALIDATION: &str = "the run's validation pictures";

/// Pictures to measure on.
#[derive(Clone, Debug)]
pub struct Pictures {
    /// Listed, unread.
    pub entries: Vec<Entry>,
    /// Those that are known not to be readable.
    pub skipped: Vec<Skipped>,
    /// For the folder of the results.
    pub name: String,
    /// Where they come from, for a person.
    pub source: String,
    /// What the run knew before: copies of these parts of its data are no news. Validation pictures chose the best epoch, so they count,
    /// unless they are what is measured.
    pub known: &'static [Part],
    /// Of the pixels of each when the run held them back; nothing of pictures that it didn't.
    pub digests: Vec<Option<[u8; 32]>>,
}

impl Pictures {
    /// Says so where pictures that were read are others than those that the run held back.
    pub(super) fn changed(&self, set: &PictureSet) -> Option<String> {
        let held = |slot: usize| self.digests.get(slot).copied().flatten();
        let is_other = |picture: &&Picture| held(picture.slot).is_some_and(|digest| digest != picture.digest);
        let changed: Vec<_> = set.pictures.iter().filter(is_other).collect();
        let first = names::of_path(&changed.first()?.path);
        Some(format!(
            "warning: {} of {} validation pictures have other pixels than when the run held them back: they were changed since, or another version \
             of the program reads them; the first: {first}",
            changed.len(),
            set.pictures.len()
        ))
    }
}

fn from_path(path: &Path, classes: &[String]) -> anyhow::Result<Pictures> {
    let listing = listing::list(path, &Exclude::default())?;
    if let Some(Unknown { names, meant, .. }) = Unknown::of(&listing.classes, classes) {
        bail!(
            "found {names} that the checkpoint doesn't know, expected classes among {}{meant}; rename or move what isn't one of them: {}",
            words::listed(classes),
            names::of_path(path)
        );
    }
    listing.words(path).iter().for_each(|words| say(words));
    let mut skipped: Vec<_> = listing.unreadable.iter().map(|file| Skipped::unopened(file, file.split)).collect();
    let mut entries = listing.entries;
    if entries.iter().any(|entry| entry.split == Some(Part::Test)) {
        entries.retain(|entry| entry.split == Some(Part::Test));
        skipped.retain(|file| file.split == Part::Test.name());
        say(&format!("Of {}, the {} rows with split test", names::of_path(path), entries.len()));
    }
    let name = path.file_stem().map_or("data".to_owned(), |name| names::for_file(&names::of_os(name)));
    Ok(said(Pictures { entries, skipped, name, source: names::of_path(path), known: known_to(Part::Test), digests: Vec::new() }))
}

/// Tells what can't be opened of pictures.
fn said(pictures: Pictures) -> Pictures {
    Skipped::words(&pictures.skipped).iter().for_each(|words| say(&format!("warning: {words}")));
    pictures
}

/// The test pictures of a run or, where it has none, its validation pictures.
fn held_out_or_back(run: &Path) -> anyhow::Result<Pictures> {
    let config: Config = config::load(&run.join("config.toml"), &[])?;
    let TestListing { entries, unopened } = test_listing(&config.data)?;
    if entries.is_empty() && unopened.is_empty() {
        say("The run has no test pictures: measuring on its validation pictures, which chose the best epoch (--data takes others)");
        return from_split(SplitName::Val, run);
    }
    from_split(SplitName::Test, run)
}

/// The pictures of a part of a run.
///
/// # Errors
/// The run has none.
pub(super) fn from_split(split: SplitName, run: &Path) -> anyhow::Result<Pictures> {
    let config: Config = config::load(&run.join("config.toml"), &[])?;
    match split {
        SplitName::Test => {
            let TestListing { entries, unopened } = test_listing(&config.data)?;
            if !unopened.is_empty() && entries.is_empty() {
                bail!("none of the {} test pictures of the run can be opened; the first: {}", unopened.len(), Skipped::named(&unopened, 1));
            }
            if entries.is_empty() {
                return Err(UsageError("the run has no test pictures; say which with --data, or --split val".to_owned()).into());
            }
            let source = RUNS_TEST.to_owned();
            let (name, digests) = ("test".to_owned(), Vec::new());
            Ok(said(Pictures { entries, skipped: unopened, name, source, known: known_to(Part::Test), digests }))
        }
        SplitName::Val => {
            let rows = read_split(&run.join("split.csv"))?;
            let held_back: Vec<_> = rows.into_iter().filter(|row| row.split == Part::Validation.name()).collect();
            let digests = held_back.iter().map(|row| digest_from_hex(&row.blake3)).collect();
            let entry = |row: SplitRow| {
                let group = (!row.group.is_empty()).then_some(row.group);
                Entry { path: names::to_path(&row.path), class: row.class, group, weight: 1.0, split: None }
            };
            let entries: Vec<_> = held_back.into_iter().map(entry).collect();
            check_there(&entries, run)?;
            let (skipped, source) = (Vec::new(), RUNS_VALIDATION.to_owned());
            Ok(Pictures { entries, skipped, name: "val".to_owned(), source, known: known_to(Part::Validation), digests })
        }
    }
}

/// Refuses pictures of a run none of which is where it was.
fn check_there(entries: &[Entry], run: &Path) -> anyhow::Result<()> {
    match entries.first().filter(|_| !entries.iter().any(|entry| entry.path.exists())) {
        Some(first) => bail!(
            "none of the {} validation pictures in {} is there, the first: {}; paths are relative to the folder that the program runs in: run it \
             where the training ran, say where the pictures are now with `emberlens train --resume RUN --set data.train=FOLDER`, or name others with \
             --data",
            entries.len(),
            names::of_path(&run.join("split.csv")),
            names::of_path(&first.path)
        ),
        None => Ok(()),
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
    let path = names::of_path(picture);
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
        keep: setup.keep,
    };
    let rounds = setup.tta.as_ref().map_or(0, |tta| tta.rounds);
    let bar = Reading::new("Classifying");
    bar.start(set.pictures.len() * (rounds + 1));
    let mut found = predict(&model, View::plain(set, &meta.normalize), &settings, &|count| bar.done(count))?;
    if let Some(bad) = found.first_bad {
        return Err(no_number(&set.pictures[bad].path));
    }
    for round in 0..rounds {
        let Some(Tta { config, .. }) = &setup.tta else { break };
        let view = unlabelled_view(config, set, &meta.normalize, round);
        let again = predict(&model, view, &Settings { keep: Keep::Probabilities, ..settings.clone() }, &|count| bar.done(count))?;
        for (sums, row) in found.probabilities.iter_mut().zip(&again.probabilities) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
    let share = 1.0 / (rounds + 1) as f32;
    found.probabilities.iter_mut().flatten().for_each(|value| *value *= share);
    Ok(found)
}
