//! Burn's `Batcher`: samples in, one contiguous batch in host memory out. The upload is the floor above.

use burn::{data::dataloader::batcher::Batcher, tensor::Device};

use super::dataset::Sample;

/// A batch in host memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostBatch {
    /// `[batch, channels, height, width]`.
    pub images: Vec<f32>,
    /// `[batch, classes]`.
    pub targets: Vec<f32>,
    /// `[batch]`.
    pub weights: Vec<f32>,
    /// Position of each picture in its set.
    pub pictures: Vec<usize>,
}

impl HostBatch {
    /// Pictures in the batch.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.pictures.is_empty()
    }
}

/// Puts samples side by side.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageBatcher;

impl Batcher<Sample, HostBatch> for ImageBatcher {
    /// Stays in host memory, whatever the device.
    fn batch(&self, samples: Vec<Sample>, _device: &Device) -> HostBatch {
        let mut batch = HostBatch::default();
        batch.images.reserve_exact(samples.iter().map(|sample| sample.image.len()).sum());
        for sample in samples {
            batch.images.extend_from_slice(&sample.image);
            batch.targets.extend_from_slice(&sample.target);
            batch.weights.push(sample.weight);
            batch.pictures.push(sample.picture);
        }
        batch
    }
}
