//! The network on a device: building it, its loss, its gradients, its weights as bytes. All of Burn's tensors live here.

pub mod bare;
pub mod batch;
pub mod device;
mod error;
pub mod infer;
mod init;
mod kernels;
pub mod loss;
pub mod model;
pub mod optim;
pub mod params;
mod self_test;
pub mod small_cnn;
pub mod summary;
pub mod weights;

pub use error::NnError;
pub use init::build;
