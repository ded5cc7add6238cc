//! A trained network as a file for other programs: an ONNX model with the preprocessing inside, or
//! a PyTorch module.

mod onnx;
mod pytorch;

pub use onnx::{ExportError, Preprocess, onnx};
pub use pytorch::pytorch;
