//! A network as an ONNX model: from an image as it was decoded to the probability of each class.
//!
//! Opset 13, which runtimes of 2020 know. The graph is built from the network's description
//! (`network`), and its preprocessing from `meta.json` (`preprocess`, `resize`).

mod graph;
mod metadata;
mod network;
mod preprocess;
mod proto;
mod resize;
#[cfg(test)]
pub(super) mod tests;

use burn::tensor::f16;
use clap::ValueEnum;
use prost::Message as _;
use safetensors::SafeTensors;

use self::{
    graph::{Graph, Side, Value, int},
    proto::{DataType, Model, OperatorSet},
};
use crate::{
    base::io::bytes::to_f32,
    checkpoint::{Checkpoint, Meta},
    nn::{
        NnError,
        networks::classifier::{Classifier, Output},
        weights::{Part, to_bytes},
    },
};

/// Version of ONNX's operators.
const OPSET: i64 = 13;

/// Version of the file format that goes with it.
const IR_VERSION: i64 = 7;

/// Most bytes that protobuf reads.
const MOST_BYTES: usize = i32::MAX as usize;

/// How much of the preprocessing is inside the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preprocess {
    /// All of it, in float64: pixels of any size are resized to the level as by `predict`
    Exact,
    /// All of it, in float32, for runtimes without float64: levels differ by one here and there
    Float32,
    /// Normalization alone: float32 levels of 0 to 255 at the network's size
    None,
}

/// An error in exporting a network.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A model that no program could read.
    #[error(
        "the model would have {0} bytes, and an ONNX file has {MOST_BYTES} at most; --half stores \
         weights in half the space, and model.pooling = \"average\" has fewer of them"
    )]
    Large(usize),
    /// A weight that float16 can't hold.
    #[error(
        "{name} has a weight of {value:e}, and float16 ends at {}; leave out --half",
        f16::MAX
    )]
    Half {
        /// Name of the tensor.
        name: String,
        /// The weight.
        value: f32,
    },
    /// Weights that can't be read from their device.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// Weights that can't be read.
    #[error(transparent)]
    Weights(#[from] safetensors::SafeTensorError),
}

impl Preprocess {
    /// Returns the name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Float32 => "float32",
            Self::None => "none",
        }
    }

    /// Returns the type of real numbers that it computes with.
    fn real(self) -> DataType {
        match self {
            Self::Exact => DataType::Double,
            Self::Float32 | Self::None => DataType::Float,
        }
    }
}

/// Returns the ONNX file of a checkpoint, whose network with its weights is `model`. With `half`,
/// kernels and matrices are stored as float16, and computed with as float32.
///
/// # Errors
/// Returns an error if a weight doesn't fit into float16, or if the file would be larger than 2
/// GiB.
pub fn onnx(
    checkpoint: &Checkpoint,
    model: &Classifier,
    form: Preprocess,
    half: bool,
) -> Result<Vec<u8>, ExportError> {
    let meta = &checkpoint.meta;
    let bytes = to_bytes(model, Part::ALL)?;
    let weights = SafeTensors::deserialize(&bytes)?;
    if half {
        check_halves(&weights)?;
    }
    let mut graph = Graph::new(&weights, half);
    build(&mut graph, meta, form);
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "emberlens".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: about(form).to_owned(),
        graph: Some(graph.finish(&meta.name)),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props: metadata::properties(checkpoint, form),
    };
    let length = model.encoded_len();
    if length > MOST_BYTES {
        return Err(ExportError::Large(length));
    }
    Ok(model.encode_to_vec())
}

/// Adds everything from the image to the outputs.
fn build(graph: &mut Graph<'_>, meta: &Meta, form: Preprocess) {
    let (input, classes) = (meta.design.input, meta.classes.len());
    let [channels, height, width] = input;
    let batch = Side::Any("batch");
    let levels = if form == Preprocess::None {
        let sides = [batch, Side::Of(channels), Side::Of(height), Side::Of(width)];
        graph.input("image", DataType::Float, &sides, about(form))
    } else {
        let sides = [batch, Side::Any("height"), Side::Any("width"), Side::Of(3)];
        let image = graph.input("image", DataType::Uint8, &sides, about(form));
        preprocess::levels(graph, &image, meta, form.real())
    };
    let x = preprocess::normalized(graph, &levels, &meta.normalize, input, form.real());
    let network = meta.design.model.network(channels);
    let features = network::backbone(graph, &network, x, input);
    let logits = network::head(graph, &meta.design.model, &features);
    let (mut probabilities, mut logits) = classified(graph, &logits, meta);
    let sides = [batch, Side::Of(classes)];
    graph.output(&mut probabilities, "probabilities", &sides, "of each class");
    graph.output(&mut logits, "logits", &sides, "before the temperature");
}

/// Returns the probability and the logit of each class. The softmax of a row of logits, divided by
/// the temperature, gives the probabilities, also for a network with a single logit.
fn classified(graph: &mut Graph<'_>, logits: &Value, meta: &Meta) -> (Value, Value) {
    let warm = if meta.temperature == 1.0 {
        logits.clone()
    } else {
        graph.binary("Div", logits, meta.temperature)
    };
    match meta.design.output {
        Output::Softmax => {
            let probabilities = graph.node("Softmax", &[&warm], vec![int("axis", 1)]);
            (probabilities, logits.clone())
        }
        Output::Sigmoid => {
            let second = graph.unary("Sigmoid", &warm);
            let first = graph.binary("Sub", 1.0, &second);
            let none = graph.binary("Mul", logits, 0.0);
            let [probabilities, logits] = [[&first, &second], [&none, logits]]
                .map(|both| graph.node("Concat", &both, vec![int("axis", 1)]));
            (probabilities, logits)
        }
        Output::Image => unreachable!("autoencoders aren't exported"),
    }
}

fn about(form: Preprocess) -> &'static str {
    match form {
        Preprocess::Exact | Preprocess::Float32 => {
            "RGB images of one size as they were decoded, 0 to 255, turned upright by their EXIF \
             orientation, without alpha. Resizing and normalization are inside."
        }
        Preprocess::None => {
            "Levels of 0 to 255 at the network's size, red first. Normalization is inside."
        }
    }
}

/// Checks that float16 holds every weight.
fn check_halves(weights: &SafeTensors<'_>) -> Result<(), ExportError> {
    for (name, weight) in weights.iter() {
        let is_beyond = |value: &f32| value.is_finite() && f16::from_f32(*value).is_infinite();
        if weight.shape().len() > 1
            && let Some(value) = to_f32(weight.data()).find(is_beyond)
        {
            let name = name.to_owned();
            return Err(ExportError::Half { name, value });
        }
    }
    Ok(())
}
