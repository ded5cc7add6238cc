//! `emberlens calibrate`: fits a temperature, a threshold for one class, prediction sets and
//! novelty on the validation images, and stores them in the checkpoint; of a run of folds, on all
//! images, each as the network says that held it back. Stores nothing unless everything requested
//! can be fitted.

mod fits;
mod reconstruct;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use anyhow::bail;
use clap::Parser;

use self::fits::{Fitted, FittedTemperature, coverage, novelty, threshold};
use super::ui::{self, say};
use crate::{
    base::{names, usage::UsageError, words::listed},
    checkpoint::{self, Checkpoint, Ensemble, Meta, Networks, RunFolder},
    commands::{common::exit_status::ExitStatus, ui::Terminal},
    config::DeviceName,
    data::batches::dataset::ImageSet,
    evaluation::{
        images::{EvalSet, SplitName, from_split, no_run, run_of, training_images},
        predictor::Predictor,
    },
    nn::{
        device::Compute,
        infer::{Detail, Predictions},
    },
};

/// Most training images that others are compared with.
const COMPARED: usize = 5000;

/// Arguments of `calibrate`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch, or those of its folds), or one checkpoint in it
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
    /// Fit how far an image may lie from the training images, in the network's features, so that at
    /// most the fraction RATE of new images of the same kind is taken for others, as in 0.05, for
    /// `predict --abstain`
    #[arg(long, value_name = "RATE")]
    novelty: Option<Share>,
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
            .ok_or_else(|| format!("found {text}, expected a number between 0 and 1"))
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
    novelty: Option<f64>,
}

impl FitRequest {
    /// Returns what the arguments request. A new temperature changes the probabilities, so a
    /// threshold or sets fitted on the old ones are fitted again.
    fn of(args: &Args, meta: &Meta) -> Result<Self, UsageError> {
        let is_other =
            args.sensitivity.is_some() || args.coverage.is_some() || args.novelty.is_some();
        let temperature = args.temperature || !is_other;
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
            novelty: args.novelty.map(|Share(share)| share),
        })
    }
}

/// A network and the images that it held back.
struct Held<'a> {
    predictor: Predictor<'a>,
    set: Arc<ImageSet>,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the checkpoint or the validation images can't be used, or there are too few
/// images to fit on. The checkpoint is left unchanged then.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let networks = Networks::find(&args.run)?;
    let run = networks.run().ok_or_else(|| no_run(&networks.paths[0]))?;
    // A training process would overwrite what is stored here.
    let folder = RunFolder::open(run)?;
    let ensemble = Ensemble::open(run)?;
    if let Some(ensemble) = &ensemble {
        refuse(args, &networks, ensemble)?;
    }
    let checkpoints = networks.load()?;
    if checkpoints[0].meta.is_autoencoder() {
        return reconstruct::fit(args, &folder, (&checkpoints[0], &networks.paths[0]), run);
    }
    let mut meta = checkpoints[0].meta.clone();
    let wishes = FitRequest::of(args, &meta)?;
    let compute = ui::open_device(args.device)?;
    let mut held = held_back(&networks, &checkpoints, &compute)?;
    let fitted = fit(&wishes, &mut held, &mut meta, run)?;
    let path = match ensemble {
        Some(ensemble) => {
            ensemble.write_calibrated(&folder, (&meta, &checkpoints))?;
            run
        }
        None => {
            let path = &networks.paths[0];
            match &fitted.novelty {
                Some(_) => checkpoint::save_novelty(&folder, path, &meta)?,
                None => checkpoint::save_meta(&folder, path, &meta)?,
            }
            path
        }
    };
    ui::print(&if args.json {
        serde_json::to_string_pretty(&fitted)? + "\n"
    } else {
        fitted.words(run)
    })?;
    say(&kept_words(path));
    Ok(ExitStatus::Done)
}

/// Refuses what can't be fitted to several networks.
fn refuse(args: &Args, networks: &Networks, ensemble: &Ensemble) -> Result<(), UsageError> {
    let folds = ensemble.runs(&networks.folder);
    let one = names::of_path(&folds[0]);
    let reason = if folds.len() < networks.paths.len() {
        format!(
            "found a run of several seeds, expected one: each image was held back by a network of \
             each; name one, such as {one}"
        )
    } else if args.novelty.is_some() {
        format!(
            "--novelty compares with the features of one network, and this run has {}; name a \
             fold, such as {one}",
            folds.len()
        )
    } else {
        return Ok(());
    };
    Err(UsageError(format!(
        "{reason}: {}",
        names::of_path(&networks.folder)
    )))
}

/// Reads the images that each network held back.
///
/// # Errors
/// Returns an error if a checkpoint or its images can't be used.
fn held_back<'a>(
    networks: &Networks,
    checkpoints: &'a [Checkpoint],
    compute: &'a Compute,
) -> anyhow::Result<Vec<Held<'a>>> {
    let held = |(checkpoint, path): (&'a Checkpoint, &PathBuf)| {
        checkpoint::check_run(checkpoint.meta.run.as_ref(), path)?;
        let run = run_of(path).ok_or_else(|| no_run(path))?;
        let images = from_split(SplitName::Val, run, &Terminal)?;
        let predictor = Predictor {
            keep: Detail::Logits,
            ..Predictor::new(checkpoint, compute, &Terminal)?
        };
        Ok(Held {
            set: read(&images, &predictor)?,
            predictor,
        })
    };
    checkpoints.iter().zip(&networks.paths).map(held).collect()
}

/// Predicts images, each by the network that held it back.
fn predict(held: &[Held<'_>]) -> anyhow::Result<Predictions> {
    let mut all = Predictions::default();
    for Held { predictor, set } in held {
        let found = predictor.predict(set)?;
        all.logits.extend(found.logits);
        all.probabilities.extend(found.probabilities);
        all.features.extend(found.features);
    }
    Ok(all)
}

/// Fits what is requested, and puts it into `meta`.
///
/// # Errors
/// Returns an error if there are too few images to fit on, or one can't be predicted.
fn fit(
    wishes: &FitRequest,
    held: &mut [Held<'_>],
    meta: &mut Meta,
    run: &Path,
) -> anyhow::Result<Fitted> {
    let labels: Vec<usize> = held.iter().flat_map(|held| held.set.labels()).collect();
    let more = match held.len() {
        1 => "hold back more images (data.validation)",
        _ => "train on more images",
    };
    let mut found = predict(held)?;
    let mut fitted = Fitted::on(labels.len(), held.len());
    if wishes.temperature {
        let temperature = FittedTemperature::new(&found, &labels, (run, more))?;
        meta.temperature = temperature.value;
        fitted.temperature = Some(temperature);
        // Threshold and sets are fitted on the probabilities with the new temperature.
        held.iter_mut()
            .for_each(|held| held.predictor.temperature = meta.temperature);
        found = predict(held)?;
    }
    if let Some((class, sensitivity)) = &wishes.threshold {
        fitted.threshold = Some(threshold(
            &found.probabilities,
            &labels,
            meta,
            (class, *sensitivity),
            more,
        )?);
        meta.threshold.clone_from(&fitted.threshold);
    }
    if let Some(share) = wishes.coverage {
        fitted.coverage = Some(coverage(&found.probabilities, &labels, share, more)?);
        meta.coverage.clone_from(&fitted.coverage);
    }
    if let Some(rate) = wishes.novelty {
        held[0].predictor.keep = Detail::Features;
        let training = || training_features(&held[0].predictor, run);
        fitted.novelty = Some(novelty(rate, &predict(held)?.features, training)?);
        meta.novelty.clone_from(&fitted.novelty);
    }
    Ok(fitted)
}

/// Says where fitted values are.
fn kept_words(path: &Path) -> String {
    format!(
        "Kept in {}; predict and evaluate use it",
        names::of_path(path)
    )
}

/// Reads images of a run, and reports those that can't be read or have changed.
///
/// # Errors
/// Returns an error if none can be read.
fn read(images: &EvalSet, predictor: &Predictor<'_>) -> anyhow::Result<Arc<ImageSet>> {
    let listed = predictor.read(&images.entries)?;
    let (source, count) = (&images.source, images.entries.len());
    if !listed.skipped.is_empty() {
        say(&format!(
            "warning: {} of {count} of {source} can't be read and are left out",
            listed.skipped.len()
        ));
    }
    images
        .changed(&listed.set)
        .iter()
        .for_each(|words| say(words));
    if listed.set.images.is_empty() {
        bail!("found none of {source} that can be read, of {count}; expected some to fit on");
    }
    Ok(listed.set)
}

/// Returns the features of a run's training images, or of [`COMPARED`] of them.
fn training_features(predictor: &Predictor<'_>, run: &Path) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut images = training_images(run)?;
    let step = images.entries.len().div_ceil(COMPARED).max(1);
    images.entries = images.entries.into_iter().step_by(step).collect();
    images.digests = images.digests.into_iter().step_by(step).collect();
    Ok(predictor.predict(&read(&images, predictor)?)?.features)
}
