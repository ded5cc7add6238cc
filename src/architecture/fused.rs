//! Determines which layers after a convolution or norm are computed together with it.

use super::layer::{Activation, Kind, Pool};

/// The layers after a convolution or norm that can be computed with it in one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fused {
    /// Batch norm.
    pub norm: bool,
    /// ReLU.
    pub relu: bool,
    /// ReLU6.
    pub relu6: bool,
    /// 2x2 max-pooling.
    pub pool: bool,
}

impl Fused {
    /// Determines what can be computed together with `first`, given the layers after it: for a
    /// convolution without bias a norm, and for convolutions and norms ReLU6, or ReLU and
    /// optionally 2x2 max-pooling. A bias before a norm isn't fused.
    pub fn of<'a>(first: &Kind, behind: impl IntoIterator<Item = &'a Kind>) -> Self {
        let takes_norm = match first {
            Kind::Conv(conv) => !conv.bias,
            Kind::BatchNorm { .. } => false,
            _ => return Self::default(),
        };
        let mut behind = behind.into_iter().peekable();
        let norm = takes_norm
            && behind
                .next_if(|kind| matches!(kind, Kind::BatchNorm { .. }))
                .is_some();
        let mut is_next = |function| {
            behind
                .next_if(|kind| **kind == Kind::Activation(function))
                .is_some()
        };
        let (relu, relu6) = (is_next(Activation::Relu), is_next(Activation::Relu6));
        let pool = relu
            && behind
                .next_if(|kind| **kind == Kind::Pool(Pool::HALVE))
                .is_some();
        Self {
            norm,
            relu,
            relu6: relu6 && !relu,
            pool,
        }
    }

    /// Returns the number of layers after the first that are computed with it.
    pub fn count(self) -> usize {
        [self.norm, self.relu, self.relu6, self.pool]
            .into_iter()
            .filter(|is_there| *is_there)
            .count()
    }
}
