//! What everything else stands on: keyed random streams, atomic files, names that can be shown, downloads. Knows nothing of pictures or networks.

pub mod download;
pub mod files;
pub mod names;
pub mod rng;
