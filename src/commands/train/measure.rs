//! Measures the best epoch of a finished run.

use std::{path::Path, sync::Arc};

use crate::{
    base::names,
    checkpoint::{self, Checkpoint, CheckpointError},
    commands::{
        common::exit_status::ExitStatus,
        ui::{self, Terminal, say},
    },
    config::Config,
    data::{
        Listed, TrainingData,
        batches::dataset::ImageSet,
        duplicates::leaks::known_to,
        listing::{Entry, Part},
        table::Skipped,
    },
    evaluation::{
        Evaluation,
        images::{EvalSet, RUNS_TEST, RUNS_VALIDATION},
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
    let folder = session.folder();
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
    let best = best_checkpoint(folder, epoch)?;
    let (name, evaluation) = measure(session, data, &best, compute)?;
    if name == "test" {
        text.push_str(&evaluation.to_text());
    }
    let subject = Subject {
        evaluation: &evaluation,
        name,
        checkpoints: std::slice::from_ref(&best),
        run: Some(folder),
        compute,
    };
    let results = folder.join("evaluation");
    let results = place::free(&results, name, &evaluation.data.blake3)?;
    evaluation.write(&results, &subject.lead())?;
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

/// Loads the best epoch of the finished run in `folder`.
pub(super) fn best_checkpoint(folder: &Path, epoch: usize) -> anyhow::Result<Checkpoint> {
    let path = folder.join("best");
    let best = checkpoint::load(&path)?;
    checkpoint::check_run(best.meta.run.as_ref(), &path)?;
    if best.meta.epoch != epoch {
        let reason = format!(
            "meta.json: `epoch`: found {}, expected {epoch}, the best of this run; \
             put the right one back",
            best.meta.epoch
        );
        return Err(CheckpointError::Mixed { path, reason }.into());
    }
    Ok(best)
}

/// Measures a checkpoint of the run on its test images or, without any, on the validation images.
/// Also returns the name of the images.
fn measure(
    session: &Session,
    data: TrainingData,
    checkpoint: &Checkpoint,
    compute: &Compute,
) -> anyhow::Result<(&'static str, Evaluation)> {
    let predictor = Predictor::new(checkpoint, compute, &Terminal)?;
    let predictor = reading(predictor, &session.config);
    let folder = session.folder();
    Ok(match test_set(data.test, data.skipped) {
        Some(images) => ("test", Evaluation::run(&predictor, images, Some(folder))?),
        None => (
            "val",
            validation(&predictor, &session.datasets.validation, folder)?,
        ),
    })
}

/// Returns the predictor with the recipe's way to read images, which has its cache, and its batch
/// size.
pub(super) fn reading<'a>(predictor: Predictor<'a>, config: &Config) -> Predictor<'a> {
    Predictor {
        data: config.data.clone(),
        batch_size: config.train.batch_size,
        ..predictor
    }
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

/// Returns the test images of a run to measure on, `None` if there are none.
pub(super) fn test_set(entries: Vec<Entry>, skipped: Vec<Skipped>) -> Option<EvalSet> {
    let skipped = skipped.into_iter();
    (!entries.is_empty()).then(|| EvalSet {
        entries,
        skipped: skipped
            .filter(|file| file.split == Part::Test.name())
            .collect(),
        name: "test".to_owned(),
        source: RUNS_TEST.to_owned(),
        known: known_to(Part::Test),
        digests: Vec::new(),
    })
}
