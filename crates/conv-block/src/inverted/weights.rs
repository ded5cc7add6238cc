//! Weights as they are given, and in the order in which the kernels read them.

use crate::{activation::Activation, simd::Isa};

/// A 1x1 convolution's weights `[outputs, inputs]` and bias `[outputs]`, or a depthwise one's
/// `[channels, kernel, kernel]` and `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// The weights.
    pub weight: &'a [f32],
    /// The bias.
    pub bias: &'a [f32],
}

/// A gate (squeeze-excite): two dense layers of the channels' means, each followed by a function.
#[derive(Clone, Copy, Debug)]
pub struct GateWeights<'a> {
    /// To fewer channels.
    pub reduce: Weights<'a>,
    /// Back to all channels.
    pub expand: Weights<'a>,
    /// What follows them.
    pub functions: [Activation; 2],
}

/// The weights of an inverted residual.
#[derive(Clone, Copy, Debug)]
pub struct InvertedWeights<'a> {
    /// The first convolution, unless the block begins with the depthwise one.
    pub expand: Option<Weights<'a>>,
    /// The depthwise convolution.
    pub depthwise: Weights<'a>,
    /// The gate, if there is one.
    pub gate: Option<GateWeights<'a>>,
    /// The last convolution.
    pub project: Weights<'a>,
}

/// The weights of a 1x1 convolution, in panels of one or two vectors of outputs.
#[derive(Clone, Debug)]
pub(super) struct Product {
    pub(super) panels: Vec<Panel>,
}

/// The weights of some outputs, with zeros for missing ones.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    /// First output, and number of outputs that there are.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Number of vectors, 1 or 2.
    pub(super) vectors: usize,
    /// `[input][output]`; inputs are padded to whole vectors.
    pub(super) weights: Vec<f32>,
    /// `[output]`.
    pub(super) bias: Vec<f32>,
}

impl Product {
    pub(super) fn new(isa: Isa, of: Weights<'_>, [outputs, inputs]: [usize; 2]) -> Self {
        assert_eq!(of.weight.len(), outputs * inputs);
        assert_eq!(of.bias.len(), outputs);
        let lanes = isa.lanes();
        let panel = |first: usize| {
            let count = (2 * lanes).min(outputs - first);
            let vectors = count.div_ceil(lanes);
            let width = vectors * lanes;
            let mut weights = vec![0.0; inputs.next_multiple_of(lanes) * width];
            for at in 0..count {
                let row = &of.weight[(first + at) * inputs..][..inputs];
                let places = weights[at..].iter_mut().step_by(width);
                places.zip(row).for_each(|(place, value)| *place = *value);
            }
            let mut bias = of.bias[first..first + count].to_vec();
            bias.resize(width, 0.0);
            Panel {
                first,
                count,
                vectors,
                weights,
                bias,
            }
        };
        Self {
            panels: (0..outputs).step_by(2 * lanes).map(panel).collect(),
        }
    }
}

/// Packs a depthwise convolution's weights as `[vector of channels][row][column][channel]` and its
/// bias, both with zeros for missing channels.
pub(super) fn depthwise(
    isa: Isa,
    of: Weights<'_>,
    channels: usize,
    kernel: usize,
) -> [Vec<f32>; 2] {
    let (lanes, taps) = (isa.lanes(), kernel * kernel);
    assert_eq!(of.weight.len(), channels * taps);
    assert_eq!(of.bias.len(), channels);
    let padded = channels.next_multiple_of(lanes);
    let mut weights = vec![0.0; padded * taps];
    for (channel, values) in of.weight.chunks_exact(taps).enumerate() {
        let start = channel / lanes * lanes * taps + channel % lanes;
        let places = weights[start..].iter_mut().step_by(lanes);
        places
            .zip(values)
            .for_each(|(place, value)| *place = *value);
    }
    let mut bias = of.bias.to_vec();
    bias.resize(padded, 0.0);
    [weights, bias]
}
