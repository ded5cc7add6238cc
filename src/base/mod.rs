//! What everything else stands on: keyed random streams, atomic files, downloads. Knows nothing of pictures or networks.

pub mod download;
pub mod files;
pub mod rng;
