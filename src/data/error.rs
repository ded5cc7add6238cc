//! Errors of images and lists of images.

use std::{error::Error, io, path::PathBuf, sync::Arc};

use burn::data::dataset::DatasetError;

use crate::base::{io::files::reason, names};

/// An error of `data`. Cheap to clone, since the error of a batch passes through channels and
/// Burn's own error type.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DataError {
    /// A folder or file that isn't there.
    #[error("found no {expected}: {}; {hint}", names::of_path(path))]
    Missing {
        /// What was expected, such as "folder of class folders".
        expected: &'static str,
        /// The path of it.
        path: PathBuf,
        /// What to do.
        hint: String,
    },
    /// An input or output error.
    #[error(
        "can't {doing}: {}{}: {}",
        reason(.error),
        hint(.doing, .error.kind()),
        names::of_path(path)
    )]
    Io {
        /// What failed, such as "read" or "list".
        doing: &'static str,
        /// The path of the file or folder.
        path: PathBuf,
        /// The error of the system.
        error: Arc<io::Error>,
    },
    /// Classes or images that can't be trained on; the message.
    #[error("{0}")]
    Classes(String),
    /// A CSV that can't be read as a list of images.
    #[error("{message}: {}, line {line}", names::of_path(path))]
    Csv {
        /// What was found, and what was expected.
        message: String,
        /// The path of the CSV.
        path: PathBuf,
        /// Line, counted from 1 with the header.
        line: u64,
    },
    /// A file of ours that was changed or damaged.
    #[error("{message}: {}", names::of_path(path))]
    Damaged {
        /// What was found, what was expected, and what to do.
        message: String,
        /// The path of the file.
        path: PathBuf,
    },
    /// An image that isn't kept and has other pixels than when it was read first.
    #[error(
        "an image has changed since it was read first, so that epochs would differ in what they \
         learn; start anew with it, or bring the old file back and resume: {}",
        names::of_path(.0)
    )]
    Changed(PathBuf),
    /// An image that can't be decoded, if that ends the run.
    #[error("can't decode an image: {reason}: {}", names::of_path(path))]
    Image {
        /// The path of the image.
        path: PathBuf,
        /// Why it can't be decoded.
        reason: String,
    },
    /// An image in a shard that can't be read.
    #[error("can't read an image: {reason}: {}", names::of_path(path))]
    Lost {
        /// The path of the image.
        path: PathBuf,
        /// Why its shard can't be read.
        reason: String,
    },
    /// An error of a data set of another program; the message.
    #[error("{0}")]
    Foreign(String),
    /// A thread of the loader has panicked: a bug. The index of the batch.
    #[error("the batch loader stopped unexpectedly at batch {0}; please report this")]
    Loader(usize),
}

impl DataError {
    /// Returns the error of `doing` something with `path`.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>, error: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.into(),
            error: Arc::new(error),
        }
    }
}

/// Returns what to do if decoded images can't be kept for the next epoch.
fn hint(doing: &str, kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match kind {
        // Only the cache can be done without.
        _ if !doing.contains("pixel cache") => "",
        StorageFull | QuotaExceeded => "; free some space, or set data.cache = \"memory\"",
        PermissionDenied | ReadOnlyFilesystem => {
            "; let XDG_CACHE_HOME name a folder that can be written, or set data.cache = \"memory\""
        }
        _ => "",
    }
}

impl From<DatasetError> for DataError {
    /// Takes our own error out of Burn's box, and the message of any other.
    fn from(error: DatasetError) -> Self {
        error
            .source()
            .and_then(|source| source.downcast_ref())
            .cloned()
            .unwrap_or_else(|| Self::Foreign(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_says_what_to_do_where_something_can_be_done() {
        use io::ErrorKind::{NotFound, PermissionDenied, StorageFull};
        for (doing, kind, expected) in [
            (
                "write the pixel cache",
                StorageFull,
                "can't write the pixel cache: no storage space; free some space, or set \
                 data.cache = \"memory\": x",
            ),
            (
                "create the folder of the pixel cache",
                PermissionDenied,
                "can't create the folder of the pixel cache: permission denied; let XDG_CACHE_HOME \
                 name a folder that can be written, or set data.cache = \"memory\": x",
            ),
            ("list", NotFound, "can't list: entity not found: x"),
        ] {
            assert_eq!(DataError::io(doing, "x", kind.into()).to_string(), expected);
        }
    }
}
