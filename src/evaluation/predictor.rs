//! Turns images into probabilities with a checkpoint, reading them as its run did.

use std::{path::Path, sync::Arc};

use super::images::{no_run, run_of};
use crate::{
    base::{io::files::hex, names, progress::Progress, usage::UsageError, words::counted},
    checkpoint::{Checkpoint, Meta},
    config::{self, Config, Data, Loss},
    data::{
        Listed,
        batches::{dataset::ImageSet, view::View},
        listing::Entry,
        load_listed,
    },
    metrics::argmax,
    nn::{
        device::Compute,
        infer::{Detail, NotANumber, Predictions, Settings, predict_among},
        loss::LossFn,
        networks::classifier::{Classifier, NetworkInput, Output},
    },
    ranks::Ranks,
    train::unlabeled_view,
};

/// Number of images per batch unless the caller sets another.
const BATCH_SIZE: usize = 32;

/// Network of a checkpoint on a device, with its preprocessing; or the networks of several.
pub struct Predictor<'a> {
    /// The checkpoint, or those of all networks.
    pub checkpoints: &'a [Checkpoint],
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
    /// The networks with their weights, on the device of [`Self::compute`].
    pub models: Vec<Classifier>,
    /// The processes that share the images; each has read all of them.
    pub ranks: Ranks,
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
        Self::of_all(std::slice::from_ref(checkpoint), compute, progress)
    }

    /// Builds the networks of several checkpoints with the same classes and preprocessing, which
    /// predict by the mean of their probabilities; of one, does what [`Self::new`] does.
    ///
    /// # Errors
    /// Fails as [`Self::new`] does.
    ///
    /// # Panics
    /// Panics if there is no checkpoint.
    pub fn of_all(
        checkpoints: &'a [Checkpoint],
        compute: &'a Compute,
        progress: &'a dyn Progress,
    ) -> anyhow::Result<Self> {
        let network = |checkpoint: &Checkpoint| {
            checkpoint.fetch_backbone(progress)?;
            anyhow::Ok(checkpoint.network(&compute.device)?)
        };
        let meta = &checkpoints.first().expect("a run has a network").meta;
        Ok(Self {
            checkpoints,
            data: meta.data(),
            compute,
            temperature: meta.temperature,
            batch_size: BATCH_SIZE,
            tta: None,
            keep: Detail::Probabilities,
            progress,
            models: checkpoints.iter().map(network).collect::<Result<_, _>>()?,
            ranks: Ranks::Alone,
        })
    }

    /// Returns the predictor with a recipe's way to read images, which has its cache, and its batch
    /// size.
    #[must_use]
    pub fn reading_as(self, config: &Config) -> Self {
        Self {
            data: config.data.clone(),
            batch_size: config.train.batch_size,
            ..self
        }
    }

    /// Returns the metadata of the network; of several, those of the first, with classes, reading
    /// of images and decisions that are those of all.
    pub fn meta(&self) -> &'a Meta {
        &self.checkpoints[0].meta
    }

    /// Reads listed images; those that can't be read are in [`Listed::skipped`].
    ///
    /// # Errors
    /// Returns an error if the images have a class that the checkpoint doesn't know, or the pixel
    /// cache can't be written.
    pub fn read(&self, entries: &[Entry]) -> anyhow::Result<Listed> {
        read(entries, self.meta(), &self.data, self.progress)
    }

    /// Predicts the images of a set, in its order. Probabilities are averaged over the networks,
    /// the images and their augmentations by [`Self::tta`]; losses over the networks, for the
    /// images without augmentation; logits are those of the first network for these.
    ///
    /// # Errors
    /// Returns an error if an output is not finite, an image can't be read again, or the device
    /// fails.
    pub fn predict(&self, set: &Arc<ImageSet>) -> anyhow::Result<Predictions> {
        self.check_ranks(set)?;
        let rounds = self.tta.as_ref().map_or(0, |tta| tta.rounds);
        let doing = match self.meta().design.output {
            Output::Image => "Reconstructing",
            Output::Softmax | Output::Sigmoid => "Classifying",
        };
        let task = self.progress.items(doing);
        task.set_total(set.images.len() * (rounds + 1) * self.models.len());
        let done = |count| task.add(count);
        let mut found = self.predict_by(0, set, &done)?;
        if self.models.len() == 1 {
            return Ok(found);
        }
        for index in 1..self.models.len() {
            let again = self.predict_by(index, set, &done)?;
            add(&mut found.probabilities, &again.probabilities);
            let losses = found.losses.iter_mut().zip(&again.losses);
            losses.for_each(|(sum, loss)| *sum += loss);
        }
        let share = 1.0 / self.models.len() as f32;
        scale(&mut found.probabilities, share);
        found.losses.iter_mut().for_each(|loss| *loss *= share);
        found.predicted = found.probabilities.iter().map(|row| argmax(row)).collect();
        Ok(found)
    }

    /// Checks that all ranks predict the same images by the same networks.
    fn check_ranks(&self, set: &ImageSet) -> anyhow::Result<()> {
        if !self.ranks.are_several() {
            return Ok(());
        }
        let mut images = String::new();
        for image in &set.images {
            let digest = hex(&image.digest);
            images += &format!("{} {} {digest}\n", names::of_path(&image.path), image.label);
        }
        self.ranks.check_same_lines("images", &images)?;
        let mut networks = blake3::Hasher::new();
        for checkpoint in self.checkpoints {
            networks.update(&checkpoint.model);
        }
        let tta = self.tta.as_ref();
        let tta = tta.map_or(String::new(), |tta| tta.config.to_toml());
        self.ranks.check_same(&[
            ("version of emberlens", env!("CARGO_PKG_VERSION").to_owned()),
            ("networks", networks.finalize().to_hex().to_string()),
        ])?;
        self.ranks.check_same_lines("recipe", &tta)?;
        Ok(())
    }

    /// Names what probabilities are averaged over.
    pub(super) fn averaged_over(&self) -> Vec<&'static str> {
        [
            (self.models.len() > 1, "networks"),
            (self.tta.is_some(), "augmentations"),
        ]
        .into_iter()
        .filter_map(|(is_averaged, what)| is_averaged.then_some(what))
        .collect()
    }

    /// Predicts the images of a set by the network of this index.
    fn predict_by(
        &self,
        index: usize,
        set: &Arc<ImageSet>,
        done: &dyn Fn(usize),
    ) -> anyhow::Result<Predictions> {
        let (meta, model) = (&self.checkpoints[index].meta, &self.models[index]);
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
        let goes_on = |count| {
            done(count);
            true
        };
        let predict = |view, settings: &Settings| {
            let found = predict_among(&self.ranks, model, view, settings, &goes_on)?;
            anyhow::Ok(found.unwrap_or_default())
        };
        let mut found = predict(View::plain(set, &meta.normalize), &settings)?;
        if let Some(bad) = found.first_bad {
            return Err(NotANumber(set.images[bad].path.clone()).into());
        }
        let Some(Tta { config, rounds }) = &self.tta else {
            return Ok(found);
        };
        for round in 0..*rounds {
            let view = unlabeled_view(config, set, &meta.normalize, round);
            let settings = Settings {
                keep: Detail::Probabilities,
                ..settings.clone()
            };
            let again = predict(view, &settings)?;
            add(&mut found.probabilities, &again.probabilities);
        }
        // The image without augmentation counts as one of the variants.
        scale(&mut found.probabilities, 1.0 / (rounds + 1) as f32);
        Ok(found)
    }
}

/// Adds rows of numbers to others.
fn add(sums: &mut [Vec<f32>], rows: &[Vec<f32>]) {
    let values = sums.iter_mut().flatten().zip(rows.iter().flatten());
    values.for_each(|(sum, value)| *sum += value);
}

/// Multiplies rows of numbers.
fn scale(rows: &mut [Vec<f32>], by: f32) {
    rows.iter_mut().flatten().for_each(|value| *value *= by);
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
    meta: &Meta,
    averaged_over: &[&str],
    of_truth: impl Iterator<Item = f32>,
) -> Vec<String> {
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
            !averaged_over.is_empty(),
            format!(
                "log loss is of probabilities averaged over {}",
                averaged_over.join(" and ")
            ),
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
