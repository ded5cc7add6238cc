//! Burn's `Dataset` over our pictures: a set, an order of draws, and what is done to the pixels of each draw.

use std::{borrow::Cow, ops::Range, path::PathBuf, sync::Arc};

use burn::data::dataset::{Dataset, DatasetError};

use super::{
    DataError,
    batch::{HostBatch, ImageBatcher, Prepare},
    normalize::Normalizer,
    order::{self, Draw},
    pictures::Store,
};

/// One picture of a set.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Where the file is.
    pub path: PathBuf,
    /// Class index.
    pub label: usize,
    /// Pictures of one group stay on one side of a split.
    pub group: Option<String>,
    /// Factor on the loss in training.
    pub weight: f32,
    /// BLAKE3 of the decoded pixels.
    pub digest: [u8; 32],
    /// Where its bytes are in the store.
    pub slot: usize,
}

/// Pictures of one split, with their pixels.
#[derive(Clone, Debug)]
pub struct PictureSet {
    /// Class names; a label is an index into them.
    pub classes: Arc<Vec<String>>,
    /// The pictures.
    pub pictures: Vec<Picture>,
    /// Their pixels, which other sets may share.
    pub store: Arc<Store>,
}

impl PictureSet {
    /// The class index of each picture.
    pub fn labels(&self) -> Vec<usize> {
        self.pictures.iter().map(|picture| picture.label).collect()
    }

    /// Pictures of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.pictures.iter().for_each(|picture| counts[picture.label] += 1);
        counts
    }
}

/// A draw on its way to the batcher, which augments and normalises it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Of the set.
    pub store: Arc<Store>,
    /// Which picture, and which time.
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

/// The draws of one epoch (or one evaluation) as a Burn data set.
#[derive(Clone)]
pub struct View {
    /// The pictures.
    pub set: Arc<PictureSet>,
    /// Which are drawn, in order.
    pub draws: Vec<Draw>,
    /// What is done to them.
    pub batcher: ImageBatcher,
}

impl View {
    /// Each picture of the set once, as it is, in order.
    pub fn plain(set: &Arc<PictureSet>, normalizer: &Normalizer) -> Self {
        let (normalizer, shape) = (normalizer.clone(), set.store.format().shape());
        let prepare: Prepare = Arc::new(move |subject, out| {
            let picture = pixel_sampling::Picture::new(subject.bytes, shape).expect("a store's pictures have its shape");
            normalizer.write(picture, out);
        });
        let batcher = ImageBatcher { prepare, mix: None, num_classes: set.classes.len() };
        Self { set: Arc::clone(set), draws: order::in_order(set.pictures.len()), batcher }
    }

    /// The sample of draw `index`.
    ///
    /// # Errors
    /// A picture that can't be read again, where it isn't kept in memory.
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let draw = self.draws[index];
        let picture = &self.set.pictures[draw.picture];
        let read = match self.set.store.pixels(picture.slot)? {
            Cow::Borrowed(_) => None,
            Cow::Owned(bytes) => Some(bytes),
        };
        let store = Arc::clone(&self.set.store);
        Ok(Sample { store, draw, label: picture.label, weight: picture.weight, slot: picture.slot, read })
    }

    /// Has the pictures of these draws read ahead where they are on disk.
    pub(super) fn will_need(&self, draws: Range<usize>) {
        self.draws[draws].iter().for_each(|draw| self.set.store.will_need(self.set.pictures[draw.picture].slot));
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
