//! A recipe: every knob of a training run, once, with its default, unit and reason. TOML in, checked values out.
//!
//! `configs/schema.json` and `docs/configuration.md` are made from the comments in this folder.

mod augment;
mod check;
mod check_augment;
mod data;
mod docs;
mod families;
mod lines;
mod max_time;
mod meant;
mod metric;
mod model;
mod normalize;
mod overrides;
mod parse;
mod shape;
mod syntax;
mod train;
mod transfer;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use augment::{Augment, FillMode, Semantics, Shift, Zoom};
pub use data::{Cache, Color, Data, Interpolation, OnBadImage, OnLeak, PHANTOM, Resize, Validation};
pub use docs::{reference_markdown, schema_json};
pub use families::{Chance, ErasedName, ErasedTo, Erasing, Mixing, Policy, Ranged, ResizedCrop};
pub use max_time::MaxTime;
pub use metric::{Metric, Split};
pub use model::{Architecture, Hidden, Model, Pooling};
pub use normalize::{KerasStandardize, Normalize};
pub use parse::{changed_keys, load, name_of, parse};
pub use train::{Checkpoint, ClassWeights, EarlyStopping, Loss, Optimizer, Sampler, Schedule, Train};
pub use transfer::{Freeze, Phase, Weights};

/// What can be wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the recipe: {error}{}: {}", read_hint(.error), path.display())]
    Read {
        /// The configuration file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Not TOML.
    #[error("{message}: {place}")]
    Parse {
        /// What is wrong.
        message: String,
        /// "line 3 of FILE".
        place: String,
    },
    /// An unknown key, a value of the wrong kind or one that can't work, or an option that would have no effect.
    #[error("`{key}`: {message}{place}")]
    Value {
        /// The key, dotted.
        key: String,
        /// What was found, what was expected and what to do.
        message: String,
        /// Where it was written: ": line 3 of FILE"; empty for a default.
        place: String,
    },
    /// A `--set` that can't be read.
    #[error("--set {text}: {message}")]
    Override {
        /// As it was written.
        text: String,
        /// What was found and what was expected.
        message: String,
    },
}

fn read_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::IsADirectory => "; to train on the pictures of a folder: emberlens train FOLDER",
        std::io::ErrorKind::InvalidData => "; a recipe is TOML in UTF-8",
        _ => "",
    }
}

/// Everything a training run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of the recipe: the run folder is `checkpoints/<name>`, then `<name>-2`, and so on.
    pub name: String,
    /// Every random draw of the run comes from this number: split, order, augmentation, initial weights, dropout.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where to compute: `auto` (a GPU that passes its self-test, else `cpu`), `gpu`, `gpu:N`, `cpu` (burn-flex) or
    /// `ndarray` (burn-ndarray, much slower).
    #[serde(default)]
    pub device: DeviceName,
    /// The pictures and how they are read.
    pub data: Data,
    /// Random changes to training pictures, drawn anew each epoch. Validation and test pictures are never changed.
    #[serde(default)]
    pub augment: Augment,
    /// The network.
    #[serde(default)]
    pub model: Model,
    /// Loss, optimiser, schedule, and when to stop and save.
    #[serde(default)]
    pub train: Train,
}

fn default_seed() -> u64 {
    42
}

/// A device as the user writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// A GPU that passes its self-test, else the CPU.
    #[default]
    Auto,
    /// A GPU through wgpu; `None` is the one that the system prefers.
    Gpu(Option<usize>),
    /// burn-flex.
    Cpu,
    /// burn-ndarray.
    Ndarray,
}

impl JsonSchema for DeviceName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Device".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(auto|cpu|ndarray|gpu(:[0-9]+)?)$" })
    }
}

impl std::str::FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu(None)),
            "cpu" => Ok(Self::Cpu),
            "ndarray" => Ok(Self::Ndarray),
            _ => text
                .strip_prefix("gpu:")
                .and_then(|index| index.parse().ok())
                .map(|index| Self::Gpu(Some(index)))
                .ok_or_else(|| format!("unknown device `{text}`, expected auto, gpu, gpu:N, cpu or ndarray")),
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(index)) => write!(f, "gpu:{index}"),
            Self::Cpu => f.write_str("cpu"),
            Self::Ndarray => f.write_str("ndarray"),
        }
    }
}

impl From<DeviceName> for String {
    fn from(device: DeviceName) -> Self {
        device.to_string()
    }
}

impl Config {
    /// The configuration as TOML with every default written out.
    pub fn to_toml(&self) -> String {
        let mut config = self.clone();
        if !config.train.phases.is_empty() {
            // The sum of the phases, which say it themselves; 0 isn't written.
            config.train.epochs = 0;
        }
        toml::to_string(&config).expect("a configuration is plain tables, strings and numbers")
    }
}
