//! Turns sets of images into batches in host memory: the order of an epoch, the preparation of each
//! draw, and normalization. Uploads nothing.

pub mod batch;
pub mod dataset;
mod eigen;
pub mod loader;
pub mod normalize;
pub mod order;
mod statistics;
pub mod view;

pub use statistics::Whitening;
#[cfg(test)]
pub(crate) use statistics::tests::set_of;
