//! `[train.schedule]`: the learning rate as a function of the step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Metric;

/// The learning rate as a function of the step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The optimizer's learning rate throughout.
    #[default]
    Constant,
    /// Linear warm-up, then half a cosine down to `min_lr` at the last epoch.
    Cosine {
        /// Epochs of warm-up; fractions are allowed.
        #[serde(default)]
        warmup_epochs: f64,
        /// Learning rate at the end.
        #[serde(default)]
        min_lr: f64,
    },
    /// Multiplied by `factor` after every `every_epochs` epochs.
    Step {
        /// Number of epochs at one rate.
        every_epochs: usize,
        /// Above 0, at most 1.
        #[serde(default = "tenth")]
        factor: f64,
    },
    /// Multiplied by `factor` each epoch, falling at every step.
    Exponential {
        /// Above 0, at most 1.
        factor: f64,
    },
    /// Up to the optimizer's learning rate and down again (Smith 2018), with PyTorch's `OneCycleLR`
    /// defaults.
    OneCycle {
        /// Fraction of all steps in which the rate rises.
        #[serde(default = "pct_start")]
        pct_start: f64,
        /// Ratio of the highest learning rate to the first.
        #[serde(default = "div_factor")]
        div_factor: f64,
        /// Ratio of the first learning rate to the last.
        #[serde(default = "final_div_factor")]
        final_div_factor: f64,
    },
    /// Multiplied by `factor` when a metric has stopped improving: Keras's `ReduceLROnPlateau`.
    Plateau {
        /// A metric of `history.csv`, `val_recall_<class>` included.
        #[serde(default)]
        monitor: Metric,
        /// Above 0, below 1.
        #[serde(default = "tenth")]
        factor: f64,
        /// Epochs without improvement before the rate is reduced.
        #[serde(default = "plateau_patience")]
        patience: usize,
        /// Minimum change that counts as an improvement.
        #[serde(default = "plateau_min_delta")]
        min_delta: f64,
        /// Epochs to wait after a reduction before counting again.
        #[serde(default)]
        cooldown: usize,
        /// Lower bound of the rate.
        #[serde(default)]
        min_lr: f64,
    },
}

fn tenth() -> f64 {
    0.1
}
fn pct_start() -> f64 {
    0.3
}
fn div_factor() -> f64 {
    25.0
}
fn final_div_factor() -> f64 {
    1e4
}
fn plateau_patience() -> usize {
    10
}
fn plateau_min_delta() -> f64 {
    1e-4
}
