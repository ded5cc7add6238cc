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
    ranks::{Ranks, RanksError},
};

/// The network's outputs for each image, in the order of the view.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// Index of each image in its set.
    pub images: Vec<usize>,
    /// Index of the most probable class; empty for an autoencoder, as everything but the losses.
    pub predicted: Vec<usize>,
    /// Probability of each class; empty with [`Detail::Classes`].
    pub probabilities: Vec<Vec<f32>>,
    /// Logit of each class before temperature scaling; filled only with [`Detail::Logits`]. A
    /// network with a single logit has 0 for its first class.
    pub logits: Vec<Vec<f32>>,
    /// Features of the image, as `Frozen::forward_with_features` gives them; filled only with
    /// [`Detail::Features`].
    pub features: Vec<Vec<f32>>,
    /// Index in the view of the first image whose outputs are not finite.
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
    /// Another rank doesn't answer.
    #[error(transparent)]
    Ranks(#[from] RanksError),
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
        let targets = settings.loss.targets(&batch);
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
        let losses = settings.loss.per_sample(logits.clone(), targets);
        // The first read of up to three waits for the forward pass.
        found.losses.extend(read(losses)?);
        let first = found.losses.len() - count;
        let bad = if settings.output == Output::Image {
            // A value that isn't finite makes the error so; the image itself isn't read.
            let losses = &found.losses[first..];
            losses.iter().position(|loss| !loss.is_finite())
        } else {
            found.add(logits, count, num_classes, settings)?
        };
        found.first_bad = found.first_bad.or(bad.map(|bad| first + bad));
        if !goes_on(count) && found.images.len() < total {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// Like [`predict_while`], by all ranks: each takes whole batches of `view` that follow each other,
/// and all get the predictions of all, with the digits of a rank alone. Returns `None` if one of
/// them was stopped.
///
/// # Errors
/// As [`predict`], and if a rank doesn't answer.
pub fn predict_among(
    ranks: &Ranks,
    model: &Classifier,
    view: View,
    settings: &Settings,
    goes_on: &dyn Fn(usize) -> bool,
) -> Result<Option<Predictions>, InferError> {
    if !ranks.are_several() {
        return predict_while(model, view, settings, goes_on);
    }
    let own = ranks.share(view.num_batches(settings.batch_size));
    let start = own.start * settings.batch_size;
    let end = (own.end * settings.batch_size).min(view.draws.len());
    let draws = view.draws[start..end].to_vec();
    let found = predict_while(model, View { draws, ..view }, settings, goes_on)?;
    if ranks.any(found.is_none())? {
        return Ok(None);
    }
    let mut found = found.unwrap_or_default();
    found.first_bad = found.first_bad.map(|bad| start + bad);
    let mut all = Predictions::default();
    for bytes in ranks.gather(&found.to_bytes())? {
        all.append(&bytes);
    }
    Ok(Some(all))
}

impl Predictions {
    /// Adds the classes of a batch of `count` images. Returns the first image whose logits are not
    /// finite. Reads the device twice; on a GPU the second read waits once more.
    ///
    /// # Shapes
    /// `logits` is `[count, logits]`.
    fn add(
        &mut self,
        logits: Tensor<2>,
        count: usize,
        num_classes: usize,
        settings: &Settings,
    ) -> Result<Option<usize>, NnError> {
        let each = read(logits.clone())?;
        let bad = each
            .chunks_exact(each.len() / count)
            .position(|row| row.iter().any(|value| !value.is_finite()));
        if settings.keep == Detail::Logits {
            self.logits
                .extend(settings.output.per_class(&each, num_classes));
        }
        let probs = read(probabilities(
            logits / settings.temperature,
            settings.output,
        ))?;
        self.predicted
            .extend(probs.chunks_exact(num_classes).map(argmax));
        if settings.keep != Detail::Classes {
            self.probabilities
                .extend(probs.chunks_exact(num_classes).map(<[f32]>::to_vec));
        }
        Ok(bad)
    }

    /// Returns the predictions as 32-bit words: the number of images, the first bad one counted
    /// from 1, the values per image of each kind, then the values of each field.
    fn to_bytes(&self) -> Vec<u8> {
        let rows = [&self.probabilities, &self.logits, &self.features];
        let width = |rows: &Vec<Vec<f32>>| rows.first().map_or(0, Vec::len);
        let bad = self.first_bad.map_or(0, |bad| bad + 1);
        let head = [self.images.len(), bad].into_iter();
        // Images and classes are far below 2^32: files of the run list them.
        let counts = head
            .chain(rows.map(width))
            .chain(self.images.iter().copied())
            .chain(self.predicted.iter().copied());
        let values = self
            .losses
            .iter()
            .chain(rows.into_iter().flatten().flatten());
        counts
            .map(|count| count as u32)
            .chain(values.map(|value| value.to_bits()))
            .flat_map(u32::to_le_bytes)
            .collect()
    }

    /// Adds the predictions of another rank, as [`Self::to_bytes`] returned them.
    fn append(&mut self, bytes: &[u8]) {
        let words: Vec<u32> = bytes
            .as_chunks()
            .0
            .iter()
            .copied()
            .map(u32::from_le_bytes)
            .collect();
        let [count, bad, probabilities, logits, features, rest @ ..] = words.as_slice() else {
            return;
        };
        let (count, mut rest) = (*count as usize, rest);
        let mut take = |count: usize| {
            let part;
            (part, rest) = rest.split_at(count);
            part
        };
        self.images
            .extend(take(count).iter().map(|image| *image as usize));
        let predicted = take(count).iter().map(|class| *class as usize);
        self.predicted.extend(predicted);
        let floats = |words: &[u32]| {
            words
                .iter()
                .copied()
                .map(f32::from_bits)
                .collect::<Vec<_>>()
        };
        self.losses.extend(floats(take(count)));
        for (rows, width) in [
            (&mut self.probabilities, *probabilities as usize),
            (&mut self.logits, *logits as usize),
            (&mut self.features, *features as usize),
        ] {
            if width > 0 {
                rows.extend(take(count * width).chunks_exact(width).map(floats));
            }
        }
        self.first_bad = self.first_bad.or((*bad as usize).checked_sub(1));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_of_ranks_are_joined_with_their_bits() {
        let of = |images: &[usize], bad| Predictions {
            images: images.to_vec(),
            predicted: images.iter().map(|image| image % 3).collect(),
            probabilities: images
                .iter()
                .map(|image| vec![0.1, *image as f32])
                .collect(),
            logits: images.iter().map(|_| vec![-0.0, 1e-30, 2.5]).collect(),
            features: images
                .iter()
                .map(|image| vec![*image as f32 / 3.0])
                .collect(),
            first_bad: bad,
            losses: images.iter().map(|image| 1.0 / *image as f32).collect(),
        };
        let mut all = Predictions::default();
        for part in [
            of(&[4, 0], None),
            of(&[], None),
            of(&[7], Some(2)),
            of(&[9], Some(3)),
        ] {
            all.append(&part.to_bytes());
        }
        let expected = of(&[4, 0, 7, 9], Some(2));
        assert_eq!(format!("{all:?}"), format!("{expected:?}"));
    }
}
