//! Burn's `Batcher`: draws in, one contiguous batch in host memory out, each image changed and normalised straight into its place.
//! The upload is the floor above.

use std::{convert::Infallible, fmt, sync::Arc};

use burn::{data::dataloader::batcher::Batcher, tensor::Device};

use super::order::Draw;
use crate::data::store::Store;

/// A draw on its way to the batcher, which augments and normalises it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Of the set.
    pub store: Arc<Store>,
    /// Which image, and which time.
    pub draw: Draw,
    /// Class index.
    pub label: usize,
    /// Factor on the loss.
    pub weight: f32,
    /// Where its bytes are in the store.
    pub slot: usize,
    /// Its bytes, where the store doesn't keep them in memory.
    pub read: Option<Vec<u8>>,
}

impl Sample {
    /// `[height, width, channels]`, or `[height, width]` of a grey one.
    pub fn bytes(&self) -> &[u8] {
        self.read.as_deref().or_else(|| self.store.kept(self.slot)).expect("a sample holds the bytes that its store doesn't")
    }
}

/// A batch in host memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostBatch {
    /// `[batch, channels, height, width]`.
    pub images: Vec<f32>,
    /// `[batch, classes]`: a one for the class, unless images are mixed.
    pub targets: Vec<f32>,
    /// `[batch]`.
    pub weights: Vec<f32>,
    /// Which image each is, and which time.
    pub draws: Vec<Draw>,
}

impl HostBatch {
    /// Images in the batch.
    pub fn len(&self) -> usize {
        self.draws.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.draws.is_empty()
    }

    /// The class of each image that has the largest share: the first of equals.
    pub fn labels(&self) -> Vec<usize> {
        let num_classes = self.targets.len() / self.len().max(1);
        let largest = |target: &[f32]| (0..num_classes).rev().max_by(|a, b| target[*a].total_cmp(&target[*b])).unwrap_or(0);
        self.targets.chunks_exact(num_classes.max(1)).map(largest).collect()
    }
}

/// An image to be prepared.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `[height, width, channels]`, or `[height, width]` of a grey one.
    pub bytes: &'a [u8],
    /// Class index.
    pub label: usize,
    /// Which image, and which time.
    pub draw: Draw,
}

/// What is done to an image: normalised values `[channels, height, width]` are appended.
pub type Prepare = Arc<dyn Fn(Subject<'_>, &mut Vec<f32>) + Send + Sync>;

/// What is done to a batch after its images: images and targets of its images mixed.
pub type Mix = Arc<dyn Fn(&mut HostBatch) + Send + Sync>;

/// Prepares images side by side.
#[derive(Clone)]
pub struct ImageBatcher {
    /// What is done to each image.
    pub prepare: Prepare,
    /// What is done to them together.
    pub mix: Option<Mix>,
    /// Length of a target.
    pub num_classes: usize,
}

impl fmt::Debug for ImageBatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageBatcher").field("num_classes", &self.num_classes).finish_non_exhaustive()
    }
}

impl ImageBatcher {
    /// The batch of these samples. Each is dropped before the next is asked for, so that bytes which were read for it are still in the CPU's cache.
    ///
    /// # Errors
    /// The first that a sample has.
    pub fn collate<E>(&self, samples: impl ExactSizeIterator<Item = Result<Sample, E>>) -> Result<HostBatch, E> {
        let count = samples.len();
        let mut batch = HostBatch { targets: vec![0.0; count * self.num_classes], ..HostBatch::default() };
        for (index, sample) in samples.enumerate() {
            let sample = sample?;
            if index == 0 {
                batch.images.reserve_exact(count * sample.store.num_values());
            }
            let subject = Subject { bytes: sample.bytes(), label: sample.label, draw: sample.draw };
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
