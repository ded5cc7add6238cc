//! Describes the values that a recipe accepts.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value as Json};

use super::{
    forms::{Meant, Misfit, forms, headed, kinds, misfit, resolve, schema},
    lines::KeyPath,
};
use crate::base::words::{listed, nearest};

/// Keys by the names that other programs use, and ours.
const ELSEWHERE: [(&str, &str); 40] = [
    ("arch", "model.architecture"),
    ("backbone", "model.architecture"),
    ("network", "model.architecture"),
    ("batch", "train.batch_size"),
    ("bs", "train.batch_size"),
    ("callbacks", "train.early_stopping"),
    ("data_dir", "data.train"),
    ("dataset", "data.train"),
    ("directory", "data.train"),
    ("train_dir", "data.train"),
    ("cv", "train.folds"),
    ("ema", "train.ema_decay"),
    ("k_folds", "train.folds"),
    ("max_epochs", "train.epochs"),
    ("n_epochs", "train.epochs"),
    ("nb_epochs", "train.epochs"),
    ("n_repeats", "train.repeats"),
    ("n_splits", "train.folds"),
    ("num_epochs", "train.epochs"),
    ("train_sizes", "train.learning_curve"),
    ("image_shape", "data.image_size"),
    ("img_size", "data.image_size"),
    ("imgsz", "data.image_size"),
    ("input_shape", "data.image_size"),
    ("input_size", "data.image_size"),
    ("resolution", "data.image_size"),
    ("target_size", "data.image_size"),
    ("learning_rate", "train.optimizer.learning_rate"),
    ("lr", "train.optimizer.learning_rate"),
    ("momentum", "train.optimizer.momentum"),
    ("monitor", "train.checkpoint.monitor"),
    ("num_workers", "train.workers"),
    ("optim", "train.optimizer"),
    ("patience", "train.early_stopping.patience"),
    ("pretrained", "model.weights"),
    ("scheduler", "train.schedule"),
    ("lr_scheduler", "train.schedule"),
    ("test_dir", "data.test"),
    ("val_dir", "data.validation"),
    ("weight_decay", "train.optimizer.weight_decay"),
];

/// Returns the error for an unknown key, with the key that was probably meant: one of the table
/// with a similar name, one of another table with this name, or what other programs call it.
pub(super) fn unknown_key(path: &KeyPath, key: &str, known: &Map<String, Json>) -> Misfit {
    let lower = key.to_lowercase();
    let places = places().get(lower.as_str()).map_or(&[][..], Vec::as_slice);
    let elsewhere = ELSEWHERE
        .iter()
        .find(|(name, _)| *name == lower)
        .map(|(_, place)| (*place).to_owned());
    let sibling = nearest(key, known.keys().map(String::as_str));
    let meant = match (elsewhere, places) {
        (Some(place), _) => Some(Meant::Key(place)),
        (None, [place]) => Some(Meant::Key(place.clone())),
        _ => sibling.map(|name| Meant::Sibling(name.to_owned())),
    };
    let names: Vec<_> = known
        .keys()
        .map(String::as_str)
        .filter(|name| *name != "kind")
        .collect();
    let message = match &meant {
        Some(_) => "no such key".to_owned(),
        None if names.is_empty() => "no such key; there are none here".to_owned(),
        None => format!("no such key, expected one of {}", names.join(", ")),
    };
    Misfit {
        meant,
        ..misfit(&path.key(key), message)
    }
}

/// Layers of a list by the names that Keras and PyTorch use, and ours.
const LAYERS: [(&str, &str); 16] = [
    ("averagepooling2d", "average_pool"),
    ("averagepool2d", "average_pool"),
    ("avg_pool", "average_pool"),
    ("avgpool2d", "average_pool"),
    ("batch_normalization", "norm"),
    ("batchnorm2d", "norm"),
    ("batchnormalization", "norm"),
    ("conv2d", "conv"),
    ("convolution", "conv"),
    ("filters", "conv"),
    ("dropout2d", "dropout"),
    ("rate", "dropout"),
    ("maxpool2d", "max_pool"),
    ("maxpooling2d", "max_pool"),
    ("pool", "max_pool"),
    ("separableconv2d", "separable_conv"),
];

/// Layers of Keras and PyTorch that belong to the head.
const HEAD: [&str; 8] = [
    "dense",
    "flatten",
    "global_average_pool",
    "globalaveragepooling2d",
    "global_pool",
    "linear",
    "output",
    "softmax",
];

/// Returns the error for a layer of a list that has none of the keys that tell its kind.
pub(super) fn unheaded(
    path: &KeyPath,
    table: &toml::Table,
    heads: &[&str],
    forms: &[&'static Json],
) -> Misfit {
    let names = joined(
        &heads
            .iter()
            .map(|head| (*head).to_owned())
            .collect::<Vec<_>>(),
    );
    let is_of_layer = |key: &String| {
        forms
            .iter()
            .any(|form| form["properties"].get(key).is_some())
    };
    let Some(key) = table.keys().find(|key| !is_of_layer(key)) else {
        return misfit(path, format!("found no layer, expected one of {names}"));
    };
    let lower = key.to_lowercase();
    if HEAD.contains(&lower.as_str()) {
        let message = "no such layer: the list ends before it; model.pooling, model.hidden and \
                       model.dropout are what follows";
        return misfit(&path.key(key), message);
    }
    let called = LAYERS
        .iter()
        .find(|(name, _)| *name == lower)
        .map(|(_, head)| *head);
    match called.or_else(|| nearest(key, heads.iter().copied())) {
        Some(head) => Misfit {
            meant: Some(Meant::Sibling(head.to_owned())),
            ..misfit(&path.key(key), "no such layer")
        },
        None => misfit(
            &path.key(key),
            format!("no such layer, expected one of {names}"),
        ),
    }
}

/// Returns all dotted keys, by their last name.
fn places() -> &'static BTreeMap<String, Vec<String>> {
    fn collect(path: &str, node: &'static Json, found: &mut BTreeMap<String, Vec<String>>) {
        for form in forms(node) {
            for (key, property) in resolve(form)["properties"]
                .as_object()
                .into_iter()
                .flatten()
            {
                let place = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let places = found.entry(key.clone()).or_default();
                if !places.contains(&place) {
                    places.push(place.clone());
                }
                collect(&place, property, found);
            }
        }
    }
    static PLACES: OnceLock<BTreeMap<String, Vec<String>>> = OnceLock::new();
    PLACES.get_or_init(|| {
        let mut found = BTreeMap::new();
        collect("", schema(), &mut found);
        found
    })
}

/// Returns the error for a missing key that is required.
pub(super) fn missing(path: &KeyPath, property: &'static Json) -> Misfit {
    // What it is, without all the forms that it may have.
    let what = |about: &str| {
        format!(
            ": {}",
            sentence(about).split("; ").next().unwrap_or_default()
        )
    };
    let about = property["description"]
        .as_str()
        .map_or_else(String::new, what);
    let required = resolve(property)["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect::<Vec<_>>();
    let expected = if required.is_empty() {
        expected(&forms(property))
    } else {
        format!("a table with {}", required.join(", "))
    };
    misfit(path, format!("found nothing, expected {expected}{about}"))
}

/// Describes the values that a key accepts.
pub(super) fn expected(all: &[&'static Json]) -> String {
    let (kinds, heads) = (kinds(all), headed(all));
    let is_plain = |form: &&&'static Json| {
        form["properties"]["kind"].is_null() && (heads.is_empty() || form["properties"].is_null())
    };
    let mut words: Vec<String> = all
        .iter()
        .filter(is_plain)
        .map(|form| form_words(form))
        .collect();
    if !heads.is_empty() {
        words.push(format!(
            "a table with {}",
            joined(
                &heads
                    .iter()
                    .map(|(head, _)| (*head).to_owned())
                    .collect::<Vec<_>>()
            )
        ));
    }
    if !kinds.is_empty() {
        let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
        words.push(format!("a table with kind = {}", alternatives(&names)));
    }
    words.dedup();
    joined(&words)
}

/// Returns names in quotes, as alternatives.
pub(super) fn alternatives(names: &[&str]) -> String {
    joined(
        &names
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect::<Vec<_>>(),
    )
}

fn joined(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

pub(super) fn form_words(form: &'static Json) -> String {
    let form = resolve(form);
    if let Some(name) = form["const"].as_str() {
        return format!("\"{name}\"");
    }
    let kind = match &form["type"] {
        Json::Array(names) => names
            .iter()
            .filter_map(Json::as_str)
            .find(|name| *name != "null"),
        name => name.as_str(),
    };
    match kind {
        Some("boolean") => "true or false".to_owned(),
        Some("integer") if form["minimum"].is_null() => "a whole number".to_owned(),
        Some("integer") => format!("a whole number of {} or more", form["minimum"]),
        Some("number") => "a number".to_owned(),
        Some("array") => list_words(form),
        Some("object") => table_words(form),
        _ => "a string in quotes".to_owned(),
    }
}

fn list_words(form: &'static Json) -> String {
    let items = form.get("items").map_or_else(Vec::new, forms);
    let one = expected(&items);
    let each = match one.as_str() {
        "a number" => "numbers".to_owned(),
        "true or false" => one,
        _ => one
            .replacen("a whole number", "whole numbers", 1)
            .replacen("a table", "tables", 1)
            .replacen("a text", "texts", 1),
    };
    match form["maxItems"].as_u64() {
        Some(count) => format!("a list of {count} {each}"),
        None => format!("a list of {each}"),
    }
}

fn table_words(form: &'static Json) -> String {
    match form["properties"].as_object() {
        Some(keys) => format!(
            "a table with {}",
            listed(&keys.keys().cloned().collect::<Vec<_>>())
        ),
        None => format!(
            "a table of names, each with {}",
            expected(&forms(&form["additionalProperties"]))
        ),
    }
}

/// Returns the first sentence of a description, on one line.
pub(super) fn sentence(about: &str) -> String {
    let about = about.replace('\n', " ");
    about
        .split_once(". ")
        .map_or(about.trim_end_matches('.'), |(first, _)| first)
        .to_owned()
}
