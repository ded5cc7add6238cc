//! One image file: decoded within a budget of memory, resized, and what there is to say of it.

pub mod decode;
pub mod image_stats;
pub mod memory;
pub mod resize;
pub mod thumbnail;
