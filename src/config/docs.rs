//! Generates `configs/schema.json` and `docs/configuration.md` from the doc comments and defaults
//! of the options.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::Config;

/// Returns the JSON Schema of a recipe, for editors.
pub fn schema_json() -> String {
    let schema = schema().to_value();
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

fn schema() -> schemars::Schema {
    schemars::schema_for!(Config)
}

/// Returns `docs/configuration.md`: each table of a recipe with its keys, defaults and meaning.
pub fn reference_markdown() -> String {
    let schema = schema().to_value();
    let mut page = "# Configuration\n\n\
                    A recipe is one TOML file. Unknown keys are errors, and so is an option that \
                    could have no\neffect. Paths are relative to the current directory. \
                    `--set key.path=value` changes one value from\nthe command line. This page \
                    and `configs/schema.json` are generated from the source by\n\
                    `EMBERLENS_WRITE_DOCS=1 cargo test --release docs`.\n\n"
        .to_owned();
    let defs = schema["$defs"].as_object().cloned().unwrap_or_default();
    let properties = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let is_section = |value: &Value| resolve(value, &defs).get("properties").is_some();
    let (sections, plain): (Vec<_>, Vec<_>) =
        properties.iter().partition(|(_, value)| is_section(value));
    write_table(
        &mut page,
        "The recipe",
        "",
        &plain
            .into_iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        &defs,
    );
    for (name, value) in sections {
        let table = resolve(value, &defs);
        let about = text(value, "description").unwrap_or_default();
        let defaults = value.get("default").cloned().unwrap_or(Value::Null);
        let keys = with_defaults(
            table["properties"].as_object().cloned().unwrap_or_default(),
            &defaults,
        );
        write_table(&mut page, &format!("`[{name}]`"), &about, &keys, &defs);
        for (key, value) in &keys {
            write_nested(&mut page, &format!("{name}.{key}"), value, &defs);
        }
    }
    page
}

/// Gives each key its part of the table's default, if that is a whole object.
fn with_defaults(mut keys: Map<String, Value>, defaults: &Value) -> Map<String, Value> {
    for (key, value) in &mut keys {
        if let (Some(default), Some(object)) = (defaults.get(key), value.as_object_mut()) {
            object.entry("default").or_insert_with(|| default.clone());
        }
    }
    keys
}

/// Writes the keys of an inline table, or of each kind of it.
fn write_nested(page: &mut String, path: &str, value: &Value, defs: &Map<String, Value>) {
    let mut target = resolve(value, defs);
    let is_list = is_list_of_tables(&target, defs);
    if is_list {
        target = resolve(&target["items"], defs);
    }
    if let Some(keys) = target["properties"].as_object() {
        let path = if is_list {
            format!("[{path}]")
        } else {
            path.to_owned()
        };
        write_table(
            page,
            &format!("`{path}`"),
            &text(&target, "description").unwrap_or_default(),
            keys,
            defs,
        );
    }
    if is_list {
        for form in target["anyOf"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|form| resolve(form, defs))
        {
            let Some(keys) = form["properties"].as_object() else {
                continue;
            };
            let head = form["required"][0].as_str().unwrap_or_default();
            write_table(
                page,
                &format!("`[[{path}]]` with `{head}`"),
                &text(&form, "description").unwrap_or_default(),
                keys,
                defs,
            );
        }
        return;
    }
    for variant in target["oneOf"].as_array().into_iter().flatten() {
        let Some(keys) = variant["properties"].as_object() else {
            continue;
        };
        let Some(kind) = keys.get("kind").and_then(|kind| kind["const"].as_str()) else {
            continue;
        };
        let keys = keys
            .iter()
            .filter(|(key, _)| *key != "kind")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        write_table(
            page,
            &format!("`{path}`, kind `\"{kind}\"`"),
            &text(variant, "description").unwrap_or_default(),
            &keys,
            defs,
        );
    }
}

fn is_list_of_tables(target: &Value, defs: &Map<String, Value>) -> bool {
    let is_table = |form: &Value| resolve(form, defs).get("properties").is_some();
    let is_list_of = |items: &Value| match resolve(items, defs)["anyOf"].as_array() {
        Some(forms) => forms.iter().all(is_table),
        None => is_table(items),
    };
    target["type"] == "array" && target.get("items").is_some_and(is_list_of)
}

fn write_table(
    page: &mut String,
    title: &str,
    about: &str,
    keys: &Map<String, Value>,
    defs: &Map<String, Value>,
) {
    let _ = write!(page, "## {title}\n\n");
    if !about.is_empty() {
        let _ = write!(page, "{about}\n\n");
    }
    if keys.is_empty() {
        return;
    }
    page.push_str("| key | values | default | meaning |\n|---|---|---|---|\n");
    for (key, value) in keys {
        let default = match value.get("default") {
            Some(Value::Null) => "not set".to_owned(),
            Some(default) if default.as_object().is_some_and(Map::is_empty) => "none".to_owned(),
            Some(default) if default.is_object() => "see below".to_owned(),
            Some(default) => format!("`{default}`"),
            None if accepts_null(value) => "not set".to_owned(),
            None if is_list_of_tables(value, defs) => "none".to_owned(),
            None => "required".to_owned(),
        };
        let meaning = text(value, "description").unwrap_or_default();
        let _ = writeln!(
            page,
            "| `{key}` | {} | {default} | {meaning} |",
            values(value, defs)
        );
    }
    page.push('\n');
}

fn accepts_null(value: &Value) -> bool {
    let is_null = |kind: &Value| kind == "null";
    value["type"]
        .as_array()
        .is_some_and(|kinds| kinds.iter().any(is_null))
        || value["anyOf"]
            .as_array()
            .is_some_and(|options| options.iter().any(|option| is_null(&option["type"])))
}

/// Describes the values that a key accepts, in a few words.
fn values(value: &Value, defs: &Map<String, Value>) -> String {
    let target = resolve(value, defs);
    if let Some(names) = target["enum"].as_array() {
        return names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let options = target["oneOf"].as_array().or(target["anyOf"].as_array());
    if let Some(options) = options {
        let words: Vec<_> = options
            .iter()
            .filter(|option| option["type"] != "null")
            .map(|option| option_words(option, defs))
            .collect();
        return words.join(" or ");
    }
    if is_list_of_tables(&target, defs) {
        return "list of tables".to_owned();
    }
    match &target["type"] {
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .map(|kind| kind_words(&target, kind))
            .collect(),
        kind => kind_words(&target, kind.as_str().unwrap_or("table")),
    }
}

fn option_words(option: &Value, defs: &Map<String, Value>) -> String {
    if let Some(constant) = option.get("const") {
        return format!(
            "`{constant}`: {}",
            lower_first(&text(option, "description").unwrap_or_default())
        );
    }
    if let Some(kind) = option["properties"]["kind"]["const"].as_str() {
        return format!("`{{ kind = \"{kind}\", ... }}`");
    }
    if let Some(keys) = option["properties"]
        .as_object()
        .filter(|_| option.get("$ref").is_none())
    {
        let keys: Vec<_> = keys.keys().map(|key| format!("{key} = ...")).collect();
        return format!("`{{ {} }}`", keys.join(", "));
    }
    values(option, defs)
}

fn kind_words(target: &Value, kind: &str) -> String {
    match kind {
        "array" => match target["maxItems"].as_u64() {
            Some(count) => format!("list of {count} numbers"),
            None => "list of numbers".to_owned(),
        },
        "boolean" => "`true`, `false`".to_owned(),
        "integer" => "whole number".to_owned(),
        "object" => "table".to_owned(),
        other => other.to_owned(),
    }
}

/// Follows a reference, also if it is one of several alternatives with null, or wrapped to carry a
/// description.
fn resolve(value: &Value, defs: &Map<String, Value>) -> Value {
    let reference = value.get("$ref").or_else(|| {
        let options = value.get("anyOf")?.as_array()?;
        let is_optional =
            options.len() == 2 && options.iter().any(|option| option["type"] == "null");
        is_optional
            .then(|| options.iter().find_map(|option| option.get("$ref")))
            .flatten()
    });
    let name = reference
        .and_then(Value::as_str)
        .and_then(|path| path.rsplit('/').next());
    name.and_then(|name| defs.get(name))
        .unwrap_or(value)
        .clone()
}

fn text(value: &Value, key: &str) -> Option<String> {
    value
        .get(key)
        .and_then(Value::as_str)
        .map(|text| text.replace('\n', " ").replace('|', "\\|"))
}

fn lower_first(text: &str) -> String {
    let trimmed = text.trim_end_matches('.');
    // Names such as `MobileNetV2` keep their capitals.
    if trimmed
        .split(' ')
        .next()
        .is_some_and(|word| word.chars().skip(1).any(char::is_uppercase))
    {
        return trimmed.to_owned();
    }
    let mut letters = trimmed.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_lowercase().chain(letters).collect()
    })
}
