//! Networks as data: each is a list of layers in layer groups, from which follow its shapes, its
//! weights and their names in other libraries, the summary, the memory estimate and, in `nn`, the
//! network itself. Nothing here computes anything.
//!
//! A new backbone is a file in `backbones/` with a table and an [`Entry`], and a line in
//! [`ARCHITECTURES`].

mod autoencoder;
mod backbones;
mod builder;
mod entry;
mod fused;
mod layer;
mod listed;
mod named;
mod network;
mod shape_error;
mod small_cnn;

pub use autoencoder::autoencoder;
pub use backbones::ARCHITECTURES;
#[cfg(test)]
pub(crate) use backbones::vgg::vgg;
pub use entry::{Dialect, Entry, Input, Published, Source, Strided, Traits, Variant};
pub use fused::Fused;
pub use layer::{
    Activation, Conv, ForeignNames, Groups, Join, Kind, Layer, Padding, Pool, PoolKind, Shape,
};
pub use listed::{Convolution, Listed, Norm, listed};
pub use named::Architecture;
pub use network::{Network, Placed};
pub use shape_error::ShapeError;
pub use small_cnn::small_cnn;
