//! Checks what `calibrate` and the end of training have fitted: temperature, threshold, prediction
//! sets, novelty, and the error of an autoencoder.

use super::{
    fault::{Checked, require},
    meta::{Meta, NOVELTY},
};
use crate::{metrics::Reconstruction, nn::networks::classifier::Output};

/// Outside this range, softmax probabilities are one-hot or uniform for logits of any usual size;
/// fitted temperatures stay far within.
const TEMPERATURES: std::ops::RangeInclusive<f64> = 1e-3..=1e3;

/// Checks the fitted values of `meta`.
pub(super) fn check_fitted(meta: &Meta) -> Checked {
    check_decisions(meta)?;
    check_novelty(meta)?;
    check_error(meta)
}

/// Checks temperature, threshold and prediction sets.
pub(super) fn check_decisions(meta: &Meta) -> Checked {
    let temperature = meta.temperature;
    require(
        TEMPERATURES.contains(&temperature),
        "temperature",
        temperature,
        "a number from 0.001 to 1000",
    )?;
    let images = |field: &str, count| require(count > 0, field, count, "one image or more");
    let is_share = |value: f64| value > 0.0 && value < 1.0;
    let probability = |field: &str, value: f32| {
        require(
            (0.0..=1.0).contains(&value),
            field,
            value,
            "a probability from 0 to 1",
        )
    };
    if let Some(fitted) = &meta.threshold {
        require(
            meta.classes.contains(&fitted.class),
            "threshold.class",
            &fitted.class,
            "one of `classes`",
        )?;
        require(
            is_share(fitted.sensitivity),
            "threshold.sensitivity",
            fitted.sensitivity,
            "a fraction between 0 and 1",
        )?;
        probability("threshold.probability", fitted.probability)?;
        images("threshold.fitted_on", fitted.fitted_on)?;
    }
    if let Some(fitted) = &meta.coverage {
        require(
            is_share(fitted.coverage),
            "coverage.coverage",
            fitted.coverage,
            "a fraction between 0 and 1",
        )?;
        probability("coverage.probability", fitted.probability)?;
        images("coverage.fitted_on", fitted.fitted_on)?;
    }
    Ok(())
}

/// Checks the rate of false alarms, and that its file is listed.
fn check_novelty(meta: &Meta) -> Checked {
    let is_listed = meta.files.contains_key(NOVELTY);
    let Some(fitted) = &meta.novelty else {
        return require(
            !is_listed,
            "novelty",
            &meta.novelty,
            format!("a value for {NOVELTY}"),
        );
    };
    require(is_listed, "files", meta.files.keys(), NOVELTY)?;
    require(
        fitted.rate > 0.0 && fitted.rate < 1.0,
        "novelty.rate",
        fitted.rate,
        "a fraction between 0 and 1",
    )?;
    let images = |field: &str, count| require(count > 0, field, count, "one image or more");
    images("novelty.compared_with", fitted.compared_with)?;
    images("novelty.fitted_on", fitted.fitted_on)
}

/// Checks the error above which images are unlike those of an autoencoder's training.
fn check_error(meta: &Meta) -> Checked {
    let Some(fitted) = &meta.reconstruction else {
        return Ok(());
    };
    require(
        meta.design.output == Output::Image,
        "reconstruction",
        fitted,
        "none for this architecture",
    )?;
    require(
        fitted.rate > 0.0 && fitted.rate < 1.0,
        "reconstruction.rate",
        fitted.rate,
        "a fraction between 0 and 1",
    )?;
    require(
        fitted.error.is_finite() && fitted.error >= 0.0,
        "reconstruction.error",
        fitted.error,
        "a number of 0 or more",
    )?;
    let least = Reconstruction::images_for(fitted.rate);
    require(
        fitted.fitted_on >= least,
        "reconstruction.fitted_on",
        fitted.fitted_on,
        format!("{least} images or more for the rate"),
    )
}
