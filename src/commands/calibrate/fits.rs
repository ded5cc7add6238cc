//! Fits temperature, threshold, prediction sets and novelty on validation images, and describes
//! them.

use std::path::Path;

use anyhow::bail;
use serde::Serialize;

use crate::{
    base::names,
    checkpoint::Meta,
    metrics::{
        Coverage, Novelty, ScoredPredictions, TEMPERATURES, Threshold, argmax, calibration_error,
        fit_coverage, fit_temperature, fit_threshold, images_for, softened, temperature_interval,
    },
    nn::infer::Predictions,
};

/// The fitted values, as `--json` prints them.
#[derive(Debug, Serialize)]
pub(super) struct Fitted {
    /// Number of validation images it was fitted on.
    pub(super) images: usize,
    /// Number of networks, each with validation images of its own.
    networks: usize,
    /// The temperature, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<FittedTemperature>,
    /// The threshold of one class, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) threshold: Option<Threshold>,
    /// The prediction sets, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) coverage: Option<Coverage>,
    /// The rate of false alarms, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) novelty: Option<Novelty>,
}

impl Fitted {
    /// Returns what is fitted on so many images of so many networks, with nothing fitted yet.
    pub(super) fn on(images: usize, networks: usize) -> Self {
        Self {
            images,
            networks,
            temperature: None,
            threshold: None,
            coverage: None,
            novelty: None,
        }
    }
}

impl Fitted {
    /// Describes each fitted value in a sentence.
    pub(super) fn words(&self, run: &Path) -> String {
        let mut text = String::new();
        if let Some(FittedTemperature {
            value,
            low,
            high,
            calibration_error: [before, after],
        }) = &self.temperature
        {
            text += &format!(
                "Temperature {value:.4} (95 %: {low:.4} to {high:.4}), fitted on {} validation \
                 images, whose probabilities were off by {before:.4} on average and are off by \
                 {after:.4} now.\n",
                self.images
            );
            if (*low..=*high).contains(&1.0) {
                text += "That may be chance: a temperature of 1, which changes nothing, is within \
                         the interval.\n";
            }
        }
        if let Some(Threshold {
            class,
            sensitivity,
            probability,
            fitted_on,
        }) = &self.threshold
        {
            text += &format!(
                "{class} from a probability of {probability:.4} on: finds at least \
                 {sensitivity} of its {fitted_on} validation images.\n"
            );
        }
        if let Some(Coverage {
            coverage,
            probability,
            fitted_on,
        }) = &self.coverage
        {
            text += &format!(
                "Sets of the classes from a probability of {probability:.4} on: hold the true one \
                 for at least {coverage} of new images like the {fitted_on} that they were \
                 fitted on.\n"
            );
        }
        if let Some(Novelty {
            rate,
            compared_with,
            fitted_on,
            ..
        }) = &self.novelty
        {
            text += &format!(
                "Unlike the training images from a p-value of {rate} down: at most {rate} of new \
                 images like the {fitted_on} that it was fitted on, by how far their features lie \
                 from those of {compared_with} training images.\n"
            );
        }
        text + &self.closing_words(run)
    }

    /// Describes what the values are used for, and how to measure it.
    fn closing_words(&self, run: &Path) -> String {
        let mean = match self.networks {
            1 => String::new(),
            count => format!(
                "Fitted to {count} single networks, each on the images that it held back, and \
                 used for the mean of their probabilities, of which this holds only roughly.\n"
            ),
        };
        format!(
            "{mean}To measure it on other images: emberlens evaluate --checkpoint {}\n",
            names::of_path(run)
        )
    }
}

/// A temperature and its effect on the images that it was fitted on.
#[derive(Debug, Serialize)]
pub(super) struct FittedTemperature {
    pub(super) value: f64,
    /// Bounds of the 95 % confidence interval.
    low: f64,
    high: f64,
    /// Expected calibration error without and with the temperature.
    calibration_error: [f64; 2],
}

impl FittedTemperature {
    /// Fits a temperature to the logits of validation images. `more` says how to have more of them.
    ///
    /// # Errors
    /// Returns an error if no image is mistaken or no temperature within the bounds fits: the data
    /// don't determine one then.
    pub(super) fn new(
        found: &Predictions,
        labels: &[usize],
        (run, more): (&Path, &str),
    ) -> anyhow::Result<Self> {
        let mistakes = found
            .logits
            .iter()
            .zip(labels)
            .filter(|(row, label)| argmax(row) != **label)
            .count();
        if mistakes == 0 {
            bail!(
                "found no mistake among the {} validation images, expected some: without one, the \
                 best temperature is 0, which makes every probability 1; {more}: {}",
                labels.len(),
                names::of_path(run)
            );
        }
        let value = fit_temperature(&found.logits, labels);
        if TEMPERATURES
            .iter()
            .any(|limit| (value / limit - 1.0).abs() < 1e-6)
        {
            bail!(
                "found no temperature from {} to {} that fits the {} validation images ({mistakes} \
                 of them mistaken): the network's outputs carry next to no information about them: \
                 {}",
                TEMPERATURES[0],
                TEMPERATURES[1],
                labels.len(),
                names::of_path(run)
            );
        }
        let [low, high] = temperature_interval(&found.logits, labels, value);
        let num_classes = found.logits[0].len();
        let error = |temperature| {
            let probabilities = softened(&found.logits, temperature);
            calibration_error(
                &ScoredPredictions::new(
                    labels.to_vec(),
                    probabilities.iter().map(Vec::as_slice).collect(),
                    num_classes,
                )
                .reliability(),
            )
        };
        Ok(Self {
            value,
            low,
            high,
            calibration_error: [error(1.0), error(value)],
        })
    }
}

/// Fits the threshold of one class.
///
/// # Errors
/// Returns an error if the class has too few images for the sensitivity.
pub(super) fn threshold(
    probabilities: &[Vec<f32>],
    labels: &[usize],
    meta: &Meta,
    (class, sensitivity): (&str, f64),
    more: &str,
) -> anyhow::Result<Threshold> {
    let index = meta
        .classes
        .iter()
        .position(|known| known == class)
        .unwrap_or(0);
    let own: Vec<f32> = labels
        .iter()
        .zip(probabilities)
        .filter(|(label, _)| **label == index)
        .map(|(_, row)| row[index])
        .collect();
    let (fitted_on, least) = (own.len(), images_for(sensitivity));
    match fit_threshold(own, sensitivity) {
        Some(probability) if fitted_on >= least => Ok(Threshold {
            class: class.to_owned(),
            sensitivity,
            probability,
            fitted_on,
        }),
        _ => bail!(
            "found {fitted_on} validation images of the class {class}, expected {least} or more to \
             find {sensitivity} of it; {more} or request less"
        ),
    }
}

/// Fits prediction sets.
///
/// # Errors
/// Returns an error if there are too few images for the coverage.
pub(super) fn coverage(
    probabilities: &[Vec<f32>],
    labels: &[usize],
    coverage: f64,
    more: &str,
) -> anyhow::Result<Coverage> {
    let own = labels
        .iter()
        .zip(probabilities)
        .map(|(label, row)| row[*label])
        .collect();
    let Some(probability) = fit_coverage(own, coverage) else {
        bail!(
            "found {} validation images, expected {} or more to promise a coverage of {coverage}; \
             {more} or request less",
            labels.len(),
            images_for(coverage)
        );
    };
    Ok(Coverage {
        coverage,
        probability,
        fitted_on: labels.len(),
    })
}

/// Fits novelty to the features of validation images and of training images, which are computed
/// once there is use for them.
///
/// # Errors
/// Returns an error if there are too few validation images for the rate.
pub(super) fn novelty(
    rate: f64,
    validation: &[Vec<f32>],
    training: impl FnOnce() -> anyhow::Result<Vec<Vec<f32>>>,
) -> anyhow::Result<Novelty> {
    if validation.len() < Novelty::images_for(rate) {
        bail!("{}", too_few(validation.len(), rate));
    }
    Ok(Novelty::fit(rate, &training()?, validation))
}

/// Says that there are too few validation images for a rate of false alarms.
pub(super) fn too_few(found: usize, rate: f64) -> String {
    format!(
        "found {found} validation images, expected {} or more to promise a rate of {rate}; hold \
         back more images (data.validation) or allow more false alarms",
        images_for(1.0 - rate)
    )
}
