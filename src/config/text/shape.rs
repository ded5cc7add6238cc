//! Checks the values of a recipe against the schema of [`Config`] before they are deserialized, so
//! that an error can name the key, what was found, what was expected, and what was probably meant.
//! What passes here can be deserialized.

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::{
    expected,
    forms::{
        Meant, Misfit, Unmatched, forms, headed, is_of_type, kinds, misfit, reference, schema,
        text_rule,
    },
    lines::KeyPath,
    syntax::control_words,
};
use crate::base::words::{nearest, shortened};

/// Checks a whole recipe. Returns the values that aren't accepted.
pub(super) fn check_shape(table: &Table) -> Vec<Misfit> {
    walk(&KeyPath::default(), &Value::Table(table.clone()), schema())
}

/// Checks a value against a node of the schema. Returns what isn't accepted in it.
pub(super) fn walk(path: &KeyPath, value: &Value, node: &'static Json) -> Vec<Misfit> {
    if let Value::String(text) = value
        && let Some(words) = control_words(text)
    {
        return vec![misfit(path, words)];
    }
    let forms = forms(node);
    if let Value::Table(table) = value
        && let Some(found) =
            walk_kinds(path, table, &forms).or_else(|| walk_headed(path, table, &forms))
    {
        return found;
    }
    let constants: Vec<_> = forms
        .iter()
        .filter_map(|form| form.get("const")?.as_str())
        .collect();
    if value.as_str().is_some_and(|text| constants.contains(&text)) {
        return Vec::new();
    }
    let of_type: Vec<_> = forms
        .iter()
        .copied()
        .filter(|form| form.get("const").is_none() && is_of_type(value, form))
        .collect();
    let tried: Vec<_> = best_tables(value, of_type)
        .into_iter()
        .map(|form| walk_form(path, value, form))
        .collect();
    if tried.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    if let Some(found) = tried.into_iter().next() {
        return found;
    }
    // A text that isn't any text says itself what it expects, as well of a number.
    if let [form] = forms.as_slice()
        && let Some(rule) = reference(form).and_then(text_rule)
        && let Err(message) = rule(&value.to_string())
    {
        return vec![misfit(path, message)];
    }
    let message = format!(
        "found {}, expected {}",
        found(value),
        expected::expected(&forms)
    );
    let unmatched = Unmatched {
        value: value.clone(),
        forms,
        constants,
    };
    vec![Misfit {
        unmatched: Some(unmatched),
        ..misfit(path, message)
    }]
}

/// Formats a value for a message.
fn found(value: &Value) -> String {
    match value {
        Value::String(text) => shortened(&format!("\"{text}\"")),
        other => shortened(&other.to_string()),
    }
}

/// Returns the forms of a table that have the most of its keys.
fn best_tables(value: &Value, forms: Vec<&'static Json>) -> Vec<&'static Json> {
    let Value::Table(table) = value else {
        return forms;
    };
    let known = |form: &&'static Json| {
        table
            .keys()
            .filter(|key| form["properties"].get(key).is_some())
            .count()
    };
    // The last of equals is the one with more keys to offer.
    forms.into_iter().max_by_key(known).into_iter().collect()
}

/// Checks a value of the form's type.
fn walk_form(path: &KeyPath, value: &Value, form: &'static Json) -> Vec<Misfit> {
    if let (Some(rule), Value::String(text)) = (reference(form).and_then(text_rule), value) {
        return rule(text)
            .err()
            .map(|message| misfit(path, message))
            .into_iter()
            .collect();
    }
    match value {
        Value::Integer(number)
            if form["minimum"]
                .as_i64()
                .is_some_and(|least| *number < least) =>
        {
            vec![misfit(
                path,
                format!("found {number}, expected {}", expected::expected(&[form])),
            )]
        }
        Value::Array(list) => walk_list(path, list, form),
        Value::Table(table) => walk_table(path, table, form),
        _ => Vec::new(),
    }
}

fn walk_list(path: &KeyPath, list: &[Value], form: &'static Json) -> Vec<Misfit> {
    let fits = |limit: &str, fits: fn(&u64, &u64) -> bool| {
        form[limit]
            .as_u64()
            .is_none_or(|limit| fits(&(list.len() as u64), &limit))
    };
    if !fits("minItems", u64::ge) || !fits("maxItems", u64::le) {
        let found = format!(
            "found {}, a list of {}",
            found(&Value::Array(list.to_vec())),
            list.len()
        );
        let about = form["description"]
            .as_str()
            .map_or_else(String::new, |about| {
                format!(": {}", expected::sentence(about))
            });
        return vec![misfit(
            path,
            format!("{found}, expected {}{about}", expected::expected(&[form])),
        )];
    }
    let items = &form["items"];
    list.iter()
        .enumerate()
        .flat_map(|(index, value)| walk(&path.entry(index), value, items))
        .collect()
}

fn walk_table(path: &KeyPath, table: &Table, form: &'static Json) -> Vec<Misfit> {
    let Some(properties) = form["properties"].as_object() else {
        let each = &form["additionalProperties"];
        return table
            .iter()
            .flat_map(|(key, value)| walk(&path.key(key), value, each))
            .collect();
    };
    let mut found = Vec::new();
    for (key, value) in table {
        let alias = aliased(properties, key);
        match properties.get(key).or(alias.map(|(_, property)| property)) {
            None => found.push(expected::unknown_key(path, key, properties)),
            Some(property) => match alias.filter(|(name, _)| table.contains_key(*name)) {
                Some((name, _)) => found.push(misfit(
                    &path.key(key),
                    format!(
                        "means the same as `{name}`, which is there too; leave one of them out"
                    ),
                )),
                None => found.extend(walk(&path.key(key), value, property)),
            },
        }
    }
    let is_there = |name: &str| {
        table.contains_key(name)
            || properties[name]["aliases"]
                .as_array()
                .is_some_and(|names| has_any(table, names))
    };
    // A key that was misspelt is told once.
    let is_meant = |name: &str| {
        found
            .iter()
            .any(|misfit| matches!(&misfit.meant, Some(Meant::Sibling(meant)) if meant == name))
    };
    let required = form["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str);
    let missing: Vec<_> = required
        .filter(|name| !is_there(name) && !is_meant(name))
        .collect();
    found.extend(
        missing
            .into_iter()
            .map(|name| expected::missing(&path.key(name), &properties[name])),
    );
    found
}

fn has_any(table: &Table, names: &[Json]) -> bool {
    names
        .iter()
        .filter_map(Json::as_str)
        .any(|name| table.contains_key(name))
}

/// Returns the property that has this alias, in most cases Keras's name.
fn aliased<'a>(properties: &'a Map<String, Json>, alias: &str) -> Option<(&'a String, &'a Json)> {
    properties.iter().find(|(_, property)| {
        property["aliases"]
            .as_array()
            .is_some_and(|names| names.iter().any(|name| name == alias))
    })
}

/// Checks a table that comes in kinds. Returns `None` if these forms don't.
fn walk_kinds(path: &KeyPath, table: &Table, forms: &[&'static Json]) -> Option<Vec<Misfit>> {
    let kinds = kinds(forms);
    if kinds.is_empty() {
        return None;
    }
    let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
    let expected = format!("expected kind = {}", expected::alternatives(&names));
    let Some(kind) = table.get("kind") else {
        let of_keys: Vec<_> = kinds
            .iter()
            .filter(|(_, form)| {
                table
                    .keys()
                    .all(|key| form["properties"].get(key).is_some())
            })
            .collect();
        let meant = match of_keys.as_slice() {
            [(name, _)] => Some(Meant::Value(format!("kind = \"{name}\""))),
            _ => None,
        };
        return Some(vec![Misfit {
            meant,
            ..misfit(path, format!("found no kind, {expected}"))
        }]);
    };
    let Some((name, form)) = kinds.iter().find(|(name, _)| kind.as_str() == Some(*name)) else {
        let meant = kind
            .as_str()
            .and_then(|kind| nearest(kind, names))
            .map(|name| Meant::Value(format!("`{name}`")));
        return Some(vec![Misfit {
            meant,
            ..misfit(
                &path.key("kind"),
                format!("found {}, {expected}", found(kind)),
            )
        }]);
    };
    let known = form["properties"].as_object()?;
    if let Some(key) = table.keys().find(|key| !known.contains_key(*key)) {
        let others: Vec<_> = kinds
            .iter()
            .filter(|(_, form)| form["properties"].get(key).is_some())
            .map(|(name, _)| *name)
            .collect();
        if !others.is_empty() {
            let message = format!(
                "kind = \"{name}\" has no such key; it belongs to kind = {}",
                expected::alternatives(&others)
            );
            return Some(vec![misfit(&path.key(key), message)]);
        }
    }
    Some(walk_table(path, table, form))
}

/// Checks a table whose kind is told by its first key, such as a layer of a list. Returns `None` if
/// these forms aren't told like this.
fn walk_headed(path: &KeyPath, table: &Table, forms: &[&'static Json]) -> Option<Vec<Misfit>> {
    let heads = headed(forms);
    if heads.is_empty() {
        return None;
    }
    let names: Vec<_> = heads.iter().map(|(name, _)| *name).collect();
    let there: Vec<_> = heads
        .iter()
        .filter(|(name, _)| table.contains_key(*name))
        .collect();
    let (name, form) = match there.as_slice() {
        [head] => **head,
        [] => return Some(vec![expected::unheaded(path, table, &names, forms)]),
        several => {
            let found: Vec<_> = several.iter().map(|(name, _)| *name).collect();
            return Some(vec![misfit(
                path,
                format!(
                    "found {} in one layer; begin each with [[{}]]",
                    found.join(" and "),
                    path.list()
                ),
            )]);
        }
    };
    let known = form["properties"].as_object()?;
    if let Some(key) = table.keys().find(|key| !known.contains_key(*key)) {
        let others: Vec<_> = heads
            .iter()
            .filter(|(_, form)| form["properties"].get(key).is_some())
            .map(|(name, _)| *name)
            .collect();
        if !others.is_empty() {
            return Some(vec![misfit(
                &path.key(key),
                format!(
                    "{name} has no such key; it belongs to {}",
                    others.join(" and ")
                ),
            )]);
        }
    }
    Some(walk_table(path, table, form))
}
