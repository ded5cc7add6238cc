//! Network definitions: backbones, heads, their parameters by name, and the classifier they form.

pub(super) mod backbone;
pub mod classifier;
pub(super) mod conv_layer;
pub(super) mod groups;
pub mod head;
mod init;
pub mod params;
pub mod paths;
mod small_cnn;
mod squeezenet;
pub mod summary;
pub(super) mod vgg;

pub use init::{build, empty};
