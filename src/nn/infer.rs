//! Probabilities and losses of a whole view, one read from the device a batch.

use burn::tensor::Device;
use std::path::PathBuf;

use super::{
    NnError,
    batch::upload,
    loss::LossFn,
    networks::{
        classifier::{Classifier, Entrance, Output, probabilities},
        head::average,
    },
};
use crate::{
    base::names,
    data::{DataError, dataset::View, loader::Loader},
    metrics::argmax,
};

/// What the network says of each picture, in the order of the view.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// Position of each picture in its set.
    pub pictures: Vec<usize>,
    /// The most probable class.
    pub predicted: Vec<usize>,
    /// Probability of each class, where it is kept.
    pub probabilities: Vec<Vec<f32>>,
    /// A logit for each class, before any temperature, where it is kept; the first of two is 0 where the network has one.
    pub logits: Vec<Vec<f32>>,
    /// The first picture of the view whose logits are no numbers.
    pub first_bad: Option<usize>,
    /// Unweighted loss.
    pub losses: Vec<f32>,
}

/// What is kept of each picture beside its class and its loss: of ten thousand pictures and classes, either is 400 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing more.
    Classes,
    /// The probabilities.
    Probabilities,
    /// Probabilities and logits.
    Logits,
}

/// An error of either floor.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// A picture.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network.
    #[error(transparent)]
    Nn(#[from] NnError),
}

/// Outputs that are no numbers, of the image at this path.
#[derive(Debug, thiserror::Error)]
#[error(
    "the network's output is no number: its weights are damaged or its training diverged; the first such picture: {}",
    names::of_path(.0)
)]
pub struct NotANumber(pub PathBuf);

/// Runs `model` (without autodiff) over `view`. `done` hears how many more pictures are through.
///
/// # Errors
/// A picture that can't be read again; a device that fails.
pub fn predict(model: &Classifier, view: View, settings: &Settings, done: &dyn Fn(usize)) -> Result<Predictions, InferError> {
    let goes_on = |count| {
        done(count);
        true
    };
    Ok(predict_while(model, view, settings, &goes_on)?.unwrap_or_default())
}

/// [`predict`], as long as `goes_on`, which hears how many more pictures are through, says so; `None` if it said no before the end.
///
/// # Errors
/// As [`predict`].
pub fn predict_while(
    model: &Classifier,
    view: View,
    settings: &Settings,
    goes_on: &dyn Fn(usize) -> bool,
) -> Result<Option<Predictions>, InferError> {
    let (num_classes, total) = (view.set.classes.len(), view.draws.len());
    let mut found = Predictions::default();
    for batch in Loader::new(view, settings.batch_size, 0, settings.workers) {
        let batch = batch?;
        let count = batch.len();
        found.pictures.extend(batch.draws.iter().map(|draw| draw.picture));
        let batch = upload(batch, settings.entrance.shape, &settings.device);
        let features = model.forward_frozen(settings.entrance.group..model.num_groups(), batch.images);
        let logits = model.forward_head(features);
        let losses = settings.loss.each(logits.clone(), batch.targets);
        // The one wait for the device.
        found.losses.extend(read(losses)?);
        let each = read(logits.clone())?;
        let width = each.len() / count;
        let bad = each.chunks_exact(width).position(|row| row.iter().any(|value| !value.is_finite()));
        found.first_bad = found.first_bad.or(bad.map(|bad| found.predicted.len() + bad));
        if settings.keep == Keep::Logits {
            found.logits.extend(settings.output.rows(&each, num_classes));
        }
        let probs = read(probabilities(logits / settings.temperature, settings.output))?;
        found.predicted.extend(probs.chunks_exact(num_classes).map(argmax));
        if settings.keep != Keep::Classes {
            found.probabilities.extend(probs.chunks_exact(num_classes).map(<[f32]>::to_vec));
        }
        if !goes_on(count) && found.pictures.len() < total {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// How [`predict`] runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Without autodiff.
    pub device: Device,
    /// What the view holds.
    pub entrance: Entrance,
    /// Pictures at a time.
    pub batch_size: usize,
    /// Threads that prepare batches.
    pub workers: usize,
    /// What the logits mean.
    pub output: Output,
    /// What they are divided by before they become probabilities; 1 changes nothing.
    pub temperature: f64,
    /// Reported unweighted.
    pub loss: LossFn,
    /// What is kept.
    pub keep: Keep,
}

/// What the backbone of `model` (without autodiff) makes of each picture of `view`, channel by channel averaged, picture by picture. `done`
/// hears how many more are through.
///
/// # Errors
/// As [`predict`].
pub fn average_features(model: &Classifier, view: View, device: &Device, done: &dyn Fn(usize)) -> Result<Vec<f32>, InferError> {
    // Few: what the first layers make of them is large.
    const BATCH: usize = 8;
    let [height, width, channels] = view.set.store.format().shape();
    let mut found = Vec::new();
    for batch in Loader::new(view, BATCH, 0, 1) {
        let batch = batch?;
        let count = batch.len();
        let images = upload(batch, [channels, height, width], device).images;
        found.extend(read(average(model.forward_frozen(0..model.num_groups(), images)))?);
        done(count);
    }
    Ok(found)
}

/// The values of a tensor on the host. Waits for the device.
///
/// # Errors
/// The device's own.
pub fn read<const D: usize>(tensor: burn::tensor::Tensor<D>) -> Result<Vec<f32>, NnError> {
    tensor.into_data().try_to_vec().map_err(|error| NnError::Read(format!("{error:?}")))
}
