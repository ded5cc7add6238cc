//! The schema of a recipe, and the forms that a value may have by it.

use std::sync::OnceLock;

use serde_json::Value as Json;
use toml::Value;

use super::lines::{KeyPath, Step};
use crate::config::{Config, DeviceName, Freeze, MaxTime, Metric};

/// A value that isn't accepted.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Path of the value.
    pub(super) path: KeyPath,
    /// What was found and what was expected.
    pub(super) message: String,
    /// What was probably meant.
    pub(super) meant: Option<Meant>,
    /// The value and the expected forms, if it has none of them.
    pub(super) unmatched: Option<Unmatched>,
}

/// What was probably meant.
#[derive(Debug)]
pub(super) enum Meant {
    /// Another key, in full.
    Key(String),
    /// Another key of the same table.
    Sibling(String),
    /// Another value.
    Value(String),
}

/// A value with the forms and constants that were expected.
#[derive(Debug)]
pub(super) struct Unmatched {
    pub(super) value: Value,
    pub(super) forms: Vec<&'static Json>,
    pub(super) constants: Vec<&'static str>,
}

pub(super) fn misfit(path: &KeyPath, message: impl Into<String>) -> Misfit {
    Misfit {
        path: path.clone(),
        message: message.into(),
        meant: None,
        unmatched: None,
    }
}

/// Returns the default kind of a table that comes in kinds.
pub(super) fn default_kind(path: &KeyPath) -> Option<String> {
    let mut node = schema();
    for step in &path.0 {
        let Step::Key(key) = step else { return None };
        node = resolve(node).get("properties")?.get(key)?;
    }
    Some(node.get("default")?.get("kind")?.as_str()?.to_owned())
}

/// Returns the schema of a recipe.
pub(super) fn schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| schemars::schema_for!(Config).to_value())
}

/// Returns the name of the definition that a schema refers to.
pub(super) fn reference(schema: &Json) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// Follows a reference.
pub(super) fn resolve(node: &'static Json) -> &'static Json {
    reference(node).map_or(node, |name| resolve(&schema()["$defs"][name]))
}

/// Returns the forms that a value may have, with references resolved; empty for a value that may be
/// left out.
pub(super) fn forms(node: &'static Json) -> Vec<&'static Json> {
    let target = resolve(node);
    match target
        .get("oneOf")
        .or_else(|| target.get("anyOf"))
        .and_then(Json::as_array)
    {
        Some(options) => options.iter().flat_map(forms).collect(),
        None if target["type"] == "null" => Vec::new(),
        // The reference is kept: its name tells how a text is read.
        None => vec![
            if reference(node).is_some_and(|name| text_rule(name).is_some()) {
                node
            } else {
                target
            },
        ],
    }
}

/// Returns a message if a text isn't valid.
pub(super) type TextRule = fn(&str) -> Result<(), String>;

/// Returns the rule for texts of a definition, if not every text is valid.
pub(super) fn text_rule(name: &str) -> Option<TextRule> {
    Some(match name {
        "Device" => |text| text.parse::<DeviceName>().map(|_| ()),
        "Freeze" => |text| text.parse::<Freeze>().map(|_| ()),
        "Metric" => |text| text.parse::<Metric>().map(|_| ()),
        "Time" => |text| MaxTime::try_from(text.to_owned()).map(|_| ()),
        _ => return None,
    })
}

pub(super) fn types(form: &'static Json) -> Vec<&'static str> {
    match &form["type"] {
        Json::Array(names) => names
            .iter()
            .filter_map(Json::as_str)
            .filter(|name| *name != "null")
            .collect(),
        name => name.as_str().into_iter().collect(),
    }
}

/// Returns whether the value has the form's type, whatever it contains.
pub(super) fn is_of_type(value: &Value, form: &'static Json) -> bool {
    types(resolve(form)).iter().any(|name| match value {
        Value::String(_) => *name == "string",
        Value::Integer(_) => ["integer", "number"].contains(name),
        Value::Float(_) => *name == "number",
        Value::Boolean(_) => *name == "boolean",
        Value::Array(_) => *name == "array",
        Value::Table(_) => *name == "object",
        Value::Datetime(_) => false,
    })
}

/// Returns whether a dotted key takes a table that comes in kinds.
pub(super) fn has_kinds(dotted: &str) -> bool {
    let mut node = schema();
    for key in dotted.split('.') {
        match resolve(node)
            .get("properties")
            .and_then(|properties| properties.get(key))
        {
            Some(next) => node = next,
            None => return false,
        }
    }
    !kinds(&forms(node)).is_empty()
}

/// Returns forms of tables, each with the required key that tells it from the others; empty if the
/// forms aren't told like this.
pub(super) fn headed(forms: &[&'static Json]) -> Vec<(&'static str, &'static Json)> {
    let tables = forms.iter().filter(|form| form["properties"].is_object());
    let head = |form: &&'static Json| match form["required"].as_array()?.as_slice() {
        [key] if form["properties"]["kind"].is_null() => Some((key.as_str()?, *form)),
        _ => None,
    };
    tables
        .map(head)
        .collect::<Option<Vec<_>>>()
        .filter(|found| found.len() > 1)
        .unwrap_or_default()
}

/// Returns forms of tables, each with its `kind`.
pub(super) fn kinds(forms: &[&'static Json]) -> Vec<(&'static str, &'static Json)> {
    forms
        .iter()
        .filter_map(|form| Some((form["properties"]["kind"]["const"].as_str()?, *form)))
        .collect()
}
