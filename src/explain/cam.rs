//! Class activation maps: what the channels of a layer show, weighted by what they do for the score of a class. The numbers are those of
//! pytorch-grad-cam 1.5.

use burn::tensor::{Tensor, TensorData};

use super::{Explainer, Map, Method};
use crate::nn::{NnError, infer::read, networks::classifier::Output};

/// Keeps the weights of Grad-CAM++ finite.
const EPSILON: f32 = 1e-6;

impl Explainer {
    pub(super) fn activation_maps(&self, method: Method, images: Tensor<4>, classes: &[usize]) -> Result<Vec<Map>, NnError> {
        let values = self.plain.forward_frozen(0..self.groups, images);
        let [_, channels, height, width] = values.dims();
        let values = Tensor::from_inner(values).require_grad();
        let scores = self.scores(self.model.forward_from(self.groups, values.clone()), classes);
        // Pictures have nothing to do with one another, so the gradient of the sum is that of each.
        let gradients = values.grad(&scores.sum().backward()).expect("the head depends on its input");
        let (values, gradients) = (read(values.inner())?, read(gradients)?);
        let size = channels * height * width;
        let map = |(values, gradients): (&[f32], &[f32])| Map::new(weigh(method, values, gradients, height * width), [height, width]);
        Ok(values.chunks_exact(size).zip(gradients.chunks_exact(size)).map(map).collect())
    }

    /// The score of each picture's class: its logit, or the one logit with the sign of the class.
    fn scores(&self, logits: Tensor<2>, classes: &[usize]) -> Tensor<2> {
        let [count, width] = logits.dims();
        let mut mask = vec![0.0f32; count * width];
        for (row, class) in mask.chunks_exact_mut(width).zip(classes) {
            match self.design.output {
                Output::Softmax => row[*class] = 1.0,
                Output::Sigmoid => row[0] = if *class == 1 { 1.0 } else { -1.0 },
            }
        }
        let device = logits.device();
        logits * Tensor::from_data(TensorData::new(mask, [count, width]), &device)
    }
}

/// The map of one picture from the values of a layer and the score's gradients there, `[channels, places]`.
fn weigh(method: Method, values: &[f32], gradients: &[f32], places: usize) -> Vec<f32> {
    let mut map = vec![0.0; places];
    for (values, gradients) in values.chunks_exact(places).zip(gradients.chunks_exact(places)) {
        let weight = match method {
            Method::GradCamPlusPlus => positive_weight(values, gradients),
            _ => gradients.iter().sum::<f32>() / places as f32,
        };
        for ((out, value), gradient) in map.iter_mut().zip(values).zip(gradients) {
            *out += value * if method == Method::LayerCam { gradient.max(0.0) } else { weight };
        }
    }
    map
}

/// Equations 7 and 19 of Grad-CAM++.
fn positive_weight(values: &[f32], gradients: &[f32]) -> f32 {
    let sum: f32 = values.iter().sum();
    let weight = |gradient: &f32| {
        let (square, cube) = (gradient * gradient, gradient * gradient * gradient);
        gradient.max(0.0) * square / (2.0 * square + sum * cube + EPSILON)
    };
    gradients.iter().filter(|gradient| **gradient != 0.0).map(weight).sum()
}
