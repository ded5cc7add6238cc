//! A trained network as a file for other programs: an ONNX model with the preprocessing inside, a
//! page that classifies in a browser, or a PyTorch module.

mod onnx;
mod page;
mod pytorch;

pub use onnx::{ExportError, Preprocess, onnx};
pub use page::page;
pub use pytorch::pytorch;
