//! `emberlens calibrate`: fits a temperature, a threshold for one class and prediction sets on the
//! validation images, and stores them in the checkpoint's `meta.json`. Stores nothing unless
//! everything requested can be fitted.

mod fits;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use anyhow::bail;
use clap::Parser;

use self::fits::{Fitted, FittedTemperature, coverage, threshold};
use super::ui::{self, say};
use crate::{
    base::{names, usage::UsageError, words::listed},
    checkpoint::{self, Meta, RunFolder},
    commands::{common::exit_status::ExitStatus, ui::Terminal},
    config::DeviceName,
    data::batches::dataset::ImageSet,
    evaluation::{
        images::{EvalSet, SplitName, from_split, no_run, run_of},
        predictor::Predictor,
    },
    nn::infer::Detail,
};

/// Arguments of `calibrate`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch), or one checkpoint in it
    run: PathBuf,
    /// Fit a temperature, so that probabilities match frequencies; predicted classes stay the same.
    /// The default if nothing else is requested. A threshold and sets in the checkpoint are fitted
    /// again with it
    #[arg(long)]
    temperature: bool,
    /// Fit the probability from which an image counts as CLASS, so that the fraction SHARE of the
    /// class is found, as in glioma=0.95; `predict` then reports the images that it flags
    #[arg(long, value_name = "CLASS=SHARE")]
    sensitivity: Option<Sensitivity>,
    /// Fit sets of classes that hold the true one for the fraction SHARE of new images of the same
    /// kind (conformal prediction), for `predict --abstain`
    #[arg(long, value_name = "SHARE")]
    coverage: Option<Share>,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
    /// Print one JSON document instead of sentences
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
        keep: Detail::Logits,
        ..Predictor::new(&checkpoint, &compute, &Terminal)?
    };
    let set = validation_set(&images, &predictor, run)?;
    let labels = set.labels();
    let mut found = predictor.predict(&set)?;
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
        found = predictor.predict(&set)?;
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

/// Reads the validation images of a run, and reports those that can't be read or have changed.
///
/// # Errors
/// Returns an error if none can be read.
fn validation_set(
    images: &EvalSet,
    predictor: &Predictor<'_>,
    run: &Path,
) -> anyhow::Result<Arc<ImageSet>> {
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
    Ok(listed.set)
}
