//! The layers of a network in their order, whether it is written as a list, layer by layer, or as a
//! graph.

use notebook_reader::{Call, Event, Object, Origin, Place, Trace, Value};

use super::applications;
use crate::import::{
    arguments::{Import, count, sides},
    findings::Kind,
};

/// Maximum depth of networks in networks.
const MOST_DEPTH: usize = 8;

/// Maximum number of layers.
const MOST_LAYERS: usize = 2_000;

/// The layers of a network.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// In their order, from the image on.
    pub(super) layers: Vec<Layer>,
    /// Height and width that the network says it gets, and where.
    pub(super) input: Option<([usize; 2], Place)>,
    /// Height and width that a layer resizes images to.
    pub(super) resized: Option<([usize; 2], Place)>,
}

/// A layer, or a function in its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    /// The number of the call that makes it, or of the operation.
    pub(super) number: usize,
    /// Last part of its name; empty for an operation such as `x / 255`.
    pub(super) name: String,
    pub(super) place: Place,
    /// `training=...`, where it is called so.
    pub(super) training: Option<bool>,
    /// Whether the layers of a network stand among those of the model, not as one layer.
    pub(super) is_flat: bool,
}

/// Returns the layers of a model.
pub(super) fn of_model(import: &mut Import<'_>, model: &Value) -> Layers {
    let mut layers = Layers::default();
    walk(import, model, MOST_DEPTH, &mut layers);
    layers.layers.truncate(MOST_LAYERS);
    for layer in &layers.layers.clone() {
        let Some(call) = import.trace.call_numbered(layer.number) else {
            continue;
        };
        input_of(import.trace, call, layer, &mut layers);
    }
    layers
}

/// Reads the size that a layer says its images have.
fn input_of(trace: &Trace, call: &Call, layer: &Layer, layers: &mut Layers) {
    for name in ["input_shape", "shape", "batch_input_shape"] {
        let named = call.argument(name);
        let first = (&*call.name == "Input" && name == "shape").then(|| call.positional().next());
        if let Some(argument) = named.or(first.flatten())
            && let Some(found) = sides(trace, &argument.value)
            && trace.sequence(&argument.value).is_some()
        {
            layers.input = layers.input.or(Some((found, argument.place)));
        }
    }
    if layer.name == "Resizing" || layer.name == "CenterCrop" {
        let side = |at: usize, name: &str| {
            let argument = call.argument(name).or_else(|| call.positional().nth(at))?;
            count(&argument.value)
        };
        if let (Some(height), Some(width)) = (side(0, "height"), side(1, "width")) {
            layers.resized = Some(([height, width], layer.place));
        }
    }
}

/// Adds the layers of a model, or a layer.
fn walk(import: &mut Import<'_>, model: &Value, depth: usize, layers: &mut Layers) {
    let trace = import.trace;
    if depth == 0 || layers.layers.len() > MOST_LAYERS {
        return;
    }
    if let Some(Object::Instance { .. }) = trace.object(model) {
        let text = trace.describe(model);
        let what = format!("a network or layer written as a class: `{text}`");
        let place = layers.layers.last().map(|layer| layer.place);
        let here = "its layers aren't in the recipe";
        return import.findings.add(Kind::NotUnderstood, place, what, here);
    }
    let Value::Opaque(number) = *model else {
        return;
    };
    let opaque = &trace.opaques[number];
    let Origin::Call(call) = &opaque.origin else {
        return unknown(import, model);
    };
    match &*call.name {
        "Sequential" => sequential(import, model, call, depth, layers),
        "Model" | "Functional" => {
            let outputs = ["outputs", "output"]
                .iter()
                .find_map(|name| call.argument(name));
            let Some(outputs) = outputs.or_else(|| call.positional().nth(1)) else {
                return unknown(import, model);
            };
            graph(import, &outputs.value, depth, layers);
        }
        "load_model" | "model_from_json" => {
            let what = "the network is read from a file";
            let here = "a network of the program's own; the file has its layers";
            import.unclear(opaque.place, what, here);
        }
        name if applications::find(name).is_some() || is_layer(name) => {
            layers.layers.push(Layer {
                number,
                name: usual(name).to_owned(),
                place: opaque.place,
                training: None,
                is_flat: false,
            });
        }
        _ => unknown(import, model),
    }
}

/// Returns the usual name of a layer that has several.
fn usual(name: &str) -> &str {
    match name {
        "Convolution2D" => "Conv2D",
        "SeparableConvolution2D" => "SeparableConv2D",
        "MaxPool2D" => "MaxPooling2D",
        "AvgPool2D" => "AveragePooling2D",
        "GlobalAvgPool2D" => "GlobalAveragePooling2D",
        "GlobalMaxPool2D" => "GlobalMaxPooling2D",
        name => name,
    }
}

/// Layers begin with a capital letter.
fn is_layer(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_uppercase())
}

fn unknown(import: &mut Import<'_>, value: &Value) {
    if let Some(opaque) = import.trace.opaque(value) {
        let what = format!("a part of the network: `{}`", opaque.text);
        import.unclear(opaque.place, what, "it isn't in the recipe");
    }
}

/// The layers in the list, then those that are added.
fn sequential(
    import: &mut Import<'_>,
    model: &Value,
    call: &Call,
    depth: usize,
    layers: &mut Layers,
) {
    let trace = import.trace;
    let list = call.argument("layers").or_else(|| call.positional().next());
    for value in list
        .and_then(|list| trace.sequence(&list.value))
        .unwrap_or_default()
    {
        walk(import, value, depth - 1, layers);
    }
    for event in &trace.events {
        let Event::Call { number, is_certain } = event else {
            continue;
        };
        let Some(call) = trace.call_numbered(*number) else {
            continue;
        };
        if &*call.name != "add" || trace.receiver(call) != Some(model) {
            continue;
        }
        let Some(argument) = call.arguments.first() else {
            continue;
        };
        if !is_certain {
            let text = trace.describe(&argument.value);
            let what = format!("a layer depends on a condition that isn't known: `{text}`");
            import.unclear(argument.place, what, "it is taken as if it is added");
        }
        walk(import, &argument.value, depth - 1, layers);
    }
}

/// The layers from an output back to the image.
fn graph(import: &mut Import<'_>, output: &Value, depth: usize, layers: &mut Layers) {
    let trace = import.trace;
    let mut tensor = match trace.sequence(output) {
        Some([only]) => only.clone(),
        Some(_) => {
            let what = "a network with several outputs";
            let place = layers
                .layers
                .last()
                .map(|layer| layer.place)
                .unwrap_or_default();
            return import.none(place, what, "a recipe has one");
        }
        None => output.clone(),
    };
    let mut found: Vec<Layers> = Vec::new();
    for _ in 0..MOST_LAYERS {
        let mut part = Layers::default();
        let next = step(import, &tensor, depth, &mut part);
        found.push(part);
        match next {
            Some(next) => tensor = next,
            None => break,
        }
    }
    for part in found.into_iter().rev() {
        layers.layers.extend(part.layers);
    }
}

/// Adds what computes a tensor, and returns the tensor that it is computed from.
fn step(
    import: &mut Import<'_>,
    tensor: &Value,
    depth: usize,
    layers: &mut Layers,
) -> Option<Value> {
    let trace = import.trace;
    let Value::Opaque(number) = *tensor else {
        return None;
    };
    let opaque = &trace.opaques[number];
    let plain = |name: &str| Layer {
        number,
        name: name.to_owned(),
        place: opaque.place,
        training: None,
        is_flat: false,
    };
    match &opaque.origin {
        // The output of a network.
        Origin::Attribute { of, name } if &**name == "output" => {
            output_of(import, of, depth, layers);
            None
        }
        Origin::Attribute { name, .. } if &**name == "input" => None,
        Origin::Call(call) if ["Input", "InputLayer"].contains(&&*call.name) => {
            layers.layers.push(plain("Input"));
            None
        }
        Origin::Call(call) => {
            let first = call
                .arguments
                .first()
                .map(|argument| argument.value.clone());
            if matches!(call.callee, Value::Name(_)) {
                layers.layers.push(plain(&call.name));
            } else {
                walk(import, &call.callee, depth - 1, layers);
                let training = call.argument("training").map(|argument| &argument.value);
                if let (Some(Value::Bool(training)), Some(last)) =
                    (training, layers.layers.last_mut())
                {
                    last.training = Some(*training);
                }
            }
            let first = first?;
            let Some([branch, _, ..]) = trace.sequence(&first) else {
                return Some(first);
            };
            let what = format!("branches that are joined: `{}`", opaque.text);
            import.none(opaque.place, what, "only the first branch is in the recipe");
            Some(branch.clone())
        }
        Origin::Computed { operation, from } => {
            layers.layers.push(plain(""));
            if *operation == "?" {
                unknown(import, tensor);
            }
            from.iter()
                .find(|value| matches!(value, Value::Opaque(_)))
                .cloned()
        }
        _ => {
            unknown(import, tensor);
            None
        }
    }
}

/// The output of a whole network, or of a layer inside of it.
fn output_of(import: &mut Import<'_>, of: &Value, depth: usize, layers: &mut Layers) {
    let trace = import.trace;
    let inner = match trace.opaque(of).map(|opaque| &opaque.origin) {
        Some(Origin::Call(call)) if &*call.name == "get_layer" => trace.receiver(call).cloned(),
        Some(Origin::Item { of, .. }) => match trace.opaque(of).map(|opaque| &opaque.origin) {
            Some(Origin::Attribute { of, .. }) => Some(of.clone()),
            _ => None,
        },
        _ => None,
    };
    let before = layers.layers.len();
    let whole = inner.as_ref().unwrap_or(of);
    walk(import, whole, depth - 1, layers);
    for layer in &mut layers.layers[before..] {
        layer.is_flat = true;
    }
    if inner.is_some()
        && let Some(opaque) = trace.opaque(of)
    {
        let what = format!(
            "a network that ends at one of its layers: `{}`",
            opaque.text
        );
        import.none(opaque.place, what, "the whole network is taken");
    }
}
