//! Transfer learning: where weights come from, what is frozen, and in which phases a network is trained.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use toml::Table;

use super::{
    Architecture, Color, Config, ConfigError,
    check::{bad, require},
};

/// Where a backbone's first weights come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Weights {
    /// Drawn from the seed.
    None,
    /// The published ones.
    Imagenet,
    /// A file.
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

/// What keeps its weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Freeze {
    /// Nothing: all is trained.
    #[default]
    None,
    /// All but the head.
    Backbone,
    /// So many layer groups, counted from the input.
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
                .ok_or_else(|| format!("can't read `{text}`; expected \"none\", \"backbone\" or \"blocks:N\"")),
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

/// A stretch of epochs with its own frozen part and learning rate. Each phase starts like a new training of the weights that the one before
/// left: a fresh optimiser, its own schedule and patience. Early stopping ends the phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Passes over the training pictures, at most.
    pub epochs: usize,
    /// What keeps its weights, as `model.freeze`.
    pub freeze: Freeze,
    /// Instead of the optimiser's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// The head learns at the learning rate, each layer group at this share of the rate of what follows it.
    #[serde(default = "one")]
    pub layer_factor: f64,
}

fn one() -> f64 {
    1.0
}

impl Config {
    /// The phases of the training; one where the recipe names none.
    pub fn phases(&self) -> Vec<Phase> {
        if self.train.phases.is_empty() {
            vec![Phase { epochs: self.train.epochs, freeze: self.model.freeze(), learning_rate: None, layer_factor: 1.0 }]
        } else {
            self.train.phases.clone()
        }
    }

    /// Layer groups, counted from the input, that no phase trains.
    pub fn always_frozen(&self) -> usize {
        self.phases().iter().map(|phase| self.model.frozen_groups(phase.freeze)).min().unwrap_or(0)
    }
}

/// Sides of pictures below which nothing is left of them, or too little (Keras asks for 32 as well).
const SMALLEST_SIDE: usize = 32;

pub(super) fn check_transfer(config: &Config, table: &Table) -> Result<(), ConfigError> {
    let (model, data) = (&config.model, &config.data);
    let name = model.architecture.name();
    if model.architecture == Architecture::SmallCnn {
        if model.weights() == Weights::Imagenet {
            return bad("model.weights", "there are no published weights for small_cnn; name a file or leave it out");
        }
    } else {
        for (key, is_set) in [("channels", model.channels.is_some()), ("batch_norm", model.batch_norm.is_some())] {
            if is_set {
                return bad(&format!("model.{key}"), format!("has no effect on {name}, whose layers are fixed; leave it out"));
            }
        }
        require(
            data.color == Color::Rgb,
            "data.color",
            "grayscale",
            &format!("\"rgb\", which {name} is made for; grey pictures do as well"),
        )?;
        let [height, width] = data.image_size;
        let are_large_enough = height.min(width) >= SMALLEST_SIDE;
        require(are_large_enough, "data.image_size", format!("[{height}, {width}]"), "sides of 32 pixels or more for this network")?;
    }
    let has_phases = !config.train.phases.is_empty();
    if has_phases && model.freeze.is_some() {
        return bad("model.freeze", "has no effect beside train.phases, where each phase says what is frozen; leave it out");
    }
    check_phases(config, table)?;
    check_feature_cache(config)?;
    if !config.train.checkpoint.include_backbone && (config.always_frozen() == 0 || model.weights() == Weights::None) {
        return bad(
            "train.checkpoint.include_backbone",
            "only layers that stay frozen, with weights from a file, can be left out; set it to true",
        );
    }
    Ok(())
}

fn check_phases(config: &Config, table: &Table) -> Result<(), ConfigError> {
    let (model, train) = (&config.model, &config.train);
    let has_phases = !train.phases.is_empty();
    for (index, phase) in config.phases().iter().enumerate() {
        let key = |name: &str| if has_phases { format!("train.phases.{name}") } else { "model.freeze".to_owned() };
        let which = if has_phases { format!(" in phase {}", index + 1) } else { String::new() };
        require(
            phase.epochs > 0,
            if has_phases { "train.phases.epochs" } else { "train.epochs" },
            format!("{}{which}", phase.epochs),
            "1 or more",
        )?;
        if let Freeze::Blocks(count) = phase.freeze {
            let groups = model.num_groups();
            require(
                (1..=groups).contains(&count),
                &key("freeze"),
                format!("blocks:{count}{which}"),
                &format!("blocks:1 to blocks:{groups}"),
            )?;
        }
        if index == 0 && phase.freeze != Freeze::None && model.weights() == Weights::None {
            let message =
                format!("found `{}` with weights drawn at random{which}, expected model.weights = \"imagenet\" or a file", phase.freeze);
            return bad(&key("freeze"), message);
        }
        if let Some(rate) = phase.learning_rate {
            require(rate > 0.0 && rate.is_finite(), &key("learning_rate"), format!("{rate}{which}"), "a number above 0")?;
        }
        let factor = phase.layer_factor;
        require(factor > 0.0 && factor <= 1.0, &key("layer_factor"), format!("{factor}{which}"), "a factor above 0, at most 1")?;
        if factor < 1.0 && model.frozen_groups(phase.freeze) == model.num_groups() {
            return bad(&key("layer_factor"), format!("has no effect{which}, where the head alone is trained; leave it out"));
        }
    }
    let written = table.get("train").and_then(|train| train.get("epochs"));
    if has_phases && written.is_some() {
        let sum: usize = train.phases.iter().map(|phase| phase.epochs).sum();
        require(train.epochs == sum, "train.epochs", train.epochs, &format!("{sum}, the sum of the phases; leave it out"))?;
    }
    Ok(())
}

fn check_feature_cache(config: &Config) -> Result<(), ConfigError> {
    const KEY: &str = "train.feature_cache";
    if config.train.feature_cache == 0 {
        return Ok(());
    }
    if config.phases().iter().all(|phase| phase.freeze == Freeze::None) {
        return bad(KEY, "has no effect where nothing is frozen; set model.freeze or leave it out");
    }
    if config.augment.mixes() {
        return bad(KEY, "mixup and cutmix mix pixels, of which cached features have none; leave one of them out");
    }
    if !config.augment.is_active() {
        return bad(KEY, "has no effect without augmentation: features are then computed once in any case; leave it out");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    const TEXT: &str = "name = 'x'\n[data]\ntrain = 'pictures'\n";

    fn parsed(changes: &[&str]) -> Result<Config, String> {
        let changes: Vec<_> = changes.iter().map(|change| (*change).to_owned()).collect();
        parse(TEXT, Path::new("recipe.toml"), &changes).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_work_or_has_no_effect_names_its_key() {
        const VGG: &str = "model.architecture=vgg16";
        const OWN: &str = "model.weights=a.safetensors";
        for (changes, expected) in [
            (&["model.weights=imagenet"][..], "`model.weights`"),
            (&["model.freeze=backbone"], "`model.freeze`: found `backbone` with weights drawn at random"),
            (&["model.freeze=most"], "can't read `most`"),
            (&[VGG, "model.channels=[4]"], "`model.channels`: has no effect on vgg16"),
            (&[VGG, "model.batch_norm=true"], "`model.batch_norm`"),
            (&[VGG, "data.color=grayscale"], "`data.color`"),
            (&[VGG, "data.image_size=[150, 31]"], "`data.image_size`"),
            (&[VGG, "model.freeze='blocks:6'"], "expected blocks:1 to blocks:5"),
            (&[VGG, "model.freeze='blocks:0'"], "expected blocks:1 to blocks:5"),
            (&[VGG, "model.weights=none"], "`model.freeze`"),
            (&[VGG, "model.hidden=[256, 0]"], "`model.hidden`"),
            (&[VGG, "model.hidden=65536"], "`model.pooling`"),
            (&[VGG, "model.hidden=many"], "`model.hidden`: found \"many\", expected a whole number from 0 on or a list of whole numbers"),
            (&[VGG, "model.freeze=backbone", "train.phases=[{ epochs = 1, freeze = 'none' }]"], "`model.freeze`: has no effect beside"),
            (&[VGG, "train.phases=[{ epochs = 0, freeze = 'none' }]"], "`train.phases.epochs`"),
            (&[VGG, "train.phases=[{ epochs = 1, freeze = 'none', learning_rate = 0 }]"], "`train.phases.learning_rate`"),
            (&[VGG, "train.phases=[{ epochs = 1, freeze = 'none', layer_factor = 2 }]"], "`train.phases.layer_factor`"),
            (&[VGG, "train.phases=[{ epochs = 1, freeze = 'backbone', layer_factor = 0.5 }]"], "has no effect in phase 1"),
            (&[VGG, "train.phases=[{ epochs = 2, freeze = 'none' }]", "train.epochs=3"], "expected 2, the sum of the phases"),
            (&[VGG, "train.feature_cache=4"], "`train.feature_cache`: has no effect without augmentation"),
            (&[VGG, "train.feature_cache=4", "model.freeze=none"], "has no effect where nothing is frozen"),
            (&[VGG, "train.feature_cache=4", "augment.mixup={ alpha = 0.2 }"], "mixup and cutmix"),
            (&["train.checkpoint={ include_backbone = false }"], "`train.checkpoint.include_backbone`"),
            (&[OWN, "train.checkpoint={ include_backbone = false }"], "`train.checkpoint.include_backbone`"),
        ] {
            let error = parsed(changes).expect_err(changes[changes.len() - 1]);
            assert!(error.contains(expected), "{changes:?}: {error}");
        }
        for changes in [&[VGG][..], &[OWN, "model.freeze='blocks:2'"], &[VGG, "model.hidden=[256, 64]"], &[VGG, "model.weights=x.h5"]] {
            parsed(changes).expect("fine");
        }
    }

    #[test]
    fn a_pretrained_network_is_frozen_unless_the_recipe_says_otherwise_and_phases_add_up() {
        let config = parsed(&["model.architecture=squeezenet1_1"]).expect("parsed");
        assert_eq!((config.model.weights(), config.model.freeze(), config.always_frozen()), (Weights::Imagenet, Freeze::Backbone, 4));
        let phases = "train.phases=[{ epochs = 3, freeze = 'backbone' }, { epochs = 4, freeze = 'blocks:2', layer_factor = 0.5 }]";
        let config = parsed(&["model.architecture=squeezenet1_1", phases]).expect("parsed");
        assert_eq!((config.train.epochs, config.always_frozen(), config.phases().len()), (7, 2, 2));
        let again = parse(&config.to_toml(), Path::new("config.toml"), &[]).expect("reads back");
        assert_eq!(again, config);
        let config = parsed(&[]).expect("parsed");
        assert_eq!((config.model.weights(), config.model.freeze(), config.always_frozen()), (Weights::None, Freeze::None, 0));
    }
}
