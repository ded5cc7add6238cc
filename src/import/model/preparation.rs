//! What a saved model does to pixel values before its first convolution, as a normalization.

use serde_json::Value;

use super::{layer::KerasLayer, weights::Weights};
use crate::data::batches::normalize::Normalizer;

/// A factor and an offset for each channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Preparation {
    scale: Vec<f64>,
    offset: Vec<f64>,
    /// Whether anything was found that changes pixel values.
    pub(super) is_there: bool,
}

impl Preparation {
    /// Returns the preparation of a model that takes pixel values as they are.
    pub(super) fn none(channels: usize) -> Self {
        Self {
            scale: vec![1.0; channels],
            offset: vec![0.0; channels],
            is_there: false,
        }
    }

    /// Adds what a layer does.
    ///
    /// # Errors
    /// Returns a message for arguments that can't be imported.
    pub(super) fn add(&mut self, layer: &KerasLayer, weights: &Weights<'_>) -> Result<(), String> {
        let channels = self.scale.len();
        let of_each = |key: &str, default: f64| match &layer.config[key] {
            Value::Null => Ok(vec![default; channels]),
            value => numbers(value, channels)
                .ok_or_else(|| layer.unsupported(key, "a number, or one for each channel")),
        };
        let operand = || {
            layer
                .operand
                .ok_or_else(|| layer.fault("found no number that it is called with"))
        };
        let function = layer.text("function", "");
        match (layer.class.as_str(), function) {
            ("Rescaling", _) => self.then(&of_each("scale", 1.0)?, &of_each("offset", 0.0)?),
            ("Normalization", _) => {
                layer.only("invert", &[false.into()])?;
                let adapted = |key: &str, index: usize| {
                    let values = weights.read(layer, (key, index), &[channels])?;
                    Ok::<_, String>(values.into_iter().map(f64::from).collect::<Vec<_>>())
                };
                let [mean, variance] = if layer.config["mean"].is_null() {
                    [adapted("mean", 0)?, adapted("variance", 1)?]
                } else {
                    [of_each("mean", 0.0)?, of_each("variance", 1.0)?]
                };
                // As Keras, which keeps the divisor above its own epsilon.
                let scale: Vec<f64> = variance
                    .iter()
                    .map(|variance: &f64| 1.0 / variance.sqrt().max(1e-7))
                    .collect();
                let offset: Vec<f64> = mean.iter().zip(&scale).map(|(m, s)| -m * s).collect();
                self.then(&scale, &offset);
            }
            ("TrueDivide", _) | ("TFOpLambda", "math.truediv" | "math.divide") => {
                self.then(&vec![1.0 / operand()?; channels], &vec![0.0; channels]);
            }
            ("Subtract", _) | ("TFOpLambda", "math.subtract") => {
                self.then(&vec![1.0; channels], &vec![-operand()?; channels]);
            }
            ("TFOpLambda", _) => {
                return Err(layer.unsupported("function", "math.truediv or math.subtract"));
            }
            // Inputs, and what is random in training only.
            _ => {}
        }
        Ok(())
    }

    fn then(&mut self, scale: &[f64], offset: &[f64]) {
        self.is_there = true;
        for (at, (scale, offset)) in scale.iter().zip(offset).enumerate() {
            self.scale[at] *= scale;
            self.offset[at] = self.offset[at] * scale + offset;
        }
    }

    /// Returns the normalization that this is, followed by `next`.
    ///
    /// # Errors
    /// Returns a message if a factor isn't a number above 0, and where the channels of `next` are
    /// in another order.
    pub(super) fn before(&self, next: &Normalizer) -> Result<Normalizer, String> {
        if !self.is_there {
            return Ok(next.clone());
        }
        if next.blue_first || next.is_samplewise() {
            return Err(
                "found layers that change pixel values, and --normalize with another \
                        order of channels; leave --normalize out"
                    .to_owned(),
            );
        }
        let is_scale = |scale: &f64| scale.is_finite() && *scale > 0.0;
        if !self.scale.iter().all(is_scale) || !self.offset.iter().all(|o| o.is_finite()) {
            return Err(format!(
                "found layers that multiply pixel values by {:?}, expected factors above 0",
                self.scale
            ));
        }
        // (r (s x + o) - m) / d, with one factor for all channels: r x - (m - r o) / s, over d / s.
        let with = |value: fn(f64, f64, f64, f64) -> f64, of: &[f32]| {
            let channels = self.scale.iter().zip(&self.offset).zip(of);
            channels
                .map(|((s, o), of)| value(*s, *o, f64::from(*of), next.rescale) as f32)
                .collect()
        };
        Ok(Normalizer {
            mean: with(|s, o, mean, rescale| (mean - rescale * o) / s, &next.mean),
            std: with(|s, _, std, _| std / s, &next.std),
            ..next.clone()
        })
    }
}

/// Returns a number for each channel, from one for all or a list, however nested.
fn numbers(value: &Value, channels: usize) -> Option<Vec<f64>> {
    if let Some(number) = value.as_f64() {
        return Some(vec![number; channels]);
    }
    let items = value.as_array()?;
    match items.as_slice() {
        [one] => numbers(one, channels),
        items if items.len() == channels => items.iter().map(Value::as_f64).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_one_after_the_other_are_one_normalization() {
        let mut preparation = Preparation::none(2);
        preparation.then(&[0.5, 0.25], &[1.0, 0.0]);
        preparation.then(&[2.0, 2.0], &[-3.0, 4.0]);
        let next = Normalizer {
            rescale: 0.125,
            samplewise_center: false,
            samplewise_std: false,
            mean: vec![0.5, 0.25],
            std: vec![2.0, 4.0],
            blue_first: false,
            whitening: None,
        };
        let found = preparation.before(&next).expect("possible");
        for (channel, level) in [(0usize, 10.0f64), (1, 200.0)] {
            let scale: [f64; 2] = [0.5, 0.25];
            let offset: [f64; 2] = [1.0, 0.0];
            let then: [f64; 2] = [-3.0, 4.0];
            let prepared = (level * scale[channel] + offset[channel]) * 2.0 + then[channel];
            let expected =
                (prepared * 0.125 - f64::from(next.mean[channel])) / f64::from(next.std[channel]);
            let is = (level * found.rescale - f64::from(found.mean[channel]))
                / f64::from(found.std[channel]);
            assert!((is - expected).abs() < 1e-6, "{is} {expected}");
        }
    }
}
