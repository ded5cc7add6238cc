//! The layers of a saved model one after the other, with those of the models inside it in place.

use std::collections::BTreeMap;

use serde_json::Value;

use super::layer::KerasLayer;
use crate::base::names::of_text;

/// How deep models may lie in each other.
const MOST_DEPTH: usize = 8;

/// Layers one after the other.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The layers, from input to output.
    pub(super) layers: Vec<KerasLayer>,
    /// Whether paths side by side come before the layers, which are then those behind the last
    /// place where paths meet, and those that prepare images.
    pub(super) is_branched: bool,
    /// Number of batch norms in all of the model.
    pub(super) num_norms: usize,
}

/// Where the layers of a model are in a file.
struct Place<'a> {
    /// Prefix of their groups in a `.keras` file.
    group: &'a str,
    /// The outermost model's layer that they are in; none for its own.
    outer: Option<&'a str>,
    depth: usize,
}

/// A layer and the names of those that it takes its input from.
struct Linked {
    layer: KerasLayer,
    inputs: Vec<String>,
}

/// Returns the layers of a model that `config` describes.
///
/// # Errors
/// Returns a message for a model with several inputs or outputs, and for a description that isn't
/// Keras's.
pub(super) fn chain(config: &Value) -> Result<Chain, String> {
    of_model(
        config,
        &Place {
            group: "",
            outer: None,
            depth: 0,
        },
    )
}

fn of_model(model: &Value, place: &Place<'_>) -> Result<Chain, String> {
    if place.depth > MOST_DEPTH {
        return Err(format!(
            "models lie in each other more than {MOST_DEPTH} deep"
        ));
    }
    let class = model["class_name"].as_str().unwrap_or_default();
    let config = &model["config"];
    // Before Keras 2.2.3, a Sequential's description is the list of its layers.
    let layers = config["layers"]
        .as_array()
        .or_else(|| config.as_array())
        .ok_or_else(|| {
            format!(
                "found a model of the class {}, which doesn't list its layers, expected a \
                 Sequential or functional one",
                of_text(class)
            )
        })?;
    let linked = linked(layers, place)?;
    let is_norm = |linked: &&Linked| linked.layer.class == "BatchNormalization";
    let num_norms = linked.iter().filter(is_norm).count();
    let (own, is_branched) = if class == "Sequential" {
        (
            linked.into_iter().map(|linked| linked.layer).collect(),
            false,
        )
    } else {
        path_to(output_of(config)?, linked)?
    };
    let mut found = Chain {
        is_branched,
        num_norms,
        ..Chain::default()
    };
    for layer in own {
        if !is_model(&layer.class) {
            found.layers.push(layer);
            continue;
        }
        let outer = place.outer.unwrap_or(&layer.name).to_owned();
        let group = format!("{}/", layer.group);
        let mut inner = of_model(
            &serde_json::json!({ "class_name": layer.class, "config": layer.config }),
            &Place {
                group: &group,
                outer: Some(&outer),
                depth: place.depth + 1,
            },
        )?;
        found.is_branched |= inner.is_branched;
        found.num_norms += inner.num_norms;
        if inner.is_branched {
            // What comes before prepares images for it; what it prepares by itself is its own.
            found.layers.retain(|layer| is_preparation(&layer.class));
            inner.layers.retain(|layer| !is_preparation(&layer.class));
        }
        found.layers.extend(inner.layers);
    }
    Ok(found)
}

/// Returns whether a class is that of a model.
fn is_model(class: &str) -> bool {
    matches!(class, "Sequential" | "Functional" | "Model")
}

/// Returns whether layers of a class change pixel values alone, or nothing outside training.
pub(super) fn is_preparation(class: &str) -> bool {
    changes_values(class) || class == "InputLayer" || class.starts_with("Random")
}

/// Returns whether layers of a class multiply values and add to them.
pub(super) fn changes_values(class: &str) -> bool {
    matches!(
        class,
        "Rescaling" | "Normalization" | "TrueDivide" | "Subtract" | "TFOpLambda"
    )
}

/// Returns whether a layer is one of Keras's own, by the module that its class is from.
fn is_of_keras(described: &Value) -> bool {
    let registered = described["registered_name"].as_str().unwrap_or_default();
    let module = described["module"].as_str().unwrap_or("keras");
    let library = module.split('.').next().unwrap_or_default();
    !registered.contains('>') && ["keras", "tf_keras", "tensorflow"].contains(&library)
}

/// Returns the layers of a description, with their groups in a `.keras` file: the class in lower
/// case, and a number from the second one of a class on.
fn linked(layers: &[Value], place: &Place<'_>) -> Result<Vec<Linked>, String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for described in layers {
        let (Some(class), config @ Value::Object(_)) =
            (described["class_name"].as_str(), &described["config"])
        else {
            return Err("found a layer without class_name and config".to_owned());
        };
        if !is_of_keras(described) {
            return Err(format!(
                "found a layer of the class {}, which isn't Keras's own, expected those of Keras",
                of_text(class)
            ));
        }
        let kind = snake_case(class);
        let count = counts.entry(kind.clone()).or_default();
        let number = if *count == 0 {
            String::new()
        } else {
            format!("_{count}")
        };
        *count += 1;
        let name = described["name"].as_str().or(config["name"].as_str());
        let name = name.unwrap_or(&kind).to_owned();
        found.push(Linked {
            layer: KerasLayer {
                class: class.to_owned(),
                config: config.clone(),
                operand: operand(&described["inbound_nodes"]),
                group: format!("{}layers/{kind}{number}", place.group),
                outer: place.outer.unwrap_or(&name).to_owned(),
                name,
            },
            inputs: inputs(&described["inbound_nodes"]),
        });
    }
    Ok(found)
}

/// Writes a class as Keras names its group: `Conv2D` as `conv2d`, `MaxPooling2D` as
/// `max_pooling2d`.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|c| c.is_alphanumeric()).collect();
    let mut found = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(index + 1);
        let begins_word = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase() || after.is_some_and(char::is_ascii_lowercase)
            });
        if begins_word {
            found.push('_');
        }
        found.push(letter.to_ascii_lowercase());
    }
    found
}

/// Returns the name of the layer whose output is the model's.
fn output_of(config: &Value) -> Result<&str, String> {
    let outputs = &config["output_layers"];
    // Keras 3.4 and later write a single output without a list around it.
    let output = match outputs.as_array().map(Vec::as_slice) {
        Some([one]) => &one[0],
        Some([name, ..]) if name.is_string() => name,
        _ => return Err("found several outputs, expected one, of the classes".to_owned()),
    };
    output
        .as_str()
        .ok_or_else(|| "found no name of an output layer".to_owned())
}

/// Returns the names of the layers in the description of a call: `["name", 0, 0, {}]` in Keras 2,
/// `"keras_history": ["name", 0, 0]` in Keras 3.
fn inputs(nodes: &Value) -> Vec<String> {
    match nodes {
        Value::Array(items) => match items.as_slice() {
            [Value::String(name), Value::Number(_), Value::Number(_), ..] => vec![name.clone()],
            items => items.iter().flat_map(inputs).collect(),
        },
        Value::Object(fields) => fields.values().flat_map(inputs).collect(),
        _ => Vec::new(),
    }
}

/// Returns the number by which a layer divides what comes in, or that it takes away: `"args":
/// [tensor, 127.5]` in Keras 3, `["name", 0, 0, {"y": 127.5}]` in Keras 2.
fn operand(nodes: &Value) -> Option<f64> {
    let node = &nodes[0];
    node["args"][1].as_f64().or_else(|| node[3]["y"].as_f64())
}

/// Follows the layers back from the output to the input, or to the last place where paths meet.
/// What prepares images comes first then, whatever is between.
fn path_to(output: &str, mut linked: Vec<Linked>) -> Result<(Vec<KerasLayer>, bool), String> {
    let (mut path, mut next) = (Vec::new(), Some(output.to_owned()));
    let mut is_branched = false;
    while let Some(name) = next.take() {
        let at = linked.iter().position(|linked| linked.layer.name == name);
        let Linked { layer, inputs } = linked.remove(at.ok_or_else(|| {
            format!(
                "found a layer that takes its input from {}, which isn't there or comes twice",
                of_text(&name)
            )
        })?);
        match inputs.as_slice() {
            [] => {}
            [one] => next = Some(one.clone()),
            _ => is_branched = true,
        }
        path.push(layer);
    }
    path.reverse();
    if is_branched {
        let before = linked.into_iter().map(|linked| linked.layer);
        let mut found: Vec<_> = before
            .filter(|layer| is_preparation(&layer.class))
            .collect();
        found.extend(path);
        path = found;
    }
    Ok((path, is_branched))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_of_keras, operand, snake_case};

    #[test]
    fn the_number_of_an_operator_is_found_in_both_versions() {
        let tensor = json!({ "class_name": "__keras_tensor__", "config": { "shape": [null] } });
        for nodes in [
            json!([{ "args": [tensor, 127.5], "kwargs": {} }]),
            json!([["input_1", 0, 0, { "y": 127.5, "name": null }]]),
        ] {
            assert_eq!(operand(&nodes), Some(127.5));
        }
        assert_eq!(operand(&json!([[["input_1", 0, 0, {}]]])), None);
    }

    #[test]
    fn code_of_the_users_own_is_told_by_its_module() {
        for (described, expected) in [
            (json!({}), true),
            (
                json!({ "module": "keras.layers", "registered_name": null }),
                true,
            ),
            (
                json!({ "module": "tf_keras.src.engine", "registered_name": "Functional" }),
                true,
            ),
            (
                json!({ "module": "__main__", "registered_name": "Dense" }),
                false,
            ),
            (json!({ "module": "keras_addons.layers" }), false),
            (json!({ "registered_name": "Custom>Dense" }), false),
        ] {
            assert_eq!(is_of_keras(&described), expected, "{described}");
        }
    }

    #[test]
    fn groups_are_named_as_keras_names_them() {
        for (class, expected) in [
            ("Conv2D", "conv2d"),
            ("MaxPooling2D", "max_pooling2d"),
            ("BatchNormalization", "batch_normalization"),
            ("SeparableConv2D", "separable_conv2d"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("ReLU", "re_lu"),
            ("ELU", "elu"),
            ("Dense", "dense"),
        ] {
            assert_eq!(snake_case(class), expected);
        }
    }
}
