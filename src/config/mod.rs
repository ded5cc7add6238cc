//! A recipe: every option of a training run, once, with its default, unit and reason. Turns TOML
//! into checked values.
//!
//! `configs/schema.json` and `docs/configuration.md` are generated from the doc comments in this
//! folder.

mod check;
mod docs;
mod keras;
mod layers;
mod options;
mod recipes;
mod rules;
mod text;
mod themes;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::architecture::{Architecture, Dialect};
pub use docs::{reference_markdown, schema_json};
pub use keras::{
    Counterpart, KERAS_LAYERS, KERAS_NETWORKS, KERAS_SOURCES, KERAS_TRAINING, KerasArgument,
    KerasCall, keras_markdown,
};
pub use layers::{
    Around, AveragePoolRecipe, ConvRecipe, DropoutRecipe, Function, Init, LayerRecipe,
    MOST_KERNEL_WEIGHTS, MaxPoolRecipe, NormKind, NormRecipe, SeparableConvRecipe,
};
pub use options::{
    Augment, Cache, Checkpoint, ClassWeights, Color, Data, DeviceName, EarlyStopping, Freeze,
    Hidden, Interpolation, KerasStandardize, LayersFault, Loss, MaxTime, Metric, Model, Normalize,
    OnBadImage, OnLeak, Optimizer, PHANTOM, Phase, Pooling, Resize, Sampler, Schedule, Source,
    Split, Train, Weights,
};
pub use recipes::{PHANTOM_RECIPE, RECIPES, Recipe};
pub use rules::{ConfigError, Problem};
pub use text::{changed_keys, load, name_of, parse, values};

/// Everything a training run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of the recipe: the run folder is `checkpoints/<name>`, then `<name>-2`, and so on.
    pub name: String,
    /// Seed of every random draw of the run: split, order, augmentation, initial weights, dropout.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Device to train on: `auto` (a GPU that passes its self-test, else `cpu`), `gpu`, `gpu:N`,
    /// `cpu` (burn-flex) or `ndarray` (burn-ndarray, much slower).
    #[serde(default)]
    pub device: DeviceName,
    /// The images and how they are read.
    pub data: Data,
    /// Random changes to training images, drawn anew each epoch. Validation and test images are
    /// never changed.
    #[serde(default)]
    pub augment: Augment,
    /// The network.
    #[serde(default)]
    pub model: Model,
    /// Loss, optimizer, schedule, and when to stop and save.
    #[serde(default)]
    pub train: Train,
}

fn default_seed() -> u64 {
    42
}

impl Config {
    /// Returns the number of folds if each of them is to be trained.
    pub fn all_folds(&self) -> Option<usize> {
        self.train.folds.filter(|_| self.train.fold.is_none())
    }

    /// Returns the recipe of one of the repeats of a cross-validation, counted from 1.
    #[must_use]
    pub fn of_repeat(&self, repeat: usize) -> Self {
        let mut config = self.clone();
        config.train.repeats = None;
        config.seed = config.seed.wrapping_add(repeat as u64 - 1);
        config
    }

    /// Returns the recipe of one of the folds, counted from 1.
    #[must_use]
    pub fn of_fold(&self, fold: usize) -> Self {
        let mut config = self.clone();
        config.train.fold = Some(fold);
        config
    }

    /// Returns the recipe of one of the fractions of a learning curve.
    #[must_use]
    pub fn of_fraction(&self, fraction: f64) -> Self {
        let mut config = self.clone();
        config.train.learning_curve = Vec::new();
        config.train.fraction = Some(fraction);
        config
    }

    /// Returns the configuration as TOML with every default written out.
    pub fn to_toml(&self) -> String {
        let mut config = self.clone();
        if !config.train.phases.is_empty() {
            // The sum of the phases, which say it themselves; 0 isn't written.
            config.train.epochs = 0;
        }
        toml::to_string(&config).expect("a configuration is plain tables, strings and numbers")
    }
}
