//! Measures the best epoch of a finished run, or the networks of several folds.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::reconstruct;
use crate::{
    base::names,
    checkpoint::{self, Checkpoint, CheckpointError},
    commands::{
        common::{exit_status::ExitStatus, job},
        ui::{self, Terminal, say},
    },
    config::Config,
    data::{
        Listed, TrainingData, batches::dataset::ImageSet, duplicates::leaks::known_to,
        listing::Part,
    },
    evaluation::{
        Evaluation,
        images::{EvalSet, OUT_OF_FOLD, RUNS_VALIDATION},
        page::{self, Subject},
        place,
        predictor::Predictor,
    },
    nn::device::Compute,
    train::{Outcome, Session},
};

/// Measures the best epoch of a finished run on the test images or, without any, on the validation
/// images, and presents the result.
///
/// # Errors
/// Returns an error if the best checkpoint or the images can't be read, or a file can't be written.
pub(super) fn finish(
    session: &Session,
    data: TrainingData,
    compute: &Compute,
    outcome: Outcome,
) -> anyhow::Result<ExitStatus> {
    if outcome.data_wait_share > 0.0 {
        say(&format!(
            "Steps waited for images {:.1} % of the time",
            outcome.data_wait_share * 100.0
        ));
    }
    let Some((value, epoch)) = session.state.best.found else {
        say("warning: no epoch had a usable metric, so there is no best one");
        return Ok(ExitStatus::Partly);
    };
    say(&format!(
        "Restoring model weights from the end of the best epoch: {epoch}."
    ));
    let monitor = &session.config.train.checkpoint.monitor;
    let mut text = format!("Best epoch {epoch}: {monitor} {value:.4}\n");
    let ranks = &session.learner.stepper.ranks;
    let place = job::share_run(ranks, session.folder(), "best")?;
    let best = best_checkpoint(&place.path, epoch)?;
    if best.meta.is_autoencoder() {
        return reconstruct::finish(session, data, (best, &place), compute);
    }
    let (name, evaluation) = measure((session, &place.run), data, &best, compute)?;
    if !ranks.is_first() {
        return Ok(ExitStatus::Done);
    }
    let folder = session.folder();
    if name == "test" {
        text.push_str(&evaluation.to_text());
    }
    let best = std::slice::from_ref(&best);
    let subject = subject(folder, (&evaluation, name), best, compute);
    write(&subject, folder)?;
    text.push_str(&format!("Run folder: {}\n", names::of_path(folder)));
    ui::print(&text)?;
    page::write(&subject, folder, &Terminal)?;
    // Last, where one looks.
    ui::print(&format!(
        "{} {}\n",
        if name == "val" { "Validation" } else { "Test" },
        evaluation.accuracy_words()
    ))?;
    Ok(ExitStatus::Done)
}

/// Loads the checkpoint of the best epoch of a finished run.
pub(super) fn best_checkpoint(path: &Path, epoch: usize) -> anyhow::Result<Checkpoint> {
    let best = checkpoint::load(path)?;
    checkpoint::check_run(best.meta.run.as_ref(), path)?;
    if best.meta.epoch != epoch {
        let reason = format!(
            "meta.json: `epoch`: found {}, expected {epoch}, the best of this run; \
             put the right one back",
            best.meta.epoch
        );
        let path = path.to_owned();
        return Err(CheckpointError::Mixed { path, reason }.into());
    }
    Ok(best)
}

/// Measures a checkpoint of the run on its test images or, without any, on the validation images.
/// Also returns the name of the images.
fn measure(
    (session, folder): (&Session, &Path),
    data: TrainingData,
    checkpoint: &Checkpoint,
    compute: &Compute,
) -> anyhow::Result<(&'static str, Evaluation)> {
    let predictor = Predictor {
        ranks: session.learner.stepper.ranks.clone(),
        ..Predictor::new(checkpoint, compute, &Terminal)?
    };
    let predictor = predictor.reading_as(&session.config);
    Ok(match EvalSet::of_test(data.test, data.skipped) {
        Some(images) => ("test", Evaluation::run(&predictor, images, Some(folder))?),
        None => (
            "val",
            validation(&predictor, &session.datasets.validation, folder)?,
        ),
    })
}

/// Measures on the validation images of the run in `folder`.
pub(super) fn validation(
    predictor: &Predictor<'_>,
    set: &Arc<ImageSet>,
    folder: &Path,
) -> anyhow::Result<Evaluation> {
    // `split.csv` says which of them are copies.
    let listed = Listed {
        set: Arc::clone(set),
        facts: Vec::new(),
        skipped: Vec::new(),
    };
    let (source, known) = (RUNS_VALIDATION.to_owned(), known_to(Part::Validation));
    Evaluation::of(predictor, listed, source, known, Some(folder))
}

/// A run of several networks that is to be measured on its test images and presented.
pub(super) struct Results<'a> {
    pub(super) config: &'a Config,
    /// Folder of the run.
    pub(super) path: &'a Path,
    /// Run folder of the first network, whose images are those of all.
    pub(super) first: &'a Path,
    pub(super) compute: &'a Compute,
    pub(super) checkpoints: &'a [Checkpoint],
}

impl Results<'_> {
    /// Measures the test images in `data`, if there are any, and presents them and the out-of-fold
    /// figures.
    ///
    /// # Errors
    /// Returns an error if an image can't be read, the device fails, or a file can't be written.
    pub(super) fn present(
        &self,
        all: &Evaluation,
        data: TrainingData,
    ) -> anyhow::Result<ExitStatus> {
        let subject = self.subject(all, OUT_OF_FOLD);
        let folder = write(&subject, self.path)?;
        let mut text = all.to_text();
        let mut last = format!("Out-of-fold {}\n", all.accuracy_words());
        if let Some(images) = EvalSet::of_test(data.test, data.skipped) {
            let predictor = Predictor::of_all(self.checkpoints, self.compute, &Terminal)?;
            let predictor = predictor.reading_as(self.config);
            let test = Evaluation::run(&predictor, images, Some(self.first))?;
            let subject = self.subject(&test, "test");
            page::write(&subject, &write(&subject, self.path)?, &Terminal)?;
            text.push_str(&format!(
                "\nThe test images, by the mean of {} networks:\n\n{}",
                self.checkpoints.len(),
                test.to_text()
            ));
            last.push_str(&format!("Test {}\n", test.accuracy_words()));
        }
        text.push_str(&format!("Run folder: {}\n", names::of_path(self.path)));
        ui::print(&text)?;
        say(&format!(
            "Out-of-fold predictions: {}",
            names::of_path(&folder.join("predictions.csv"))
        ));
        page::write(&subject, self.path, &Terminal)?;
        // Last, where one looks.
        ui::print(&last)?;
        Ok(ExitStatus::Done)
    }

    fn subject<'a>(&'a self, evaluation: &'a Evaluation, name: &'a str) -> Subject<'a> {
        subject(
            self.path,
            (evaluation, name),
            self.checkpoints,
            self.compute,
        )
    }
}

/// Returns what a report on the run in `folder` is about.
pub(super) fn subject<'a>(
    folder: &'a Path,
    (evaluation, name): (&'a Evaluation, &'a str),
    checkpoints: &'a [Checkpoint],
    compute: &'a Compute,
) -> Subject<'a> {
    Subject {
        evaluation,
        name,
        checkpoints,
        run: Some(folder),
        compute,
    }
}

/// Writes the files of an evaluation of the run in `folder` and returns their folder.
pub(super) fn write(subject: &Subject<'_>, folder: &Path) -> anyhow::Result<PathBuf> {
    let evaluation = subject.evaluation;
    let results = place::free(
        &folder.join("evaluation"),
        subject.name,
        &evaluation.data.blake3,
    )?;
    evaluation.write(&results, &subject.lead())?;
    Ok(results)
}
