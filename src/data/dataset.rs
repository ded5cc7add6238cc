//! Burn's `Dataset` over our pictures: a set, an order of draws, and what is done to the pixels of each draw.

use std::{path::PathBuf, sync::Arc};

use burn::data::dataset::{Dataset, DatasetError};

use super::{DataError, order::Draw, pictures::Store};

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
    /// SHA-256 of the decoded pixels.
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

/// One picture as the network sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Normalised pixels, `[channels, height, width]`.
    pub image: Vec<f32>,
    /// Share of each class; a one for the class, unless pictures are mixed.
    pub target: Vec<f32>,
    /// Factor on the loss.
    pub weight: f32,
    /// Position of the picture in its set.
    pub picture: usize,
}

/// What is done to the bytes `[height, width, channels]` of a draw: normalised pixels `[channels, height, width]` come out.
pub type Prepare = Arc<dyn Fn(&[u8], Draw) -> Vec<f32> + Send + Sync>;

/// The draws of one epoch (or one evaluation) as a Burn data set.
#[derive(Clone)]
pub struct View {
    /// The pictures.
    pub set: Arc<PictureSet>,
    /// Which are drawn, in order.
    pub draws: Vec<Draw>,
    /// What is done to each.
    pub prepare: Prepare,
}

impl View {
    /// The sample of draw `index`.
    ///
    /// # Errors
    /// A picture that can't be read again, where nothing is kept.
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let draw = self.draws[index];
        let picture = &self.set.pictures[draw.picture];
        let image = (self.prepare)(&self.set.store.pixels(picture.slot)?, draw);
        let mut target = vec![0.0; self.set.classes.len()];
        target[picture.label] = 1.0;
        Ok(Sample { image, target, weight: picture.weight, picture: draw.picture })
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
