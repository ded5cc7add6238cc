//! Resumes runs: finds the checkpoint, locks the run, and goes on from there.

use std::path::{Path, PathBuf};

use super::{
    Args, Process, curve, folds,
    places::newest_run,
    recipe::{config_of_run, tell_of_moves},
    repeats, train,
    words::warn,
};
use crate::{
    base::{names, usage::UsageError, words::listed},
    checkpoint::{self, Ensemble, RunFolder},
    commands::{
        common::{
            exit_status::ExitStatus,
            inputs,
            job::{self, Shared},
        },
        ui::{self, Terminal, say},
    },
    config,
    data::duplicates::scan::Scan,
    metrics::Reconstruction,
    train::Session,
};

/// Returns the run folder that a resume means.
fn run_to_resume(args: &Args, run: Option<&Path>) -> anyhow::Result<PathBuf> {
    Ok(match (run, &args.config) {
        (Some(run), _) => run.to_owned(),
        (None, Some(config)) => newest_run(&config::load(config, &args.overrides)?.name)?,
        (None, None) => {
            return Err(UsageError(
                "--resume without a run needs --config, whose name says which runs are meant"
                    .to_owned(),
            )
            .into());
        }
    })
}

/// Resumes the run that the arguments name.
///
/// # Errors
/// Returns an error if anything ends the run.
pub(super) fn run(
    args: &Args,
    run: Option<&Path>,
    process: Process<'_>,
) -> anyhow::Result<ExitStatus> {
    let Process { ranks, signals } = process;
    if !ranks.is_first() {
        let shared = job::receive_run(ranks)?;
        return resume_at(args, shared, None, process);
    }
    let run = run_to_resume(args, run)?;
    if let Some(ensemble) = Ensemble::open(&run)? {
        job::refuse_several(ranks, "a run of several networks")?;
        let of_repeats = Ensemble::of_repeats(ensemble.members.len());
        let resume = if ensemble.members == of_repeats.members {
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
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let shared = job::share_run(ranks, &run, &name)?;
    resume_at(args, shared, folder, process)
}

/// Describes what `calibrate` has fitted to the best epoch of a run, which a better one won't have;
/// `None` if there is nothing.
fn fitted_words(run: &Path) -> Option<String> {
    let meta = checkpoint::read_meta(&run.join("best")).ok()?;
    let other_rate = meta
        .reconstruction
        .filter(|fitted| fitted.rate != Reconstruction::RATE);
    let fitted = [
        (meta.temperature != 1.0, "a temperature"),
        (meta.threshold.is_some(), "a threshold"),
        (meta.coverage.is_some(), "prediction sets"),
        (meta.novelty.is_some(), "novelty"),
        (other_rate.is_some(), "a rate of false alarms"),
    ];
    let fitted: Vec<String> = fitted
        .into_iter()
        .filter(|(is_there, _)| *is_there)
        .map(|(_, name)| name.to_owned())
        .collect();
    (!fitted.is_empty()).then(|| {
        format!(
            "The best epoch has {} from `emberlens calibrate`: a better one replaces it without, \
             and is to be calibrated anew",
            listed(&fitted)
        )
    })
}

/// Resumes a run from one of its checkpoints. Only rank 0 has the lock, `folder`; for a dry run,
/// none has.
fn resume_at(
    args: &Args,
    shared: Shared,
    folder: Option<RunFolder>,
    process: Process<'_>,
) -> anyhow::Result<ExitStatus> {
    let ranks = process.ranks;
    let (run, path) = (shared.run.as_path(), shared.path.as_path());
    let saved = checkpoint::load_resumable(path)?;
    let config = config_of_run(args, run)?;
    job::check(&config, ranks)?;
    let data = job::read_images(&config, ranks, || inputs::read_data(&config));
    let mut data = data.inspect_err(tell_of_moves)?;
    warn(&data, &config);
    ranks.first_here(|| anyhow::Ok(saved.checkpoint.fetch_backbone(&Terminal)?))?;
    let compute = ui::open_device(job::device(config.device, ranks)?)?;
    let mut session = Session::resume(config, &mut data, [run, path], &compute.device, saved)?;
    data.survey = Scan::default();
    session.join(ranks, &data)?;
    session.remarks.iter().for_each(|remark| say(remark));
    if let Some(words) = fitted_words(run).filter(|_| session.finished().is_none()) {
        say(&words);
    }
    if args.dry_run {
        say("A dry run: the run can be resumed.");
        return Ok(ExitStatus::Done);
    }
    if let Some(folder) = folder {
        session.begin(folder, &data)?;
    }
    job::follow(&mut session, ranks)?;
    // Copies of what has been read.
    drop(shared);
    match session.finished() {
        Some(end) => say(&format!(
            "Nothing to train: {end}. To continue, raise --set train.epochs=N or \
             train.early_stopping.patience=N."
        )),
        None => say(&format!(
            "Resuming {} after epoch {}, batch {}",
            names::of_path(session.folder()),
            session.state.epoch,
            session.state.batch
        )),
    }
    train(session, data, &compute, process)
}
