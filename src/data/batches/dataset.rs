//! Pictures of one split, with their pixels.

use std::{path::PathBuf, sync::Arc};

use crate::data::store::Store;

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
