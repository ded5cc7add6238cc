//! Burn's `Batcher`: joins draws to one contiguous batch in host memory, each image augmented and
//! normalized straight into its place. The upload to the device is in `nn`.

use std::{convert::Infallible, fmt, sync::Arc};

use burn::{data::dataloader::batcher::Batcher, tensor::Device};

use super::order::Draw;
use crate::{base::stats::argmax, data::store::Store};

/// A draw on its way to the batcher.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Store of the set.
    pub store: Arc<Store>,
    /// The image, and the number of its earlier draws.
    pub draw: Draw,
    /// Class index.
    pub label: usize,
    /// Factor on the loss.
    pub weight: f32,
    /// Position of its pixels in the store.
    pub slot: usize,
    /// Its pixels, if the store doesn't keep them in memory.
    pub read: Option<Vec<u8>>,
}

impl Sample {
    /// Returns the pixels.
    ///
    /// # Shapes
    /// Returns `[height, width, channels]`, or `[height, width]` for a gray image.
    ///
    /// # Panics
    /// Panics if neither the sample nor the store has the pixels in memory.
    pub fn bytes(&self) -> &[u8] {
        self.read
            .as_deref()
            .or_else(|| self.store.kept(self.slot))
            .expect("a sample holds the bytes that its store doesn't")
    }
}

/// A batch in host memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostBatch {
    /// The images, normalized, `[batch, channels, height, width]`.
    pub images: Vec<f32>,
    /// The targets, `[batch, classes]`: one-hot unless images are mixed.
    pub targets: Vec<f32>,
    /// Factor on the loss of each image, `[batch]`.
    pub weights: Vec<f32>,
    /// The draw of each image.
    pub draws: Vec<Draw>,
}

impl HostBatch {
    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.draws.len()
    }

    /// Returns whether the batch has no images.
    pub fn is_empty(&self) -> bool {
        self.draws.is_empty()
    }

    /// Returns the class of each image with the largest target, the first of equal ones.
    pub fn labels(&self) -> Vec<usize> {
        let num_classes = self.targets.len() / self.len().max(1);
        self.targets
            .chunks_exact(num_classes.max(1))
            .map(argmax)
            .collect()
    }
}

/// An image to prepare.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The pixels, `[height, width, channels]`, or `[height, width]` for a gray image.
    pub bytes: &'a [u8],
    /// Class index.
    pub label: usize,
    /// The image, and the number of its earlier draws.
    pub draw: Draw,
}

/// Prepares an image: appends its normalized values, `[channels, height, width]`.
pub type Prepare = Arc<dyn Fn(Subject<'_>, &mut Vec<f32>) + Send + Sync>;

/// Changes a batch as a whole, to mix its images and targets.
pub type Mix = Arc<dyn Fn(&mut HostBatch) + Send + Sync>;

/// Prepares images and joins them to batches.
#[derive(Clone)]
pub struct ImageBatcher {
    /// Prepares each image.
    pub prepare: Prepare,
    /// Changes the batch afterwards.
    pub mix: Option<Mix>,
    /// Number of classes, the length of a target.
    pub num_classes: usize,
}

impl fmt::Debug for ImageBatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageBatcher")
            .field("num_classes", &self.num_classes)
            .finish_non_exhaustive()
    }
}

impl ImageBatcher {
    /// Joins samples to a batch. Each sample is dropped before the next is taken, so that bytes
    /// that were read for it are still in the CPU's cache.
    ///
    /// # Shapes
    /// Takes images of `[height, width, channels]`. `images` is `[batch, channels, height, width]`,
    /// `targets` is `[batch, classes]`.
    ///
    /// # Errors
    /// Returns the first error of a sample.
    pub fn collate<E>(
        &self,
        samples: impl ExactSizeIterator<Item = Result<Sample, E>>,
    ) -> Result<HostBatch, E> {
        let count = samples.len();
        let mut batch = HostBatch {
            targets: vec![0.0; count * self.num_classes],
            ..HostBatch::default()
        };
        for (index, sample) in samples.enumerate() {
            let sample = sample?;
            // Reserved at once: growing by doubling would copy tens of megabytes.
            if index == 0 {
                batch
                    .images
                    .reserve_exact(count * sample.store.num_values());
            }
            let subject = Subject {
                bytes: sample.bytes(),
                label: sample.label,
                draw: sample.draw,
            };
            (self.prepare)(subject, &mut batch.images);
            batch.targets[index * self.num_classes + sample.label] = 1.0;
            batch.weights.push(sample.weight);
            batch.draws.push(sample.draw);
        }
        if let Some(mix) = &self.mix {
            mix(&mut batch);
        }
        Ok(batch)
    }
}

impl Batcher<Sample, HostBatch> for ImageBatcher {
    /// Stays in host memory, whatever the device.
    fn batch(&self, samples: Vec<Sample>, _device: &Device) -> HostBatch {
        let Ok(batch) = self.collate::<Infallible>(samples.into_iter().map(Ok));
        batch
    }
}
