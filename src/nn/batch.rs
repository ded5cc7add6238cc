//! Uploads host batches to a device, one transfer per tensor.

use burn::{
    data::dataloader::batcher::Batcher,
    tensor::{Device, Tensor, TensorData},
};

use crate::data::batches::batch::{HostBatch, ImageBatcher, Sample};

/// A batch of images, soft targets and weights on a device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Normalized images, or cached features of the frozen layers,
    /// `[batch, channels, height, width]`.
    pub images: Tensor<4>,
    /// Fraction of each class, `[batch, classes]`; each row sums to 1.
    pub targets: Tensor<2>,
    /// Factor on the loss of each image, `[batch]`.
    pub weights: Tensor<1>,
}

/// Uploads a host batch of images of `[channels, height, width]`.
///
/// # Shapes
/// As documented at [`Batch`].
pub fn upload(batch: HostBatch, [channels, height, width]: [usize; 3], device: &Device) -> Batch {
    let count = batch.len();
    // An empty batch must not divide by zero.
    let num_classes = batch.targets.len() / count.max(1);
    Batch {
        images: Tensor::from_data(
            TensorData::new(batch.images, [count, channels, height, width]),
            device,
        ),
        targets: Tensor::from_data(TensorData::new(batch.targets, [count, num_classes]), device),
        weights: Tensor::from_data(TensorData::new(batch.weights, [count]), device),
    }
}

/// A [`Batcher`] for Burn's own data loader, for images of one shape.
#[derive(Clone, Debug)]
pub struct DeviceBatcher {
    /// Augments and normalizes the images on the host.
    pub batcher: ImageBatcher,
    /// Channels, height and width of an image.
    pub shape: [usize; 3],
}

impl Batcher<Sample, Batch> for DeviceBatcher {
    fn batch(&self, samples: Vec<Sample>, device: &Device) -> Batch {
        upload(self.batcher.batch(samples, device), self.shape, device)
    }
}
