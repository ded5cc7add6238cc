//! The images of the training, validation or test set, with their pixels.

use std::{path::PathBuf, sync::Arc};

use crate::data::store::{Format, Store};

/// An image of a set.
#[derive(Clone, Debug)]
pub struct Image {
    /// Path of the file.
    pub path: PathBuf,
    /// Class index.
    pub label: usize,
    /// Group, such as a patient. Images of a group stay on the same side of a split.
    pub group: Option<String>,
    /// Factor on the loss in training.
    pub weight: f32,
    /// BLAKE3 digest of the decoded pixels.
    pub digest: [u8; 32],
    /// Position of its pixels in the store.
    pub slot: usize,
}

/// A set of images with their pixels.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// Class names; a label is an index into them.
    pub classes: Arc<Vec<String>>,
    /// The images.
    pub images: Vec<Image>,
    /// Their pixels. Several sets may share a store.
    pub store: Arc<Store>,
}

impl ImageSet {
    /// Returns images of unknown class and path, as [`read_bytes`](crate::data::store::read_bytes)
    /// returns them. All have the label 0.
    pub fn of_images(classes: &Arc<Vec<String>>, format: Format, images: &[Vec<u8>]) -> Self {
        let image = |slot: usize| Image {
            path: PathBuf::new(),
            label: 0,
            group: None,
            weight: 1.0,
            digest: [0; 32],
            slot,
        };
        Self {
            classes: Arc::clone(classes),
            images: (0..images.len()).map(image).collect(),
            store: Arc::new(Store::of_images(format, images)),
        }
    }

    /// Returns the class index of each image.
    pub fn labels(&self) -> Vec<usize> {
        self.images.iter().map(|image| image.label).collect()
    }

    /// Returns the number of images of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.images
            .iter()
            .for_each(|image| counts[image.label] += 1);
        counts
    }
}
