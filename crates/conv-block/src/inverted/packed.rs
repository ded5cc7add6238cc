//! A block whose weights are in the order of the kernels.

use super::{
    gate::Gate,
    shape::InvertedResidual,
    weights::{self, InvertedWeights, Product},
};
use crate::simd::Isa;

/// An inverted residual with its weights in the order of the kernels.
#[derive(Clone, Debug)]
pub struct PackedInverted {
    pub(super) isa: Isa,
    pub(super) shape: InvertedResidual,
    pub(super) expand: Option<Product>,
    /// `[vector of channels][row][column][channel]`, and `[channel]`.
    pub(super) depthwise: [Vec<f32>; 2],
    pub(super) gate: Option<Gate>,
    pub(super) project: Product,
}

impl PackedInverted {
    /// Brings the weights into the order of the kernels.
    ///
    /// # Panics
    /// Panics if a slice has another length than the shape says.
    pub fn new(isa: Isa, shape: InvertedResidual, weights: &InvertedWeights<'_>) -> Self {
        assert!(weights.expand.is_some() || shape.inputs == shape.expanded);
        let channels = shape.expanded;
        let expand = weights.expand;
        Self {
            isa,
            shape,
            expand: expand.map(|it| Product::new(isa, it, [channels, shape.inputs])),
            depthwise: weights::depthwise(isa, weights.depthwise, channels, shape.kernel),
            gate: weights
                .gate
                .map(|gate| Gate::new(gate, channels.next_multiple_of(isa.lanes()), channels)),
            project: Product::new(isa, weights.project, [shape.outputs, channels]),
        }
    }

    /// Returns the block's shape.
    pub fn shape(&self) -> &InvertedResidual {
        &self.shape
    }

    /// Returns the number of vectors of expanded channels.
    pub(super) fn num_vectors(&self) -> usize {
        self.shape.expanded.div_ceil(self.isa.lanes())
    }
}
