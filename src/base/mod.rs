//! What everything else stands on: keyed random streams and atomic files. Knows nothing of pictures or networks.

pub mod files;
pub mod rng;
