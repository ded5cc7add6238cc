//! `[augment]`: transforms that change images at random.

use notebook_reader::{Place, Value};

use crate::import::{
    arguments::Import,
    torch::calls::{Made, maker},
};

/// Sets the augmentation of a transform, which is made with this probability.
pub(super) fn augment(import: &mut Import<'_>, made: &Made<'_>, probability: Option<f64>) {
    let trace = import.trace;
    match made.name() {
        "RandomHorizontalFlip" => flip(import, made, "horizontal_flip"),
        "RandomVerticalFlip" => flip(import, made, "vertical_flip"),
        "RandomRotation" => rotation(import, made),
        "RandomAffine" => affine(import, made),
        "ColorJitter" => color(import, made, probability),
        "RandomResizedCrop" => {
            let key = "augment.random_resized_crop";
            for (at, name, default) in [(1, "scale", [0.08, 1.0]), (2, "ratio", [0.75, 4.0 / 3.0])]
            {
                let pair = made.pair_of(trace, at, name, |own| [own, own]);
                let pair = pair.unwrap_or(default);
                let place = made.place_of(at, name);
                import
                    .recipe
                    .set(&format!("{key}.{name}"), pair.to_vec(), place);
            }
        }
        "RandomErasing" => erasing(import, made),
        "RandomApply" => sometimes(import, made),
        "TrivialAugmentWide" | "RandAugment" => policy(import, made),
        _ => pixels(import, made, probability),
    }
}

/// Changes of pixel values in place.
fn pixels(import: &mut Import<'_>, made: &Made<'_>, probability: Option<f64>) {
    let place = made.place;
    match made.name() {
        "RandomGrayscale" => {
            let rate = made.number_of(0, "p").unwrap_or(0.1);
            import
                .recipe
                .set("augment.random_gray.probability", rate, place);
        }
        "GaussianBlur" => {
            let range = made.pair_of(import.trace, 1, "sigma", |own| [own, own]);
            ranged(
                import,
                "gaussian_blur",
                range.unwrap_or([0.1, 2.0]),
                probability,
                place,
            );
        }
        "RandomPerspective" => {
            let scale = made.number_of(0, "distortion_scale").unwrap_or(0.5);
            let rate = made.number_of(1, "p").unwrap_or(0.5);
            ranged(import, "perspective", [scale; 2], Some(rate), place);
        }
        "RandomAdjustSharpness" => {
            let factor = made.number_of(0, "sharpness_factor").unwrap_or(1.0);
            let rate = made.number_of(1, "p").unwrap_or(0.5);
            ranged(import, "sharpen", [factor; 2], Some(rate), place);
        }
        _ => other(import, made),
    }
}

fn policy(import: &mut Import<'_>, made: &Made<'_>) {
    const KEY: &str = "augment.policy";
    let place = made.place;
    if made.name() == "TrivialAugmentWide" {
        return import
            .recipe
            .set(&format!("{KEY}.kind"), "trivial_augment", place);
    }
    import
        .recipe
        .set(&format!("{KEY}.kind"), "rand_augment", place);
    for (at, name, default) in [(0, "num_ops", 2), (1, "magnitude", 9)] {
        let count = made.count_of(at, name).unwrap_or(default);
        import
            .recipe
            .set(&format!("{KEY}.{name}"), count as i64, place);
    }
}

/// A transform without a counterpart, or one that is read elsewhere.
fn other(import: &mut Import<'_>, made: &Made<'_>) {
    const ELSEWHERE: [&str; 13] = [
        "Resize",
        "Scale",
        "CenterCrop",
        "RandomCrop",
        "ToTensor",
        "ToImage",
        "ToPILImage",
        "ToDtype",
        "PILToTensor",
        "ToImageTensor",
        "ConvertImageDtype",
        "Normalize",
        "transforms",
    ];
    let place = made.place;
    match made.name() {
        name if ELSEWHERE.contains(&name) => {}
        "Grayscale" => match made.count_of(0, "num_output_channels") {
            None | Some(1) => import.recipe.set("data.color", "grayscale", place),
            Some(_) => {
                let what = "gray images with three equal channels";
                import.none(place, what, "`data.color` is \"rgb\": colors stay");
            }
        },
        "Lambda" => {
            let what = "a transform of images that is a function";
            import.unclear(place, what, "it is left out");
        }
        name => import.none(place, format!("the transform `{name}`"), "it is left out"),
    }
}

fn flip(import: &mut Import<'_>, made: &Made<'_>, key: &str) {
    let place = made.place;
    let rate = made.number_of(0, "p").unwrap_or(0.5);
    if rate == 0.0 {
        return;
    }
    import.recipe.set(&format!("augment.{key}"), true, place);
    if rate != 0.5 {
        let what = format!("`{}` with a probability of {rate}", made.name());
        import.none(place, what, "one half");
    }
}

fn rotation(import: &mut Import<'_>, made: &Made<'_>) {
    let pair = made.pair_of(import.trace, 0, "degrees", |own| [-own, own]);
    let place = made.place_of(0, "degrees");
    let Some([low, high]) = pair else {
        return import.unclear(place, "the degrees of a rotation", "it is left out");
    };
    let most = low.abs().max(high.abs());
    if most == 0.0 {
        return;
    }
    if low != -high {
        let what = format!("rotations from {low} to {high} degrees");
        import.none(place, what, format!("from -{most} to {most}"));
    }
    import.recipe.set("augment.rotation_range", most, place);
}

fn affine(import: &mut Import<'_>, made: &Made<'_>) {
    rotation(import, made);
    let trace = import.trace;
    if let Some([width, height]) = made.pair_of(trace, 1, "translate", |own| [own, own]) {
        let place = made.place_of(1, "translate");
        for (key, share) in [("width", width), ("height", height)] {
            let key = format!("augment.{key}_shift_range");
            import.recipe.set(&key, share, place);
        }
    }
    if let Some([low, high]) = made.pair_of(trace, 2, "scale", |own| [own, own])
        && low > 0.0
        && high > 0.0
    {
        let place = made.place_of(2, "scale");
        // Below 1 magnifies here, above 1 there.
        let rounded = |own: f64| (1e6 / own).round() / 1e6;
        let range = vec![rounded(high), rounded(low)];
        import.recipe.set("augment.zoom_range", range, place);
        let what = "a scale for both sides";
        import.differs(place, what, "width and height are drawn apart");
    }
    if let Some([low, high]) = made.pair_of(trace, 3, "shear", |own| [-own, own]) {
        let place = made.place_of(3, "shear");
        let most = low.abs().max(high.abs());
        import.recipe.set("augment.shear_range", most, place);
    }
}

fn color(import: &mut Import<'_>, made: &Made<'_>, probability: Option<f64>) {
    let around = |own: f64| [(1.0 - own).max(0.0), 1.0 + own];
    for (at, name) in [(0, "brightness"), (1, "contrast"), (2, "saturation")] {
        let found = made.pair_of(import.trace, at, name, around);
        let place = made.place_of(at, name);
        match found {
            Some([1.0, 1.0]) | None => {}
            Some(range) if name == "brightness" => {
                import
                    .recipe
                    .set("augment.brightness_range", range.to_vec(), place);
            }
            Some(range) => ranged(import, name, range, probability, place),
        }
    }
    let hue = made.pair_of(import.trace, 3, "hue", |own| [-own, own]);
    if let Some([low, high]) = hue.filter(|pair| *pair != [0.0, 0.0]) {
        let place = made.place_of(3, "hue");
        // Parts of the color circle.
        ranged(
            import,
            "hue",
            [360.0 * low, 360.0 * high],
            probability,
            place,
        );
    }
}

/// Sets a change with a range, and its probability.
fn ranged(
    import: &mut Import<'_>,
    key: &str,
    range: [f64; 2],
    probability: Option<f64>,
    place: Place,
) {
    let rounded = range.map(|own| (own * 1e9).round() / 1e9);
    import
        .recipe
        .set(&format!("augment.{key}.range"), rounded.to_vec(), place);
    if let Some(rate) = probability {
        import
            .recipe
            .set(&format!("augment.{key}.probability"), rate, place);
    }
}

fn erasing(import: &mut Import<'_>, made: &Made<'_>) {
    let (trace, place) = (import.trace, made.place);
    let key = "augment.random_erasing";
    let rate = made.number_of(0, "p").unwrap_or(0.5);
    import
        .recipe
        .set(&format!("{key}.probability"), rate, place);
    for (at, name) in [(1, "scale"), (2, "ratio")] {
        if let Some(pair) = made.pair_of(trace, at, name, |own| [own, own]) {
            import
                .recipe
                .set(&format!("{key}.{name}"), pair.to_vec(), place);
        }
    }
    if matches!(made.value(3, "value"), Some(Value::Str(value)) if &**value == "random") {
        import.recipe.set(&format!("{key}.value"), "noise", place);
    }
}

/// `RandomApply`: its transforms with a probability where a recipe has one.
fn sometimes(import: &mut Import<'_>, made: &Made<'_>) {
    let trace = import.trace;
    let rate = made.number_of(1, "p").unwrap_or(0.5);
    let inner = made.value(0, "transforms");
    let Some(inner) = inner.and_then(|value| trace.sequence(value)) else {
        return import.unclear(made.place, "what `RandomApply` applies", "it is left out");
    };
    for value in inner {
        let Some(part) = maker(trace, value) else {
            continue;
        };
        augment(import, &part, Some(rate));
        let has_rate = ["GaussianBlur"].contains(&part.name());
        if !has_rate {
            let what = format!("`{}` with a probability of {rate}", part.name());
            let here = "where `[augment]` has no probability for it, each image is changed";
            import.none(part.place, what, here);
        }
    }
}
