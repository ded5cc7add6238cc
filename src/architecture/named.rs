//! An architecture, given by its name in recipes.

use std::{borrow::Cow, fmt, hash};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    backbones::ARCHITECTURES,
    entry::{Dialect, Entry, Source, Traits},
};

/// An architecture that a recipe can name. Two are equal if their names are.
#[derive(Clone, Copy)]
pub struct Architecture(&'static Entry);

impl Architecture {
    /// Returns the architecture of this name.
    pub fn find(name: &str) -> Option<Self> {
        ARCHITECTURES
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| Self(entry))
    }

    /// Returns all architectures.
    pub fn all() -> impl Iterator<Item = Self> {
        ARCHITECTURES.iter().map(|entry| Self(entry))
    }

    /// Returns the properties of the architecture.
    pub fn entry(self) -> &'static Entry {
        self.0
    }

    /// Returns the name in recipes.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Returns whether the recipe determines its layers.
    pub fn is_of_recipe(self) -> bool {
        matches!(
            self.0.source,
            Source::Blocks | Source::Mirrored | Source::List
        )
    }

    /// Returns whether the recipe lists its layers one by one.
    pub fn is_list(self) -> bool {
        matches!(self.0.source, Source::List)
    }

    /// Returns whether its output is an image rather than classes.
    pub fn is_autoencoder(self) -> bool {
        matches!(self.0.source, Source::Mirrored)
    }

    /// Returns whether it has a width multiplier.
    pub fn is_scaled(self) -> bool {
        matches!(self.0.source, Source::Scaled(_))
    }

    /// Returns the variant of a library; that of the usual library for `None`, or for one that
    /// doesn't have the network.
    pub fn traits(self, dialect: Option<Dialect>) -> Traits {
        let found = self
            .0
            .dialects
            .iter()
            .find(|(known, _)| Some(*known) == dialect);
        found
            .or(self.0.dialects.first())
            .map_or(Traits::TORCH, |(_, traits)| *traits)
    }
}

impl Default for Architecture {
    /// Returns `small_cnn`.
    fn default() -> Self {
        Self(ARCHITECTURES[0])
    }
}

impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Architecture {}

impl hash::Hash for Architecture {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        Self::find(&name).ok_or_else(|| {
            let names: Vec<_> = ARCHITECTURES.iter().map(|entry| entry.name).collect();
            de::Error::custom(format!(
                "unknown variant `{name}`, expected one of `{}`",
                names.join("`, `")
            ))
        })
    }
}

impl JsonSchema for Architecture {
    fn schema_name() -> Cow<'static, str> {
        "Architecture".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let option = |entry: &&Entry| {
            let (name, about) = (entry.name, entry.about);
            serde_json::json!({ "type": "string", "const": name, "description": about })
        };
        let options: Vec<_> = ARCHITECTURES.iter().map(option).collect();
        json_schema!({ "description": "Which network.", "oneOf": options })
    }
}
