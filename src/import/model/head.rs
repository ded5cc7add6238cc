//! The dense layers of a saved model as the head of ours.

use std::collections::BTreeMap;

use super::{
    backbone::insert_norm,
    layer::KerasLayer,
    weights::{NormValues, Weights},
};
use crate::{
    config::{Hidden, Model, Pooling},
    nn::networks::{classifier::Output, head::NORM_EPSILON},
};

/// A dense layer.
#[derive(Debug)]
struct Dense {
    layer: KerasLayer,
    /// The norm of what comes in.
    before: Option<KerasLayer>,
    /// The norm between the layer and its activation.
    behind: Option<KerasLayer>,
    /// Keras's name of the activation.
    activation: String,
}

/// The dense layers.
#[derive(Debug)]
pub(super) struct Head {
    pooling: Pooling,
    dropout: f64,
    dense: Vec<Dense>,
    /// A norm for which no dense layer has come yet.
    norm: Option<KerasLayer>,
}

impl Head {
    /// Returns the head that begins with `layer`, or `None` if none does.
    ///
    /// # Errors
    /// Returns a message for a pool that can't be imported.
    pub(super) fn begun(layer: &KerasLayer) -> Result<Option<Self>, String> {
        let pooling = match layer.class.as_str() {
            "Flatten" => Pooling::Flatten,
            "GlobalAveragePooling2D" => Pooling::Average,
            "GlobalMaxPooling2D" => {
                return Err(layer.fault(
                    "such layers can't be imported, expected GlobalAveragePooling2D or Flatten",
                ));
            }
            _ => return Ok(None),
        };
        layer.only("data_format", &["channels_last".into()])?;
        Ok(Some(Self {
            pooling,
            dropout: 0.0,
            dense: Vec::new(),
            norm: None,
        }))
    }

    /// Adds a layer behind the pool.
    ///
    /// # Errors
    /// Returns a message that names a layer that can't be imported there.
    pub(super) fn add(&mut self, layer: &KerasLayer) -> Result<(), String> {
        let open = self
            .dense
            .last_mut()
            .filter(|dense| self.norm.is_none() && dense.activation == "linear");
        match (layer.class.as_str(), open) {
            ("Dense", _) => self.dense.push(Dense {
                activation: layer.activation()?.to_owned(),
                layer: layer.clone(),
                before: self.norm.take(),
                behind: None,
            }),
            ("Dropout", _) => self.dropout = layer.number("rate", 0.0),
            ("BatchNormalization", Some(dense)) if dense.behind.is_none() => {
                dense.behind = Some(layer.clone());
            }
            ("BatchNormalization", _) if self.norm.is_none() => self.norm = Some(layer.clone()),
            ("Activation", Some(dense)) => dense.activation = layer.activation()?.to_owned(),
            ("ReLU", Some(dense)) => {
                layer.only("max_value", &[])?;
                layer.only("negative_slope", &[0.into(), 0.0.into()])?;
                layer.only("threshold", &[0.into(), 0.0.into()])?;
                "relu".clone_into(&mut dense.activation);
            }
            ("Softmax", Some(dense)) => "softmax".clone_into(&mut dense.activation),
            // Nothing outside training, or of a vector.
            ("Flatten" | "GaussianNoise" | "GaussianDropout" | "ActivityRegularization", _) => {}
            _ => {
                return Err(layer.fault(
                    "such layers can't be imported behind the pool, expected Dense, Dropout, \
                     BatchNormalization, ReLU, or the activation of a dense layer",
                ));
            }
        }
        Ok(())
    }

    /// Returns the number of classes and the meaning of the output.
    ///
    /// # Errors
    /// Returns a message for a last layer that gives no probabilities of classes.
    pub(super) fn output(&self) -> Result<(usize, Output), String> {
        let Some(Dense {
            layer, activation, ..
        }) = self.dense.last()
        else {
            return Err("found no Dense layer, expected one with a unit for each class".to_owned());
        };
        match (layer.count("units")?, activation.as_str()) {
            (1, "sigmoid" | "linear") => Ok((2, Output::Sigmoid)),
            (classes, "softmax" | "linear") if classes > 1 => Ok((classes, Output::Softmax)),
            (classes, "sigmoid") => Err(layer.fault(format!(
                "found {classes} units with sigmoid, each of which is a yes or no of its own, \
                 expected softmax, or one unit"
            ))),
            (classes, other) => Err(layer.fault(format!(
                "found {classes} units with {other} as the last layer, expected softmax, or one \
                 unit with sigmoid"
            ))),
        }
    }

    /// Returns the number of batch norms.
    pub(super) fn num_norms(&self) -> usize {
        let norms = |dense: &Dense| {
            usize::from(dense.before.is_some()) + usize::from(dense.behind.is_some())
        };
        self.dense.iter().map(norms).sum()
    }

    /// Returns the settings of `[model]` with those of the head.
    ///
    /// # Errors
    /// Returns a message for a hidden layer without ReLU, and for a norm that no layer follows.
    pub(super) fn of(&self, model: Model) -> Result<Model, String> {
        if let Some(norm) = &self.norm {
            return Err(norm.fault("found a norm behind the last Dense layer"));
        }
        let (_, hidden) = self.dense.split_last().expect("an output was found");
        if let Some(other) = hidden.iter().find(|dense| dense.activation != "relu") {
            return Err(other.layer.fault(format!(
                "found the activation {}, expected relu in all dense layers but the last",
                other.activation
            )));
        }
        let widths = hidden.iter().map(|dense| dense.layer.count("units"));
        let hidden = match widths.collect::<Result<Vec<_>, _>>()?.as_slice() {
            [] => Hidden::One(0),
            [width] => Hidden::One(*width),
            widths => Hidden::Many(widths.to_vec()),
        };
        Ok(Model {
            pooling: self.pooling,
            hidden,
            dropout: self.dropout,
            head_norm: self.dense.iter().any(|dense| dense.before.is_some()),
            ..model
        })
    }

    /// Reads the weights of the head, by the paths of our parameters, for features of
    /// `[channels, height, width]`.
    ///
    /// # Errors
    /// Returns a message that names the layer whose weights are missing or don't fit.
    pub(super) fn values(
        &self,
        features: [usize; 3],
        weights: &Weights<'_>,
    ) -> Result<BTreeMap<String, Vec<f32>>, String> {
        let mut found = BTreeMap::new();
        let has_norms = self.dense.iter().any(|dense| dense.before.is_some());
        let mut inputs = self.pooling.width(features);
        for (index, dense) in self.dense.iter().enumerate() {
            let outputs = dense.layer.count("units")?;
            let kernel = weights.read(&dense.layer, ("kernel", 0), &[inputs, outputs])?;
            let bias = weights.bias(&dense.layer, 1, outputs)?;
            let order = |values: Vec<f32>, width: usize| match (index, self.pooling) {
                (0, Pooling::Flatten) => channels_first(&values, features, width),
                _ => values,
            };
            let mut layer = (order(kernel, outputs), bias);
            if let Some(norm) = &dense.behind {
                fold(&mut layer, &weights.norm(norm, outputs, 0.0)?);
            }
            let name = if index + 1 == self.dense.len() {
                "head.output".to_owned()
            } else {
                format!("head.hidden.{index}")
            };
            found.insert(format!("{name}.weight"), layer.0);
            found.insert(format!("{name}.bias"), layer.1);
            if has_norms {
                let values = match &dense.before {
                    Some(norm) => weights.norm(norm, inputs, NORM_EPSILON)?,
                    None => NormValues::identity(inputs, NORM_EPSILON),
                };
                let path = |part: &str| format!("head.norms.{index}.{part}");
                insert_norm(
                    &mut found,
                    path,
                    NormValues {
                        gamma: order(values.gamma, 1),
                        beta: order(values.beta, 1),
                        mean: order(values.mean, 1),
                        variance: order(values.variance, 1),
                    },
                );
            }
            inputs = outputs;
        }
        Ok(found)
    }
}

/// Brings rows of `width` values from Keras's order of a flattened map, row by row and pixel by
/// pixel, to ours, channel by channel.
fn channels_first(values: &[f32], [channels, height, width]: [usize; 3], row: usize) -> Vec<f32> {
    let area = height * width;
    let from = |to: usize| (to % area) * channels + to / area;
    (0..channels * area)
        .flat_map(|to| &values[from(to) * row..][..row])
        .copied()
        .collect()
}

/// Puts a norm with an epsilon of 0 into the dense layer before it.
fn fold((kernel, bias): &mut (Vec<f32>, Vec<f32>), norm: &NormValues) {
    let outputs = bias.len();
    let scale = |at: usize| norm.gamma[at] / norm.variance[at].sqrt();
    for (index, value) in kernel.iter_mut().enumerate() {
        *value *= scale(index % outputs);
    }
    for (at, value) in bias.iter_mut().enumerate() {
        *value = (*value - norm.mean[at]) * scale(at) + norm.beta[at];
    }
}
