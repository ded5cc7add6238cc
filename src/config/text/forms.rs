//! The schema of a recipe, and the forms that a value may have by it.

use std::sync::OnceLock;

use serde_json::Value as Json;
use toml::Value;

use super::lines::{KeyPath, Step};
use crate::config::{Config, DeviceName, Freeze, MaxTime, Metric};

/// A value that doesn't fit.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Where.
    pub(super) path: KeyPath,
    /// What was found and what was expected.
    pub(super) message: String,
    /// What was probably meant.
    pub(super) meant: Option<Meant>,
    /// The value, where it has none of the forms that it may have.
    pub(super) unmatched: Option<Unmatched>,
}

/// What was probably meant.
#[derive(Debug)]
pub(super) enum Meant {
    /// Another key, whole.
    Key(String),
    /// A key of the same table.
    Sibling(String),
    /// Another value.
    Value(String),
}

/// A value that has none of these forms and is none of these constants.
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

/// The kind that a table has by default, where tables come in kinds.
pub(super) fn default_kind(path: &KeyPath) -> Option<String> {
    let mut node = schema();
    for step in &path.0 {
        let Step::Key(key) = step else { return None };
        node = resolve(node).get("properties")?.get(key)?;
    }
    Some(node.get("default")?.get("kind")?.as_str()?.to_owned())
}

/// The schema of a recipe.
pub(super) fn schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| schemars::schema_for!(Config).to_value())
}

/// The name of the definition that a schema refers to.
pub(super) fn reference(schema: &Json) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// Follows a reference.
pub(super) fn resolve(node: &'static Json) -> &'static Json {
    reference(node).map_or(node, |name| resolve(&schema()["$defs"][name]))
}

/// The forms that a value may have, down to plain ones; nothing for a value that may be left out.
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

/// Says what is wrong with a text.
pub(super) type TextRule = fn(&str) -> Result<(), String>;

/// How a text that isn't any text is read, by the name of its definition.
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

/// Is the value of the form's type, whatever is in it?
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

/// Does a dotted key take a table that comes in kinds?
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

/// The forms of tables that are told by the one key which each has to have, with it; nothing if
/// these aren't.
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

/// The forms that are told by their `kind`, with it.
pub(super) fn kinds(forms: &[&'static Json]) -> Vec<(&'static str, &'static Json)> {
    forms
        .iter()
        .filter_map(|form| Some((form["properties"]["kind"]["const"].as_str()?, *form)))
        .collect()
}
