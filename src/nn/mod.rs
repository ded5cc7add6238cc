//! The network on a device: building it, its loss, its gradients, its weights as bytes. All of Burn's tensors live here.

pub mod bare;
pub mod batch;
pub mod device;
mod error;
#[expect(deprecated, reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program promises")]
mod host;
pub mod infer;
mod init;
#[expect(deprecated, reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program promises")]
mod kernels;
pub mod loss;
pub mod model;
pub mod optim;
pub mod params;
mod self_test;
pub mod small_cnn;
pub mod summary;
#[expect(deprecated, reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program promises")]
mod update;
pub mod weights;

pub use error::NnError;
pub use init::build;
