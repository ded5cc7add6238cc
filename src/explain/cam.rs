//! Class activation maps: the feature maps of a layer, weighted by the gradient of the class score.
//! The values are those of pytorch-grad-cam 1.5.

use burn::tensor::{Tensor, TensorData};

use super::{Map, Method, member::Member};
use crate::nn::{NnError, infer::read, networks::classifier::Output};

/// Added to the denominator of Grad-CAM++, as in pytorch-grad-cam, to keep it from being zero.
const EPSILON: f32 = 1e-6;

impl Member {
    /// Returns the map of each image by a method other than occlusion.
    ///
    /// # Shapes
    /// `images` is `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub(super) fn activation_maps(
        &self,
        method: Method,
        images: Tensor<4>,
        classes: &[usize],
    ) -> Result<Vec<Map>, NnError> {
        // Without autodiff up to the layer, with it from there on: memory holds the backward pass
        // of the upper layers only.
        let values = self.plain.forward_frozen(0..self.groups, images);
        let [count, channels, height, width] = values.dims();
        let size = self.map_size(self.groups);
        let places = size[0] * size[1];
        // A class token, which has no place in the image, comes before the patches.
        let at_places = |x: Tensor<4>| {
            x.reshape([count, channels, height * width])
                .narrow(2, height * width - places, places)
        };
        let values = Tensor::from_inner(values).require_grad();
        let scores = self.scores(
            self.model.forward_from(self.groups, values.clone()),
            classes,
        );
        // Images don't interact, so the gradient of the sum holds the gradient of each.
        let gradients = values
            .grad(&scores.sum().backward())
            .expect("the head depends on its input");
        let (values, gradients) = (
            read(at_places(values.inner()))?,
            read(at_places(gradients))?,
        );
        let map = |(values, gradients): (&[f32], &[f32])| {
            Map::new(weigh(method, values, gradients, places), size)
        };
        Ok(values
            .chunks_exact(channels * places)
            .zip(gradients.chunks_exact(channels * places))
            .map(map)
            .collect())
    }

    /// Returns the score of each image's class: its logit, or the only logit with the sign of the
    /// class.
    ///
    /// # Shapes
    /// `[batch, logits]` in and out; entries of other classes are 0.
    fn scores(&self, logits: Tensor<2>, classes: &[usize]) -> Tensor<2> {
        let [count, width] = logits.dims();
        let mut mask = vec![0.0f32; count * width];
        for (row, class) in mask.chunks_exact_mut(width).zip(classes) {
            match self.design.output {
                Output::Softmax => row[*class] = 1.0,
                Output::Sigmoid => row[0] = if *class == 1 { 1.0 } else { -1.0 },
                Output::Image => unreachable!("an autoencoder has no classes to explain"),
            }
        }
        let device = logits.device();
        logits * Tensor::from_data(TensorData::new(mask, [count, width]), &device)
    }
}

/// Returns the map of one image from the values of a layer and the gradients of the score there.
///
/// # Shapes
/// `values` and `gradients` are `[channels, places]`, flattened; returns `[places]`.
fn weigh(method: Method, values: &[f32], gradients: &[f32], places: usize) -> Vec<f32> {
    let mut map = vec![0.0; places];
    for (values, gradients) in values
        .chunks_exact(places)
        .zip(gradients.chunks_exact(places))
    {
        let weight = match method {
            Method::GradCamPlusPlus => positive_weight(values, gradients),
            _ => gradients.iter().sum::<f32>() / places as f32,
        };
        for ((out, value), gradient) in map.iter_mut().zip(values).zip(gradients) {
            *out += value
                * if method == Method::LayerCam {
                    gradient.max(0.0)
                } else {
                    weight
                };
        }
    }
    map
}

/// Returns the weight of a channel by equations 7 and 19 of Grad-CAM++.
fn positive_weight(values: &[f32], gradients: &[f32]) -> f32 {
    let sum: f32 = values.iter().sum();
    let weight = |gradient: &f32| {
        let (square, cube) = (gradient * gradient, gradient * gradient * gradient);
        gradient.max(0.0) * square / (2.0 * square + sum * cube + EPSILON)
    };
    gradients
        .iter()
        .filter(|gradient| **gradient != 0.0)
        .map(weight)
        .sum()
}
