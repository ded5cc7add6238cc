//! What is said of a file that can't be decoded.

use std::fmt;

/// Why a file can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The file ends before the image does.
    CutOff,
    /// The file is damaged, with a description of the damage.
    Damaged(&'static str),
    /// A valid file of a kind that isn't supported, with its name.
    Unsupported(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("the JPEG is cut off: the file ends before the image does"),
            Self::Damaged(what) => write!(f, "the JPEG is damaged: {what}"),
            Self::Unsupported(kind) => write!(
                f,
                "{kind} can't be read; save the image again as a usual JPEG or as PNG"
            ),
        }
    }
}

impl std::error::Error for Error {}
