//! From files to host batches: which pictures there are, what is in them, who is held back, in which order they come.

mod align;
pub mod batch;
mod cache_file;
mod checks;
pub mod copies;
pub mod dataset;
pub mod decode;
mod eigen;
mod error;
pub mod facts;
mod hashes;
pub mod known;
pub mod leaks;
pub mod listing;
mod load;
pub mod loader;
pub mod look;
pub mod memory;
pub mod normalize;
pub mod order;
mod parts;
pub mod phantom;
pub mod pictures;
pub mod resize;
pub mod split;
mod statistics;
pub mod survey;
pub mod table;

pub use error::DataError;
pub use load::{Listed, Surveyed, TrainingData, load_for_training, load_listed, survey};
pub use parts::{TestListing, Unknown, test_listing};
pub use statistics::Whitening;

#[cfg(test)]
pub(crate) use statistics::tests::set_of;
