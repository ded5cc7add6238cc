//! How images are read: size, colors, filter, batch and seed.

use notebook_reader::{Event, Place, Value};

use crate::import::{
    arguments::{Bound, Import, count},
    keras::{
        layers::Layers,
        runs::Run,
        sources::{Reader, Source},
    },
};

/// Sets size, colors, filter and batch.
pub(super) fn reading<'t>(
    import: &mut Import<'t>,
    run: &Run<'t>,
    train: &Source<'t>,
    layers: &Layers,
) {
    let is_set = train.reader == Reader::DataSet;
    let size = if is_set { "image_size" } else { "target_size" };
    if let Some(arguments) = &train.arguments {
        match import.sides(arguments, size) {
            Some(sides) => set_size(import, sides, arguments.place_of(size)),
            None if arguments.has(size) => {
                if let Some((sides, place)) = layers.input {
                    set_size(import, sides, place);
                }
            }
            None => {
                import
                    .recipe
                    .set_default("data.image_size", listed([256; 2]), arguments.place);
            }
        }
        color(import, arguments);
        class_mode(import, arguments);
        interpolation(import, train);
    } else if let Some((sides, place)) = layers.input {
        set_size(import, sides, place);
    }
    if let Some((sides, place)) = layers.resized {
        set_size(import, sides, place);
    }
    batch(import, run, train);
}

/// Names the network that is trained on images without their classes.
fn class_mode(import: &mut Import<'_>, arguments: &Bound<'_>) {
    if matches!(arguments.value("class_mode"), Some(Value::Str(mode)) if &**mode == "input") {
        import.none(
            arguments.place_of("class_mode"),
            "the images are their own targets, as an autoencoder has them",
            "set `model.architecture = \"autoencoder\"` in place of the network and its loss",
        );
    }
}

fn color<'t>(import: &mut Import<'t>, arguments: &Bound<'t>) {
    if let Some(color) = import.text(arguments, "color_mode") {
        match color {
            "grayscale" => {
                import
                    .recipe
                    .set("data.color", color, arguments.place_of("color_mode"));
            }
            "rgb" => {}
            _ => import.none(
                arguments.place_of("color_mode"),
                format!("images are read as {color}"),
                "three channels, transparent images over white",
            ),
        }
    }
}

/// The size of a batch: of a data set's `batch`, of the call that reads images, or of `fit`.
fn batch<'t>(import: &mut Import<'t>, run: &Run<'t>, train: &Source<'t>) {
    let batched = train.steps.iter().find_map(|step| {
        let call = import
            .trace
            .call_numbered(*step)
            .filter(|call| &*call.name == "batch")?;
        let argument = call.arguments.first()?;
        Some((count(&argument.value)?, argument.place))
    });
    if let Some((size, place)) = batched {
        return import.recipe.set("train.batch_size", size as i64, place);
    }
    let fit = &run.last().arguments;
    let batch = train
        .arguments
        .as_ref()
        .filter(|bound| bound.has("batch_size"))
        .unwrap_or(fit);
    if batch.has("batch_size")
        && let Some(size) = import.count(batch, "batch_size")
    {
        import.recipe.set(
            "train.batch_size",
            size as i64,
            batch.place_of("batch_size"),
        );
    }
}

fn set_size(import: &mut Import<'_>, sides: [usize; 2], place: Place) {
    import.recipe.set("data.image_size", listed(sides), place);
}

fn listed(sides: [usize; 2]) -> Vec<i64> {
    sides
        .iter()
        .map(|side| i64::try_from(*side).unwrap_or(i64::MAX))
        .collect()
}

fn interpolation<'t>(import: &mut Import<'t>, train: &Source<'t>) {
    let Some(arguments) = &train.arguments else {
        return;
    };
    let place = arguments.place_of("interpolation");
    for (name, resize) in [
        ("keep_aspect_ratio", "crop"),
        ("crop_to_aspect_ratio", "crop"),
        ("pad_to_aspect_ratio", "pad"),
    ] {
        if arguments.value(name) == Some(&Value::Bool(true)) {
            import
                .recipe
                .set("data.resize", resize, arguments.place_of(name));
        }
    }
    let is_set = train.reader == Reader::DataSet;
    let Some(name) = import.text(arguments, "interpolation") else {
        if !is_set {
            import
                .recipe
                .set_default("data.interpolation", "nearest", arguments.place);
        }
        return;
    };
    let filter = match name {
        "nearest" | "bilinear" | "bicubic" | "lanczos" | "box" | "hamming" => name,
        "lanczos3" | "lanczos5" => "lanczos",
        "area" => "box",
        _ => {
            let what = format!("images are resized by \"{name}\"");
            return import.none(place, what, "`data.interpolation` is \"bilinear\"");
        }
    };
    import.recipe.set("data.interpolation", filter, place);
}

/// The seed of the images, or of the whole notebook.
pub(super) fn seed(import: &mut Import<'_>, train: &Source<'_>) {
    let trace = import.trace;
    let of_source = train
        .value("seed")
        .and_then(count)
        .map(|seed| (seed, train.place_of("seed")));
    let of_notebook = || {
        trace.events.iter().find_map(|event| {
            let Event::Call { number, .. } = event else {
                return None;
            };
            let call = trace.call_numbered(*number)?;
            let argument = call.arguments.first()?;
            let is_it = ["set_seed", "set_random_seed"].contains(&&*call.name);
            count(&argument.value)
                .filter(|_| is_it)
                .map(|seed| (seed, argument.place))
        })
    };
    if let Some((seed, place)) = of_source.or_else(of_notebook)
        && let Ok(seed) = i64::try_from(seed)
    {
        import.recipe.set("seed", seed, place);
    }
}
