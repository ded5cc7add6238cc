//! The network on a device: building it, its loss, its gradients, its weights as bytes. All of Burn's tensors live here.

mod backbone;
pub mod bare;
pub mod batch;
mod conv_layer;
pub mod device;
mod error;
pub mod estimate;
pub mod head;
#[expect(deprecated, reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program promises")]
pub mod host;
pub mod infer;
mod init;
#[expect(deprecated, reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program promises")]
mod kernels;
pub mod loss;
pub mod model;
pub mod optim;
pub mod params;
mod pool;
pub mod pretrained;
mod self_test;
mod small_cnn;
mod squeezenet;
pub mod summary;
#[expect(deprecated, reason = "burn-ndarray: Burn 0.23 removes it; until then it is part of what this program promises")]
mod update;
mod vgg;
pub mod weights;

pub use error::NnError;
pub use init::{build, empty};
