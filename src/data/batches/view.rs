//! Burn's `Dataset` over our images: a set, an order of draws, and what is done to the pixels of each draw.

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

/// The draws of one epoch (or one evaluation) as a Burn data set.
#[derive(Clone)]
pub struct View {
    /// The images.
    pub set: Arc<ImageSet>,
    /// Which are drawn, in order.
    pub draws: Vec<Draw>,
    /// What is done to them.
    pub batcher: ImageBatcher,
}

impl View {
    /// Each image of the set once, as it is, in order.
    pub fn plain(set: &Arc<ImageSet>, normalizer: &Normalizer) -> Self {
        let (normalizer, shape) = (normalizer.clone(), set.store.format().shape());
        let prepare: Prepare = Arc::new(move |subject, out| {
            let image = pixel_sampling::Image::new(subject.bytes, shape).expect("a store's images have its shape");
            normalizer.write(image, out);
        });
        let batcher = ImageBatcher { prepare, mix: None, num_classes: set.classes.len() };
        Self { set: Arc::clone(set), draws: order::in_order(set.images.len()), batcher }
    }

    /// The sample of draw `index`.
    ///
    /// # Errors
    /// An image that can't be read again, where it isn't kept in memory.
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let draw = self.draws[index];
        let image = &self.set.images[draw.image];
        let read = match self.set.store.pixels(image.slot)? {
            Cow::Borrowed(_) => None,
            Cow::Owned(bytes) => Some(bytes),
        };
        let store = Arc::clone(&self.set.store);
        Ok(Sample { store, draw, label: image.label, weight: image.weight, slot: image.slot, read })
    }

    /// Has the images of these draws read ahead where they are on disk.
    pub(in crate::data) fn will_need(&self, draws: Range<usize>) {
        self.draws[draws].iter().for_each(|draw| self.set.store.will_need(self.set.images[draw.image].slot));
    }

    /// The batch of these draws.
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
