//! Initializes networks with He's normal distribution (He et al. 2015, arXiv 1502.01852). The
//! values are drawn on the host from keyed streams, so that a seed gives the same weights on every
//! device.

use super::paths;
use burn::tensor::{Device, Tensor, TensorData};

use super::{
    classifier::{Classifier, Design},
    params::{self, Named},
};
use crate::{
    base::rng::{Purpose, normal, stream},
    config::Weights,
};

/// Builds the network on `device` with zero weights and biases, to load other weights into.
pub fn empty(design: &Design, device: &Device) -> Classifier {
    Classifier::new(design, device)
}

/// Builds the network on `device` and initializes it from `seed`. A backbone whose weights come
/// from a file stays zero.
pub fn build(design: &Design, seed: u64, device: &Device) -> Classifier {
    let model = empty(design, device);
    let plain = device.clone().without_autodiff();
    let is_drawn = |param: &Named| param.is_decayed() && (design.model.weights() == Weights::None || paths::group(&param.path).is_none());
    // The stream's index is the position among all parameters, drawn or not, so that the head's
    // weights are the same whether or not the backbone is drawn.
    let values = params::collect(&model).into_iter().enumerate().filter(|(_, param)| is_drawn(param)).map(|(index, param)| {
        let values = draw(&param, design.model.head_norm, seed, index as u64);
        let count = values.len();
        (param.path, Tensor::from_data(TensorData::new(values, [count]), &plain))
    });
    let values = values.collect();
    params::replace(model, values)
}

/// Draws a parameter's values with a standard deviation of sqrt(2 / inputs), or sqrt(1 / inputs)
/// for the output layer, which no ReLU follows. Behind a norm the output layer's inputs have a
/// variance of 1 whatever the features are, and a tenth of that deviation makes the first loss that
/// of chance.
fn draw(param: &Named, has_norm: bool, seed: u64, index: u64) -> Vec<f32> {
    let count: usize = param.dims.iter().product();
    // Kernels are [out, in, height, width], matrices [in, out].
    let inputs = if param.dims.len() == 4 { count / param.dims[0] } else { param.dims[0] };
    let gain = match (param.path.starts_with("head.output."), has_norm) {
        (true, true) => 0.01,
        (true, false) => 1.0,
        (false, _) => 2.0,
    };
    let deviation = (gain / inputs as f64).sqrt();
    let mut stream = stream(seed, Purpose::Weights, [index, 0, 0]);
    (0..count).map(|_| (deviation * normal(&mut stream)) as f32).collect()
}
