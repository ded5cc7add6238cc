//! A batch on the device: one upload a tensor.

use burn::{
    data::dataloader::batcher::Batcher,
    tensor::{Device, Tensor, TensorData},
};

use crate::data::{
    batch::{HostBatch, ImageBatcher},
    dataset::Sample,
};

/// A batch on a device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[batch, channels, height, width]`.
    pub images: Tensor<4>,
    /// `[batch, classes]`: share of each class.
    pub targets: Tensor<2>,
    /// `[batch]`: factor on each picture's loss.
    pub weights: Tensor<1>,
}

/// Uploads a host batch of pictures of `[channels, height, width]`.
///
/// # Shapes
/// As [`Batch`] says.
pub fn upload(batch: HostBatch, [channels, height, width]: [usize; 3], device: &Device) -> Batch {
    let count = batch.len();
    let num_classes = batch.targets.len() / count.max(1);
    Batch {
        images: Tensor::from_data(TensorData::new(batch.images, [count, channels, height, width]), device),
        targets: Tensor::from_data(TensorData::new(batch.targets, [count, num_classes]), device),
        weights: Tensor::from_data(TensorData::new(batch.weights, [count]), device),
    }
}

/// Batches on the device for Burn's own loader, of pictures of one shape.
#[derive(Clone, Debug)]
pub struct DeviceBatcher {
    /// Augments and normalises.
    pub batcher: ImageBatcher,
    /// Channels, height and width.
    pub shape: [usize; 3],
}

impl Batcher<Sample, Batch> for DeviceBatcher {
    fn batch(&self, samples: Vec<Sample>, device: &Device) -> Batch {
        upload(self.batcher.batch(samples, device), self.shape, device)
    }
}
