//! What every other module builds on: keyed random streams, atomic files, locks, printable names,
//! downloads, available memory, words for messages and text as HTML. Knows nothing of images or
//! networks.

pub mod io;
pub mod markup;
pub mod memory;
pub mod names;
pub mod process;
pub mod progress;
pub mod rng;
pub mod stats;
pub mod union_find;
pub mod usage;
pub mod words;
