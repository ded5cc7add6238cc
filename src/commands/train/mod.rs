//! `emberlens train`: trains by a recipe into a run folder, and resumes runs.

mod curve;
mod folds;
mod live;
mod measure;
mod members;
mod places;
mod rate;
mod recipe;
mod repeats;
mod words;

use std::path::{Path, PathBuf};

use clap::Parser;

use self::{
    live::LiveView,
    places::{new_folder, newest_run},
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
    base::{io::files::write_atomic, names, usage::UsageError},
    checkpoint::{self, Ensemble, RunFolder},
    commands::{
        common::{contact_sheet, exit_status::ExitStatus, inputs},
        ui::Terminal,
    },
    config::{self, Config, DeviceName, Weights},
    data::{TrainingData, duplicates::scan::Scan},
    nn::{device::Compute, estimate::Estimate, pretrained::fetch},
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
    let signals = Signals::watch()?;
    if let Some(file) = &args.find_rate {
        return rate::find(&recipe::config_of(&args)?, file);
    }
    match &args.resume {
        None => start(
            recipe::config_of(&args)?,
            args.out.as_deref(),
            args.dry_run,
            &signals,
        ),
        Some(run) => resume(&args, run.as_deref(), &signals),
    }
}

/// Trains a recipe into the run folder `out` or a new one in `checkpoints`, as `train --config`.
///
/// # Errors
/// Returns an error if anything ends the run.
pub(super) fn run_recipe(config: Config, out: Option<&Path>) -> anyhow::Result<ExitStatus> {
    start(config, out, false, &Signals::watch()?)
}

fn start(
    config: Config,
    out: Option<&Path>,
    is_dry: bool,
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    if let Some(out) = out {
        folders::refuse_inside(out, &folders::of_data(&config.data), "--out")?;
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
    let mut data = inputs::load(&config)?;
    warn(&data, &config);
    fetch_weights(&config)?;
    let compute = ui::open_device(config.device)?;
    let mut session = Session::start(config, &data, &compute.device)?;
    session.remarks.iter().for_each(|remark| say(remark));
    if is_dry {
        say(&summary_table(&session));
        say("A dry run: nothing was trained or written.");
        return Ok(ExitStatus::Done);
    }
    let folder = new_folder(&session.config.name, out)?;
    begin(&mut session, &data, folder)?;
    if session.config.augment.is_active() {
        let sample = contact_sheet::sample(&session.config, &data)?;
        write_atomic(&session.folder().join("augmentation.png"), &sample)?;
    }
    // What was seen of the images lies in the run folder now, and takes 4 KiB each.
    data.survey = Scan::default();
    train(session, data, &compute, signals)
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

fn resume(args: &Args, run: Option<&Path>, signals: &Signals) -> anyhow::Result<ExitStatus> {
    let run = match (run, &args.config) {
        (Some(run), _) => run.to_owned(),
        (None, Some(config)) => newest_run(&config::load(config, &args.overrides)?.name)?,
        (None, None) => {
            return Err(UsageError(
                "--resume without a run needs --config, whose name says which runs are meant"
                    .to_owned(),
            )
            .into());
        }
    };
    if let Some(ensemble) = Ensemble::open(&run)? {
        let of_repeats = Ensemble::of_repeats(ensemble.members.len());
        let resume = if ensemble == of_repeats {
            repeats::resume
        } else if ensemble.is_learning_curve() {
            curve::resume
        } else {
            folds::resume
        };
        return resume(args, (&run, &ensemble), signals);
    }
    let (path, run) = checkpoint::resolve_resumable(&run)?;
    // First of all: whoever trains the run may be changing it.
    let folder = if args.dry_run {
        None
    } else {
        Some(RunFolder::open(&run)?)
    };
    let saved = checkpoint::load_resumable(&path)?;
    let config = recipe::config_of_run(args, &run)?;
    let mut data = inputs::read_data(&config).inspect_err(recipe::tell_of_moves)?;
    warn(&data, &config);
    saved.checkpoint.fetch_backbone(&Terminal)?;
    let compute = ui::open_device(config.device)?;
    let mut session = Session::resume(config, &mut data, [&run, &path], &compute.device, saved)?;
    data.survey = Scan::default();
    session.remarks.iter().for_each(|remark| say(remark));
    let Some(folder) = folder else {
        say("A dry run: the run can be resumed.");
        return Ok(ExitStatus::Done);
    };
    session.begin(folder, &data)?;
    match session.finished() {
        Some(end) => say(&format!(
            "Nothing to train: {end}. To continue, raise --set train.epochs=N or \
             train.early_stopping.patience=N."
        )),
        None => say(&format!(
            "Resuming {} after epoch {}, batch {}",
            names::of_path(&run),
            session.state.epoch,
            session.state.batch
        )),
    }
    train(session, data, &compute, signals)
}

/// Trains, then measures the best epoch on the test images.
fn train(
    mut session: Session,
    data: TrainingData,
    compute: &Compute,
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    if session.state.step == 0 {
        say(&summary_table(&session));
    }
    let run = session.folder().to_owned();
    say(&format!("Run folder: {}", names::of_path(&run)));
    match train_session(&mut session, &run, signals)? {
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
    let Some(number) = signals.caught() else {
        return Ok(Ended::Trained(outcome));
    };
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
