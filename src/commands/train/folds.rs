//! Trains the networks of a cross-validation: a run for each fold in the folder of the run, one after
//! the other; then measures each image by the network that held it back, and the test images by all
//! of them.

use std::path::Path;

use super::{
    Args, Ended, begin, config_of_run, fetch_weights,
    measure::{best_checkpoint, reading, test_set, validation},
    places::new_folder,
    tell_of_moves, train_session,
    words::{summary_table, warn},
};
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError},
    checkpoint::{self, Checkpoint, CheckpointError, Ensemble, RunFolder, resolve_resumable},
    commands::{
        common::{contact_sheet, exit_status::ExitStatus, inputs},
        ui::{self, Terminal, say, signals::Signals},
    },
    config::Config,
    data::{TrainingData, duplicates::scan::Scan, table::to_csv},
    evaluation::{
        Evaluation,
        page::{self, OUT_OF_FOLD, Subject},
        place,
        predictor::Predictor,
    },
    nn::device::Compute,
    train::Session,
};

/// Trains a recipe with `count` folds into the run folder `out` or a new one.
///
/// # Errors
/// Returns an error if anything ends the run.
pub(super) fn start(
    config: Config,
    count: usize,
    (out, is_dry): (Option<&Path>, bool),
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    let folds = inputs::load_folds(&config, count)?;
    let first = &folds[0];
    if let Some(words) = &first.without_effect {
        return Err(UsageError(words.clone()).into());
    }
    warn(first, &config);
    fetch_weights(&config)?;
    let compute = ui::open_device(config.device)?;
    if is_dry {
        let session = Session::start(config.of_fold(1), first, &compute.device)?;
        session.remarks.iter().for_each(|remark| say(remark));
        say(&summary_table(&session));
        say("A dry run: nothing was trained or written.");
        return Ok(ExitStatus::Done);
    }
    let folder = new_folder(&config.name, out)?;
    let path = folder.path();
    write_atomic(&path.join("config.toml"), config.to_toml().as_bytes())?;
    if !first.skipped.is_empty() {
        write_atomic(&path.join("skipped.csv"), &to_csv(&first.skipped))?;
    }
    if !first.damaged.is_empty() {
        write_atomic(&path.join("damaged.csv"), &to_csv(&first.damaged))?;
    }
    let ensemble = Ensemble::of_folds(count);
    // From here on, the run can be resumed.
    ensemble.write(&folder)?;
    if config.augment.is_active() {
        let sample = contact_sheet::sample(&config.of_fold(1), first)?;
        write_atomic(&path.join("augmentation.png"), &sample)?;
    }
    let run = Run {
        config,
        folder,
        ensemble,
        compute,
    };
    run.train(folds, signals)
}

/// Resumes the run in the folder `path`: finished folds stay as they are, the one that was stopped
/// goes on, and the others follow.
///
/// # Errors
/// Returns an error if anything ends the run.
pub(super) fn resume(
    args: &Args,
    path: &Path,
    ensemble: &Ensemble,
    signals: &Signals,
) -> anyhow::Result<ExitStatus> {
    // First of all: whoever trains the run may be changing it.
    let folder = RunFolder::open(path)?;
    let config = config_of_run(args, path)?;
    let count = ensemble.members.len();
    if config.all_folds() != Some(count) {
        let found = config
            .train
            .folds
            .map_or("none".to_owned(), |folds| folds.to_string());
        return Err(UsageError(format!(
            "train.folds: found {found}, expected {count} as the run has; a resume can't change it: \
             {}",
            names::of_path(path)
        ))
        .into());
    }
    let mut folds = inputs::load_folds(&config, count).inspect_err(tell_of_moves)?;
    warn(&folds[0], &config);
    let compute = ui::open_device(config.device)?;
    let run = Run {
        config,
        folder,
        ensemble: ensemble.clone(),
        compute,
    };
    if args.dry_run {
        for (index, data) in folds.iter_mut().enumerate() {
            run.restore(index, data)?;
        }
        say("A dry run: the run can be resumed.");
        return Ok(ExitStatus::Done);
    }
    let recipe = run.config.to_toml();
    write_atomic(&path.join("config.toml"), recipe.as_bytes())?;
    run.train(folds, signals)
}

/// A run of several folds.
struct Run {
    config: Config,
    folder: RunFolder,
    ensemble: Ensemble,
    compute: Compute,
}

/// The network of a trained fold.
struct Fold {
    checkpoint: Checkpoint,
    evaluation: Evaluation,
}

impl Run {
    /// Trains what isn't trained yet, then measures. Folds are counted from 0.
    fn train(&self, mut folds: Vec<TrainingData>, signals: &Signals) -> anyhow::Result<ExitStatus> {
        let (count, path) = (folds.len(), self.folder.path());
        say(&format!("Run folder: {}", names::of_path(path)));
        let mut epochs = Vec::new();
        for (index, data) in folds.iter_mut().enumerate() {
            let fold = index + 1;
            let mut session = self.open(index, data)?;
            data.survey = Scan::default();
            let (training, held) = (data.train.images.len(), data.validation.images.len());
            let what = match session.finished() {
                Some(end) => format!("nothing to train, {end}"),
                None if session.state.step == 0 => {
                    format!("{training} training and {held} validation images")
                }
                None => format!(
                    "resuming after epoch {}, batch {}",
                    session.state.epoch, session.state.batch
                ),
            };
            if index == 0 && session.state.step == 0 {
                session.remarks.iter().for_each(|remark| say(remark));
                say(&summary_table(&session));
            }
            say(&format!("Fold {fold} of {count}: {what}"));
            if session.finished().is_none() {
                if let Ended::Stopped(status) = train_session(&mut session, path, signals)? {
                    return Ok(status);
                }
            }
            let Some((value, epoch)) = session.state.best.found else {
                say(&format!(
                    "warning: no epoch of fold {fold} had a usable metric, so there is no best one"
                ));
                return Ok(ExitStatus::Partly);
            };
            let monitor = &self.config.train.checkpoint.monitor;
            say(&format!(
                "Fold {fold} of {count}: best epoch {epoch}, {monitor} {value:.4}"
            ));
            epochs.push(epoch);
        }
        self.measure(&folds, &epochs)
    }

    /// Returns the session of a fold, restored or new, which has begun in its folder.
    fn open(&self, index: usize, data: &mut TrainingData) -> anyhow::Result<Session> {
        let path = self.path(index);
        let config = self.config.of_fold(index + 1);
        let is_there = path.is_dir();
        // The lock comes first, as that of any run that is resumed.
        let folder = if is_there {
            Some(RunFolder::open(&path)?)
        } else {
            None
        };
        match self.restore(index, data)? {
            Some(mut session) => {
                let folder = folder.expect("what was restored has a folder");
                session.begin(folder, data)?;
                Ok(session)
            }
            None => {
                drop(folder);
                let mut session = Session::start(config, data, &self.compute.device)?;
                begin(&mut session, data, RunFolder::create(&path)?)?;
                Ok(session)
            }
        }
    }

    /// Restores the session of a fold, or returns `None` if nothing of it was saved.
    fn restore(&self, index: usize, data: &mut TrainingData) -> anyhow::Result<Option<Session>> {
        let path = self.path(index);
        let last = match resolve_resumable(&path) {
            Ok((last, _)) => last,
            Err(CheckpointError::Missing(_) | CheckpointError::Unstarted(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let saved = checkpoint::load_resumable(&last)?;
        saved.checkpoint.fetch_backbone(&Terminal)?;
        let config = self.config.of_fold(index + 1);
        let places = [path.as_path(), &last];
        let session = Session::resume(config, data, places, &self.compute.device, saved)?;
        session.remarks.iter().for_each(|remark| say(remark));
        Ok(Some(session))
    }

    fn path(&self, index: usize) -> std::path::PathBuf {
        self.folder.path().join(&self.ensemble.members[index])
    }

    /// Measures each fold, all of them together, and the test images, and presents the results.
    fn measure(&self, folds: &[TrainingData], epochs: &[usize]) -> anyhow::Result<ExitStatus> {
        let path = self.folder.path();
        let measured = folds
            .iter()
            .zip(epochs)
            .enumerate()
            .map(|(index, (data, epoch))| self.measure_fold(index, data, *epoch))
            .collect::<anyhow::Result<Vec<Fold>>>()?;
        let (checkpoints, evaluations): (Vec<_>, Vec<_>) = measured
            .into_iter()
            .map(|fold| (fold.checkpoint, fold.evaluation))
            .unzip();
        let metas = checkpoints.iter().map(|checkpoint| &checkpoint.meta);
        let all = Evaluation::out_of_fold(&metas.zip(evaluations).collect::<Vec<_>>());
        let subject = self.subject(&all, OUT_OF_FOLD, &checkpoints);
        let results = write(&subject, path)?;
        let mut text = all.to_text();
        let mut last = format!("Out-of-fold {}\n", all.accuracy_words());
        if let Some(test) = self.measure_test(&folds[0])? {
            let subject = self.subject(&test, "test", &checkpoints);
            page::write(&subject, &write(&subject, path)?, &Terminal)?;
            text.push_str(&format!(
                "\nThe test images, by the mean of {} networks:\n\n{}",
                folds.len(),
                test.to_text()
            ));
            last.push_str(&format!("Test {}\n", test.accuracy_words()));
        }
        text.push_str(&format!("Run folder: {}\n", names::of_path(path)));
        ui::print(&text)?;
        say(&format!(
            "Out-of-fold predictions: {}",
            names::of_path(&results.join("predictions.csv"))
        ));
        page::write(&subject, path, &Terminal)?;
        // Last, where one looks.
        ui::print(&last)?;
        Ok(ExitStatus::Done)
    }

    /// Measures the best epoch of a fold on the images that it held back.
    fn measure_fold(
        &self,
        index: usize,
        data: &TrainingData,
        epoch: usize,
    ) -> anyhow::Result<Fold> {
        let folder = self.path(index);
        let checkpoint = best_checkpoint(&folder, epoch)?;
        let predictor = Predictor::new(&checkpoint, &self.compute, &Terminal)?;
        let predictor = reading(predictor, &self.config);
        let evaluation = validation(&predictor, &data.validation, &folder)?;
        drop(predictor);
        let of_fold = std::slice::from_ref(&checkpoint);
        write(&self.subject(&evaluation, "val", of_fold), &folder)?;
        Ok(Fold {
            checkpoint,
            evaluation,
        })
    }

    /// Measures the test images by the mean of all networks; `None` if there are none.
    fn measure_test(&self, data: &TrainingData) -> anyhow::Result<Option<Evaluation>> {
        let Some(images) = test_set(data.test.clone(), data.skipped.clone()) else {
            return Ok(None);
        };
        let checkpoints = checkpoint::load_all(&checkpoint::resolve_all(self.folder.path())?)?;
        let predictor = Predictor::of_all(&checkpoints, &self.compute, &Terminal)?;
        let predictor = reading(predictor, &self.config);
        // The images of the first fold are those of all.
        let run = self.path(0);
        Ok(Some(Evaluation::run(&predictor, images, Some(&run))?))
    }

    fn subject<'a>(
        &'a self,
        evaluation: &'a Evaluation,
        name: &'a str,
        checkpoints: &'a [Checkpoint],
    ) -> Subject<'a> {
        Subject {
            evaluation,
            name,
            checkpoints,
            run: Some(self.folder.path()),
            compute: &self.compute,
        }
    }
}

/// Writes the files of an evaluation of the run in `folder` and returns their folder.
fn write(subject: &Subject<'_>, folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let evaluation = subject.evaluation;
    let results = place::free(
        &folder.join("evaluation"),
        subject.name,
        &evaluation.data.blake3,
    )?;
    evaluation.write(&results, &subject.lead())?;
    Ok(results)
}
