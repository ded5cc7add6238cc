//! Shards: tar files of images, of which the program reads parts.

pub mod index;
pub mod shard;

use std::path::Path;

use crate::{
    base::{names, usage::UsageError},
    data::listing::Listing,
};

/// Refuses a source in which there is no image.
fn refuse_empty(listing: &Listing, source: &Path) -> Result<(), UsageError> {
    if listing.entries.is_empty() {
        Err(UsageError(format!(
            "found no image, expected one or more: {}",
            names::of_path(source)
        )))
    } else {
        Ok(())
    }
}
