//! Images without a class, which an autoencoder takes.

use crate::config::Data;

/// Class of images without one, where none is needed.
pub const UNLABELED: &str = "unlabeled";

/// What is done with images in a folder without class folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlabeled {
    /// They are an error.
    Refused,
    /// They are taken, as images of the class [`UNLABELED`].
    Taken,
}

impl Unlabeled {
    /// Returns what the settings of a run's data say.
    pub fn of(data: &Data) -> Self {
        if data.takes_unlabeled {
            Self::Taken
        } else {
            Self::Refused
        }
    }
}
