//! The classifier: a backbone in layer groups and a head, from images to logits and probabilities.

use std::ops::Range;

use burn::{
    module::Module,
    nn::BatchNorm,
    tensor::{Device, Tensor},
};
use serde::{Deserialize, Serialize};

pub use super::output::{Output, probabilities};
use super::{
    backbone::{Backbone, PreparedGroup},
    head::{Head, average},
};
use crate::nn::cpu::backend::has_kernels;
use crate::{
    architecture::{Network, ShapeError},
    config::Model,
};

/// Number of images that the widest frozen layers process at a time on the CPU. A larger chunk
/// takes more memory; a smaller one packs the weights more often.
pub(in crate::nn) const FROZEN_CHUNK: usize = 8;

/// Number of layer groups, counted from the last, whose channels give the features of an image.
const FEATURE_GROUPS: usize = 2;

/// The description that a network is built from, and built again from when a checkpoint is loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Design {
    /// The settings of `[model]`.
    pub model: Model,
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Number of classes.
    pub num_classes: usize,
    /// The meaning of the logits.
    pub output: Output,
}

impl Design {
    /// Returns the number of features of an image; see [`Frozen::forward_with_features`].
    ///
    /// # Errors
    /// Returns an error if too little of an image is left for a layer.
    pub fn num_features(&self) -> Result<usize, ShapeError> {
        let [channels, height, width] = self.input;
        let network = self.model.network(channels);
        let layers = network.walk([height, width])?;
        let channels = |group: usize| {
            let last = layers.iter().rfind(|placed| placed.group <= group);
            last.map_or(channels, |placed| placed.output[0])
        };
        Ok((0..network.groups.len())
            .rev()
            .take(FEATURE_GROUPS)
            .map(channels)
            .sum())
    }
}

/// Where a tensor enters the network: as images, or as cached features of the first layer groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkInput {
    /// Channels, height and width of the entering tensor.
    pub shape: [usize; 3],
    /// Index of the layer group that takes it, counted from the input; 0 for images.
    pub group: usize,
}

/// An image classifier: a backbone in layer groups, and a head.
#[derive(Module, Debug)]
pub struct Classifier {
    backbone: Backbone,
    head: Head,
}

/// Layer groups that are not trained, prepared for several calls.
#[derive(Debug)]
pub struct Frozen<'a> {
    network: &'a Network,
    /// With their indices.
    groups: Vec<(usize, PreparedGroup<'a>)>,
}

impl Frozen<'_> {
    /// Runs the layer groups as [`Classifier::forward_frozen`].
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_each(x, &mut |_| {})
    }

    /// Runs the layer groups, and returns the features of each image besides: the average of each
    /// channel that the last two groups give, in each group scaled to length one. The last one
    /// alone tells other images less well (`docs/decisions/novelty.md`).
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to the same, and `[batch, features]`.
    pub fn forward_with_features(&self, x: Tensor<4>) -> (Tensor<4>, Tensor<2>) {
        let mut averages = Vec::new();
        let x = self.forward_each(x, &mut |x| {
            let [batch, channels, ..] = x.dims();
            let average = average(x.clone()).reshape([batch, channels]);
            let length = average.clone().square().sum_dim(1).sqrt();
            averages.push(average / length.clamp_min(f32::MIN_POSITIVE));
        });
        let first = averages.len().saturating_sub(FEATURE_GROUPS);
        (x, Tensor::cat(averages.split_off(first), 1))
    }

    /// Runs the layer groups, and calls `after` with what each gives.
    ///
    /// # Shapes
    /// `x` is `[batch, channels, height, width]`; returns what the last group gives.
    fn forward_each(&self, x: Tensor<4>, after: &mut dyn FnMut(&Tensor<4>)) -> Tensor<4> {
        let batch = x.dims()[0];
        // The chunks were chosen for our kernels; other devices take the whole batch.
        let chunks = if has_kernels(&x.device()) {
            self.chunks(x.dims())
        } else {
            vec![batch; self.groups.len()]
        };
        self.groups
            .iter()
            .zip(chunks)
            .fold(x, |x, ((_, group), chunk)| {
                let x = if chunk >= batch {
                    group.forward(x)
                } else {
                    let parts = x.split(chunk, 0).into_iter();
                    Tensor::cat(parts.map(|part| group.forward(part)).collect(), 0)
                };
                after(&x);
                x
            })
    }

    /// Returns how many images each group takes at a time: [`FROZEN_CHUNK`] where the feature maps
    /// are widest, and where they are narrow as many more as fill the same memory, because a
    /// kernel's weights are brought into its order once a call.
    fn chunks(&self, [_, channels, height, width]: [usize; 4]) -> Vec<usize> {
        let mut shape = [channels, height, width];
        let mut widths = Vec::new();
        for (index, _) in &self.groups {
            let Some((width, next)) = self.network.widest_of_group(*index, shape) else {
                unreachable!("the network was built for images of this size")
            };
            widths.push(width);
            shape = next;
        }
        let most = widths.iter().copied().max().unwrap_or_default();
        widths
            .iter()
            .map(|width| FROZEN_CHUNK * most / width)
            .collect()
    }
}

impl Classifier {
    /// Creates the network with zero weights and biases; [`super::build`] initializes them.
    ///
    /// # Panics
    /// Panics if the images are too small for the network, which a checked configuration rules out.
    pub(in crate::nn) fn new(design: &Design, device: &Device) -> Self {
        let [channels, height, width] = design.input;
        let network = design.model.network(channels);
        let features = network
            .features([height, width])
            .expect("a checked configuration leaves features");
        let num_outputs = design.output.num_logits(design.num_classes);
        Self {
            head: Head::new(&design.model, features, num_outputs, device),
            backbone: Backbone::new(network, device),
        }
    }

    /// Joins a backbone and a head.
    #[cfg(test)]
    pub(in crate::nn) fn of(backbone: Backbone, head: Head) -> Self {
        Self { backbone, head }
    }

    /// Returns the network below the head.
    #[cfg(test)]
    pub(super) fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// Returns the number of layer groups in the backbone.
    pub fn num_groups(&self) -> usize {
        self.network().groups.len()
    }

    /// Runs the given layer groups of the backbone, counted from the input, on the output of the
    /// groups before them.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub fn forward_groups(&self, groups: Range<usize>, x: Tensor<4>) -> Tensor<4> {
        self.backbone.forward(groups, x)
    }

    /// Runs layer groups that are not trained, on tensors without autodiff. On the CPU it takes a
    /// few images at a time, which keeps the memory for intermediate feature maps small; the values
    /// are those of [`Self::forward_groups`].
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub fn forward_frozen(&self, groups: Range<usize>, x: Tensor<4>) -> Tensor<4> {
        self.frozen(groups).forward(x)
    }

    /// Prepares layer groups that are not trained for several calls; see [`Self::forward_frozen`].
    pub fn frozen(&self, groups: Range<usize>) -> Frozen<'_> {
        let groups = groups.map(|group| (group, self.backbone.prepared(group)));
        Frozen {
            network: self.network(),
            groups: groups.collect(),
        }
    }

    /// Returns the channels, height and width of the first `groups` layer groups' output, for
    /// images of shape `input`.
    pub fn shape_after(&self, groups: usize, input: [usize; 3]) -> [usize; 3] {
        let [_, height, width] = input;
        let layers = self
            .network()
            .walk([height, width])
            .expect("the network was built for images of this size");
        layers
            .iter()
            .rfind(|placed| placed.group < groups)
            .map_or(input, |placed| placed.output)
    }

    /// Computes the last feature map.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        self.forward_groups(0..self.num_groups(), images)
    }

    /// Brings the last feature map to the size that the head keeps of it; see
    /// [`Self::forward_head`].
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, values, rows, columns]`.
    pub fn pool_features(&self, features: Tensor<4>) -> Tensor<4> {
        self.head.pool(features)
    }

    /// Computes the logits from the last feature map, pooled or not.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, logits]`.
    pub fn forward_head(&self, features: Tensor<4>) -> Tensor<2> {
        self.head.forward(features)
    }

    /// Computes the logits from the output of the first `group` layer groups.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, logits]`.
    pub fn forward_from(&self, group: usize, x: Tensor<4>) -> Tensor<2> {
        self.forward_head(self.forward_groups(group..self.num_groups(), x))
    }

    /// Computes the logits of images.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, logits]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward_from(0, images)
    }

    /// Returns the rows and columns of the map that the first `groups` layer groups give of images
    /// of shape `input`; of a class token, that of the patches.
    pub fn map_size(&self, groups: usize, input: [usize; 3]) -> [usize; 2] {
        let [_, height, width] = input;
        let sizes = self.network().map_sizes([height, width]);
        sizes.expect("the network was built for images of this size")[groups - 1]
    }

    /// Lists the layers with their output shapes, without the batch dimension, for images of shape
    /// `input`.
    pub fn layers(&self, input: [usize; 3]) -> Vec<(String, Vec<usize>)> {
        let [_, height, width] = input;
        let backbone = self
            .network()
            .walk([height, width])
            .expect("the network was built for images of this size");
        let features = backbone.last().map_or(input, |placed| placed.output);
        let mut layers = vec![("input".to_owned(), input.to_vec())];
        let named = backbone
            .into_iter()
            .filter(|placed| !placed.layer.name.is_empty());
        layers.extend(named.map(|placed| {
            (
                format!("backbone.{}", placed.layer.name),
                placed.output.to_vec(),
            )
        }));
        layers.extend(
            self.head
                .layers(features)
                .into_iter()
                .map(|(name, shape)| (format!("head.{name}"), shape)),
        );
        layers
    }

    /// Whether the layer at `path` is a batch norm of the backbone that keeps its gains in
    /// training.
    pub(in crate::nn) fn has_frozen_norm(&self, path: &str) -> bool {
        path.strip_prefix("backbone.")
            .is_some_and(|name| self.backbone.has_frozen_norm(name))
    }

    /// Lists the batch norms that move their statistics in training, where the first `frozen` layer
    /// groups are frozen.
    pub(in crate::nn) fn learning_norms(&self, frozen: usize) -> Vec<&BatchNorm> {
        let mut norms = self.backbone.learning_norms(frozen);
        norms.extend(self.head.norms());
        norms
    }

    /// Describes the backbone's layers in words that change whenever one of them does.
    pub fn description(&self) -> String {
        format!("{:?}", self.network())
    }

    /// Returns the description of the backbone.
    pub(in crate::nn) fn network(&self) -> &Network {
        self.backbone.network()
    }

    /// Returns the network with batch norms in the backbone that keep their statistics and gains in
    /// training.
    pub fn with_frozen_norms(self) -> Self {
        Self {
            backbone: self.backbone.with_frozen_norms(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Int;

    use super::*;
    use crate::{config::Hidden, nn::networks::build};

    #[test]
    fn features_are_averages_of_the_last_two_groups_each_of_length_one() {
        let device = Device::flex();
        let design = Design {
            model: Model {
                channels: Some(vec![4, 6, 8]),
                hidden: Hidden::One(0),
                ..Model::default()
            },
            input: [3, 26, 22],
            num_classes: 2,
            output: Output::Softmax,
        };
        let model = build(&design, 3, &device);
        let images = Tensor::<1, Int>::arange(0..2 * 3 * 26 * 22, &device).float() / 3432.0;
        let images: Tensor<4> = images.reshape([2, 3, 26, 22]);
        let frozen = model.frozen(0..3);
        let values =
            |tensor: Tensor<1>| -> Vec<f32> { tensor.into_data().try_to_vec().expect("floats") };
        let (last, features) = frozen.forward_with_features(images.clone());
        assert_eq!(
            values(last.flatten(0, 3)),
            values(frozen.forward(images.clone()).flatten(0, 3))
        );
        let [_, width] = features.dims();
        assert_eq!(
            (width, design.num_features().expect("enough is left")),
            (14, 14)
        );
        let expected: Vec<Vec<f32>> = [2, 3]
            .map(|groups| {
                let maps = model.forward_groups(0..groups, images.clone());
                values(average(maps).flatten(0, 3))
            })
            .into();
        for (image, row) in values(features.flatten(0, 1)).chunks_exact(14).enumerate() {
            for (found, (all, channels)) in [&row[..6], &row[6..]]
                .into_iter()
                .zip(expected.iter().zip([6, 8]))
            {
                let averages = &all[image * channels..(image + 1) * channels];
                let length = averages
                    .iter()
                    .map(|value| value * value)
                    .sum::<f32>()
                    .sqrt();
                for (found, average) in found.iter().zip(averages) {
                    assert!(
                        (found - average / length).abs() < 1e-5,
                        "{found} {average} {length}"
                    );
                }
            }
        }
    }
}
