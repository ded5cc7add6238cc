//! `[model]`: the network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Which network.
    pub architecture: Architecture,
    /// Output channels of each convolution block; each block halves height and width.
    pub channels: Vec<usize>,
    /// Batch normalisation after each convolution (which then has no bias).
    pub batch_norm: bool,
    /// How the last feature map becomes a vector.
    pub pooling: Pooling,
    /// Width of the hidden layer after pooling; 0 leaves it out.
    pub hidden: usize,
    /// Share of the vector before the last layer that is set to zero in each training step.
    pub dropout: f64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            architecture: Architecture::default(),
            channels: vec![32, 64, 128, 128],
            batch_norm: false,
            pooling: Pooling::default(),
            hidden: 512,
            dropout: 0.5,
        }
    }
}

/// Which network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Blocks of 3x3 convolution, optional batch norm, ReLU and 2x2 max-pooling, then a small head; trained from scratch.
    #[default]
    SmallCnn,
}

/// How the last feature map becomes a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// All of it, position by position (the classic Keras notebook).
    #[default]
    Flatten,
    /// The mean of each channel (global average pooling): fewer parameters.
    Average,
}
