//! Predictions and losses of a network over a whole view, batch by batch. Nothing is trained here.

use burn::tensor::{Device, Tensor};
use std::path::PathBuf;

use super::{
    NnError,
    batch::upload,
    loss::LossFn,
    networks::{
        classifier::{Classifier, NetworkInput, Output, probabilities},
        head::average,
    },
};
use crate::{
    base::names,
    data::{
        DataError,
        batches::{loader::Loader, view::View},
    },
    metrics::argmax,
};

/// The network's outputs for each image, in the order of the view.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// Index of each image in its set.
    pub images: Vec<usize>,
    /// Index of the most probable class.
    pub predicted: Vec<usize>,
    /// Probability of each class; empty with [`Detail::Classes`].
    pub probabilities: Vec<Vec<f32>>,
    /// Logit of each class before temperature scaling; filled only with [`Detail::Logits`]. A
    /// network with a single logit has 0 for its first class.
    pub logits: Vec<Vec<f32>>,
    /// Features of the image, as `Frozen::forward_with_features` gives them; filled only with
    /// [`Detail::Features`].
    pub features: Vec<Vec<f32>>,
    /// Index in the view of the first image whose logits are not finite.
    pub first_bad: Option<usize>,
    /// Unweighted loss of each image.
    pub losses: Vec<f32>,
}

/// What is kept of each image beside its class and its loss. For 10,000 images and 10,000 classes,
/// probabilities take 400 MB and logits as much again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing in addition.
    Classes,
    /// The probabilities.
    Probabilities,
    /// The probabilities and the logits.
    Logits,
    /// The probabilities and the features.
    Features,
}

/// An error while predicting.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// An image can't be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device failed.
    #[error(transparent)]
    Nn(#[from] NnError),
}

/// An error for an image, given by its path, whose logits are not finite.
#[derive(Debug, thiserror::Error)]
#[error(
    "the network's output isn't a number: its weights are damaged or its training diverged; the \
     first such image: {}",
    names::of_path(.0)
)]
pub struct NotANumber(pub PathBuf);

/// Runs `model`, which must be without autodiff, over `view`. Calls `done` after each batch with
/// the number of images in it.
///
/// # Errors
/// Returns an error if an image can no longer be read or the device fails.
pub fn predict(
    model: &Classifier,
    view: View,
    settings: &Settings,
    done: &dyn Fn(usize),
) -> Result<Predictions, InferError> {
    let goes_on = |count| {
        done(count);
        true
    };
    Ok(predict_while(model, view, settings, &goes_on)?.unwrap_or_default())
}

/// Like [`predict`], but stops when `goes_on` returns false; it is called after each batch with the
/// number of images in it. Returns `None` if it stopped before the last batch.
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
    let frozen = model.frozen(settings.input.group..model.num_groups());
    for batch in Loader::new(view, settings.batch_size, 0, settings.workers) {
        let batch = batch?;
        let count = batch.len();
        found
            .images
            .extend(batch.draws.iter().map(|draw| draw.image));
        let batch = upload(batch, settings.input.shape, &settings.device);
        let last = if settings.keep == Detail::Features {
            let (last, features) = frozen.forward_with_features(batch.images);
            let each = read(features)?;
            let rows = each.chunks_exact(each.len() / count);
            found.features.extend(rows.map(<[f32]>::to_vec));
            last
        } else {
            frozen.forward(batch.images)
        };
        let logits = head(model, last);
        let losses = settings.loss.per_sample(logits.clone(), batch.targets);
        // Three reads per batch. The first waits for the forward pass; on a GPU the third, of the
        // probabilities, waits once more.
        found.losses.extend(read(losses)?);
        let each = read(logits.clone())?;
        let width = each.len() / count;
        let bad = each
            .chunks_exact(width)
            .position(|row| row.iter().any(|value| !value.is_finite()));
        found.first_bad = found
            .first_bad
            .or(bad.map(|bad| found.predicted.len() + bad));
        if settings.keep == Detail::Logits {
            found
                .logits
                .extend(settings.output.per_class(&each, num_classes));
        }
        let probs = read(probabilities(
            logits / settings.temperature,
            settings.output,
        ))?;
        found
            .predicted
            .extend(probs.chunks_exact(num_classes).map(argmax));
        if settings.keep != Detail::Classes {
            found
                .probabilities
                .extend(probs.chunks_exact(num_classes).map(<[f32]>::to_vec));
        }
        if !goes_on(count) && found.images.len() < total {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// Computes the logits from features, with the same digits for an image alone as among others:
/// products with a single row would be summed in another order.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, outputs]`.
fn head(model: &Classifier, features: Tensor<4>) -> Tensor<2> {
    if features.dims()[0] > 1 {
        return model.forward_head(features);
    }
    model
        .forward_head(features.repeat_dim(0, 2))
        .narrow(0, 0, 1)
}

/// The settings of [`predict`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// The device of the model, without autodiff.
    pub device: Device,
    /// What the view holds: images, or cached features of the frozen layers.
    pub input: NetworkInput,
    /// Number of images per batch.
    pub batch_size: usize,
    /// Number of threads that prepare batches.
    pub workers: usize,
    /// What the network's logits mean.
    pub output: Output,
    /// Divisor of the logits before the softmax or sigmoid; 1 leaves them as they are.
    pub temperature: f64,
    /// The loss that is reported, unweighted.
    pub loss: LossFn,
    /// What is kept of each image.
    pub keep: Detail,
}

/// Returns the global average of each channel of the backbone's features, image after image in one
/// vector of `[images, channels]` values. `model` must be without autodiff. Calls `done` after each
/// batch with the number of images in it.
///
/// # Errors
/// As [`predict`].
pub fn average_features(
    model: &Classifier,
    view: View,
    device: &Device,
    done: &dyn Fn(usize),
) -> Result<Vec<f32>, InferError> {
    // A small batch, because the first layers' feature maps are large.
    const BATCH: usize = 8;
    let [height, width, channels] = view.set.store.format().shape();
    let frozen = model.frozen(0..model.num_groups());
    let mut found = Vec::new();
    for batch in Loader::new(view, BATCH, 0, 1) {
        let batch = batch?;
        let count = batch.len();
        let images = upload(batch, [channels, height, width], device).images;
        found.extend(read(average(frozen.forward(images)))?);
        done(count);
    }
    Ok(found)
}

/// Copies a tensor's values to the host. Waits for the device.
///
/// # Shapes
/// Any; the values come in row-major order.
///
/// # Errors
/// Returns [`NnError::Read`] if the device fails.
pub fn read<const D: usize>(tensor: burn::tensor::Tensor<D>) -> Result<Vec<f32>, NnError> {
    tensor
        .into_data()
        .try_to_vec()
        .map_err(|error| NnError::Read(format!("{error:?}")))
}
