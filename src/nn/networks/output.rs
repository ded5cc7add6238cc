//! What a network's outputs mean: the classes of an image, or an image itself.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::config::Loss;

/// The meaning of a network's logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// One logit per class.
    Softmax,
    /// A single logit, whose sigmoid is the probability of the second of two classes.
    Sigmoid,
    /// No logits: the values of an image in place of them, those of the network's input.
    Image,
}

impl Output {
    /// Returns the output that a loss is defined on.
    pub fn of(loss: Loss) -> Self {
        match loss {
            Loss::BinaryCrossEntropy => Self::Sigmoid,
            Loss::CrossEntropy | Loss::Focal => Self::Softmax,
            Loss::MeanSquaredError => Self::Image,
        }
    }

    /// Returns the number of logits for `num_classes` classes.
    pub fn num_logits(self, num_classes: usize) -> usize {
        match self {
            Self::Softmax => num_classes,
            Self::Sigmoid => 1,
            Self::Image => 0,
        }
    }

    /// Splits logits into one row per image with a logit per class. The first class of a
    /// [`Self::Sigmoid`] output gets 0, so that a softmax of the row gives the sigmoid's
    /// probabilities.
    ///
    /// # Shapes
    /// `logits` is `[batch, logits]` in row-major order; the result has `batch` rows of
    /// `num_classes`.
    pub fn per_class(self, logits: &[f32], num_classes: usize) -> Vec<Vec<f32>> {
        let row = |row: &[f32]| match self {
            Self::Softmax => row.to_vec(),
            Self::Sigmoid => vec![0.0, row[0]],
            Self::Image => unreachable!("an image has no logits"),
        };
        logits
            .chunks_exact(self.num_logits(num_classes))
            .map(row)
            .collect()
    }
}

/// Computes the probability of each class.
///
/// # Shapes
/// `[batch, logits]` to `[batch, classes]`.
pub fn probabilities(logits: Tensor<2>, output: Output) -> Tensor<2> {
    match output {
        Output::Softmax => activation::softmax(logits, 1),
        Output::Sigmoid => {
            let second = activation::sigmoid(logits);
            Tensor::cat(vec![second.ones_like() - second.clone(), second], 1)
        }
        Output::Image => unreachable!("an image has no probabilities"),
    }
}
