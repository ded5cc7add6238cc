//! Networks on a device: layers, losses, optimizers, inference, and weights as bytes. The modules
//! below this one use no tensors.

pub mod baseline;
pub mod batch;
mod clip;
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
pub mod statistics;
pub mod weights;

pub use error::NnError;
