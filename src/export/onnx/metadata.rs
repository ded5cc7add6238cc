//! What an exported model says about itself.

use serde_json::json;

use super::{Preprocess, proto::Property};
use crate::{base::io::files::sha256_hex, checkpoint::Checkpoint};

/// Returns the properties of the model: classes, how images are read, and what was fitted.
pub(super) fn properties(checkpoint: &Checkpoint, form: Preprocess) -> Vec<Property> {
    let meta = &checkpoint.meta;
    let mut found = vec![
        ("names", python_names(&meta.classes)),
        ("classes", json!(meta.classes).to_string()),
        ("preprocess", form.name().to_owned()),
        ("image_size", json!(meta.image_size).to_string()),
        ("color", word(json!(meta.color))),
        ("resize", word(json!(meta.resize))),
        ("interpolation", word(json!(meta.interpolation))),
        ("normalize", json!(meta.normalize).to_string()),
        (
            "architecture",
            meta.design.model.architecture.name().to_owned(),
        ),
        ("temperature", meta.temperature.to_string()),
        ("epoch", meta.epoch.to_string()),
        ("sha256", sha256_hex(&checkpoint.model)),
    ];
    let fitted = [
        (
            "threshold",
            meta.threshold.as_ref().map(|found| json!(found)),
        ),
        ("coverage", meta.coverage.as_ref().map(|found| json!(found))),
    ];
    for (key, value) in fitted {
        found.extend(value.map(|value| (key, value.to_string())));
    }
    found.extend(meta.run.as_ref().map(|run| ("run", run.id.clone())));
    let property = |(key, value): (&str, String)| Property {
        key: key.to_owned(),
        value,
    };
    found.into_iter().map(property).collect()
}

/// Returns the classes as a Python dictionary by index, which Ultralytics' tools parse.
fn python_names(classes: &[String]) -> String {
    let entry = |(index, class): (usize, &String)| {
        // The escapes of JSON are Python's too, but for the quotes.
        let quoted = json!(class).to_string();
        let inner = quoted[1..quoted.len() - 1].replace("\\\"", "\"");
        format!("{index}: '{}'", inner.replace('\'', "\\'"))
    };
    let entries: Vec<_> = classes.iter().enumerate().map(entry).collect();
    format!("{{{}}}", entries.join(", "))
}

/// Returns a name as recipes have it, without quotes.
fn word(name: serde_json::Value) -> String {
    name.as_str()
        .map_or_else(|| name.to_string(), str::to_owned)
}
