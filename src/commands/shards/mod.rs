//! Shards: tar files of images, of which the program reads parts.

pub mod index;
pub mod shard;
