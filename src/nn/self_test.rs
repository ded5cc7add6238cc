//! Compares a device with the CPU on one forward and backward pass of a small network of
//! convolutions, batch norm, pooling and dense layers. Wrong results from GPU drivers and compilers
//! do occur (tracel-ai/burn#5257, #5162).

use std::collections::BTreeMap;

use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::{Device, Tensor, TensorData},
};

use super::{
    infer::read,
    loss::LossFn,
    networks::{
        build,
        classifier::{Design, Output},
        params,
    },
};
use crate::{
    base::rng::{Purpose, normal, stream},
    config::{Hidden, Loss, Model},
};

/// Largest difference from the CPU that is accepted, as a fraction of the largest absolute value in
/// the tensor. It leaves room for other orders of summation: the software driver lavapipe (Mesa
/// 22.3) differed by 1.4e-6.
pub(super) const TOLERANCE: f64 = 2e-3;

/// Loss, logits and gradients of the small network, by name.
type Numbers = BTreeMap<String, Vec<f32>>;

/// Returns the largest difference from the CPU, as a fraction of the largest absolute value in its
/// tensor, and the name of that tensor; no name if all values are equal.
///
/// # Errors
/// Returns a description if the device fails or a value isn't finite.
pub(super) fn compare(device: &Device) -> Result<(f64, Option<String>), String> {
    difference(&compute(&Device::flex())?, &compute(device)?)
}

/// Returns the largest relative difference between two results and the name of its tensor.
fn difference(expected: &Numbers, got: &Numbers) -> Result<(f64, Option<String>), String> {
    let mut worst = (0.0, None);
    for (name, expected) in expected {
        let got = got
            .get(name)
            .filter(|got| got.len() == expected.len())
            .ok_or_else(|| format!("{name} is missing"))?;
        if let Some(bad) = got.iter().find(|value| !value.is_finite()) {
            return Err(format!("{name} holds {bad}"));
        }
        // The floor keeps a tensor of zeros from dividing by zero.
        let scale = expected
            .iter()
            .fold(1e-6f64, |scale, value| scale.max(f64::from(value.abs())));
        let largest = expected
            .iter()
            .zip(got)
            .map(|(a, b)| f64::from((a - b).abs()) / scale)
            .fold(0.0, f64::max);
        if largest > worst.0 {
            worst = (largest, Some(name.clone()));
        }
    }
    Ok(worst)
}

/// Runs the small network on `device` with weights and inputs that depend on nothing else.
fn compute(device: &Device) -> Result<Numbers, String> {
    const BATCH: usize = 3;
    let design = Design {
        model: Model {
            channels: Some(vec![6, 8]),
            batch_norm: Some(true),
            hidden: Hidden::One(10),
            dropout: 0.0,
            ..Model::default()
        },
        // Neither square nor a power of two, so that swapped sides and padding errors show.
        input: [3, 14, 10],
        num_classes: 4,
        output: Output::Softmax,
    };
    let train_device = device.clone().autodiff();
    let model = build(&design, 7, &train_device);
    let mut stream = stream(7, Purpose::Synthetic, [0; 3]);
    let [channels, height, width] = design.input;
    let pixels: Vec<f32> = (0..BATCH * channels * height * width)
        .map(|_| normal(&mut stream) as f32)
        .collect();
    let images = TensorData::new(pixels, [BATCH, channels, height, width]);
    let targets = Tensor::<2>::from_data(
        [
            [1.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.5, 0.0, 0.5],
        ],
        &train_device,
    );
    let weights = Tensor::<1>::from_data([1.0, 2.0, 0.5], &train_device);
    let loss = LossFn {
        kind: Loss::CrossEntropy,
        gamma: 0.0,
        label_smoothing: 0.1,
    };
    let logits = model.forward(Tensor::from_data(images.clone(), &train_device));
    let total = loss.weighted_sum(logits.clone(), targets, weights);
    let mut numbers = Numbers::new();
    let mut keep = |name: String, values: Result<Vec<f32>, super::NnError>| {
        numbers.insert(name, values.map_err(|error| error.to_string())?);
        Ok::<_, String>(())
    };
    keep(
        "the loss".to_owned(),
        read(total.clone().without_autodiff()),
    )?;
    keep("the logits".to_owned(), read(logits.without_autodiff()))?;
    let gradients = params::take_gradients(
        &model,
        GradientsParams::from_grads(total.backward(), &model),
    );
    for (name, gradient) in gradients {
        keep(format!("the gradient of {name}"), read(gradient))?;
    }
    // Validation takes another path: stored statistics, without autodiff.
    keep(
        "the validation logits".to_owned(),
        read(model.valid().forward(Tensor::from_data(images, device))),
    )?;
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_computes_otherwise_is_found_out() {
        let numbers = |values: &[f32]| Numbers::from([("the loss".to_owned(), values.to_vec())]);
        let expected = numbers(&[1.0, -4.0]);
        for (got, allowed) in [
            (&[1.0, -4.0][..], true),
            (&[1.001, -4.0], true),
            (&[1.1, -4.0], false),
            (&[1.0, 4.0], false),
        ] {
            let (largest, _) = difference(&expected, &numbers(got)).expect("finite");
            assert_eq!(largest <= TOLERANCE, allowed, "{got:?}: {largest}");
        }
        for (got, message) in [
            (&[1.0, f32::NAN][..], "the loss holds NaN"),
            (&[1.0], "the loss is missing"),
        ] {
            assert_eq!(
                difference(&expected, &numbers(got)),
                Err(message.to_owned())
            );
        }
    }

    #[test]
    fn the_net_of_the_test_has_a_gradient_for_every_parameter() {
        let numbers = compute(&Device::flex()).expect("computed");
        let gradients: Vec<_> = numbers
            .iter()
            .filter(|(name, _)| name.starts_with("the gradient"))
            .collect();
        assert_eq!(gradients.len(), 10);
        assert!(
            gradients
                .iter()
                .all(|(_, values)| values.iter().any(|value| *value != 0.0)),
            "{gradients:?}"
        );
    }
}
