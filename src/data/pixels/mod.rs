//! A single image file: decoded within a memory budget, resized, reduced to a thumbnail, and
//! measured.

pub mod decode;
pub mod image_stats;
pub mod memory;
pub mod resize;
pub mod squares;
pub mod thumbnail;
