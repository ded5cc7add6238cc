//! What is said of a file that can't be decoded.

use std::{borrow::Cow, fmt};

/// Why a file can't be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The file is damaged, with a description of the damage.
    Damaged(Cow<'static, str>),
    /// A valid file of a kind that isn't supported, with its name.
    Unsupported(Cow<'static, str>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "the TIFF is damaged: {what}"),
            Self::Unsupported(kind) => write!(
                f,
                "{kind} can't be read; save the image as 8-bit TIFF with LZW or as PNG"
            ),
        }
    }
}

impl std::error::Error for Error {}
