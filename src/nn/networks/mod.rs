//! Network definitions: backbones, heads, their parameters by name, and the classifier they form.

pub(super) mod backbone;
pub mod classifier;
pub mod head;
mod init;
pub mod layers;
mod output;
pub mod params;
pub mod paths;
mod patterns;
mod prepared;
mod steps;
pub mod summary;

pub use init::{build, empty};
