//! Any network behind one seam: features, head, logits, probabilities.

use super::paths;
use std::ops::Range;

use burn::{
    module::Module,
    tensor::{Device, Tensor, activation},
};
use serde::{Deserialize, Serialize};

use super::{backbone::Backbone, groups::LayerName, head::Head};
use crate::config::{Loss, Model};
use crate::nn::cpu::backend::has_kernels;

/// Pictures that frozen layers see at a time on the CPU. More take more memory, fewer pack the weights more often.
pub(in crate::nn) const FROZEN_CHUNK: usize = 8;

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

    /// `[batch, logits]`, flat, as a logit a class for each picture; the first of two is 0 where the network has one.
    pub fn rows(self, logits: &[f32], num_classes: usize) -> Vec<Vec<f32>> {
        let row = |row: &[f32]| match self {
            Self::Softmax => row.to_vec(),
            Self::Sigmoid => vec![0.0, row[0]],
        };
        logits.chunks_exact(self.num_logits(num_classes)).map(row).collect()
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

/// Where values enter a network: pictures, or what its first layer groups made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// Channels, height and width of the values.
    pub shape: [usize; 3],
    /// The layer group that takes them, counted from the input.
    pub group: usize,
}

/// A network that tells classes apart: a backbone in layer groups, and a head.
#[derive(Module, Debug)]
pub struct Classifier {
    backbone: Backbone,
    head: Head,
}

impl Classifier {
    /// With all parameters zero; [`super::build`] fills them.
    ///
    /// # Panics
    /// The pictures are too small for the network, which a checked configuration excludes.
    pub(in crate::nn) fn new(design: &Design, device: &Device) -> Self {
        let [channels, height, width] = design.input;
        let features = design.model.feature_shape([height, width]).expect("a checked configuration leaves features");
        let num_outputs = design.output.num_logits(design.num_classes);
        Self { backbone: Backbone::new(&design.model, channels, device), head: Head::new(&design.model, features, num_outputs, device) }
    }

    #[cfg(test)]
    pub(in crate::nn) fn of(backbone: Backbone, head: Head) -> Self {
        Self { backbone, head }
    }

    /// Layer groups of the backbone.
    pub fn num_groups(&self) -> usize {
        self.backbone.groups().num_groups()
    }

    /// What these layer groups of the backbone, counted from the input, make of what the groups before them made.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub fn forward_groups(&self, groups: Range<usize>, x: Tensor<4>) -> Tensor<4> {
        self.backbone.forward(groups, x)
    }

    /// [`Self::forward_groups`] where nothing is trained: a few pictures at a time on the CPU, so that what lies between takes little memory.
    /// The values are the same. Without autodiff.
    pub fn forward_frozen(&self, groups: Range<usize>, x: Tensor<4>) -> Tensor<4> {
        if !has_kernels(&x.device()) || groups.is_empty() {
            return self.forward_groups(groups, x);
        }
        let parts = x.split(FROZEN_CHUNK, 0).into_iter().map(|part| self.forward_groups(groups.clone(), part));
        Tensor::cat(parts.collect(), 0)
    }

    /// Channels, height and width of what the first `groups` layer groups make of pictures of `input`.
    pub fn shape_after(&self, groups: usize, input: [usize; 3]) -> [usize; 3] {
        let layers = self.backbone.groups().layers(input);
        let is_within = |(name, _): &&(String, [usize; 3])| paths::is_frozen(&format!("backbone.{name}"), groups);
        layers.iter().rfind(is_within).map_or(input, |(_, shape)| *shape)
    }

    /// The last feature map.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        self.forward_groups(0..self.num_groups(), images)
    }

    /// Logits from the last feature map.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, logits]`.
    pub fn forward_head(&self, features: Tensor<4>) -> Tensor<2> {
        self.head.forward(features)
    }

    /// Logits from what the first `group` layer groups made.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, logits]`.
    pub fn forward_from(&self, group: usize, x: Tensor<4>) -> Tensor<2> {
        self.forward_head(self.forward_groups(group..self.num_groups(), x))
    }

    /// Logits.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, logits]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward_from(0, images)
    }

    /// Layers with their output shapes, batch left out.
    pub fn layers(&self, input: [usize; 3]) -> Vec<(String, Vec<usize>)> {
        let backbone = self.backbone.groups().layers(input);
        let features = backbone.last().map_or(input, |(_, shape)| *shape);
        let mut layers = vec![("input".to_owned(), input.to_vec())];
        layers.extend(backbone.into_iter().map(|(name, shape)| (format!("backbone.{name}"), shape.to_vec())));
        layers.extend(self.head.layers(features).into_iter().map(|(name, shape)| (format!("head.{name}"), shape)));
        layers
    }

    /// The backbone's convolutions by their names, ours whole.
    pub(in crate::nn) fn layer_names(&self) -> Vec<LayerName> {
        let whole = |name: LayerName| LayerName { ours: format!("backbone.{}", name.ours), ..name };
        self.backbone.groups().names().into_iter().map(whole).collect()
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
