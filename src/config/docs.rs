//! Generates `configs/schema.json` and `docs/configuration.md` from the doc comments and defaults
//! of the options.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{Config, themes::THEMES};

/// Returns the JSON Schema of a recipe, for editors.
pub fn schema_json() -> String {
    let schema = schema().to_value();
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

fn schema() -> schemars::Schema {
    schemars::schema_for!(Config)
}

/// Returns `docs/configuration.md`: the keys of a recipe by theme, with defaults and meaning.
pub fn reference_markdown() -> String {
    let schema = schema().to_value();
    let mut page = "# Configuration\n\n\
                    A recipe is one TOML file. Unknown keys are errors, and so is an option that \
                    could have no\neffect. Paths are relative to the current directory. \
                    `--set key.path=value` changes one value from\nthe command line. Every key \
                    stands here under its whole path: `data.train` is `train` in the\ntable \
                    `[data]`. This page and `configs/schema.json` are generated from the source \
                    by\n`EMBERLENS_WRITE_DOCS=1 cargo test --release docs`.\n\n"
        .to_owned();
    let defs = schema["$defs"].as_object().cloned().unwrap_or_default();
    let keys = all_keys(&schema, &defs);
    for (title, paths) in THEMES {
        let keys: Vec<_> = paths
            .iter()
            .filter_map(|path| Some(((*path).to_owned(), keys.get(*path)?.clone())))
            .collect();
        write_table(&mut page, &format!("## {title}"), "", &keys, &defs);
        let mut tables = Vec::new();
        for (path, value) in &keys {
            collect_nested(&mut tables, path, value, &defs);
        }
        for table in tables {
            let title = format!("### {}", table.titles.join(", "));
            write_table(&mut page, &title, &table.about, &table.keys, &defs);
        }
    }
    page
}

/// Returns the keys of all sections, by their whole path, with the defaults of their section.
fn all_keys(schema: &Value, defs: &Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, value) in keys_of(schema) {
        let section = resolve(&value, defs);
        if section.get("properties").is_none() {
            all.insert(name, value);
            continue;
        }
        for (key, mut inner) in keys_of(&section) {
            if let (Some(default), Some(object)) =
                (value["default"].get(&key), inner.as_object_mut())
            {
                object.entry("default").or_insert_with(|| default.clone());
            }
            all.insert(format!("{name}.{key}"), inner);
        }
    }
    all
}

/// Returns the keys of a table. One that may be left out and has no default in the schema is marked
/// with what an absent one is.
fn keys_of(table: &Value) -> Vec<(String, Value)> {
    let properties = table["properties"].as_object().cloned();
    let mut keys: Vec<_> = properties.unwrap_or_default().into_iter().collect();
    let required = table["required"].as_array().cloned().unwrap_or_default();
    for (key, value) in &mut keys {
        let absent = match value["type"].as_str() {
            Some("boolean") => Value::Bool(false),
            Some("array") => Value::Array(Vec::new()),
            _ => continue,
        };
        if let Some(object) = value.as_object_mut()
            && !required.contains(&Value::String(key.clone()))
        {
            object.entry("default").or_insert(absent);
        }
    }
    keys
}

/// A table within a table of a recipe. Several of the same keys are shown as one.
struct Nested {
    titles: Vec<String>,
    about: String,
    keys: Vec<(String, Value)>,
}

/// Adds the keys of an inline table, of each kind of it, or of the tables in a list.
fn collect_nested(tables: &mut Vec<Nested>, path: &str, value: &Value, defs: &Map<String, Value>) {
    let target = resolve(value, defs);
    let mut add = |title: String, of: &Value, keys: Vec<(String, Value)>| {
        let about = text(of, "description").unwrap_or_default();
        let same = tables
            .iter_mut()
            .find(|table| table.keys == keys && table.about == about);
        match same {
            Some(table) => table.titles.push(title),
            None => tables.push(Nested {
                titles: vec![title],
                about,
                keys,
            }),
        }
    };
    if is_list_of_tables(&target, defs) {
        let items = resolve(&target["items"], defs);
        if items.get("properties").is_some() {
            add(format!("`[[{path}]]`"), &items, keys_of(&items));
        }
        for form in items["anyOf"].as_array().into_iter().flatten() {
            let form = resolve(form, defs);
            let head = form["required"][0].as_str().unwrap_or_default();
            add(format!("`[[{path}]]` with `{head}`"), &form, keys_of(&form));
        }
        return;
    }
    if target.get("properties").is_some() {
        add(format!("`{path}`"), &target, keys_of(&target));
    }
    let kinds = target["oneOf"].as_array().or(target["anyOf"].as_array());
    for form in kinds.into_iter().flatten() {
        let form = resolve(form, defs);
        let mut keys = keys_of(&form);
        let kind = keys
            .iter()
            .position(|(key, _)| key == "kind")
            .map(|at| keys.remove(at).1);
        let title = match kind.as_ref().and_then(|kind| kind["const"].as_str()) {
            Some(kind) => format!("`{path}`, kind `\"{kind}\"`"),
            None if keys.is_empty() => continue,
            None => format!("`{path}` as a table"),
        };
        add(title, &form, keys);
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
    keys: &[(String, Value)],
    defs: &Map<String, Value>,
) {
    let _ = write!(page, "{title}\n\n");
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
            Some(default) if default.as_array().is_some_and(Vec::is_empty) => "none".to_owned(),
            Some(default) if default.is_object() => "see below".to_owned(),
            Some(default) => format!("`{default}`"),
            None if accepts_null(value) => "not set".to_owned(),
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
        // Those that are explained have a line each.
        let joint = if words.iter().any(|words| words.contains(": ")) {
            "<br>"
        } else {
            " or "
        };
        return words.join(joint);
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
            None if target["items"]["type"] == "string" => "list of strings".to_owned(),
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
