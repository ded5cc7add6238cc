//! Checks the values of a recipe against the schema of [`Config`] before they are read, so that what is said of a wrong one is said in the
//! recipe's own words: the key, what was found, what may stand there, and what was probably meant. What passes here can be read.

use std::sync::OnceLock;

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::{
    Config, DeviceName, Freeze, MaxTime, Metric,
    lines::{KeyPath, Step},
    meant,
    syntax::{control_words, shortened},
};
use crate::base::words::nearest;

/// A value that doesn't fit.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Where.
    pub(super) path: KeyPath,
    /// What was found and what was expected.
    pub(super) message: String,
    /// What was probably meant.
    pub(super) meant: Option<Meant>,
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

type Fit = Result<(), Misfit>;

fn misfit(path: &KeyPath, message: impl Into<String>) -> Misfit {
    Misfit { path: path.clone(), message: message.into(), meant: None }
}

/// Checks a whole recipe.
pub(super) fn check_shape(table: &Table) -> Fit {
    walk(&KeyPath::default(), &Value::Table(table.clone()), schema())
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
fn reference(schema: &Json) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// Follows a reference.
pub(super) fn resolve(node: &'static Json) -> &'static Json {
    reference(node).map_or(node, |name| resolve(&schema()["$defs"][name]))
}

/// The forms that a value may have, down to plain ones; nothing for a value that may be left out.
pub(super) fn forms(node: &'static Json) -> Vec<&'static Json> {
    let target = resolve(node);
    match target.get("oneOf").or_else(|| target.get("anyOf")).and_then(Json::as_array) {
        Some(options) => options.iter().flat_map(forms).collect(),
        None if target["type"] == "null" => Vec::new(),
        // The reference is kept: its name tells how a text is read.
        None => vec![if reference(node).is_some_and(|name| text_rule(name).is_some()) { node } else { target }],
    }
}

/// Says what is wrong with a text.
type TextRule = fn(&str) -> Result<(), String>;

/// How a text that isn't any text is read, by the name of its definition.
fn text_rule(name: &str) -> Option<TextRule> {
    Some(match name {
        "Device" => |text| text.parse::<DeviceName>().map(|_| ()),
        "Freeze" => |text| text.parse::<Freeze>().map(|_| ()),
        "Metric" => |text| text.parse::<Metric>().map(|_| ()),
        "Time" => |text| MaxTime::try_from(text.to_owned()).map(|_| ()),
        _ => return None,
    })
}

fn types(form: &'static Json) -> Vec<&'static str> {
    match &form["type"] {
        Json::Array(names) => names.iter().filter_map(Json::as_str).filter(|name| *name != "null").collect(),
        name => name.as_str().into_iter().collect(),
    }
}

/// Is the value of the form's type, whatever is in it?
fn is_of_type(value: &Value, form: &'static Json) -> bool {
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

pub(super) fn walk(path: &KeyPath, value: &Value, node: &'static Json) -> Fit {
    if let Value::String(text) = value
        && let Some(words) = control_words(text)
    {
        return Err(misfit(path, words));
    }
    let forms = forms(node);
    if let Value::Table(table) = value
        && let Some(found) = walk_kinds(path, table, &forms)
    {
        return found;
    }
    let constants: Vec<_> = forms.iter().filter_map(|form| form.get("const")?.as_str()).collect();
    if value.as_str().is_some_and(|text| constants.contains(&text)) {
        return Ok(());
    }
    let of_type: Vec<_> = forms.iter().copied().filter(|form| form.get("const").is_none() && is_of_type(value, form)).collect();
    let tried: Vec<_> = best_tables(value, of_type).into_iter().map(|form| walk_form(path, value, form)).collect();
    if tried.iter().any(Result::is_ok) {
        return Ok(());
    }
    if let Some(found) = tried.into_iter().next() {
        return found;
    }
    // A text that isn't any text says itself what it expects, as well of a number.
    if let [form] = forms.as_slice()
        && let Some(rule) = reference(form).and_then(text_rule)
        && let Err(message) = rule(&value.to_string())
    {
        return Err(misfit(path, message));
    }
    let message = format!("found {}, expected {}", found(value), meant::expected(&forms));
    Err(Misfit { path: path.clone(), message, meant: meant::value(value, &forms, &constants) })
}

/// A value as a message shows it.
fn found(value: &Value) -> String {
    match value {
        Value::String(text) => shortened(&format!("\"{text}\"")),
        other => shortened(&other.to_string()),
    }
}

/// Of several forms of a table the one with most of its keys.
fn best_tables(value: &Value, forms: Vec<&'static Json>) -> Vec<&'static Json> {
    let Value::Table(table) = value else { return forms };
    let known = |form: &&'static Json| table.keys().filter(|key| form["properties"].get(key).is_some()).count();
    // The last of equals is the one with more keys to offer.
    forms.into_iter().max_by_key(known).into_iter().collect()
}

/// A value of the form's type.
fn walk_form(path: &KeyPath, value: &Value, form: &'static Json) -> Fit {
    if let (Some(rule), Value::String(text)) = (reference(form).and_then(text_rule), value) {
        return rule(text).map_err(|message| misfit(path, message));
    }
    match value {
        Value::Integer(number) if form["minimum"].as_i64().is_some_and(|least| *number < least) => {
            Err(misfit(path, format!("found {number}, expected {}", meant::expected(&[form]))))
        }
        Value::Array(list) => walk_list(path, list, form),
        Value::Table(table) => walk_table(path, table, form),
        _ => Ok(()),
    }
}

fn walk_list(path: &KeyPath, list: &[Value], form: &'static Json) -> Fit {
    let fits = |limit: &str, fits: fn(&u64, &u64) -> bool| form[limit].as_u64().is_none_or(|limit| fits(&(list.len() as u64), &limit));
    if !fits("minItems", u64::ge) || !fits("maxItems", u64::le) {
        let found = format!("found {}, a list of {}", found(&Value::Array(list.to_vec())), list.len());
        let about = form["description"].as_str().map_or_else(String::new, |about| format!(": {}", meant::sentence(about)));
        return Err(misfit(path, format!("{found}, expected {}{about}", meant::expected(&[form]))));
    }
    let items = &form["items"];
    list.iter().enumerate().try_for_each(|(index, value)| walk(&path.entry(index), value, items))
}

fn walk_table(path: &KeyPath, table: &Table, form: &'static Json) -> Fit {
    let Some(properties) = form["properties"].as_object() else {
        let each = &form["additionalProperties"];
        return table.iter().try_for_each(|(key, value)| walk(&path.key(key), value, each));
    };
    for (key, value) in table {
        let Some(property) = properties.get(key).or_else(|| aliased(properties, key).map(|(_, property)| property)) else {
            return Err(meant::unknown_key(path, key, properties));
        };
        if let Some((name, _)) = aliased(properties, key)
            && table.contains_key(name)
        {
            return Err(misfit(&path.key(key), format!("means the same as `{name}`, which is there too; leave one of them out")));
        }
        walk(&path.key(key), value, property)?;
    }
    let is_there =
        |name: &str| table.contains_key(name) || properties[name]["aliases"].as_array().is_some_and(|names| has_any(table, names));
    match form["required"].as_array().into_iter().flatten().filter_map(Json::as_str).find(|name| !is_there(name)) {
        Some(name) => Err(meant::missing(&path.key(name), &properties[name])),
        None => Ok(()),
    }
}

fn has_any(table: &Table, names: &[Json]) -> bool {
    names.iter().filter_map(Json::as_str).any(|name| table.contains_key(name))
}

/// The property that has another name too, Keras's mostly.
fn aliased<'a>(properties: &'a Map<String, Json>, alias: &str) -> Option<(&'a String, &'a Json)> {
    properties.iter().find(|(_, property)| property["aliases"].as_array().is_some_and(|names| names.iter().any(|name| name == alias)))
}

/// A table that comes in kinds; `None` if these forms don't.
fn walk_kinds(path: &KeyPath, table: &Table, forms: &[&'static Json]) -> Option<Fit> {
    let kinds = kinds(forms);
    if kinds.is_empty() {
        return None;
    }
    let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
    let expected = format!("expected kind = {}", meant::alternatives(&names));
    let Some(kind) = table.get("kind") else {
        let of_keys: Vec<_> = kinds.iter().filter(|(_, form)| table.keys().all(|key| form["properties"].get(key).is_some())).collect();
        let meant = match of_keys.as_slice() {
            [(name, _)] => Some(Meant::Value(format!("kind = \"{name}\""))),
            _ => None,
        };
        return Some(Err(Misfit { path: path.clone(), message: format!("found no kind, {expected}"), meant }));
    };
    let Some((name, form)) = kinds.iter().find(|(name, _)| kind.as_str() == Some(*name)) else {
        let meant = kind.as_str().and_then(|kind| nearest(kind, names)).map(|name| Meant::Value(format!("`{name}`")));
        return Some(Err(Misfit { path: path.key("kind"), message: format!("found {}, {expected}", found(kind)), meant }));
    };
    let known = form["properties"].as_object()?;
    if let Some(key) = table.keys().find(|key| !known.contains_key(*key)) {
        let others: Vec<_> = kinds.iter().filter(|(_, form)| form["properties"].get(key).is_some()).map(|(name, _)| *name).collect();
        if !others.is_empty() {
            let message = format!("kind = \"{name}\" has no such key; it belongs to kind = {}", meant::alternatives(&others));
            return Some(Err(misfit(&path.key(key), message)));
        }
    }
    Some(walk_table(path, table, form))
}

/// The forms that are told by their `kind`, with it.
pub(super) fn kinds(forms: &[&'static Json]) -> Vec<(&'static str, &'static Json)> {
    forms.iter().filter_map(|form| Some((form["properties"]["kind"]["const"].as_str()?, *form))).collect()
}
