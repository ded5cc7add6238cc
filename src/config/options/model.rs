//! `[model]`: the network, the source of its weights, and which of its layers are trained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    architecture::{
        Architecture, Dialect, Listed, Network, Norm, ShapeError, Source, Variant, autoencoder,
        listed, small_cnn,
    },
    config::{
        Freeze, Weights,
        layers::{Function, Init, LayerRecipe, MOST_KERNEL_WEIGHTS},
    },
};

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Architecture of the network.
    pub architecture: Architecture,
    /// Where the backbone's initial weights come from: `"none"` (drawn from the seed), `"imagenet"`
    /// (the published ones, see `emberlens weights list`), the path of a `.pth`, `.safetensors` or
    /// Keras `.h5` or `.keras` file, or the folder of a run; that of an autoencoder gives its
    /// encoder to a `small_cnn` of the same channels. `"imagenet"` by default, `"none"` for
    /// `small_cnn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// Which layers are frozen: `"none"`, `"backbone"` (all but the head) or `"blocks:N"` (the N
    /// layer groups nearest the input). Frozen batch norm uses its stored statistics. `"backbone"`
    /// by default, `"none"` for `small_cnn` and for weights drawn from the seed. With
    /// `train.phases`, each phase sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// `small_cnn` and `autoencoder` only: output channels of each convolution block, `[32, 64,
    /// 128, 128]` by default; each block halves height and width. Those of an autoencoder, `[32,
    /// 64, 16]` by default, lead to the code, and in reverse from it back to the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<usize>>,
    /// `small_cnn` and `autoencoder` only: batch normalization after each convolution (which then
    /// has no bias). Off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_norm: Option<bool>,
    /// `layers` only: the activation after each convolution that names no other, `"relu"` by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Function>,
    /// `layers` only: the epsilon that batch norms add to the variance, 1e-5 by default as in
    /// PyTorch. Keras's default is 1e-3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_epsilon: Option<f64>,
    /// `layers` only: the weight of a batch in the running statistics of batch norms, 0.1 by
    /// default as in PyTorch. Keras's `momentum` is 1 minus this, 0.99 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_momentum: Option<f64>,
    /// How weights are initialized that come from no file, including those of the head. `"he"` by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
    /// `mobilenet_v1` and `mobilenet_v2` only: width multiplier, a factor on the channels of all
    /// layers, 1 by default. Weights belong to one width; they are published for 0.25, 0.5, 0.75
    /// and 1 (V1), and 0.35, 0.5, 0.75, 1, 1.3 and 1.4 (V2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    /// The library whose weights the network is built for. It determines how convolutions are
    /// padded, the epsilon of norms, and the meaning of `data.normalize = "auto"`. By default it is
    /// told from the file of the weights. `"timm_tf"` stands for timm's networks with TensorFlow's
    /// weights (`tf_...`), whose files use the same names as timm's others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// Whether batch norms that are trained keep the statistics and gains of their weights, as
    /// Keras advises for fine-tuning: a few small batches would ruin them. `true` with weights from
    /// a file, `false` without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze_norms: Option<bool>,
    /// How the last feature map is turned into a vector.
    pub pooling: Pooling,
    /// Width of the hidden layer after pooling, or a list of widths; 0 for none.
    pub hidden: Hidden,
    /// Batch norm before each layer of the head, as in fastai's: features of any scale are learned
    /// from equally well, and the first loss is that of chance. Meant for pooled features: many
    /// flattened ones are almost always 0, and a norm makes the exceptions enormous. Off by
    /// default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub head_norm: bool,
    /// Fraction of the vector before the last layer that is set to zero in each training step; with
    /// several hidden layers, of the output of each.
    pub dropout: f64,
    /// `layers` only: the layers of the network up to `pooling`, from the input on, as in
    /// `[[model.layers]]`. Flattening and dense layers belong to the head: `pooling`, `hidden` and
    /// `dropout`. A convolution after a pool begins a layer group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerRecipe>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            architecture: Architecture::default(),
            weights: None,
            freeze: None,
            channels: None,
            batch_norm: None,
            activation: None,
            norm_epsilon: None,
            norm_momentum: None,
            init: None,
            width: None,
            dialect: None,
            freeze_norms: None,
            pooling: Pooling::default(),
            hidden: Hidden::One(512),
            head_norm: false,
            dropout: 0.5,
            layers: Vec::new(),
        }
    }
}

impl Model {
    /// Returns where the initial weights come from.
    pub fn weights(&self) -> Weights {
        let default = if self.architecture.is_of_recipe() {
            Weights::None
        } else {
            Weights::Imagenet
        };
        self.weights.clone().unwrap_or(default)
    }

    /// Returns which layers are frozen, if there are no phases.
    pub fn freeze(&self) -> Freeze {
        let is_drawn = self.architecture.is_of_recipe() || self.weights() == Weights::None;
        let default = if is_drawn {
            Freeze::None
        } else {
            Freeze::Backbone
        };
        self.freeze.unwrap_or(default)
    }

    /// Returns whether batch norms keep the statistics and gains of their weights.
    pub fn freeze_norms(&self) -> bool {
        self.freeze_norms.unwrap_or(self.weights() != Weights::None)
    }

    /// Returns the channels of `small_cnn` or of an autoencoder's blocks down to its code.
    pub fn channels(&self) -> Vec<usize> {
        let default = || {
            if self.architecture.is_autoencoder() {
                vec![32, 64, 16]
            } else {
                vec![32, 64, 128, 128]
            }
        };
        self.channels.clone().unwrap_or_else(default)
    }

    /// Returns whether `small_cnn` or an autoencoder has batch norm.
    pub fn batch_norm(&self) -> bool {
        self.batch_norm.unwrap_or(false)
    }

    /// Returns how weights are initialized.
    pub fn init(&self) -> Init {
        self.init.unwrap_or_default()
    }

    /// Returns the description of the backbone for images of `inputs` channels.
    pub fn network(&self, inputs: usize) -> Network {
        let variant = Variant {
            inputs,
            width: self.width.unwrap_or(1.0),
            traits: self.architecture.traits(self.dialect),
        };
        match self.architecture.entry().source {
            Source::List => listed(inputs, &self.listed()),
            Source::Blocks => small_cnn(inputs, &self.channels(), self.batch_norm()),
            Source::Mirrored => autoencoder(inputs, &self.channels(), self.batch_norm()),
            Source::Table(build) | Source::Scaled(build) => build(&variant),
        }
    }

    /// Returns the descriptions of the listed layers.
    fn listed(&self) -> Vec<Listed> {
        let norm = Norm {
            epsilon: self.norm_epsilon.unwrap_or(1e-5),
            momentum: self.norm_momentum.unwrap_or(0.1),
        };
        self.layers
            .iter()
            .map(|layer| layer.listed(self.activation.unwrap_or_default(), norm))
            .collect()
    }

    /// Returns the first value of a list of layers that can't work, for images of `inputs`
    /// channels. If there is none, shapes can be computed and the backbone's memory is bounded.
    pub fn layers_fault(&self, inputs: usize) -> Option<LayersFault> {
        let fault = |key: &str, found: String, expected| {
            Some(LayersFault {
                key: key.to_owned(),
                found,
                expected,
            })
        };
        if !self.layers.iter().any(LayerRecipe::is_conv) {
            let found = if self.layers.is_empty() {
                "no layers"
            } else {
                "no convolution"
            };
            return fault(
                "layers",
                found.to_owned(),
                "[[model.layers]] with conv = 32, say, and what follows it",
            );
        }
        let mut faults = self
            .layers
            .iter()
            .enumerate()
            .filter_map(|(index, layer)| Some((index, layer.fault()?)));
        if let Some((index, (key, found, expected))) = faults.next() {
            return fault(
                &format!("layers (entry {}).{key}", index + 1),
                found,
                expected,
            );
        }
        for (key, value) in [
            ("norm_epsilon", self.norm_epsilon),
            ("norm_momentum", self.norm_momentum),
        ] {
            if let Some(value) = value.filter(|value| !(*value > 0.0 && *value <= 1.0)) {
                return fault(key, value.to_string(), "a number above 0, at most 1");
            }
        }
        let weights = self.network(inputs).num_kernel_weights();
        if weights < MOST_KERNEL_WEIGHTS {
            return None;
        }
        fault(
            "layers",
            format!("convolutions of {weights} weights"),
            "fewer than 268 million; make them narrower",
        )
    }

    /// Returns the number of layer groups of the backbone.
    pub fn num_groups(&self) -> usize {
        self.network(1).groups.len()
    }

    /// Returns how many layer groups `freeze` freezes.
    pub fn frozen_groups(&self, freeze: Freeze) -> usize {
        match freeze {
            Freeze::None => 0,
            Freeze::Backbone => self.num_groups(),
            Freeze::Blocks(count) => count.min(self.num_groups()),
        }
    }

    /// Returns channels, height and width of the last feature map for images of this size.
    ///
    /// # Errors
    /// Returns an error that names the first layer for which too little of the image is left.
    pub fn features(&self, size: [usize; 2]) -> Result<[usize; 3], ShapeError> {
        self.network(1).features(size)
    }
}

/// A value of `[model]` that can't work.
#[derive(Debug)]
pub struct LayersFault {
    /// Its key below `model`.
    pub key: String,
    /// The value.
    pub found: String,
    /// What was expected.
    pub expected: &'static str,
}

/// How the last feature map is turned into a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// All values, position by position (Keras's `Flatten`).
    #[default]
    Flatten,
    /// The mean of each channel (global average pooling): fewer parameters.
    Average,
    /// The maximum and the mean of each channel side by side, as in fastai's head.
    MaxAverage,
}

impl Pooling {
    /// Returns the length of the vector for features of this shape.
    pub fn width(self, features: [usize; 3]) -> usize {
        match self {
            Self::Flatten => features
                .iter()
                .fold(1, |product, side| product.saturating_mul(*side)),
            Self::Average => features[0],
            Self::MaxAverage => features[0].saturating_mul(2),
        }
    }
}

/// The hidden layers of the head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected the width of the hidden layer, or a list of widths"
)]
pub enum Hidden {
    /// The width of one layer; 0 for none.
    One(usize),
    /// The width of each layer, from pooling to output.
    Many(Vec<usize>),
}

impl Hidden {
    /// Returns the width of each layer, from pooling to output.
    pub fn widths(&self) -> Vec<usize> {
        match self {
            Self::One(0) => Vec::new(),
            Self::One(width) => vec![*width],
            Self::Many(widths) => widths.clone(),
        }
    }
}
