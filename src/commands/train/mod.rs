//! `emberlens train`: trains by a recipe into a run folder, and resumes runs.

mod curve;
mod folds;
mod live;
mod measure;
mod members;
mod places;
mod rate;
mod recipe;
mod reconstruct;
mod repeats;
mod resume;
mod words;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Parser;

use self::{
    live::LiveView,
    places::new_folder,
    words::{summary_table, warn},
};
use super::{
    common::folders,
    ui::{
        self, TrainingView, say,
        signals::{self, Signals},
    },
};
use crate::{
    base::{io::files::write_atomic, names},
    checkpoint::RunFolder,
    commands::{
        common::{contact_sheet, exit_status::ExitStatus, inputs, job},
        ui::Terminal,
    },
    config::{Config, DeviceName, Weights},
    data::{TrainingData, duplicates::scan::Scan},
    nn::{device::Compute, estimate::Estimate, pretrained::fetch},
    ranks::Ranks,
    report::PAGE,
    train::{Outcome, Session, TrainError, check_memory, fit},
};

/// Arguments of `train`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder or CSV of images, for which a recipe is written as by `init`; or a recipe
    #[arg(
        value_name = "DIR|CSV|FILE",
        required_unless_present_any = ["config", "resume"],
        conflicts_with_all = ["config", "resume"]
    )]
    source: Option<PathBuf>,
    /// The recipe
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Resume a run: its folder, or one checkpoint in it; without a value, the newest run of the
    /// recipe's name
    #[arg(long, value_name = "RUN", num_args = 0..=1)]
    resume: Option<Option<PathBuf>>,
    /// auto, gpu, gpu:N, cpu or ndarray, instead of the recipe's
    #[arg(long, value_name = "D")]
    device: Option<DeviceName>,
    /// The run folder, instead of checkpoints/NAME
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// For a folder or CSV of images: pretrained weights to start from, as with init
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "resume"])]
    weights: Option<PathBuf>,
    /// For a folder or CSV of images: try a pretrained network and one from scratch first, as with
    /// init
    #[arg(long, conflicts_with_all = ["config", "resume"])]
    quick_trials: bool,
    /// For a folder or CSV of images: download pretrained weights without asking, as with init
    #[arg(long, conflicts_with_all = ["config", "resume"])]
    yes: bool,
    /// Cross-validation: train a network for each of N folds of the images, each held back once, as
    /// train.folds in the recipe does
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    folds: Option<usize>,
    /// Repeat the cross-validation with N seeds in all, to tell how much of a difference is the
    /// seed, as train.repeats in the recipe does
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    repeats: Option<usize>,
    /// Train by N processes that share the batches of a step, started by MPI's mpiexec
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    ranks: Option<u16>,
    /// Seconds that ranks wait for one that doesn't come, before the job ends with its name
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    #[arg(value_parser = clap::value_parser!(u64).range(10..))]
    patience: u64,
    /// Train on each of these fractions of the training images, to tell whether more images would
    /// help, as train.learning_curve in the recipe does
    #[arg(
        long,
        value_name = "F,F,...",
        value_delimiter = ',',
        conflicts_with = "resume"
    )]
    learning_curve: Vec<f64>,
    /// Don't train, but search for a learning rate, as fastai's lr_find does: draws the loss by
    /// rate and prints two suggestions
    #[arg(
        long,
        value_name = "FILE.svg|png",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "learning_rate.svg",
        conflicts_with_all = ["resume", "out", "dry_run"]
    )]
    find_rate: Option<PathBuf>,
    /// Change one value of the recipe, as in --set train.epochs=5
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// Read and check everything and show what would be trained, but train and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if anything ends the run.
pub fn run(mut args: Args) -> anyhow::Result<ExitStatus> {
    if let Some(device) = args.device {
        args.overrides.push(format!("device={device}"));
    }
    for (key, count) in [("folds", args.folds), ("repeats", args.repeats)] {
        let change = count.map(|count| format!("train.{key}={count}"));
        args.overrides.extend(change);
    }
    if !args.learning_curve.is_empty() {
        let fractions = &args.learning_curve;
        args.overrides
            .push(format!("train.learning_curve={fractions:?}"));
    }
    // Before any thread: MPI starts its own.
    let ranks = job::join(args.ranks.map(usize::from))?;
    ranks.set_patience(Duration::from_secs(args.patience));
    let signals = Signals::watch()?;
    let process = Process {
        ranks: &ranks,
        signals: &signals,
    };
    if let Some(file) = &args.find_rate {
        job::refuse_several(&ranks, "a search for a learning rate")?;
        return rate::find(&recipe::config_of(&args, &ranks)?, file);
    }
    let status = match &args.resume {
        None => start(
            recipe::config_of(&args, &ranks)?,
            args.out.as_deref(),
            args.dry_run,
            process,
        ),
        Some(run) => resume::run(&args, run.as_deref(), process),
    }?;
    job::end(ranks, status)
}

/// What stops this process, and which others train with it.
#[derive(Clone, Copy)]
struct Process<'a> {
    ranks: &'a Ranks,
    signals: &'a Signals,
}

/// Trains a recipe into the run folder `out` or a new one in `checkpoints`, as `train --config`.
///
/// # Errors
/// Returns an error if anything ends the run.
pub(super) fn run_recipe(config: Config, out: Option<&Path>) -> anyhow::Result<ExitStatus> {
    let process = Process {
        ranks: &Ranks::Alone,
        signals: &Signals::watch()?,
    };
    start(config, out, false, process)
}

fn start(
    config: Config,
    out: Option<&Path>,
    is_dry: bool,
    process: Process<'_>,
) -> anyhow::Result<ExitStatus> {
    let Process { ranks, signals } = process;
    job::check(&config, ranks)?;
    if let Some(out) = out {
        folders::refuse_inside(out, &folders::of_data(&config.data), "--out")?;
        if ranks.is_first() && !is_dry {
            RunFolder::check(out)?;
        }
    }
    // What can't fit with one image and two classes need not wait for all images to be read.
    check_memory(
        &Estimate::of(&config, 2, 1),
        matches!(config.device, DeviceName::Cpu | DeviceName::Ndarray),
    )?;
    if !config.train.learning_curve.is_empty() {
        return curve::start(config, (out, is_dry), signals);
    }
    match (config.all_folds(), config.train.repeats) {
        (Some(_), Some(repeats)) => {
            return repeats::start(config, repeats, (out, is_dry), signals);
        }
        (Some(_), None) => return folds::start(config, (out, is_dry), signals),
        (None, _) => {}
    }
    let mut data = job::read_images(&config, ranks, || inputs::load(&config))?;
    warn(&data, &config);
    ranks.first_here(|| fetch_weights(&config))?;
    let compute = ui::open_device(job::device(config.device, ranks)?)?;
    let mut session = Session::start(config, &data, &compute.device)?;
    session.join(ranks, &data)?;
    session.remarks.iter().for_each(|remark| say(remark));
    if is_dry {
        say(&summary_table(&session));
        say("A dry run: nothing was trained or written.");
        return Ok(ExitStatus::Done);
    }
    if ranks.is_first() {
        let folder = new_folder(&session.config.name, out)?;
        begin(&mut session, &data, folder)?;
    }
    job::follow(&mut session, ranks)?;
    if session.config.augment.is_active() && ranks.is_first() {
        let sample = contact_sheet::sample(&session.config, &data)?;
        write_atomic(&session.folder().join("augmentation.png"), &sample)?;
    }
    // What was seen of the images lies in the run folder now, and takes 4 KiB each.
    data.survey = Scan::default();
    train(session, data, &compute, process)
}

/// Downloads published weights that a recipe names, unless they are cached.
fn fetch_weights(config: &Config) -> anyhow::Result<()> {
    if config.model.weights() == Weights::Imagenet {
        fetch::ensure(config.model.architecture, &Terminal)?;
    }
    Ok(())
}

/// Writes the files that precede the first step into the folder of a new run.
fn begin(session: &mut Session, data: &TrainingData, folder: RunFolder) -> anyhow::Result<()> {
    session
        .begin(folder, data)
        .map_err(|error| what_to_do(error, ", or choose another folder with --out"))?;
    for (list, is_empty, what) in [
        ("skipped.csv", data.skipped.is_empty(), "was skipped"),
        ("damaged.csv", data.damaged.is_empty(), "is damaged"),
    ] {
        if !is_empty {
            let list = names::of_path(&session.folder().join(list));
            say(&format!("What {what} is listed in {list}"));
        }
    }
    Ok(())
}

/// Trains, then measures the best epoch on the test images.
fn train(
    mut session: Session,
    data: TrainingData,
    compute: &Compute,
    Process { ranks, signals }: Process<'_>,
) -> anyhow::Result<ExitStatus> {
    if session.state.step == 0 {
        say(&summary_table(&session));
    }
    let run = session.folder().to_owned();
    say(&format!("Run folder: {}", names::of_path(&run)));
    let start = Instant::now();
    let ended = train_session(&mut session, &run, signals)?;
    job::say_waits(ranks, start.elapsed())?;
    match ended {
        Ended::Trained(outcome) => measure::finish(&session, data, compute, outcome),
        Ended::Stopped(status) => Ok(status),
    }
}

/// How the training of a session ended.
enum Ended {
    /// It is finished.
    Trained(Outcome),
    /// A signal stopped it, and it is saved.
    Stopped(ExitStatus),
}

/// Trains a session that has begun. `run` is the folder to be named for a resume.
fn train_session(session: &mut Session, run: &Path, signals: &Signals) -> anyhow::Result<Ended> {
    let folder = names::of_path(run);
    let most = session.config.train.max_time.map(|limit| limit.0);
    let view = TrainingView::new(session.state.epoch, session.work(), most);
    let then = format!(", then resume with: emberlens train --resume {folder}");
    let view = LiveView::new(session, view);
    let outcome = fit(session, &view, signals.training());
    view.end(&match &outcome {
        Err(error) => format!("Ended by an error: {error}"),
        Ok(outcome) if outcome.is_interrupted => {
            format!("Stopped and saved. To continue: `emberlens train --resume {folder}`")
        }
        Ok(_) if run == session.folder() => {
            format!("Trained. The results are in {PAGE} beside this page.")
        }
        Ok(_) => "Trained.".to_owned(),
    });
    drop(view);
    let outcome = outcome.map_err(|error| what_to_do(error, &then))?;
    signals.over();
    // A launcher may pass a signal on to some of the ranks only.
    let own = signals
        .caught()
        .and_then(|number| u8::try_from(number).ok());
    let number = session.learner.stepper.ranks.largest(own.unwrap_or(0))?;
    if number == 0 {
        return Ok(Ended::Trained(outcome));
    }
    let number = i32::from(number);
    say(&format!(
        "Stopped by {}; saved. Resume with: emberlens train --resume {folder}",
        signals::name(number)
    ));
    Ok(Ended::Stopped(ExitStatus::Interrupted(signals::exit_code(
        number,
    ))))
}

/// Adds what to do to an I/O error.
fn what_to_do(error: TrainError, then: &str) -> anyhow::Error {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let advice = match error.kind() {
        Some(StorageFull | QuotaExceeded) => "free some space",
        Some(PermissionDenied | ReadOnlyFilesystem) => "make the folder writable",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {advice}{then}")
}
