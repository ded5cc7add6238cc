//! `torchvision.transforms`: how images are read, augmented and normalized.

mod augmentation;
mod geometry;
mod normalization;

use notebook_reader::{Place, Value};

use self::{
    augmentation::augment,
    geometry::{geometry, size},
    normalization::{normalize, statistics},
};
use super::{
    calls::{Made, maker},
    described::Network,
    loaders::{Images, Source},
};
use crate::import::{arguments::Import, findings::Mistake};

/// Changes that leave parts of an image without pixels, which torchvision makes black.
const MOVING: [&str; 3] = ["RandomRotation", "RandomAffine", "RandomPerspective"];

/// Sets size, augmentation and normalization.
pub(super) fn import<'t>(import: &mut Import<'t>, images: &Images<'t>, network: &Network<'t>) {
    let trace = import.trace;
    let Some(train) = &images.train else {
        return size(import, None, network);
    };
    let own = listed(import, train);
    let other = images
        .validation
        .as_ref()
        .map(|validation| (validation, listed(import, validation)));
    if let Some((validation, other)) = &other {
        if let Some(change) = other.iter().find(|made| is_random(made.name())) {
            let what = format!(
                "the validation images are augmented (`{}` among others)",
                change.name()
            );
            let here = "validation images are never changed";
            let place = validation.loader.place;
            import.mistake(Mistake::ValidationAugmented, place, what, here);
        }
        let pixels = |list: &[Made<'t>]| list.iter().find_map(|made| statistics(trace, made));
        if pixels(&own) != pixels(other) {
            let what = "validation images are normalized in another way than training images";
            let here = "all images are normalized alike";
            let place = validation.loader.place;
            import.mistake(Mistake::PixelsOfValidation, place, what, here);
        }
    }
    let still = match &other {
        Some((_, other)) if !other.iter().any(|made| is_random(made.name())) => other,
        _ => &own,
    };
    geometry(import, &own, still, network);
    for made in &own {
        augment(import, made, None);
    }
    if let Some(moving) = own.iter().find(|made| MOVING.contains(&made.name())) {
        let note = "black, torchvision's default";
        let key = "augment.fill_mode";
        import.recipe.set_noted(key, "constant", moving.place, note);
    }
    normalize(import, &own, train, network);
}

/// Returns the transforms of images in their order.
fn listed<'t>(import: &mut Import<'t>, source: &Source<'t>) -> Vec<Made<'t>> {
    let Some(value) = source.transform() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    add(import, value, source.loader.place, 8, &mut found);
    found
}

fn add<'t>(
    import: &mut Import<'t>,
    value: &Value,
    place: Place,
    depth: usize,
    found: &mut Vec<Made<'t>>,
) {
    let trace = import.trace;
    let Some(made) = maker(trace, value).filter(|_| depth > 0) else {
        let what = format!("a transform of images: `{}`", trace.describe(value));
        return import.unclear(place, what, "it is left out");
    };
    let parts: Vec<Value> = match made.name() {
        "Compose" => match made.value(0, "transforms") {
            Some(list) => match trace.sequence(list) {
                Some(values) => values.to_vec(),
                None => vec![list.clone()],
            },
            None => Vec::new(),
        },
        "Sequential" => {
            let layers = made.call.positional();
            layers.map(|argument| argument.value.clone()).collect()
        }
        _ => return found.push(made),
    };
    for part in parts {
        add(import, &part, made.place, depth - 1, found);
    }
}

/// Returns whether a transform changes images at random.
fn is_random(name: &str) -> bool {
    const OTHERS: [&str; 6] = [
        "ColorJitter",
        "AutoAugment",
        "TrivialAugmentWide",
        "RandAugment",
        "AugMix",
        "GaussianBlur",
    ];
    name.starts_with("Random") || OTHERS.contains(&name)
}
