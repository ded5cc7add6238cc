//! Turns images into probabilities with a checkpoint, reading them as its run did.

use std::{path::Path, sync::Arc};

use super::images::{no_run, run_of};
use crate::{
    base::{names, progress::Progress, usage::UsageError, words::counted},
    checkpoint::{Checkpoint, Meta},
    config::{self, Config, Data, Loss},
    data::{
        Listed,
        batches::{dataset::ImageSet, view::View},
        listing::Entry,
        load_listed,
    },
    nn::{
        device::Compute,
        infer::{Detail, NotANumber, Predictions, Settings, predict},
        loss::LossFn,
        networks::classifier::{Classifier, NetworkInput},
    },
    train::unlabeled_view,
};

/// Number of images per batch unless the caller sets another.
const BATCH_SIZE: usize = 32;

/// Network of a checkpoint on a device, with its preprocessing.
pub struct Predictor<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// How images are read.
    pub data: Data,
    /// The device.
    pub compute: &'a Compute,
    /// Divisor of logits before they become probabilities; initially the checkpoint's own.
    pub temperature: f64,
    /// Number of images per batch.
    pub batch_size: usize,
    /// Test-time augmentation, if any.
    pub tta: Option<Tta>,
    /// What is kept of each image.
    pub keep: Detail,
    /// Receiver of progress.
    pub progress: &'a dyn Progress,
    /// The network with its weights, on the device of [`Self::compute`].
    pub model: Classifier,
}

impl<'a> Predictor<'a> {
    /// Builds the network of a checkpoint on a device. Downloads published weights that the
    /// checkpoint refers to but doesn't include, unless they are cached.
    ///
    /// # Errors
    /// Returns an error if the weights don't fit or can't be downloaded.
    pub fn new(
        checkpoint: &'a Checkpoint,
        compute: &'a Compute,
        progress: &'a dyn Progress,
    ) -> anyhow::Result<Self> {
        checkpoint.fetch_backbone(progress)?;
        Ok(Self {
            checkpoint,
            data: checkpoint.meta.data(),
            compute,
            temperature: checkpoint.meta.temperature,
            batch_size: BATCH_SIZE,
            tta: None,
            keep: Detail::Probabilities,
            progress,
            model: checkpoint.network(&compute.device)?,
        })
    }

    /// Reads listed images; those that can't be read are in [`Listed::skipped`].
    ///
    /// # Errors
    /// Returns an error if the images have a class that the checkpoint doesn't know, or the pixel
    /// cache can't be written.
    pub fn read(&self, entries: &[Entry]) -> anyhow::Result<Listed> {
        read(entries, &self.checkpoint.meta, &self.data, self.progress)
    }

    /// Predicts the images of a set, in its order. Probabilities are averaged over the images and
    /// their augmentations by [`Self::tta`]; logits and losses are those of the images without
    /// augmentation.
    ///
    /// # Errors
    /// Returns an error if an output is not finite, an image can't be read again, or the device
    /// fails.
    pub fn predict(&self, set: &Arc<ImageSet>) -> anyhow::Result<Predictions> {
        let meta = &self.checkpoint.meta;
        let settings = Settings {
            device: self.compute.device.clone(),
            input: NetworkInput {
                shape: meta.design.input,
                group: 0,
            },
            batch_size: self.batch_size,
            workers: 1,
            output: meta.design.output,
            temperature: self.temperature,
            loss: LossFn {
                kind: meta.loss,
                gamma: meta.focal_gamma,
                label_smoothing: 0.0,
            },
            keep: self.keep,
        };
        let rounds = self.tta.as_ref().map_or(0, |tta| tta.rounds);
        let task = self.progress.items("Classifying");
        task.set_total(set.images.len() * (rounds + 1));
        let mut found = predict(
            &self.model,
            View::plain(set, &meta.normalize),
            &settings,
            &|count| task.add(count),
        )?;
        if let Some(bad) = found.first_bad {
            return Err(NotANumber(set.images[bad].path.clone()).into());
        }
        let Some(Tta { config, rounds }) = &self.tta else {
            return Ok(found);
        };
        for round in 0..*rounds {
            let view = unlabeled_view(config, set, &meta.normalize, round);
            let again = predict(
                &self.model,
                view,
                &Settings {
                    keep: Detail::Probabilities,
                    ..settings.clone()
                },
                &|count| task.add(count),
            )?;
            for (sums, row) in found.probabilities.iter_mut().zip(&again.probabilities) {
                sums.iter_mut()
                    .zip(row)
                    .for_each(|(sum, value)| *sum += value);
            }
        }
        // The image without augmentation counts as one of the variants.
        let share = 1.0 / (rounds + 1) as f32;
        found
            .probabilities
            .iter_mut()
            .flatten()
            .for_each(|value| *value *= share);
        Ok(found)
    }
}

/// Reads listed images with the classes of `meta`; those that can't be read are in
/// [`Listed::skipped`].
///
/// # Errors
/// Returns an error if the images have a class that `meta` doesn't list, or the pixel cache can't
/// be written.
pub fn read(
    entries: &[Entry],
    meta: &Meta,
    data: &Data,
    progress: &dyn Progress,
) -> anyhow::Result<Listed> {
    let task = progress.items("Reading images");
    task.set_total(entries.len());
    Ok(load_listed(
        entries,
        &Arc::new(meta.classes.clone()),
        data,
        &|count| task.add(count),
    )?)
}

/// Test-time augmentation: probabilities are averaged over augmented variants of each image.
#[derive(Clone, Debug)]
pub struct Tta {
    config: Config,
    rounds: usize,
}

impl Tta {
    /// Returns a test-time augmentation of `rounds` variants with the augmentation settings of the
    /// run that the checkpoint folder belongs to.
    ///
    /// # Errors
    /// Returns an error if the checkpoint belongs to no run, or the run augments nothing.
    pub fn of_run(rounds: u16, checkpoint: &Path) -> anyhow::Result<Self> {
        let run = run_of(checkpoint).ok_or_else(|| no_run(checkpoint))?;
        let recipe = run.join("config.toml");
        let config = config::load(&recipe, &[])?;
        if !config.augment.is_active() {
            let message = format!(
                "--tta has no effect: the recipe of the run augments nothing; see [augment] in {}",
                names::of_path(&recipe)
            );
            return Err(UsageError(message).into());
        }
        Ok(Self {
            config,
            rounds: rounds.into(),
        })
    }
}

/// Explains why the loss of a run and the log loss of its probabilities differ; empty if they
/// don't. `of_truth` are the probabilities of each image's own class.
pub(super) fn loss_reasons(
    predictor: &Predictor<'_>,
    of_truth: impl Iterator<Item = f32>,
) -> Vec<String> {
    let meta = &predictor.checkpoint.meta;
    // scikit-learn's `log_loss` clips 64-bit probabilities at their machine epsilon.
    let clipped = of_truth
        .filter(|probability| f64::from(*probability) < f64::EPSILON)
        .count();
    let reasons = [
        (
            meta.loss == Loss::Focal,
            "the run's own is the focal loss".to_owned(),
        ),
        (
            meta.temperature != 1.0,
            format!(
                "log loss is of probabilities calibrated with the temperature {:.4}",
                meta.temperature
            ),
        ),
        (
            predictor.tta.is_some(),
            "log loss is of probabilities averaged over augmentations".to_owned(),
        ),
        (
            clipped > 0,
            format!(
                "log loss takes a probability of less than {:.1e} for that much, as scikit-learn \
                 does ({} of such confidence in another class), while the run's own has no bound",
                f64::EPSILON,
                counted(clipped, "image")
            ),
        ),
    ];
    reasons
        .into_iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, words)| words)
        .collect()
}
