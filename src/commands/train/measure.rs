//! Measures the best epoch of a finished run.

use std::sync::Arc;

use crate::{
    base::names,
    checkpoint::{self, Checkpoint, CheckpointError},
    commands::{
        common::exit_status::ExitStatus,
        ui::{self, Terminal, say},
    },
    data::{Listed, TrainingData, duplicates::leaks::known_to, listing::Part},
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
    let best = best_checkpoint(session, epoch)?;
    let (name, evaluation) = measure(session, data, &best, compute)?;
    if name == "test" {
        text.push_str(&evaluation.to_text());
    }
    let subject = Subject {
        evaluation: &evaluation,
        name,
        checkpoint: &best,
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

/// Loads the best epoch of a finished run.
fn best_checkpoint(session: &Session, epoch: usize) -> anyhow::Result<Checkpoint> {
    let path = session.folder().join("best");
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
    let folder = Some(session.folder());
    let predictor = Predictor {
        data: session.config.data.clone(),
        batch_size: session.config.train.batch_size,
        ..Predictor::new(checkpoint, compute, &Terminal)?
    };
    if data.test.is_empty() {
        // `split.csv` says which of them are copies.
        let listed = Listed {
            set: Arc::clone(&session.datasets.validation),
            facts: Vec::new(),
            skipped: Vec::new(),
        };
        let (source, known) = (RUNS_VALIDATION.to_owned(), known_to(Part::Validation));
        let evaluation = Evaluation::of(&predictor, listed, source, known, folder)?;
        return Ok(("val", evaluation));
    }
    let skipped = data.skipped.into_iter();
    let images = EvalSet {
        entries: data.test,
        skipped: skipped
            .filter(|file| file.split == Part::Test.name())
            .collect(),
        name: "test".to_owned(),
        source: RUNS_TEST.to_owned(),
        known: known_to(Part::Test),
        digests: Vec::new(),
    };
    Ok(("test", Evaluation::run(&predictor, images, folder)?))
}
