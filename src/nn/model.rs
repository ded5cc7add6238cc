//! Any network behind one seam: features, head, logits, probabilities.

use burn::{
    module::Module,
    tensor::{Device, Tensor, activation},
};
use serde::{Deserialize, Serialize};

use super::small_cnn::SmallCnn;
use crate::config::{Architecture, Loss, Model};

/// What the logits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// One logit a class.
    Softmax,
    /// One logit; its sigmoid is the probability of the second class.
    Sigmoid,
}

impl Output {
    /// What a loss asks for.
    pub fn of(loss: Loss) -> Self {
        match loss {
            Loss::BinaryCrossEntropy => Self::Sigmoid,
            Loss::CrossEntropy | Loss::Focal => Self::Softmax,
        }
    }

    /// Logits for so many classes.
    pub fn num_logits(self, num_classes: usize) -> usize {
        match self {
            Self::Softmax => num_classes,
            Self::Sigmoid => 1,
        }
    }
}

/// What a network is built from: enough to build it again from a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Design {
    /// The knobs of `[model]`.
    pub model: Model,
    /// Channels, height and width.
    pub input: [usize; 3],
    /// Classes to tell apart.
    pub num_classes: usize,
    /// What the logits mean.
    pub output: Output,
}

/// A network that tells classes apart.
#[derive(Module, Debug)]
pub enum Classifier {
    /// See [`SmallCnn`].
    SmallCnn(SmallCnn),
}

impl Classifier {
    /// With all parameters zero; [`super::build`] fills them.
    pub(super) fn new(design: &Design, device: &Device) -> Self {
        let num_outputs = design.output.num_logits(design.num_classes);
        match design.model.architecture {
            Architecture::SmallCnn => Self::SmallCnn(SmallCnn::new(&design.model, design.input, num_outputs, device)),
        }
    }

    /// The last feature map.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        match self {
            Self::SmallCnn(model) => model.forward_features(images),
        }
    }

    /// Logits from a feature map.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, logits]`.
    pub fn forward_head(&self, features: Tensor<4>) -> Tensor<2> {
        match self {
            Self::SmallCnn(model) => model.forward_head(features),
        }
    }

    /// Logits.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, logits]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward_head(self.forward_features(images))
    }

    /// Layers with their output shapes, batch left out.
    pub fn layers(&self, input: [usize; 3]) -> Vec<(String, Vec<usize>)> {
        match self {
            Self::SmallCnn(model) => model.layers(input),
        }
    }
}

/// Probabilities of all classes.
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
    }
}
