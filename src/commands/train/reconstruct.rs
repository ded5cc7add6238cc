//! Ends a run of an autoencoder: fits the error from which images are unlike the training images,
//! and measures the best epoch.

use crate::{
    base::names,
    checkpoint::{Checkpoint, Meta},
    commands::{
        common::{exit_status::ExitStatus, job::Shared},
        ui::{self, Terminal, say},
    },
    data::TrainingData,
    evaluation::{
        images::{EvalSet, RUNS_VALIDATION},
        place,
        predictor::Predictor,
        reconstruction::{Reconstructions, write_mean_image, write_page},
    },
    metrics::Reconstruction,
    nn::device::Compute,
    train::Session,
};

/// Measures an autoencoder on the test images or, without any, on the validation images, and
/// presents the result. Stores the threshold in `best/`.
///
/// # Errors
/// Returns an error if an image can't be read, the device fails, or a file can't be written.
pub(super) fn finish(
    session: &Session,
    data: TrainingData,
    (best, place): (Checkpoint, &Shared),
    compute: &Compute,
) -> anyhow::Result<ExitStatus> {
    let ranks = &session.learner.stepper.ranks;
    let set = &session.datasets.validation;
    let errors = predictor(session, &best, compute)?.predict(set)?.losses;
    let best = Checkpoint {
        meta: fitted(&best.meta, &errors),
        ..best
    };
    session.save_meta("best", &best.meta)?;
    if ranks.is_first() {
        write_mean_image(&session.datasets.train, &place.run)?;
    }
    let predictor = predictor(session, &best, compute)?;
    let run = Some(place.run.as_path());
    let (name, found) = match EvalSet::of_test(data.test, data.skipped) {
        Some(images) => ("test", Reconstructions::run(&predictor, images, run)?),
        None => {
            let (images, source) = ((set.clone(), errors), RUNS_VALIDATION.to_owned());
            ("val", Reconstructions::of(images, &best.meta, source, run)?)
        }
    };
    if !ranks.is_first() {
        return Ok(ExitStatus::Done);
    }
    let folder = session.folder();
    let results = place::free(&folder.join("evaluation"), name, &found.data.blake3)?;
    found.write(&results)?;
    ui::print(&format!(
        "Best epoch {}: {} {:.6}\n{}Run folder: {}\n",
        best.meta.epoch,
        session.config.train.checkpoint.monitor,
        session
            .state
            .best
            .found
            .map_or(f64::NAN, |(value, _)| value),
        found.to_text(),
        names::of_path(folder)
    ))?;
    write_page(&found, &predictor, (name, run), folder)?;
    Ok(ExitStatus::Done)
}

/// Returns the predictor that reads images as the run does, by all ranks.
fn predictor<'a>(
    session: &Session,
    checkpoint: &'a Checkpoint,
    compute: &'a Compute,
) -> anyhow::Result<Predictor<'a>> {
    let predictor = Predictor {
        ranks: session.learner.stepper.ranks.clone(),
        ..Predictor::new(checkpoint, compute, &Terminal)?
    };
    Ok(predictor.reading_as(&session.config))
}

/// Returns the metadata with the threshold that the errors of the validation images give: at the
/// rate that it was asked for before.
fn fitted(meta: &Meta, errors: &[f32]) -> Meta {
    let kept = meta.reconstruction.as_ref();
    let rate = kept.map_or(Reconstruction::RATE, |kept| kept.rate);
    let reconstruction = Reconstruction::fit(rate, errors);
    if reconstruction.is_none() {
        say(&format!(
            "warning: found {} validation images, expected {} or more to promise a rate of false \
             alarms of {rate}: no error counts as unlike the training images; hold back more \
             (data.validation), or allow more with calibrate --novelty",
            errors.len(),
            Reconstruction::images_for(rate)
        ));
    }
    Meta {
        reconstruction,
        ..meta.clone()
    }
}
