//! Initializes networks with He's normal distribution (He et al. 2015, arXiv 1502.01852), or with
//! Glorot's uniform one. The values are drawn on the host from keyed streams, so that a seed gives
//! the same weights on every device.

use super::paths;
use burn::tensor::{Device, Tensor, TensorData};

use super::{
    classifier::{Classifier, Design},
    params::{self, Named},
};
use crate::{
    base::rng::{Purpose, normal, stream, uniform},
    config::{Init, Model, Weights},
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
    let is_drawn = |param: &Named| {
        param.is_decayed()
            && (design.model.weights() == Weights::None || paths::group(&param.path).is_none())
    };
    // The stream's index is the position among all parameters, drawn or not, so that the head's
    // weights are the same whether or not the backbone is drawn.
    let values = params::collect(&model)
        .into_iter()
        .enumerate()
        .filter(|(_, param)| is_drawn(param))
        .map(|(index, param)| {
            let values = draw(&param, seed, index as u64, &design.model);
            let count = values.len();
            (
                param.path,
                Tensor::from_data(TensorData::new(values, [count]), &plain),
            )
        });
    let values = values.collect();
    params::replace(model, values)
}

/// Draws a parameter's values.
fn draw(param: &Named, seed: u64, index: u64, model: &Model) -> Vec<f32> {
    match model.init() {
        Init::He => draw_he(param, model.head_norm, seed, index),
        Init::GlorotUniform => draw_glorot(param, seed, index),
    }
}

/// Returns a parameter's number of values.
fn count(param: &Named) -> usize {
    param.dims.iter().product()
}

/// Draws values uniformly up to sqrt(6 / (inputs + outputs)), each counted with the positions of
/// the kernel (Glorot and Bengio 2010); Keras's default.
fn draw_glorot(param: &Named, seed: u64, index: u64) -> Vec<f32> {
    // Kernels are [out, in, height, width], matrices [in, out].
    let positions: usize = param.dims[2..].iter().product();
    let bound = (6.0 / ((param.dims[0] + param.dims[1]) * positions) as f64).sqrt();
    let mut stream = stream(seed, Purpose::Weights, [index, 0, 0]);
    (0..count(param))
        .map(|_| uniform(&mut stream, -bound, bound) as f32)
        .collect()
}

/// Draws a parameter's values with a standard deviation of sqrt(2 / inputs), or sqrt(1 / inputs)
/// for the output layer, which no ReLU follows. Behind a norm the output layer's inputs have a
/// variance of 1 whatever the features are, and a tenth of that deviation makes the first loss that
/// of chance.
fn draw_he(param: &Named, has_norm: bool, seed: u64, index: u64) -> Vec<f32> {
    let count = count(param);
    // Kernels are [out, in, height, width], matrices [in, out].
    let inputs = if param.dims.len() == 4 {
        count / param.dims[0]
    } else {
        param.dims[0]
    };
    let gain = match (param.path.starts_with("head.output."), has_norm) {
        (true, true) => 0.01,
        (true, false) => 1.0,
        (false, _) => 2.0,
    };
    let deviation = (gain / inputs as f64).sqrt();
    let mut stream = stream(seed, Purpose::Weights, [index, 0, 0]);
    (0..count)
        .map(|_| (deviation * normal(&mut stream)) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Hidden, Model},
        nn::networks::classifier::Output,
    };

    fn drawn(model: Model) -> Vec<(String, Vec<f32>)> {
        let design = Design {
            model,
            input: [3, 8, 8],
            num_classes: 3,
            output: Output::Softmax,
        };
        let values = |param: Named| {
            (
                param.path,
                param.values.into_data().try_to_vec().expect("floats"),
            )
        };
        params::collect(&build(&design, 5, &Device::flex()))
            .into_iter()
            .map(values)
            .collect()
    }

    fn small(init: Option<Init>) -> Model {
        Model {
            channels: Some(vec![6, 8]),
            hidden: Hidden::One(10),
            init,
            ..Model::default()
        }
    }

    #[test]
    fn he_draws_what_no_initializer_draws_from_the_position_of_each_parameter() {
        let expected = drawn(small(None));
        assert_eq!(drawn(small(Some(Init::He))), expected);
        for (index, path, deviation) in [
            (0, "backbone.blocks.0.conv.weight", (2.0 / 27.0f64).sqrt()),
            (2, "backbone.blocks.1.conv.weight", (2.0 / 54.0f64).sqrt()),
            (4, "head.hidden.0.weight", (2.0 / 32.0f64).sqrt()),
            (6, "head.output.weight", (1.0 / 10.0f64).sqrt()),
        ] {
            let mut stream = stream(5, Purpose::Weights, [index, 0, 0]);
            let (found, values) = &expected[index as usize];
            assert_eq!(found, path);
            for value in values {
                assert_eq!(*value, (deviation * normal(&mut stream)) as f32, "{path}");
            }
        }
    }

    #[test]
    fn glorot_fills_its_bounds_evenly_and_leaves_biases_at_zero() {
        let bounds = [
            ("backbone.blocks.0.conv.weight", 6.0 / (9.0 * (3.0 + 6.0))),
            ("backbone.blocks.1.conv.weight", 6.0 / (9.0 * (6.0 + 8.0))),
            ("head.hidden.0.weight", 6.0 / (32.0 + 10.0)),
            ("head.output.weight", 6.0 / (10.0 + 3.0)),
        ];
        for (path, values) in drawn(small(Some(Init::GlorotUniform))) {
            let Some((_, square)) = bounds.iter().find(|(name, _)| *name == path) else {
                assert!(
                    path.ends_with("bias") && values.iter().all(|value| *value == 0.0),
                    "{path}"
                );
                continue;
            };
            let bound = f64::sqrt(*square) as f32;
            let most = values
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            assert!(
                most <= bound && most > 0.85 * bound,
                "{path}: {most} of {bound}"
            );
            let mean_square =
                values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
            assert!(
                (mean_square / (bound * bound / 3.0) - 1.0).abs() < 0.35,
                "{path}: {mean_square}"
            );
        }
    }
}
