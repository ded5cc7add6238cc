//! What identifies a draw, and with it the random numbers behind it.

use crate::base::rng::{Stream, augmentation_stream};

/// Identifies one draw of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The epoch, counted from 0.
    pub epoch: usize,
    /// Index of the image in the training set.
    pub image: usize,
    /// Number of times the image was drawn before in this epoch.
    pub repeat: usize,
}

impl Key {
    /// Opens the random stream of this draw for the family whose stream has this number.
    pub(super) fn stream(self, seed: u64, number: u64) -> Stream {
        augmentation_stream(
            seed,
            number,
            [self.epoch as u64, self.image as u64, self.repeat as u64],
        )
    }
}
