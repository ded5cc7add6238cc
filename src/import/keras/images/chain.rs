//! What is done to pixel values on their way to the network.

use notebook_reader::{Origin, Place, Value};

use crate::import::{
    arguments::{Import, number},
    keras::{
        applications::{self, Pixels},
        layers::{self, Layer},
        sources::Source,
    },
};

/// What is done to pixel values on the way to the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chain {
    /// Each value is multiplied by the first, and the second is added.
    pub(super) scales: Vec<(f64, f64)>,
    /// The `preprocess_input` of a network.
    pub(super) of_network: Option<Pixels>,
    /// Standardized by the statistics of the training images.
    pub(super) is_standardized: bool,
    /// Something that isn't known.
    pub(super) unknown: Option<(String, Place)>,
    /// Where the first of all this is.
    pub(super) place: Option<Place>,
}

impl Chain {
    pub(super) fn scale(&mut self, factor: f64, offset: f64, place: Place) {
        if (factor, offset) != (1.0, 0.0) {
            self.scales.push((factor, offset));
            self.place.get_or_insert(place);
        }
    }

    /// Returns factor and offset of all scales together.
    pub(super) fn total(&self) -> (f64, f64) {
        self.scales
            .iter()
            .fold((1.0, 0.0), |(factor, offset), (by, add)| {
                (factor * by, offset * by + add)
            })
    }

    /// Returns whether the values are divided by 255 more than once.
    pub(super) fn is_double(&self) -> bool {
        let small = self
            .scales
            .iter()
            .filter(|(factor, _)| factor.abs() < 0.02)
            .count();
        small > 1
            || small > 0
                && self
                    .of_network
                    .is_some_and(|pixels| pixels != Pixels::Levels)
    }

    pub(super) fn is_plain(&self) -> bool {
        self.scales.is_empty()
            && !self.is_standardized
            && self.unknown.is_none()
            && self
                .of_network
                .is_none_or(|pixels| pixels == Pixels::Levels)
    }

    /// Describes the values that reach the network.
    pub(super) fn words(&self) -> String {
        let (factor, offset) = self.total();
        match self.of_network {
            Some(pixels) if self.scales.is_empty() => pixels.words().to_owned(),
            _ if self.is_plain() => "0 to 255".to_owned(),
            _ => {
                let round = |value: f64| (1e3 * value).round() / 1e3;
                format!("{} to {}", round(offset), round(255.0 * factor + offset))
            }
        }
    }
}

/// Returns what a generator and a data set's `map` do.
pub(super) fn of_source<'t>(import: &mut Import<'t>, source: &Source<'t>) -> Chain {
    let mut chain = Chain::default();
    if let Some(generator) = &source.generator {
        if let Some(argument) = generator.get("preprocessing_function") {
            match argument.results.first() {
                Some(result) => of_result(import, result, &mut chain),
                None => of_function(import, &argument.value, argument.place, &mut chain),
            }
        }
        if let Some(factor) = import.number(generator, "rescale") {
            chain.scale(factor, 0.0, generator.place_of("rescale"));
        }
    }
    for image in mapped(import, source) {
        of_result(import, image, &mut chain);
    }
    chain
}

/// Returns the steps from a function's parameter to its result.
fn steps(import: &Import<'_>, result: &Value) -> Vec<Value> {
    let (mut value, mut steps) = (result.clone(), Vec::new());
    for _ in 0..64 {
        let next = match import.trace.opaque(&value).map(|opaque| &opaque.origin) {
            Some(Origin::Call(call)) => {
                let of = import.trace.receiver(call);
                let of = of.filter(|of| matches!(of, Value::Opaque(_)));
                of.cloned()
                    .or_else(|| call.arguments.first().map(|own| own.value.clone()))
            }
            Some(Origin::Computed { from, .. }) => from
                .iter()
                .find(|value| matches!(value, Value::Opaque(_)))
                .cloned(),
            _ => None,
        };
        let Some(next) = next else {
            break;
        };
        steps.push(value);
        value = next;
    }
    steps.reverse();
    steps
}

fn of_result(import: &mut Import<'_>, result: &Value, chain: &mut Chain) {
    for step in steps(import, result) {
        let Some(opaque) = import.trace.opaque(&step) else {
            continue;
        };
        match &opaque.origin {
            Origin::Call(call) => match &call.callee {
                Value::Name(_) => of_function(import, &call.callee, opaque.place, chain),
                callee => of_called(import, callee, opaque.place, chain),
            },
            Origin::Computed { .. } => operation(import, &step, chain),
            _ => {}
        }
    }
}

/// A layer, a network of layers, or a method such as `numpy`'s `astype`.
fn of_called(import: &mut Import<'_>, callee: &Value, place: Place, chain: &mut Chain) {
    let Value::Opaque(number) = *callee else {
        return;
    };
    let Some(call) = import.trace.call_numbered(number) else {
        return;
    };
    if &*call.name == "Sequential" {
        for layer in layers::of_model(import, callee).layers {
            of_layer(import, &layer, chain);
        }
        return;
    }
    let layer = Layer {
        number,
        name: call.name.to_string(),
        place,
        training: None,
        is_flat: false,
    };
    of_layer(import, &layer, chain);
}

/// A function by its name.
fn of_function(import: &mut Import<'_>, function: &Value, place: Place, chain: &mut Chain) {
    const WITHOUT: [&str; 14] = [
        "cast",
        "resize",
        "convert_to_tensor",
        "identity",
        "float32",
        "array",
        "asarray",
        "img_to_array",
        "expand_dims",
        "decode_jpeg",
        "read_file",
        "reshape",
        "ensure_shape",
        "one_hot",
    ];
    let Value::Name(name) = function else {
        let text = import.trace.describe(function);
        chain.unknown.get_or_insert((text, place));
        return;
    };
    let mut parts = name.rsplit('.');
    match (parts.next(), parts.next()) {
        (Some("preprocess_input"), module) => {
            let module = module.unwrap_or_default();
            match applications::of_module(module) {
                Some(pixels) => chain.of_network = Some(pixels),
                // `imagenet_utils`, whose default is Caffe's.
                None => chain.of_network = Some(Pixels::Caffe),
            }
            chain.place.get_or_insert(place);
        }
        (Some("convert_image_dtype"), _) => chain.scale(1.0 / 255.0, 0.0, place),
        (Some("per_image_standardization"), _) => {
            chain.unknown.get_or_insert((name.to_string(), place));
        }
        (Some(last), module)
            if WITHOUT.contains(&last)
                || module == Some("image")
                || last.starts_with("random_") => {}
        _ => _ = chain.unknown.get_or_insert((name.to_string(), place)),
    }
}

/// A layer that stands before the network, or an operation in its place.
pub(super) fn of_layer(import: &mut Import<'_>, layer: &Layer, chain: &mut Chain) {
    let trace = import.trace;
    match &*layer.name {
        "" => operation(import, &Value::Opaque(layer.number), chain),
        "preprocess_input" | "convert_image_dtype" => {
            if let Some(call) = trace.call_numbered(layer.number) {
                of_function(import, &call.callee, layer.place, chain);
            }
        }
        "Rescaling" => {
            let Some(call) = trace.call_numbered(layer.number) else {
                return;
            };
            let argument =
                |at: usize, name: &str| call.argument(name).or_else(|| call.positional().nth(at));
            let factor = argument(0, "scale").and_then(|own| number(&own.value));
            let offset = argument(1, "offset").map_or(Some(0.0), |own| number(&own.value));
            match (factor, offset) {
                (Some(factor), Some(offset)) => chain.scale(factor, offset, layer.place),
                _ => {
                    let text = trace.opaques[layer.number].text.to_string();
                    chain.unknown.get_or_insert((text, layer.place));
                }
            }
        }
        "Normalization" => {
            chain.is_standardized = true;
            chain.place.get_or_insert(layer.place);
        }
        _ => {}
    }
}

/// Arithmetic with a number.
fn operation(import: &mut Import<'_>, value: &Value, chain: &mut Chain) {
    let Some(opaque) = import.trace.opaque(value) else {
        return;
    };
    let Origin::Computed { operation, from } = &opaque.origin else {
        return;
    };
    let place = opaque.place;
    let scale = match (&from[..], *operation) {
        ([_, by], "/") => number(by).filter(|by| *by != 0.0).map(|by| (1.0 / by, 0.0)),
        ([a, b], "*") => number(b).or(number(a)).map(|by| (by, 0.0)),
        ([a, b], "+") => number(b).or(number(a)).map(|add| (1.0, add)),
        ([_, by], "-") => number(by).map(|by| (1.0, -by)),
        _ => None,
    };
    match scale {
        Some((factor, offset)) => chain.scale(factor, offset, place),
        None => {
            _ = chain
                .unknown
                .get_or_insert((opaque.text.to_string(), place))
        }
    }
}

/// Returns what each `map` of a source makes of an image, in the order in which they act.
pub(super) fn mapped<'t>(import: &Import<'t>, source: &Source<'t>) -> Vec<&'t Value> {
    let image = |step: &usize| {
        let call = import.trace.call_numbered(*step)?;
        let result = call.arguments.first()?.results.first()?;
        (&*call.name == "map").then(|| image_of(import, result))
    };
    // The last step comes first.
    source.steps.iter().rev().filter_map(image).collect()
}

/// Returns the value of a tuple's first element, which is the image.
fn image_of<'t>(import: &Import<'t>, result: &'t Value) -> &'t Value {
    let parts = import.trace.sequence(result);
    parts.and_then(<[Value]>::first).unwrap_or(result)
}

/// Returns the calls from a function's parameter to its result, for those who look for other
/// changes of images.
pub(super) fn calls_of(import: &Import<'_>, result: &Value) -> Vec<usize> {
    let numbers = steps(import, result)
        .into_iter()
        .filter_map(|step| match step {
            Value::Opaque(number) => Some(number),
            _ => None,
        });
    numbers.collect()
}
