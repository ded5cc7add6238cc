//! What every other module builds on: keyed random streams, atomic files, locks, printable names,
//! downloads, available memory, words for messages. Knows nothing of images or networks.

pub mod bytes;
pub mod cache;
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
pub mod stats;
pub mod usage;
pub mod words;
