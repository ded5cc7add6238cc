//! `[augment]`: the options of `ImageDataGenerator`, layers that change images at random, and
//! functions of `tf.image`.

use notebook_reader::{Origin, Place, Value};

use super::{chain, convert::Data};
use crate::{
    config::{Counterpart, KERAS_LAYERS, KERAS_SOURCES},
    import::{
        arguments::{Bound, Import, number, row},
        keras::layers::{self, Layer, Layers},
    },
};

/// Keys of changes that leave parts of an image without pixels.
const MOVING: [&str; 6] = [
    "rotation_range",
    "width_shift_range",
    "height_shift_range",
    "shear_range",
    "zoom_range",
    "perspective",
];

/// Sets the augmentation.
pub(in crate::import::keras) fn import<'t>(
    import: &mut Import<'t>,
    data: &Data<'t>,
    layers: &Layers,
) {
    if let Some(generator) = &data.train.generator {
        of_generator(import, generator);
    }
    let mut own: Vec<Layer> = layers.layers.clone();
    for image in chain::mapped(import, &data.train) {
        for number in chain::calls_of(import, image) {
            of_call(import, number, &mut own);
        }
    }
    for layer in own {
        if let Some(table) = row(KERAS_LAYERS, &layer.name) {
            let bound = import.bind(layer.number, table);
            of_layer(import, &layer.name, &bound);
        }
    }
    let moves = MOVING
        .iter()
        .any(|key| import.recipe.has(&format!("augment.{key}")));
    if !moves {
        import.recipe.remove("augment.fill_mode");
        import.recipe.remove("augment.cval");
    }
}

fn of_generator<'t>(import: &mut Import<'t>, generator: &Bound<'t>) {
    let table = row(KERAS_SOURCES, "ImageDataGenerator").expect("the table has it");
    let is_constant =
        matches!(generator.value("fill_mode"), Some(Value::Str(mode)) if &**mode == "constant");
    for argument in table.arguments {
        let Counterpart::Keys(&[key]) = argument.here else {
            continue;
        };
        let is_on = match generator.value(argument.name) {
            None | Some(Value::None | Value::Bool(false) | Value::Int(0)) => false,
            Some(Value::Float(number)) => *number != 0.0,
            Some(_) => true,
        };
        if !key.starts_with("augment.") || !is_on || argument.name == "cval" && !is_constant {
            continue;
        }
        if let Some(value) = import.any(generator, argument.name) {
            let place = generator.place_of(argument.name);
            if argument.name == "rotation_range" && value.as_float().is_some_and(|own| own <= 1.0) {
                let what = format!("a rotation of {value} degrees at most: the unit is degrees");
                import.differs(place, what, "as in the notebook");
            }
            import.recipe.set(key, value, place);
        }
    }
}

/// A call in a function of `map`: a layer, a network of layers, or a function of `tf.image`.
fn of_call(import: &mut Import<'_>, number: usize, own: &mut Vec<Layer>) {
    let opaque = &import.trace.opaques[number];
    let Origin::Call(call) = &opaque.origin else {
        return;
    };
    match &call.callee {
        Value::Name(_) => of_image(import, number),
        callee => {
            let Value::Opaque(maker) = *callee else {
                return;
            };
            let Some(made) = import.trace.call_numbered(maker) else {
                return;
            };
            if &*made.name == "Sequential" {
                own.extend(layers::of_model(import, callee).layers);
            } else {
                own.push(Layer {
                    number: maker,
                    name: made.name.to_string(),
                    place: opaque.place,
                    training: None,
                    is_flat: false,
                });
            }
        }
    }
}

/// Functions of `tf.image`.
fn of_image(import: &mut Import<'_>, number_of_call: usize) {
    let opaque = &import.trace.opaques[number_of_call];
    let Origin::Call(call) = &opaque.origin else {
        return;
    };
    let argument = |at: usize, name: &str| {
        let found = call.argument(name).or_else(|| call.positional().nth(at));
        found.and_then(|argument| number(&argument.value))
    };
    let place = opaque.place;
    let range = |import: &mut Import<'_>, key: &str, low: Option<f64>, high: Option<f64>| {
        if let (Some(low), Some(high)) = (low, high) {
            import
                .recipe
                .set(&format!("augment.{key}.range"), vec![low, high], place);
        }
    };
    match &*call.name {
        "random_flip_left_right" => import.recipe.set("augment.horizontal_flip", true, place),
        "random_flip_up_down" => import.recipe.set("augment.vertical_flip", true, place),
        "random_brightness" => {
            if let Some(delta) = argument(1, "max_delta") {
                // Of images from 0 to 1, or from 0 to 255.
                let levels = if delta <= 1.0 { 255.0 * delta } else { delta };
                import
                    .recipe
                    .set("augment.channel_shift_range", levels, place);
            }
        }
        "random_contrast" => {
            range(
                import,
                "contrast",
                argument(1, "lower"),
                argument(2, "upper"),
            );
        }
        "random_saturation" => {
            range(
                import,
                "saturation",
                argument(1, "lower"),
                argument(2, "upper"),
            );
        }
        "random_hue" => {
            let degrees = argument(1, "max_delta").map(|delta| 360.0 * delta);
            range(import, "hue", degrees.map(|own| -own), degrees);
        }
        name if name.starts_with("random_") || name.starts_with("stateless_random_") => {
            import.none(place, format!("`{name}`"), "it is left out");
        }
        _ => {}
    }
}

/// A layer that changes images at random.
fn of_layer<'t>(import: &mut Import<'t>, name: &str, bound: &Bound<'t>) {
    let fills = [
        "RandomRotation",
        "RandomTranslation",
        "RandomZoom",
        "RandomShear",
    ];
    match name {
        "RandomFlip" => {
            let mode = import
                .text(bound, "mode")
                .unwrap_or("horizontal_and_vertical");
            for (part, key) in [
                ("horizontal", "horizontal_flip"),
                ("vertical", "vertical_flip"),
            ] {
                if mode.contains(part) {
                    import
                        .recipe
                        .set(&format!("augment.{key}"), true, bound.place_of("mode"));
                }
            }
        }
        "RandomRotation" => largest(import, bound, "factor", "rotation_range", 360.0),
        "RandomTranslation" => {
            largest(import, bound, "height_factor", "height_shift_range", 1.0);
            largest(import, bound, "width_factor", "width_shift_range", 1.0);
        }
        "RandomShear" => {
            largest(
                import,
                bound,
                "x_factor",
                "shear_range",
                180.0 / std::f64::consts::PI,
            );
        }
        "RandomZoom" => {
            if let Some([low, high]) = import.pair(bound, "height_factor", |own| [-own, own]) {
                let range = vec![1.0 + low, 1.0 + high];
                import
                    .recipe
                    .set("augment.zoom_range", range, bound.place_of("height_factor"));
            }
        }
        "RandomBrightness" => largest(import, bound, "factor", "channel_shift_range", 255.0),
        "RandomErasing" | "RandomGaussianBlur" | "RandomPerspective" => {
            sometimes(import, name, bound)
        }
        _ => of_mix(import, name, bound),
    }
    if fills.contains(&name) {
        let place = bound.place_of("fill_mode");
        match import.text(bound, "fill_mode") {
            Some(mode) => import.recipe.set("augment.fill_mode", mode, place),
            None => import
                .recipe
                .set_default("augment.fill_mode", "reflect", place),
        }
    }
}

/// Layers that mix images, and policies.
fn of_mix<'t>(import: &mut Import<'t>, name: &str, bound: &Bound<'t>) {
    match name {
        "MixUp" => import.recipe.set(
            "augment.mixup.alpha",
            bound.value("alpha").and_then(number).unwrap_or(0.2),
            bound.place,
        ),
        "CutMix" => import.recipe.set(
            "augment.cutmix.alpha",
            bound.value("factor").and_then(number).unwrap_or(1.0),
            bound.place,
        ),
        "RandAugment" => {
            import
                .recipe
                .set("augment.policy.kind", "rand_augment", bound.place);
            if let Some(count) = import.count(bound, "num_ops") {
                import
                    .recipe
                    .set("augment.policy.num_ops", count as i64, bound.place);
            }
            if let Some(factor) = import.number(bound, "factor") {
                let magnitude = (30.0 * factor).round() as i64;
                import
                    .recipe
                    .set("augment.policy.magnitude", magnitude, bound.place);
            }
        }
        _ => of_color(import, name, bound),
    }
}

/// Layers that change colors.
fn of_color(import: &mut Import<'_>, name: &str, bound: &Bound<'_>) {
    let mut set = |key: &str, range: Option<[f64; 2]>| {
        if let Some(range) = range {
            let place = bound.place_of("factor");
            import
                .recipe
                .set(&format!("augment.{key}.range"), range.to_vec(), place);
        }
    };
    let factor = bound.value("factor");
    let one = factor.and_then(number);
    match name {
        // A pair (a, b) is [1 - a, 1 + b].
        "RandomContrast" => {
            let pair = one.map(|own| [own; 2]);
            set("contrast", pair.map(|[low, high]| [1.0 - low, 1.0 + high]));
        }
        "RandomSaturation" => {
            let limit = |own: f64| own / (1.0 - own).max(1e-3);
            set(
                "saturation",
                one.map(|own| [limit(0.5 - own / 2.0), limit(0.5 + own / 2.0)]),
            );
        }
        "RandomHue" => set("hue", one.map(|own| [-180.0 * own, 180.0 * own])),
        "RandomSharpness" => set("sharpen", one.map(|own| [0.0, 2.0 * own])),
        "RandomColorDegeneration" => set("saturation", one.map(|own| [1.0 - own, 1.0])),
        "RandomGrayscale" => {
            if let Some(share) = one {
                import
                    .recipe
                    .set("augment.random_gray.probability", share, bound.place);
            }
        }
        // Those that prepare images are read elsewhere.
        "Resizing" | "CenterCrop" | "Rescaling" | "Normalization" | "every layer" => {}
        name => {
            let what = format!("the layer `{name}`");
            import.none(bound.place, what, "it is left out");
        }
    }
}

/// A limit either way: the larger one of a pair.
fn largest(import: &mut Import<'_>, bound: &Bound<'_>, name: &str, key: &str, unit: f64) {
    let Some([low, high]) = import.pair(bound, name, |own| [-own, own]) else {
        return;
    };
    let place = bound.place_of(name);
    let limit = low.abs().max(high.abs());
    if low != -high {
        let what = format!("`{}` between {low} and {high}", bound.name);
        import.differs(place, what, format!("up to {limit} either way"));
    }
    if limit > 0.0 {
        // Kept from the noise of binary fractions.
        let value = (limit * unit * 1e6).round() / 1e6;
        import.recipe.set(&format!("augment.{key}"), value, place);
    }
}

/// Layers that Keras applies with a probability drawn up to a factor.
fn sometimes(import: &mut Import<'_>, name: &str, bound: &Bound<'_>) {
    let key = match name {
        "RandomErasing" => "random_erasing",
        "RandomGaussianBlur" => "gaussian_blur",
        _ => "perspective",
    };
    let probability = bound.value("factor").and_then(number).unwrap_or(1.0) / 2.0;
    let strength = match name {
        "RandomErasing" => "scale",
        "RandomGaussianBlur" => "sigma",
        _ => "scale",
    };
    let range = import.pair(bound, strength, |own| [0.0, own]);
    let own: Place = bound.place;
    import
        .recipe
        .set(&format!("augment.{key}.probability"), probability, own);
    let range_key = if name == "RandomErasing" {
        "scale"
    } else {
        "range"
    };
    if let Some(range) = range {
        let place = bound.place_of(strength);
        import
            .recipe
            .set(&format!("augment.{key}.{range_key}"), range.to_vec(), place);
    } else if name != "RandomErasing" {
        import
            .recipe
            .set_default(&format!("augment.{key}.range"), vec![0.0, 1.0], own);
    }
}
