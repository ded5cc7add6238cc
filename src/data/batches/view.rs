//! A set of images as a Burn `Dataset`: the set, an order of draws, and what is done to the pixels
//! of each draw.

use std::{borrow::Cow, ops::Range, sync::Arc};

use burn::data::dataset::{Dataset, DatasetError};

use super::{
    batch::{HostBatch, ImageBatcher, Prepare, Sample},
    dataset::ImageSet,
    normalize::Normalizer,
    order,
    order::Draw,
};
use crate::data::error::DataError;

/// The draws of an epoch or an evaluation.
#[derive(Clone)]
pub struct View {
    /// The images.
    pub set: Arc<ImageSet>,
    /// The draws in order.
    pub draws: Vec<Draw>,
    /// Prepares and joins the drawn images.
    pub batcher: ImageBatcher,
}

impl View {
    /// Returns a view of each image once, in order, normalized only.
    ///
    /// # Panics
    /// The batcher panics if a side of the images is below 8 or above 32,768 pixels.
    pub fn plain(set: &Arc<ImageSet>, normalizer: &Normalizer) -> Self {
        let (normalizer, shape) = (normalizer.clone(), set.store.format().shape());
        let prepare: Prepare = Arc::new(move |subject, out| {
            let image = pixel_sampling::Image::new(subject.bytes, shape)
                .expect("a store's images have its shape");
            normalizer.write(image, out);
        });
        let batcher = ImageBatcher {
            prepare,
            mix: None,
            num_classes: set.classes.len(),
        };
        Self {
            set: Arc::clone(set),
            draws: order::in_order(set.images.len()),
            batcher,
        }
    }

    /// Returns the number of batches, the last of which may be short.
    pub fn num_batches(&self, batch_size: usize) -> usize {
        self.draws.len().div_ceil(batch_size)
    }

    /// Returns the sample of the draw at `index`.
    ///
    /// # Errors
    /// Returns an error if the image isn't kept in memory and can't be read again.
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let draw = self.draws[index];
        let image = &self.set.images[draw.image];
        // Bytes in memory are taken from the store later, without a copy.
        let read = match self.set.store.pixels(image.slot)? {
            Cow::Borrowed(_) => None,
            Cow::Owned(bytes) => Some(bytes),
        };
        let store = Arc::clone(&self.set.store);
        Ok(Sample {
            store,
            draw,
            label: image.label,
            weight: image.weight,
            slot: image.slot,
            read,
        })
    }

    /// Reads the images of these draws ahead if they are on disk.
    pub(in crate::data) fn will_need(&self, draws: Range<usize>) {
        self.draws[draws]
            .iter()
            .for_each(|draw| self.set.store.will_need(self.set.images[draw.image].slot));
    }

    /// Returns the batch of these draws.
    ///
    /// # Shapes
    /// `images` is `[batch, channels, height, width]`, `targets` is `[batch, classes]`.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn batch(&self, draws: Range<usize>) -> Result<HostBatch, DataError> {
        self.batcher.collate(draws.map(|index| self.sample(index)))
    }
}

impl Dataset<Sample> for View {
    fn get(&self, index: usize) -> Result<Sample, DatasetError> {
        self.sample(index).map_err(DatasetError::new)
    }

    fn len(&self) -> usize {
        self.draws.len()
    }
}
