//! What an exported model says about itself.

use serde_json::{Value, json};

use super::{Preprocess, proto::Property};
use crate::{base::io::files::sha256_hex, checkpoint::Checkpoint};

/// Returns the properties of the model: classes, how images are read, and what was fitted. In what
/// several networks differ, the property is the list of theirs.
pub(super) fn properties(checkpoints: &[Checkpoint], form: Preprocess) -> Vec<Property> {
    let meta = &checkpoints[0].meta;
    let each = |of: &dyn Fn(&Checkpoint) -> Value| {
        let mut values: Vec<Value> = checkpoints.iter().map(of).collect();
        if values.iter().all(|value| *value == values[0]) {
            values.truncate(1);
        }
        match &values[..] {
            [one] => word(one.clone()),
            several => json!(several).to_string(),
        }
    };
    // The logits of several networks are those of the mean, which has no temperature any more.
    let temperature = match checkpoints.len() {
        1 => meta.temperature,
        _ => 1.0,
    };
    let mut found = vec![
        ("names", python_names(&meta.classes)),
        ("classes", json!(meta.classes).to_string()),
        ("preprocess", form.name().to_owned()),
        ("image_size", json!(meta.image_size).to_string()),
        ("color", word(json!(meta.color))),
        ("resize", word(json!(meta.resize))),
        ("interpolation", word(json!(meta.interpolation))),
        ("normalize", each(&|it| json!(it.meta.normalize))),
        (
            "architecture",
            each(&|it| json!(it.meta.design.model.architecture.name())),
        ),
        ("temperature", temperature.to_string()),
        ("networks", checkpoints.len().to_string()),
        ("epoch", each(&|it| json!(it.meta.epoch))),
        ("sha256", each(&|it| json!(sha256_hex(&it.model)))),
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
    if meta.run.is_some() {
        let id = |it: &Checkpoint| json!(it.meta.run.as_ref().map(|run| &run.id));
        found.push(("run", each(&id)));
    }
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
fn word(name: Value) -> String {
    name.as_str()
        .map_or_else(|| name.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::meta, *};

    #[test]
    fn in_what_networks_differ_the_property_is_a_list() {
        let network = |epoch: usize| {
            let mut meta = meta();
            (meta.epoch, meta.temperature) = (epoch, 1.5);
            Checkpoint {
                meta,
                model: vec![1, 2, 3],
                backbone: None,
            }
        };
        let found = properties(&[network(3), network(5)], Preprocess::None);
        let value = |key: &str| {
            found
                .iter()
                .find(|it| it.key == key)
                .map(|it| &it.value[..])
        };
        for (key, expected) in [
            ("networks", "2"),
            ("epoch", "[3,5]"),
            ("architecture", "small_cnn"),
            // It is applied before the mean.
            ("temperature", "1"),
        ] {
            assert_eq!(value(key), Some(expected), "{key}");
        }
    }
}
