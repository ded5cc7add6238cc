//! The weights of some outputs, as tiles read them.

use crate::{shape::Conv, simd::Isa};

/// Number of outputs that a tile computes at most, in two rows; half as many where there are few
/// registers (see [`Isa::positions`]).
pub(super) const OUTPUTS: usize = 12;

/// The weights of some outputs.
pub(super) struct Block {
    /// First output, and their number.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Outputs in each of the two rows of a tile; the last may be missing.
    pub(super) width: usize,
    /// `[input][row][output in row]`, with zeros for missing outputs.
    pub(super) weights: Vec<f32>,
    /// One value per output of the tile.
    pub(super) bias: [f32; OUTPUTS],
}

impl Block {
    /// Divides the outputs evenly, because small tiles are slow.
    pub(super) fn all(
        isa: Isa,
        conv: &Conv,
        weight: impl Fn(usize, usize) -> f32,
        bias: &[f32],
    ) -> Vec<Self> {
        let most = 2 * isa.positions();
        let size = conv.outputs.div_ceil(conv.outputs.div_ceil(most));
        let block = |first: usize| {
            let count = size.min(conv.outputs - first);
            let width = count.div_ceil(2);
            let mut weights = vec![0.0; conv.inputs * 2 * width];
            for (input, weights) in weights.chunks_exact_mut(2 * width).enumerate() {
                let outputs = weights.iter_mut().take(count).enumerate();
                outputs.for_each(|(output, value)| *value = weight(first + output, input));
            }
            let bias = std::array::from_fn(|at| {
                let value = bias.get(first + at).filter(|_| at < count);
                value.copied().unwrap_or(0.0)
            });
            Self {
                first,
                count,
                width,
                weights,
                bias,
            }
        };
        (0..conv.outputs).step_by(size).map(block).collect()
    }
}
