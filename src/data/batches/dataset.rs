//! Images of one split, with their pixels.

use std::{path::PathBuf, sync::Arc};

use crate::data::store::Store;

/// One image of a set.
#[derive(Clone, Debug)]
pub struct Image {
    /// Where the file is.
    pub path: PathBuf,
    /// Class index.
    pub label: usize,
    /// Images of one group stay on one side of a split.
    pub group: Option<String>,
    /// Factor on the loss in training.
    pub weight: f32,
    /// BLAKE3 of the decoded pixels.
    pub digest: [u8; 32],
    /// Where its bytes are in the store.
    pub slot: usize,
}

/// Images of one split, with their pixels.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// Class names; a label is an index into them.
    pub classes: Arc<Vec<String>>,
    /// The images.
    pub images: Vec<Image>,
    /// Their pixels, which other sets may share.
    pub store: Arc<Store>,
}

impl ImageSet {
    /// The class index of each image.
    pub fn labels(&self) -> Vec<usize> {
        self.images.iter().map(|image| image.label).collect()
    }

    /// Images of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.images.iter().for_each(|image| counts[image.label] += 1);
        counts
    }
}
