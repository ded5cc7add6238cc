//! `[augment]`: the settings of all images, and of classes that have some of their own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use toml::{Table, Value};

use crate::augment::Settings;

/// Key of the tables of classes.
const CLASS: &str = "class";

/// Random changes to training images: `[augment]` and each `[augment.class.NAME]`, merged when the
/// recipe is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Augment {
    common: Settings,
    class: BTreeMap<String, OfClass>,
}

/// The settings of one class.
#[derive(Clone, Debug, PartialEq)]
struct OfClass {
    /// As written.
    own: Table,
    /// The common settings with the class's own in place of those of the same name.
    merged: Settings,
}

impl Augment {
    /// Returns the settings of images whose class has none of its own, or isn't known.
    pub fn common(&self) -> &Settings {
        &self.common
    }

    /// Returns the settings of images of `class`.
    pub fn of_class(&self, class: &str) -> &Settings {
        self.class
            .get(class)
            .map_or(&self.common, |own| &own.merged)
    }

    /// Returns the names of the classes that have settings of their own.
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        self.class.keys().map(String::as_str)
    }

    /// Returns whether any setting changes anything, in any class.
    pub fn is_active(&self) -> bool {
        self.mixes()
            || self.common.changes_images()
            || self.class.values().any(|own| own.merged.changes_images())
    }

    /// Returns whether the images of a batch are mixed with one another.
    pub fn mixes(&self) -> bool {
        self.common.mixes()
    }

    /// Returns whether a key can be set for one class.
    pub(in crate::config) fn is_of_class(key: &str) -> bool {
        key != CLASS && !Settings::is_of_batch(key)
    }

    /// Returns each class with settings of its own: its name, these as written, and merged with the
    /// common ones.
    pub(in crate::config) fn written(&self) -> impl Iterator<Item = (&str, &Table, &Settings)> {
        self.class
            .iter()
            .map(|(name, class)| (name.as_str(), &class.own, &class.merged))
    }
}

/// Merges the settings that a class has of its own into the common ones.
fn merge(common: &Settings, own: &Table) -> Result<Settings, toml::de::Error> {
    let mut own = own.clone();
    let inherits = own.remove("inherit") != Some(Value::Boolean(false));
    // These are refused by the check, which says why.
    own.retain(|key, _| Augment::is_of_class(key));
    let base = if inherits {
        common.clone()
    } else {
        Settings {
            semantics: common.semantics,
            ..Settings::default()
        }
    };
    let mut merged = Table::try_from(base).expect("settings are a table");
    merged.extend(own);
    Settings::deserialize(merged)
}

impl<'de> Deserialize<'de> for Augment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let class: BTreeMap<String, Table> = match table.remove(CLASS) {
            Some(class) => class.try_into().map_err(D::Error::custom)?,
            None => BTreeMap::new(),
        };
        let common = Settings::deserialize(table).map_err(D::Error::custom)?;
        let class = class
            .into_iter()
            .map(|(name, own)| {
                let merged = merge(&common, &own).map_err(D::Error::custom)?;
                Ok((name, OfClass { own, merged }))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { common, class })
    }
}

impl Serialize for Augment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            #[serde(flatten)]
            common: &'a Settings,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            class: BTreeMap<&'a str, &'a Table>,
        }
        let class = self.written().map(|(name, own, _)| (name, own)).collect();
        let common = &self.common;
        Written { common, class }.serialize(serializer)
    }
}

impl JsonSchema for Augment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Augment".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let by_class = generator.subschema_for::<BTreeMap<String, ClassAugment>>();
        let mut by_class = by_class.to_value();
        by_class["description"] = "`[augment.class.NAME]`: settings for the images of one class, \
                                   each in place of the common\none; `inherit = false` leaves all \
                                   common ones out. Anything but `semantics`, `mixup` and\n\
                                   `cutmix`."
            .into();
        by_class["default"] = serde_json::json!({});
        let mut schema = Settings::json_schema(generator);
        schema.insert("additionalProperties".to_owned(), false.into());
        properties(&mut schema).insert(CLASS.to_owned(), by_class);
        schema
    }
}

fn properties(schema: &mut schemars::Schema) -> &mut serde_json::Map<String, serde_json::Value> {
    schema
        .get_mut("properties")
        .and_then(serde_json::Value::as_object_mut)
        .expect("settings are an object with properties")
}

/// The settings of one class, for the schema: those of all classes without their defaults, and
/// `inherit`.
struct ClassAugment;

impl JsonSchema for ClassAugment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClassAugment".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = Augment::json_schema(generator);
        let properties = properties(&mut schema);
        properties
            .values_mut()
            .filter_map(serde_json::Value::as_object_mut)
            .for_each(|property| _ = property.remove("default"));
        let about = "Whether the common settings hold as well.";
        let inherit = schemars::json_schema!({ "type": "boolean", "description": about });
        properties.insert("inherit".to_owned(), inherit.to_value());
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_its_own_settings_in_place_of_the_common_ones() {
        let text = "rotation_range = 10\nhorizontal_flip = true\n[class.a]\nrotation_range = 0\n\
                    vertical_flip = true\n[class.b]\ninherit = false\nshear_range = 3\n";
        let augment: Augment = toml::from_str(text).expect("settings");
        let settings = |text: &str| toml::from_str::<Settings>(text).expect("settings");
        assert_eq!(
            augment.of_class("a"),
            &settings("horizontal_flip = true\nvertical_flip = true")
        );
        assert_eq!(augment.of_class("b"), &settings("shear_range = 3"));
        assert_eq!(augment.of_class("c"), augment.common());
        assert_eq!(
            augment.common(),
            &settings("rotation_range = 10\nhorizontal_flip = true")
        );
        assert_eq!(augment.classes().collect::<Vec<_>>(), ["a", "b"]);
        // A run writes its recipe with what its classes have, not with what follows from it.
        let written = toml::to_string(&augment).expect("a table");
        let classes = written.split_once("[class.a]").expect("classes").1;
        assert_eq!(
            classes,
            "\nrotation_range = 0\nvertical_flip = true\n\n[class.b]\ninherit = false\n\
             shear_range = 3\n"
        );
        assert_eq!(
            toml::from_str::<Augment>(&written).expect("settings"),
            augment
        );
    }

    #[test]
    fn what_one_class_alone_has_is_active() {
        let augment: Augment = toml::from_str("class.a.vertical_flip = true").expect("settings");
        assert!(augment.is_active() && !augment.common().changes_images());
        assert!(
            !toml::from_str::<Augment>("zoom_range = 0")
                .expect("settings")
                .is_active()
        );
    }
}
