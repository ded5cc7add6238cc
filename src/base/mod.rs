//! What everything else stands on: keyed random streams, atomic files, locks, names that can be shown, downloads, how much memory there is,
//! words for messages. Knows nothing of pictures or networks.

pub mod download;
pub mod files;
pub mod lock;
pub mod memory;
pub mod names;
pub mod npy;
mod partial;
pub mod process;
pub mod progress;
pub mod raw_file;
pub mod rng;
pub mod usage;
pub mod words;
