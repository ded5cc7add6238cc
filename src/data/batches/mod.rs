//! From sets of images to batches in host memory: order, augmentation and normalization of each draw.

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
