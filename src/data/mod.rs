//! From files to host batches: which images there are, what is in them, who is held back, in which order they come.

pub mod batches;
mod checks;
pub mod duplicates;
mod entries;
mod error;
pub mod listing;
mod load;
mod parts;
pub mod pixels;
pub mod store;
pub mod table;

pub use batches::Whitening;
#[cfg(test)]
pub(crate) use batches::set_of;
pub use error::DataError;
pub use load::{Listed, Scanned, TrainingData, load_for_training, load_listed, survey};
pub use parts::{TestListing, Unknown, test_listing};
