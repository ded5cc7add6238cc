//! Transfer learning: where weights come from, which layers are frozen, and the phases of training.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// Where a backbone's initial weights come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Weights {
    /// Drawn from the seed.
    None,
    /// The published weights.
    Imagenet,
    /// A file, or the folder of a run.
    Path(String),
}

impl From<String> for Weights {
    fn from(text: String) -> Self {
        match text.as_str() {
            "none" => Self::None,
            "imagenet" => Self::Imagenet,
            _ => Self::Path(text),
        }
    }
}

impl From<Weights> for String {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::None => "none".to_owned(),
            Weights::Imagenet => "imagenet".to_owned(),
            Weights::Path(path) => path,
        }
    }
}

impl JsonSchema for Weights {
    fn schema_name() -> Cow<'static, str> {
        "Weights".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Which layers are frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Freeze {
    /// None: all layers are trained.
    #[default]
    None,
    /// All but the head.
    Backbone,
    /// The given number of layer groups, counted from the input.
    Blocks(usize),
}

impl FromStr for Freeze {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "backbone" => Ok(Self::Backbone),
            _ => text
                .strip_prefix("blocks:")
                .and_then(|count| count.parse().ok())
                .map(Self::Blocks)
                .ok_or_else(|| {
                    format!("can't read `{text}`; expected \"none\", \"backbone\" or \"blocks:N\"")
                }),
        }
    }
}

impl TryFrom<String> for Freeze {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Freeze> for String {
    fn from(freeze: Freeze) -> Self {
        freeze.to_string()
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Backbone => f.write_str("backbone"),
            Self::Blocks(count) => write!(f, "blocks:{count}"),
        }
    }
}

impl JsonSchema for Freeze {
    fn schema_name() -> Cow<'static, str> {
        "Freeze".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(none|backbone|blocks:[0-9]+)$" })
    }
}

/// A number of epochs with their own frozen layers and learning rate. Each phase starts like a new
/// training from the weights of the one before: a new optimizer state, its own schedule and
/// patience. Early stopping ends the phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Maximum number of passes over the training images.
    pub epochs: usize,
    /// Which layers are frozen, as in `model.freeze`.
    pub freeze: Freeze,
    /// Replaces the optimizer's learning rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Ratio of a layer group's learning rate to that of the layers after it; the head has the full
    /// rate.
    #[serde(default = "one")]
    pub layer_factor: f64,
}

fn one() -> f64 {
    1.0
}

impl Config {
    /// Returns the phases of the training; a single one if the recipe names none.
    pub fn phases(&self) -> Vec<Phase> {
        if self.train.phases.is_empty() {
            vec![Phase {
                epochs: self.train.epochs,
                freeze: self.model.freeze(),
                learning_rate: None,
                layer_factor: 1.0,
            }]
        } else {
            self.train.phases.clone()
        }
    }

    /// Returns the number of layer groups, counted from the input, that no phase trains.
    pub fn always_frozen(&self) -> usize {
        self.phases()
            .iter()
            .map(|phase| self.model.frozen_groups(phase.freeze))
            .min()
            .unwrap_or(0)
    }
}
