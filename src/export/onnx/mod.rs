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
    /// A network with attention, which the engine of a page doesn't compute.
    #[error("found {0}, a network with attention, which a page can't run; use --onnx or --pytorch")]
    Attention(&'static str),
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

/// Returns the ONNX file of checkpoints, one or more, whose networks with their weights are
/// `models`; several predict by the mean of their probabilities. With `half`, kernels and matrices
/// are stored as float16, and computed with as float32.
///
/// # Errors
/// Returns an error if a weight doesn't fit into float16, or if the file would be larger than 2
/// GiB.
pub fn onnx(
    checkpoints: &[Checkpoint],
    models: &[Classifier],
    form: Preprocess,
    half: bool,
) -> Result<Vec<u8>, ExportError> {
    let bytes = models.iter().map(|model| to_bytes(model, Part::ALL));
    let bytes = bytes.collect::<Result<Vec<_>, _>>()?;
    let weights = bytes.iter().map(|bytes| SafeTensors::deserialize(bytes));
    let weights = weights.collect::<Result<Vec<_>, _>>()?;
    if half {
        weights.iter().try_for_each(check_halves)?;
    }
    let metas: Vec<&Meta> = checkpoints.iter().map(|it| &it.meta).collect();
    let mut graph = Graph::new(&weights[0], half);
    build(&mut graph, (&metas, &weights), form);
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "emberlens".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: about(form).to_owned(),
        graph: Some(graph.finish(&metas[0].name)),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props: metadata::properties(checkpoints, form),
    };
    let length = model.encoded_len();
    if length > MOST_BYTES {
        return Err(ExportError::Large(length));
    }
    Ok(model.encode_to_vec())
}

/// Adds everything from the image to the outputs, for networks with these weights.
fn build<'a>(
    graph: &mut Graph<'a>,
    (metas, weights): (&[&Meta], &'a [SafeTensors<'a>]),
    form: Preprocess,
) {
    let meta = metas[0];
    let [channels, height, width] = meta.design.input;
    let batch = Side::Any("batch");
    let levels = if form == Preprocess::None {
        let sides = [batch, Side::Of(channels), Side::Of(height), Side::Of(width)];
        graph.input("image", DataType::Float, &sides, about(form))
    } else {
        let sides = [batch, Side::Any("height"), Side::Any("width"), Side::Of(3)];
        let image = graph.input("image", DataType::Uint8, &sides, about(form));
        preprocess::levels(graph, &image, meta, form.real())
    };
    let mut logits_of = |(meta, weights): (&&Meta, &'a SafeTensors<'a>)| {
        graph.weights = weights;
        let design = &meta.design;
        let real = form.real();
        let x = preprocess::normalized(graph, &levels, &meta.normalize, design.input, real);
        let network = design.model.network(channels);
        let features = network::backbone(graph, &network, x, design.input);
        network::head(graph, &design.model, &features)
    };
    let logits: Vec<Value> = metas.iter().zip(weights).map(&mut logits_of).collect();
    let each = metas.iter().zip(&logits);
    let each = each.map(|(meta, logits)| probabilities(graph, logits, meta));
    let (mut probabilities, mut logits) = match &each.collect::<Vec<_>>()[..] {
        [one] => (
            one.clone(),
            per_class(graph, &logits[0], meta.design.output),
        ),
        several => averaged(graph, several),
    };
    let sides = [batch, Side::Of(meta.classes.len())];
    graph.output(&mut probabilities, "probabilities", &sides, "of each class");
    let about = match metas.len() {
        1 => "before the temperature",
        _ => "the logarithm of the probabilities",
    };
    graph.output(&mut logits, "logits", &sides, about);
}

/// Returns the probability of each class.
fn probabilities(graph: &mut Graph<'_>, logits: &Value, meta: &Meta) -> Value {
    let warm = if meta.temperature == 1.0 {
        logits.clone()
    } else {
        graph.binary("Div", logits, meta.temperature)
    };
    match meta.design.output {
        Output::Softmax => graph.node("Softmax", &[&warm], vec![int("axis", 1)]),
        Output::Sigmoid => {
            let second = graph.unary("Sigmoid", &warm);
            let first = graph.binary("Sub", 1.0, &second);
            graph.node("Concat", &[&first, &second], vec![int("axis", 1)])
        }
        Output::Image => unreachable!("autoencoders aren't exported"),
    }
}

/// Returns the logit of each class. The softmax of a row, divided by the temperature, gives the
/// probabilities, also for a network with a single logit.
fn per_class(graph: &mut Graph<'_>, logits: &Value, output: Output) -> Value {
    match output {
        Output::Softmax => logits.clone(),
        Output::Sigmoid => {
            let none = graph.binary("Mul", logits, 0.0);
            graph.node("Concat", &[&none, logits], vec![int("axis", 1)])
        }
        Output::Image => unreachable!("autoencoders aren't exported"),
    }
}

/// Returns the mean of the probabilities of several networks, and its logarithm, whose softmax it
/// is.
fn averaged(graph: &mut Graph<'_>, each: &[Value]) -> (Value, Value) {
    let sum = each.iter().cloned();
    let sum = sum.reduce(|a, b| graph.binary("Add", &a, &b));
    let sum = sum.expect("a run has networks");
    let mean = graph.binary("Mul", &sum, 1.0 / each.len() as f64);
    // Of 0, it would be infinite.
    let positive = graph.clip(&mean, f32::MIN_POSITIVE.into(), 1.0);
    let logits = graph.unary("Log", &positive);
    (mean, logits)
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
