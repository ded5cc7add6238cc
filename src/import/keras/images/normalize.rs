//! `data.normalize`: what a notebook makes of pixel values, and what its network expects.

use notebook_reader::Value;

use super::{
    chain::{self, Chain},
    convert::Data,
};
use crate::import::{
    arguments::Import,
    findings::Mistake,
    keras::{
        applications::Pixels,
        layers::Layers,
        network::{Base, Network},
        sources::Reader,
    },
};

/// Sets the normalization.
pub(in crate::import::keras) fn import<'t>(
    import: &mut Import<'t>,
    data: &Data<'t>,
    layers: &Layers,
    network: &Network,
) {
    let mut found = chain::of_source(import, &data.train);
    if let Some(validation) = &data.validation
        && validation.reader != Reader::Arrays
    {
        let other = chain::of_source(import, validation);
        let is_known = found.unknown.is_none() && other.unknown.is_none();
        let alike = other.total() == found.total() && other.of_network == found.of_network;
        if is_known && !alike {
            let what = format!(
                "validation images reach the network as {}, training images as {}",
                other.words(),
                found.words()
            );
            let here = "all images are normalized alike";
            let place = validation.place_of("directory");
            import.mistake(Mistake::PixelsOfValidation, place, what, here);
        }
    }
    for layer in &layers.layers {
        chain::of_layer(import, layer, &mut found);
    }
    if let Some((text, place)) = &found.unknown {
        let what = format!("what is done to pixel values: `{text}`");
        import.unclear(*place, what, "`data.normalize` as set in the recipe");
    }
    if found.is_double() {
        let place = found.place.unwrap_or_default();
        let what = "pixel values are scaled twice on their way to the network";
        import.mistake(
            Mistake::ScaledTwice,
            place,
            what,
            "they are normalized once",
        );
    }
    match network.base.as_ref().filter(|base| base.is_pretrained) {
        Some(base) => of_weights(import, base, &found, data),
        None => from_scratch(import, data, found),
    }
}

/// Pretrained weights get what they were trained on.
fn of_weights(import: &mut Import<'_>, base: &Base, chain: &Chain, data: &Data<'_>) {
    let expected = base.application.pixels;
    let place = chain.place.unwrap_or(base.place);
    let (factor, offset) = chain.total();
    let is_tf = (factor * 127.5 - 1.0).abs() < 1e-3 && (offset + 1.0).abs() < 1e-3;
    let fits = match chain.of_network {
        Some(pixels) => pixels == expected,
        None if expected == Pixels::Tf => is_tf,
        None => expected == Pixels::Levels && chain.is_plain(),
    };
    let is_known = chain.unknown.is_none() && data.train.reader != Reader::Arrays;
    if !fits && is_known && !chain.is_double() {
        let what = format!(
            "`{}` gets pixel values of {}, and its weights expect {}",
            base.name,
            chain.words(),
            expected.words()
        );
        let here = "`data.normalize = \"auto\"`: what the weights expect";
        import.mistake(Mistake::PixelsOfWeights, place, what, here);
    }
    import.recipe.set("data.normalize", "auto", place);
}

fn from_scratch(import: &mut Import<'_>, data: &Data<'_>, chain: Chain) {
    const KEY: &str = "data.normalize";
    let place = chain.place.unwrap_or(data.train.place_of("directory"));
    if statistics(import, data, &chain) {
        return;
    }
    if chain.is_standardized {
        return import.recipe.set(KEY, "dataset", place);
    }
    if chain.is_double() || chain.unknown.is_some() {
        return import.recipe.set(KEY, "unit", place);
    }
    let named = match chain.of_network {
        Some(Pixels::Caffe) => Some("caffe"),
        Some(Pixels::Tf) => Some("tf"),
        Some(Pixels::Torch) => Some("imagenet"),
        Some(Pixels::Levels) | None => None,
    };
    if let Some(named) = named.filter(|_| chain.scales.is_empty()) {
        return import.recipe.set(KEY, named, place);
    }
    if chain.is_plain() {
        if data.train.reader == Reader::Arrays {
            return import
                .recipe
                .set_noted(KEY, "unit", place, "not known of arrays");
        }
        let what = "pixel values of 0 to 255 reach the network: there is no `rescale`";
        import.mistake(
            Mistake::NotScaled,
            place,
            what,
            "`data.normalize = \"unit\"`: 0 to 1",
        );
        return import
            .recipe
            .set_noted(KEY, "unit", place, "not in the notebook");
    }
    let (factor, offset) = chain.total();
    let is_near = |value: f64, other: f64| (value - other).abs() < 1e-4;
    if is_near(factor * 255.0, 1.0) && is_near(offset, 0.0) {
        return import.recipe.set(KEY, "unit", place);
    }
    if is_near(factor * 127.5, 1.0) && is_near(offset, -1.0) {
        return import.recipe.set(KEY, "tf", place);
    }
    let is_gray =
        matches!(data.train.value("color_mode"), Some(Value::Str(own)) if &**own == "grayscale");
    let channels = if is_gray { 1 } else { 3 };
    // x * factor + offset = (x / 255 - mean) / std.
    let std = 1.0 / (255.0 * factor);
    import
        .recipe
        .set("data.normalize.mean", vec![-offset * std; channels], place);
    import
        .recipe
        .set("data.normalize.std", vec![std; channels], place);
}

/// The options of `ImageDataGenerator` that need statistics.
fn statistics(import: &mut Import<'_>, data: &Data<'_>, chain: &Chain) -> bool {
    const OPTIONS: [&str; 5] = [
        "featurewise_center",
        "featurewise_std_normalization",
        "samplewise_center",
        "samplewise_std_normalization",
        "zca_whitening",
    ];
    let Some(generator) = &data.train.generator else {
        return false;
    };
    let on: Vec<_> = OPTIONS
        .into_iter()
        .filter(|name| generator.value(name) == Some(&Value::Bool(true)))
        .collect();
    for name in &on {
        import.recipe.set(
            &format!("data.normalize.{name}"),
            true,
            generator.place_of(name),
        );
    }
    if on.is_empty() {
        return false;
    }
    if let Some(epsilon) = import.number(generator, "zca_epsilon") {
        let place = generator.place_of("zca_epsilon");
        import
            .recipe
            .set("data.normalize.zca_epsilon", epsilon, place);
    }
    let (factor, _) = chain.total();
    if factor != 1.0 {
        import.recipe.set(
            "data.normalize.rescale",
            factor,
            generator.place_of("rescale"),
        );
    }
    true
}
