//! What everything else stands on: keyed random streams, atomic files, names that can be shown, downloads, how much memory there is, words for
//! messages. Knows nothing of pictures or networks.

pub mod download;
pub mod files;
pub mod memory;
pub mod names;
pub mod rng;
pub mod words;
