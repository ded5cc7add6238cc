//! The convolutional part of a saved model as a recipe's list of layers, and where the weights of
//! each come from.

use std::collections::BTreeMap;

use super::{
    layer::KerasLayer,
    weights::{NormValues, Weights},
};
use crate::{
    architecture::{Architecture, Kind, Network},
    config::{
        Around, AveragePoolRecipe, ConvRecipe, DropoutRecipe, Function, LayerRecipe, MaxPoolRecipe,
        Model, NormKind, NormRecipe, SeparableConvRecipe,
    },
};

/// A layer of the list that has weights.
#[derive(Debug)]
enum Weighted {
    Conv(KerasLayer),
    Depthwise(KerasLayer),
    Pointwise(KerasLayer),
    /// A norm, and the convolution before it whose bias it takes over.
    Norm(KerasLayer, Option<KerasLayer>),
}

/// The convolutional part.
#[derive(Debug, Default)]
pub(super) struct Backbone {
    list: Vec<LayerRecipe>,
    weighted: Vec<Weighted>,
    /// Epsilon and momentum of the first batch norm.
    norm: Option<(f64, f64)>,
}

impl Backbone {
    /// Adds a layer.
    ///
    /// # Errors
    /// Returns a message that names the layer and what can't be imported of it.
    pub(super) fn add(&mut self, layer: &KerasLayer) -> Result<(), String> {
        layer.only("data_format", &["channels_last".into()])?;
        match layer.class.as_str() {
            "Conv2D" | "SeparableConv2D" => self.conv(layer),
            "BatchNormalization" => self.norm(layer),
            "MaxPooling2D" | "AveragePooling2D" => self.pool(layer),
            "Dropout" | "SpatialDropout2D" => {
                let dropout = layer.number("rate", 0.0);
                self.list
                    .push(LayerRecipe::Dropout(DropoutRecipe { dropout }));
                Ok(())
            }
            _ => match function_of(layer)? {
                Some(function) => self.activation(layer, function),
                None => Err(layer.fault(
                    "such layers can't be imported, expected Conv2D, SeparableConv2D, \
                     BatchNormalization, activations, MaxPooling2D, AveragePooling2D, Dropout, \
                     then Flatten or GlobalAveragePooling2D, and Dense",
                )),
            },
        }
    }

    fn conv(&mut self, layer: &KerasLayer) -> Result<(), String> {
        layer.only("dilation_rate", &[1.into(), vec![1, 1].into()])?;
        layer.only("groups", &[1.into()])?;
        let (kernel, stride) = (layer.side("kernel_size")?, layer.side("strides")?);
        let outputs = layer.count("filters")?;
        let padding = around(layer)?;
        let activation = Some(function(layer, layer.activation()?)?);
        if layer.class == "Conv2D" {
            self.list.push(LayerRecipe::Conv(ConvRecipe {
                conv: outputs,
                kernel,
                stride,
                padding,
                batch_norm: false,
                activation,
            }));
            self.weighted.push(Weighted::Conv(layer.clone()));
            return Ok(());
        }
        layer.only("depth_multiplier", &[1.into()])?;
        self.list
            .push(LayerRecipe::SeparableConv(SeparableConvRecipe {
                separable_conv: outputs,
                kernel,
                stride,
                padding,
                batch_norm: false,
                activation,
            }));
        self.weighted.push(Weighted::Depthwise(layer.clone()));
        self.weighted.push(Weighted::Pointwise(layer.clone()));
        Ok(())
    }

    fn norm(&mut self, layer: &KerasLayer) -> Result<(), String> {
        layer.only(
            "axis",
            &[3.into(), (-1).into(), vec![3].into(), vec![-1].into()],
        )?;
        let found = (
            layer.number("epsilon", 1e-3),
            layer.number("momentum", 0.99),
        );
        self.norm.get_or_insert(found);
        let shifted = match self.list.last_mut() {
            Some(
                LayerRecipe::Conv(ConvRecipe {
                    batch_norm,
                    activation: Some(Function::None),
                    ..
                })
                | LayerRecipe::SeparableConv(SeparableConvRecipe {
                    batch_norm,
                    activation: Some(Function::None),
                    ..
                }),
            ) if !*batch_norm => {
                *batch_norm = true;
                match self.weighted.last() {
                    Some(Weighted::Conv(conv) | Weighted::Pointwise(conv)) => Some(conv.clone()),
                    _ => None,
                }
            }
            _ => {
                let norm = NormKind::Batch;
                self.list.push(LayerRecipe::Norm(NormRecipe { norm }));
                None
            }
        };
        self.weighted.push(Weighted::Norm(layer.clone(), shifted));
        Ok(())
    }

    fn pool(&mut self, layer: &KerasLayer) -> Result<(), String> {
        let window = layer.side("pool_size")?;
        let stride = if layer.config["strides"].is_null() {
            None
        } else {
            Some(layer.side("strides")?)
        };
        let padding = around(layer)?;
        self.list.push(if layer.class == "MaxPooling2D" {
            LayerRecipe::MaxPool(MaxPoolRecipe {
                max_pool: window,
                stride,
                padding,
            })
        } else {
            LayerRecipe::AveragePool(AveragePoolRecipe {
                average_pool: window,
                stride,
                padding,
            })
        });
        Ok(())
    }

    /// Adds an activation by itself: to the convolution before it, also through a max pool, which
    /// gives the same before and after a function that never falls.
    fn activation(&mut self, layer: &KerasLayer, function: Function) -> Result<(), String> {
        let never_falls = !matches!(function, Function::Gelu | Function::Silu);
        let through =
            |layer: &&mut LayerRecipe| !(never_falls && matches!(layer, LayerRecipe::MaxPool(_)));
        match self.list.iter_mut().rev().find(through) {
            Some(
                LayerRecipe::Conv(ConvRecipe { activation, .. })
                | LayerRecipe::SeparableConv(SeparableConvRecipe { activation, .. }),
            ) if *activation == Some(Function::None) => {
                *activation = Some(function);
                Ok(())
            }
            _ if function == Function::None => Ok(()),
            _ => Err(layer.fault(
                "an activation can be imported behind a convolution without one, or behind the \
                 batch norm or the max pool after it",
            )),
        }
    }

    /// Returns the settings of `[model]` for the list.
    pub(super) fn model(&self) -> Model {
        Model {
            architecture: Architecture::find("layers").expect("there is one of this name"),
            norm_epsilon: self.norm.map(|(epsilon, _)| epsilon),
            // Rounded, because 1 - 0.99 isn't 0.01 in binary.
            norm_momentum: self.norm.map(|(_, momentum)| {
                let rounded = (1e9 * (1.0 - momentum)).round() / 1e9;
                rounded.clamp(1e-9, 1.0)
            }),
            layers: self.list.clone(),
            ..Model::default()
        }
    }

    /// Reads the weights of the list's network, by the paths of our parameters.
    ///
    /// # Errors
    /// Returns a message that names the layer whose weights are missing or don't fit.
    pub(super) fn values(
        &self,
        network: &Network,
        weights: &Weights<'_>,
    ) -> Result<BTreeMap<String, Vec<f32>>, String> {
        let mut found = BTreeMap::new();
        let modules = network.modules();
        let has_weights = |kind: &Kind| matches!(kind, Kind::Conv(_) | Kind::BatchNorm { .. });
        let modules = modules
            .iter()
            .filter(|(layer, _)| has_weights(&layer.kind))
            .zip(&self.weighted);
        for ((layer, inputs), weighted) in modules {
            let path = |part: &str| format!("backbone.{}.{part}", layer.name);
            match (&layer.kind, weighted) {
                (Kind::BatchNorm { epsilon, .. }, Weighted::Norm(norm, shifted)) => {
                    let mut values = weights.norm(norm, *inputs, *epsilon)?;
                    if let Some(conv) = shifted {
                        let index = 1 + usize::from(conv.class == "SeparableConv2D");
                        let bias = weights.bias(conv, index, *inputs)?;
                        let means = values.mean.iter_mut();
                        means.zip(bias).for_each(|(mean, bias)| *mean -= bias);
                    }
                    insert_norm(&mut found, path, values);
                }
                (Kind::Conv(conv), weighted) => {
                    let (keras, part, bias, is_depthwise) = match weighted {
                        Weighted::Conv(keras) => (keras, ("kernel", 0), 1, false),
                        Weighted::Depthwise(keras) => (keras, ("depthwise_kernel", 0), 0, true),
                        Weighted::Pointwise(keras) => (keras, ("pointwise_kernel", 1), 2, false),
                        Weighted::Norm(..) => unreachable!("the list has them in this order"),
                    };
                    let shape = conv.weight_shape(*inputs);
                    let kernel = weights.kernel(keras, part, shape, is_depthwise)?;
                    found.insert(path("weight"), kernel);
                    if conv.bias {
                        found.insert(path("bias"), weights.bias(keras, bias, conv.outputs)?);
                    }
                }
                _ => unreachable!("the list has them in this order"),
            }
        }
        Ok(found)
    }
}

/// Adds the values of a norm under the names that `path` makes.
pub(super) fn insert_norm(
    found: &mut BTreeMap<String, Vec<f32>>,
    path: impl Fn(&str) -> String,
    values: NormValues,
) {
    let NormValues {
        gamma,
        beta,
        mean,
        variance,
    } = values;
    for (part, values) in [
        ("gamma", gamma),
        ("beta", beta),
        ("running_mean", mean),
        ("running_var", variance),
    ] {
        found.insert(path(part), values);
    }
}

fn around(layer: &KerasLayer) -> Result<Around, String> {
    match layer.text("padding", "valid") {
        "same" => Ok(Around::Same),
        "valid" => Ok(Around::Valid),
        _ => Err(layer.unsupported("padding", "same or valid")),
    }
}

/// Returns the activation that a layer is, or `None` if it is none.
fn function_of(layer: &KerasLayer) -> Result<Option<Function>, String> {
    let is = |key: &str, default: f64, expected: f64| {
        (layer.number(key, default) - expected).abs() < 1e-6
    };
    let slope = |function: Function, expected: f64| {
        let is_slope = is("negative_slope", expected, expected) && is("alpha", expected, expected);
        if is_slope {
            Ok(Some(function))
        } else {
            Err(layer.fault(format!(
                "found the settings {}, expected a slope of {expected}",
                layer.config
            )))
        }
    };
    match layer.class.as_str() {
        "Activation" => function(layer, layer.activation()?).map(Some),
        "ReLU" if !is("threshold", 0.0, 0.0) || !is("negative_slope", 0.0, 0.0) => {
            Err(layer.unsupported("threshold", "a plain ReLU"))
        }
        "ReLU" => match layer.config["max_value"].as_f64() {
            None => Ok(Some(Function::Relu)),
            Some(6.0) => Ok(Some(Function::Relu6)),
            Some(_) => Err(layer.unsupported("max_value", "none or 6")),
        },
        "LeakyReLU" => slope(Function::LeakyRelu, 0.01),
        "ELU" => slope(Function::Elu, 1.0),
        _ => Ok(None),
    }
}

/// Returns the activation that Keras calls `name`.
fn function(layer: &KerasLayer, name: &str) -> Result<Function, String> {
    Ok(match name {
        "linear" => Function::None,
        "relu" => Function::Relu,
        "relu6" => Function::Relu6,
        "elu" => Function::Elu,
        "silu" | "swish" => Function::Silu,
        "tanh" => Function::Tanh,
        _ => {
            return Err(layer.fault(format!(
                "found the activation {name}, expected linear, relu, relu6, elu, silu or tanh"
            )));
        }
    })
}
