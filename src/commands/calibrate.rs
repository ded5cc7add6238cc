//! `emberlens calibrate`: fits a temperature, a threshold for one class and prediction sets on the
//! validation images, and stores them in the checkpoint's `meta.json`. Stores nothing unless
//! everything requested can be fitted.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::bail;
use clap::Parser;
use serde::Serialize;

use super::ui::{self, say};
use crate::{
    base::{names, usage::UsageError, words::listed},
    checkpoint::{self, Meta, RunFolder},
    commands::{common::exit_status::ExitStatus, ui::Terminal},
    config::DeviceName,
    evaluation::{
        images::{SplitName, from_split, no_run, run_of},
        predictor::Predictor,
    },
    metrics::{
        Coverage, ScoredPredictions, TEMPERATURES, Threshold, argmax, calibration_error,
        fit_coverage, fit_temperature, fit_threshold, images_for, softened, temperature_interval,
    },
    nn::infer::{Keep, Predictions},
};

/// Arguments of `calibrate`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch), or one checkpoint in it
    run: PathBuf,
    /// Fit a temperature, so that probabilities can be taken at their word; predictions stay the same. What is fitted where nothing is asked
    /// for. A threshold and sets that the checkpoint has are fitted again with it
    #[arg(long)]
    temperature: bool,
    /// Find the probability from which an image counts as CLASS so that SHARE of the class is found, as in glioma=0.95; `predict` then says
    /// which images it flags
    #[arg(long, value_name = "CLASS=SHARE")]
    sensitivity: Option<Sensitivity>,
    /// Fit sets of classes that hold the true one for SHARE of new images of the same kind (conformal prediction), for `predict --abstain`
    #[arg(long, value_name = "SHARE")]
    coverage: Option<Share>,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
    /// One JSON document on stdout instead of sentences
    #[arg(long)]
    json: bool,
}

/// A fraction between 0 and 1, both excluded.
#[derive(Clone, Copy, Debug)]
struct Share(f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_share = |share: &f64| *share > 0.0 && *share < 1.0;
        text.parse()
            .ok()
            .filter(is_share)
            .map(Self)
            .ok_or_else(|| format!("found {text}, expected a number between 0 and 1, as 0.95"))
    }
}

/// A class and the fraction of its images to find.
#[derive(Clone, Debug)]
struct Sensitivity {
    class: String,
    share: Share,
}

impl FromStr for Sensitivity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (class, share) = text
            .rsplit_once('=')
            .ok_or("expected CLASS=SHARE, as glioma=0.95")?;
        Ok(Self {
            class: class.to_owned(),
            share: share.parse()?,
        })
    }
}

/// What to fit.
struct FitRequest {
    temperature: bool,
    threshold: Option<(String, f64)>,
    coverage: Option<f64>,
}

impl FitRequest {
    /// Returns what the arguments request. A new temperature changes the probabilities, so a
    /// threshold or sets fitted on the old ones are fitted again.
    fn of(args: &Args, meta: &Meta) -> Result<Self, UsageError> {
        let temperature =
            args.temperature || (args.sensitivity.is_none() && args.coverage.is_none());
        if let Some(Sensitivity { class, .. }) = args
            .sensitivity
            .as_ref()
            .filter(|wish| !meta.classes.contains(&wish.class))
        {
            let classes = listed(&meta.classes);
            return Err(UsageError(format!(
                "--sensitivity: found the unknown class {class}, expected one of {classes}"
            )));
        }
        let threshold = args
            .sensitivity
            .as_ref()
            .map(|wish| (wish.class.clone(), wish.share.0));
        let kept_threshold = || {
            meta.threshold
                .as_ref()
                .filter(|_| temperature)
                .map(|kept| (kept.class.clone(), kept.sensitivity))
        };
        let kept_coverage = || {
            meta.coverage
                .as_ref()
                .filter(|_| temperature)
                .map(|kept| kept.coverage)
        };
        Ok(Self {
            temperature,
            threshold: threshold.or_else(kept_threshold),
            coverage: args
                .coverage
                .map(|Share(share)| share)
                .or_else(kept_coverage),
        })
    }
}

/// What was fitted, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Fitted {
    /// Number of validation images it was fitted on.
    images: usize,
    /// The temperature, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<FittedTemperature>,
    /// The threshold of one class, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<Threshold>,
    /// The prediction sets, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage>,
}

/// A temperature and its effect on the images that it was fitted on.
#[derive(Debug, Serialize)]
struct FittedTemperature {
    value: f64,
    /// Bounds of the 95 % confidence interval.
    low: f64,
    high: f64,
    /// Expected calibration error without and with the temperature.
    calibration_error: [f64; 2],
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the checkpoint or the validation images can't be used, or there are too few
/// images to fit on. The checkpoint is left unchanged then.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let path = checkpoint::resolve(&args.run, "best")?;
    let run = run_of(&path).ok_or_else(|| no_run(&path))?;
    // A training process would overwrite what is stored here.
    let folder = RunFolder::open(run)?;
    let checkpoint = checkpoint::load(&path)?;
    checkpoint::check_run(checkpoint.meta.run.as_ref(), &path)?;
    let wishes = FitRequest::of(args, &checkpoint.meta)?;
    let images = from_split(SplitName::Val, run, &Terminal)?;
    let compute = ui::open_device(args.device)?;
    let mut predictor = Predictor {
        keep: Keep::Logits,
        ..Predictor::new(&checkpoint, &compute, &Terminal)?
    };
    let listed = predictor.read(&images.entries)?;
    if !listed.skipped.is_empty() {
        say(&format!(
            "warning: {} of {} validation images can't be read and are left out",
            listed.skipped.len(),
            images.entries.len()
        ));
    }
    images
        .changed(&listed.set)
        .iter()
        .for_each(|words| say(words));
    if listed.set.images.is_empty() {
        bail!(
            "found no validation image of the run that can be read, expected some to fit on: {}",
            names::of_path(run)
        );
    }
    let (set, labels) = (&listed.set, listed.set.labels());
    let mut found = predictor.predict(set)?;
    let mut meta = checkpoint.meta.clone();
    let mut fitted = Fitted {
        images: labels.len(),
        temperature: None,
        threshold: None,
        coverage: None,
    };
    if wishes.temperature {
        let temperature = FittedTemperature::new(&found, &labels, run)?;
        (meta.temperature, predictor.temperature) = (temperature.value, temperature.value);
        fitted.temperature = Some(temperature);
        // Threshold and sets are fitted on the probabilities with the new temperature.
        found = predictor.predict(set)?;
    }
    if let Some((class, sensitivity)) = &wishes.threshold {
        fitted.threshold = Some(threshold(
            &found.probabilities,
            &labels,
            &meta,
            (class, *sensitivity),
        )?);
        meta.threshold.clone_from(&fitted.threshold);
    }
    if let Some(share) = wishes.coverage {
        fitted.coverage = Some(coverage(&found.probabilities, &labels, share)?);
        meta.coverage.clone_from(&fitted.coverage);
    }
    checkpoint::save_meta(&folder, &path, &meta)?;
    ui::print(&if args.json {
        serde_json::to_string_pretty(&fitted)? + "\n"
    } else {
        fitted.words(run)
    })?;
    say(&format!(
        "Kept in {}; predict and evaluate use it",
        names::of_path(&path)
    ));
    Ok(ExitStatus::Done)
}

impl Fitted {
    /// Describes each fitted value in a sentence.
    fn words(&self, run: &Path) -> String {
        let mut text = String::new();
        if let Some(FittedTemperature {
            value,
            low,
            high,
            calibration_error: [before, after],
        }) = &self.temperature
        {
            text += &format!(
                "Temperature {value:.4} (95 %: {low:.4} to {high:.4}), fitted on {} validation images, whose probabilities were off by {before:.4} \
                 on average and are by {after:.4}.\n",
                self.images
            );
            if (*low..=*high).contains(&1.0) {
                text += "That may be chance: a temperature of 1, which changes nothing, is within the interval.\n";
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
                "{class} from a probability of {probability:.4} on: finds {sensitivity} of its {fitted_on} validation images or more.\n"
            );
        }
        if let Some(Coverage {
            coverage,
            probability,
            fitted_on,
        }) = &self.coverage
        {
            text += &format!(
                "Sets of the classes from a probability of {probability:.4} on: hold the true one for {coverage} or more of new images like the \
                 {fitted_on} that they were fitted on.\n"
            );
        }
        text + &format!(
            "How it does on images that it wasn't fitted on: emberlens evaluate --checkpoint {}\n",
            names::of_path(run)
        )
    }
}

impl FittedTemperature {
    /// Fits a temperature to the logits of validation images.
    ///
    /// # Errors
    /// Returns an error if no image is mistaken or no temperature within the bounds fits: the data
    /// don't determine one then.
    fn new(found: &Predictions, labels: &[usize], run: &Path) -> anyhow::Result<Self> {
        let mistakes = found
            .logits
            .iter()
            .zip(labels)
            .filter(|(row, label)| argmax(row) != **label)
            .count();
        if mistakes == 0 {
            bail!(
                "found no mistake among the {} validation images, expected some: without one, the best temperature is 0, which makes every \
                 probability 1; hold more images back (data.validation): {}",
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
                "found no temperature from {} to {} that fits the {} validation images ({mistakes} of them mistaken): the network's outputs say \
                 next to nothing about them: {}",
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
fn threshold(
    probabilities: &[Vec<f32>],
    labels: &[usize],
    meta: &Meta,
    (class, sensitivity): (&str, f64),
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
            "found {fitted_on} validation images of the class {class}, expected {least} or more to find {sensitivity} of it; hold more images \
             back (data.validation) or ask for less"
        ),
    }
}

/// Fits prediction sets.
///
/// # Errors
/// Returns an error if there are too few images for the coverage.
fn coverage(
    probabilities: &[Vec<f32>],
    labels: &[usize],
    coverage: f64,
) -> anyhow::Result<Coverage> {
    let own = labels
        .iter()
        .zip(probabilities)
        .map(|(label, row)| row[*label])
        .collect();
    let Some(probability) = fit_coverage(own, coverage) else {
        bail!(
            "found {} validation images, expected {} or more to promise a coverage of {coverage}; hold more images back (data.validation) or \
             ask for less",
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
