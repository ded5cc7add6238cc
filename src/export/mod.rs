//! A trained network as a file for other programs: ONNX, with the preprocessing inside.

mod onnx;

pub use onnx::{ExportError, Preprocess, onnx};
