//! Identifies the images that an evaluation is of.

use serde::Serialize;

use crate::data::batches::dataset::ImageSet;

/// The images that an evaluation is of.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Their origin, in words.
    pub source: String,
    /// BLAKE3 of the digests of their pixels, each with its class, sorted: the same images give the
    /// same value wherever they lie.
    pub blake3: String,
}

impl Measured {
    /// Identifies the images of a set.
    pub(super) fn of(set: &ImageSet, source: String) -> Self {
        let mut images: Vec<_> = set
            .images
            .iter()
            .map(|image| (image.digest, set.classes[image.label].as_str()))
            .collect();
        images.sort_unstable();
        let mut hash = blake3::Hasher::new();
        for (pixels, class) in images {
            hash.update(&pixels).update(class.as_bytes()).update(&[0]);
        }
        Self {
            source,
            blake3: hash.finalize().to_hex().to_string(),
        }
    }
}
