//! From image files to batches in host memory: lists images, decodes and stores them, finds
//! duplicates, holds back the validation set, and puts batches together. Knows no network and no
//! device.

pub mod batches;
mod checks;
pub mod duplicates;
mod entries;
mod error;
mod fraction;
mod held;
pub mod listing;
mod load;
pub mod pack;
mod parts;
pub mod pixels;
pub mod shards;
pub mod store;
pub mod table;

pub use batches::Whitening;
#[cfg(test)]
pub(crate) use batches::set_of;
pub use error::DataError;
pub use load::{Listed, Scanned, TrainingData, load_folds, load_for_training, load_listed, survey};
pub use parts::{TestListing, Unknown, test_listing};
