//! The network on a device: building it, its loss, its gradients, its weights as bytes. All of Burn's tensors live here.

pub mod baseline;
pub mod batch;
pub mod cpu;
pub mod device;
mod error;
pub mod estimate;
pub mod infer;
pub mod loss;
pub mod networks;
pub mod optim;
pub mod pretrained;
mod self_test;
pub mod weights;

pub use error::NnError;
