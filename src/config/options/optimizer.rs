//! `[train.optimizer]`: the rule by which weights follow gradients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rule by which weights follow gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Adam (Kingma and Ba 2015); weight decay is added to the gradient.
    Adam {
        /// Step size.
        #[serde(default = "adam_lr")]
        learning_rate: f64,
        /// Decay rates of the two running means.
        #[serde(default = "adam_betas")]
        betas: [f64; 2],
        /// Value added to the denominator, which keeps the division finite.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Factor on the weight that is added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// AdamW (Loshchilov and Hutter 2019); weight decay acts on the weights.
    Adamw {
        /// Step size.
        #[serde(default = "adam_lr")]
        learning_rate: f64,
        /// Decay rates of the two running means.
        #[serde(default = "adam_betas")]
        betas: [f64; 2],
        /// Value added to the denominator, which keeps the division finite.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Fraction of the weight subtracted in each step, times the learning rate.
        #[serde(default = "adamw_decay")]
        weight_decay: f64,
    },
    /// Stochastic gradient descent.
    Sgd {
        /// Step size.
        #[serde(default = "sgd_lr")]
        learning_rate: f64,
        /// Fraction of the previous step that is added to the next one.
        #[serde(default)]
        momentum: f64,
        /// Whether to use Nesterov's momentum.
        #[serde(default)]
        nesterov: bool,
        /// Factor on the weight that is added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// RMSprop (Hinton).
    Rmsprop {
        /// Step size.
        #[serde(default = "sgd_lr")]
        learning_rate: f64,
        /// Decay rate of the running mean of squares.
        #[serde(default = "rmsprop_alpha")]
        alpha: f64,
        /// Value added to the denominator, which keeps the division finite.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Fraction of the previous step that is added to the next one.
        #[serde(default)]
        momentum: f64,
        /// Factor on the weight that is added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
}

fn adam_lr() -> f64 {
    1e-3
}
fn sgd_lr() -> f64 {
    1e-2
}
fn adam_betas() -> [f64; 2] {
    [0.9, 0.999]
}
fn epsilon() -> f64 {
    1e-8
}
fn adamw_decay() -> f64 {
    1e-2
}
fn rmsprop_alpha() -> f64 {
    0.99
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Adam {
            learning_rate: adam_lr(),
            betas: adam_betas(),
            epsilon: epsilon(),
            weight_decay: 0.0,
        }
    }
}

impl Optimizer {
    /// Returns the learning rate before any schedule.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Adam { learning_rate, .. }
            | Self::Adamw { learning_rate, .. }
            | Self::Sgd { learning_rate, .. }
            | Self::Rmsprop { learning_rate, .. } => *learning_rate,
        }
    }
}
