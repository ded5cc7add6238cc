//! `emberlens evaluate`: measures a checkpoint on images whose class is known, and writes a table,
//! `metrics.json` and `predictions.csv`.

mod images;
mod others;

use std::path::{Path, PathBuf};

use clap::Parser;

use self::{
    images::Images,
    others::{Other, check_runs, refuse_twice},
};
use super::{
    common::{exit_status::ExitStatus, folders, job},
    ui::{self, Terminal, say},
};
use crate::{
    base::{io::raw_file::RawFile, names, progress::EachOnce, usage::UsageError},
    checkpoint::{Checkpoint, Networks},
    config::{self, DeviceName},
    data::shards::is_shard,
    evaluation::{
        corrected,
        images::{SplitName, run_of},
        page::{self, Subject},
        place,
        predictor::{Predictor, Tta},
        reconstruction::{Reconstructions, write_page},
        slices::By,
    },
    nn::infer::Detail,
    ranks::Ranks,
};

/// Arguments of `evaluate`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch; of several folds, the mean of their probabilities), or one
    /// checkpoint in it
    #[arg(long, value_name = "RUN")]
    checkpoint: PathBuf,
    /// A folder with one folder per class, or a CSV
    #[arg(long, value_name = "DIR|CSV", conflicts_with = "split")]
    data: Option<PathBuf>,
    /// Images of the run to measure: those held out for the test or, with `val`, those held back
    /// for validation, of folds each by the network that held it back; by default the test images,
    /// if there are any
    #[arg(long, value_enum)]
    split: Option<SplitName>,
    /// Average the probabilities of each image and of N augmented variants, drawn as the run's
    /// recipe says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    tta: Option<u16>,
    /// Measure slices of the images apart: by a column of their CSV, or by group, format, size,
    /// brightness or folder; may be given several times
    #[arg(long, value_name = "COLUMN")]
    by: Vec<String>,
    /// Compare with another run or checkpoint on the same images, or with several: p-values are
    /// then corrected for their number; with --tta, each is augmented by its own recipe
    #[arg(long, value_name = "RUN", num_args = 1..)]
    compare: Vec<PathBuf>,
    /// Where to write report.html, plots, predictions.csv and metrics.json, instead of
    /// RUN/evaluation/NAME
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the logits of all images, in the order of predictions.csv: a NumPy array of images x
    /// classes, or a CSV
    #[arg(long, value_name = "FILE.npy|csv")]
    logits: Option<RawFile>,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    moved: Moved,
}

/// Former options that are now in `calibrate`.
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
    /// Returns an error that names the new command if such an option was given.
    fn refuse(&self, run: &Path) -> Result<(), UsageError> {
        let wishes = [
            self.calibrate.then(|| "--temperature".to_owned()),
            self.sensitivity
                .as_ref()
                .map(|wish| format!("--sensitivity {wish}")),
            self.coverage
                .as_ref()
                .map(|wish| format!("--coverage {wish}")),
        ];
        let wishes: Vec<_> = wishes.into_iter().flatten().collect();
        if wishes.is_empty() {
            return Ok(());
        }
        Err(UsageError(format!(
            "evaluate only measures; temperature, threshold and sets are fitted by: emberlens \
             calibrate {} {}",
            names::of_path(run),
            wishes.join(" ")
        )))
    }
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the checkpoint or the images can't be used.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let ranks = job::join(None)?;
    measure(args, &ranks)?;
    job::end(ranks, ExitStatus::Done)
}

/// Measures and presents; several ranks share the images.
fn measure(args: &Args, ranks: &Ranks) -> anyhow::Result<()> {
    args.moved.refuse(&args.checkpoint)?;
    args.logits.as_ref().map_or(Ok(()), RawFile::check)?;
    refuse_twice(&args.checkpoint, &args.compare)?;
    let networks = Networks::find(&args.checkpoint)?;
    let (checkpoints, paths) = (networks.load()?, &networks.paths);
    // All folds have the same images, and those of the first are as well known as any.
    let run = run_of(&paths[0]);
    refuse_inside(args, run)?;
    check_runs(&checkpoints, paths)?;
    if checkpoints[0].meta.is_autoencoder() {
        return reconstruct(args, &checkpoints, &networks, ranks);
    }
    let by = By::find(&args.by, &lists(args, run)?)?;
    let images = Images::named(args.data.as_deref(), args.split, &checkpoints, &networks)?;
    refuse_logits(args, &images, &networks)?;
    let tta = |path: &Path| args.tta.map(|rounds| Tta::of_run(rounds, path)).transpose();
    // One that can't be loaded ends the command before minutes of work.
    let others = Other::of_all(&args.compare, &tta)?;
    let tta = tta(&paths[0])?;
    let compute = ui::open_device(job::device(args.device, ranks)?)?;
    // Both runs of a comparison have the same to say of the images.
    let progress = EachOnce::new(&Terminal);
    let theirs = others.iter().map(|other| images.for_other(other));
    let theirs: Vec<Images> = theirs.collect::<Result<_, _>>()?;
    let name = images.set().name.clone();
    let keep = detail(args, &checkpoints);
    let mut evaluation = images.evaluated(&checkpoints, run, &|networks| {
        Ok(Predictor {
            tta: tta.clone(),
            keep,
            ranks: ranks.clone(),
            ..Predictor::of_all(networks, &compute, &progress)?
        })
    })?;
    let compare = |(other, images): (&Other, Images)| {
        let theirs = images.evaluated(&other.checkpoints, other.run.as_deref(), &|networks| {
            Ok(Predictor {
                tta: other.tta.clone(),
                ranks: ranks.clone(),
                ..Predictor::of_all(networks, &compute, &progress)?
            })
        })?;
        evaluation.compare(&theirs, [&args.checkpoint, &other.path])
    };
    let comparisons = others.iter().zip(theirs).map(compare);
    let comparisons = comparisons.collect::<Result<_, _>>()?;
    if !ranks.is_first() {
        return Ok(());
    }
    evaluation.comparisons = corrected(comparisons);
    evaluation.slice(&by);
    let subject = Subject {
        evaluation: &evaluation,
        name: &name,
        checkpoints: &checkpoints,
        run: Some(args.checkpoint.as_path())
            .filter(|_| checkpoints.len() > 1)
            .or(run),
        compute: &compute,
    };
    present(args, &subject, &paths[0])
}

/// Returns what is to be kept of each image.
fn detail(args: &Args, checkpoints: &[Checkpoint]) -> Detail {
    if args.logits.is_some() {
        Detail::Logits
    } else if checkpoints[0].meta.novelty.is_some() {
        Detail::Features
    } else {
        Detail::Probabilities
    }
}

/// Refuses the logits of several networks.
fn refuse_logits(args: &Args, images: &Images, networks: &Networks) -> anyhow::Result<()> {
    if let (Some(_), [first, _, ..], Images::Any(_)) = (&args.logits, &networks.paths[..], images) {
        let message = format!(
            "--logits are those of one network, and this run has {}; name one, such as {}: {}",
            networks.paths.len(),
            names::of_path(first),
            names::of_path(&args.checkpoint)
        );
        return Err(UsageError(message).into());
    }
    Ok(())
}

/// Refuses results among images.
fn refuse_inside(args: &Args, run: Option<&Path>) -> Result<(), UsageError> {
    let data = args.data.clone().filter(|data| data.is_dir());
    let folders: Vec<_> = folders::of_run(run).into_iter().chain(data).collect();
    let logits = args.logits.as_ref().map(RawFile::path);
    for (path, option) in [(args.out.as_deref(), "--out"), (logits, "--logits")] {
        if let Some(path) = path {
            folders::refuse_inside(path, &folders, option)?;
        }
    }
    Ok(())
}

/// Returns the CSVs that the images may be listed in.
fn lists(args: &Args, run: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources: Vec<PathBuf> = args.data.iter().cloned().collect();
    if let (true, Some(run), false) = (sources.is_empty(), run, args.by.is_empty()) {
        sources = folders::sources(&config::load(&run.join("config.toml"), &[])?.data);
    }
    sources.retain(|source| source.is_file() && !is_shard(source));
    Ok(sources)
}

/// Measures an autoencoder, and writes and prints the result.
fn reconstruct(
    args: &Args,
    checkpoints: &[Checkpoint],
    networks: &Networks,
    ranks: &Ranks,
) -> anyhow::Result<()> {
    let path = &networks.paths[0];
    for (option, is_set) in [
        ("--tta", args.tta.is_some()),
        ("--by", !args.by.is_empty()),
        ("--compare", !args.compare.is_empty()),
        ("--logits", args.logits.is_some()),
    ] {
        if is_set {
            let run = names::of_path(&args.checkpoint);
            let message = format!("{option} needs a network that knows classes; leave it out for");
            return Err(UsageError(format!("{message} an autoencoder: {run}")).into());
        }
    }
    // It is one network: there are no folds of autoencoders.
    let images = Images::named(args.data.as_deref(), args.split, checkpoints, networks)?;
    let images = images.set().clone();
    let compute = ui::open_device(job::device(args.device, ranks)?)?;
    let predictor = Predictor {
        ranks: ranks.clone(),
        ..Predictor::new(&checkpoints[0], &compute, &Terminal)?
    };
    let (name, run) = (images.name.clone(), run_of(path));
    let found = Reconstructions::run(&predictor, images, run)?;
    if !ranks.is_first() {
        return Ok(());
    }
    let out = folder(args, (&name, path), path.parent(), &found.data.blake3)?;
    found.write(&out)?;
    say(&format!("Errors and metrics: {}", names::of_path(&out)));
    ui::print(&if args.json {
        found.to_json()?
    } else {
        found.to_text()
    })?;
    write_page(&found, &predictor, (&name, run), &out)
}

/// Returns the folder for the results on the images called `name` of the checkpoint at `path`, in
/// the folder of its run unless the arguments name another.
fn folder(
    args: &Args,
    (name, path): (&str, &Path),
    run: Option<&Path>,
    digest: &str,
) -> anyhow::Result<PathBuf> {
    match &args.out {
        Some(out) => Ok(place::chosen(out, digest)?),
        None => {
            let folder = run.unwrap_or(Path::new(".")).join("evaluation");
            place::free(&folder, &place::name(name, path), digest)
        }
    }
}

/// Writes the evaluation of the checkpoint at `path` and prints it.
fn present(args: &Args, subject: &Subject<'_>, path: &Path) -> anyhow::Result<()> {
    let evaluation = subject.evaluation;
    let run = match subject.checkpoints.len() {
        1 => path.parent(),
        _ => Some(args.checkpoint.as_path()),
    };
    let out = folder(args, (subject.name, path), run, &evaluation.data.blake3)?;
    evaluation.write(&out, &subject.lead())?;
    if let Some(file) = &args.logits {
        evaluation.write_logits(file)?;
    }
    say(&format!(
        "Predictions and metrics: {}",
        names::of_path(&out)
    ));
    ui::print(&if args.json {
        evaluation.to_json()?
    } else {
        evaluation.to_text()
    })?;
    page::write(subject, &out, &Terminal)
}
