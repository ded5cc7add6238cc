//! What everything else stands on: keyed random streams, atomic files, counted warnings. Knows nothing of pictures or networks.

pub mod files;
pub mod rng;
pub mod warnings;
