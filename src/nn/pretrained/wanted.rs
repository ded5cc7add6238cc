//! The tensors that a network needs from a file, and their names below the layer's name.

use crate::architecture::{Conv, Groups, Kind, Layer};

/// How a tensor of a file is converted to our layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Not at all.
    None,
    /// From `[height, width, inputs, outputs]`, or `[inputs, outputs]` of a dense layer, to
    /// `[outputs, inputs, height, width]`.
    KerasKernel,
    /// From `[height, width, channels, 1]` to `[channels, 1, height, width]`.
    KerasDepthwise,
    /// By subtraction: a bias before a batch norm, which our layer doesn't have, shifts the norm's
    /// mean.
    BiasBeforeNorm,
}

/// A tensor that is needed.
pub(super) struct Wanted {
    /// Path of our parameter.
    pub(super) path: String,
    /// Name in the file.
    pub(super) name: String,
    /// Shape in the file.
    pub(super) shape: Vec<usize>,
    pub(super) turn: Turn,
    pub(super) is_optional: bool,
}

/// The names of a parameter: ours, which checkpoints and PyTorch use too, and Keras's.
pub(super) struct Part {
    pub(super) ours: &'static str,
    pub(super) torch: &'static str,
    pub(super) keras: &'static str,
}

const fn part(ours: &'static str, torch: &'static str, keras: &'static str) -> Part {
    Part { ours, torch, keras }
}

impl Part {
    /// A bias, which some files have for layers that have none here.
    pub(super) const BIAS: Self = part("bias", "bias", "bias");
}

const KERNEL: Part = part("weight", "weight", "kernel");
const GAMMA: Part = part("gamma", "weight", "gamma");
const BETA: Part = part("beta", "bias", "beta");
const MEAN: Part = part("running_mean", "running_mean", "moving_mean");
const VARIANCE: Part = part("running_var", "running_var", "moving_variance");
/// The class token and the position embeddings, parameters of the network itself elsewhere.
const CLASS_TOKEN: Part = part("cls_token", "cls_token", "");
const POSITIONS: Part = part("pos_embed", "pos_embed", "");
/// The layer scale, which in PyTorch is a parameter of the block itself and has no name below the
/// layer's.
const SCALE: Part = part("scale", "", "gamma");

/// Returns the parameters and statistics of a layer with their shapes; `inputs` is the number of
/// channels that reach it.
pub(super) fn parts(layer: &Layer, inputs: usize) -> Vec<(Part, Vec<usize>)> {
    match &layer.kind {
        Kind::Conv(conv) => {
            let mut parts = vec![(KERNEL, conv.weight_shape(inputs).to_vec())];
            parts.extend(conv.bias.then(|| (Part::BIAS, vec![conv.outputs])));
            parts
        }
        Kind::BatchNorm { .. } => [GAMMA, BETA, MEAN, VARIANCE]
            .map(|part| (part, vec![inputs]))
            .into(),
        Kind::LayerNorm { .. } => [GAMMA, BETA].map(|part| (part, vec![inputs])).into(),
        Kind::Scale => vec![(SCALE, vec![inputs])],
        Kind::Tokens {
            grid: [rows, columns],
        } => vec![
            (CLASS_TOKEN, vec![1, 1, inputs]),
            (POSITIONS, vec![1, 1 + rows * columns, inputs]),
        ],
        _ => Vec::new(),
    }
}

/// Returns the path of a layer's parameter.
pub(super) fn path(layer: &Layer, part: &Part) -> String {
    format!("backbone.{}.{}", layer.name, part.ours)
}

/// Returns the bias called `name` if the convolution at `at` has none here and is directly followed
/// by a norm, whose mean it shifts.
pub(super) fn bias_before(modules: &[(&Layer, usize)], at: usize, name: String) -> Option<Wanted> {
    let Kind::Conv(Conv {
        bias: false,
        outputs,
        ..
    }) = modules[at].0.kind
    else {
        return None;
    };
    let (norm, channels) = *modules.get(at + 1)?;
    let is_behind = matches!(norm.kind, Kind::BatchNorm { .. }) && channels == outputs;
    is_behind.then(|| Wanted {
        path: path(norm, &MEAN),
        name,
        shape: vec![outputs],
        turn: Turn::BiasBeforeNorm,
        is_optional: true,
    })
}

/// Returns whether a layer is a depthwise convolution.
pub(super) fn is_depthwise(layer: &Layer) -> bool {
    matches!(
        layer.kind,
        Kind::Conv(Conv {
            groups: Groups::Depthwise,
            ..
        })
    )
}
