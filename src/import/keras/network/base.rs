//! A network of `keras.applications`: its architecture here, and its weights.

use notebook_reader::Value;

use super::described::Base;
use crate::{
    architecture::Architecture,
    config::KERAS_NETWORKS,
    import::{
        arguments::{Bound, Import, number, row},
        head::Head,
        keras::{
            applications::Application,
            layers::{Layer, Layers},
        },
    },
};

/// Sets the architecture and its weights.
pub(super) fn base(
    import: &mut Import<'_>,
    application: &'static Application,
    layer: &Layer,
    head: &mut Head,
) -> Option<Base> {
    let table = row(KERAS_NETWORKS, "keras.applications")?;
    let bound = import.bind(layer.number, table);
    let weights = bound.value("weights");
    let is_pretrained = !matches!(weights, Some(Value::None));
    if bound.value("include_top") != Some(&Value::Bool(false)) {
        head.top(application.architecture, layer.place);
        if is_pretrained {
            let what = format!(
                "`{}` with its own top for the 1000 classes of ImageNet",
                layer.name
            );
            import.differs(
                layer.place,
                what,
                "a new head for the classes of the images",
            );
        }
    }
    match import.text(&bound, "pooling") {
        Some("avg") => head.pool("average", bound.place_of("pooling")),
        Some("max") => {
            head.pool("max_average", bound.place_of("pooling"));
            let here = "`model.pooling` is the maximum and the mean side by side";
            import.none(
                bound.place_of("pooling"),
                "`pooling = \"max\"`: the maximum alone",
                here,
            );
        }
        _ => {}
    }
    let architecture = Architecture::find(application.architecture)?;
    import
        .recipe
        .set("model.architecture", application.architecture, layer.place);
    if !application.is_same {
        let what = format!("`{}`", layer.name);
        let here = format!(
            "`{}`, the nearest of the program's networks",
            application.architecture
        );
        import.none(layer.place, what, here);
    }
    set_weights(import, &bound, architecture, layer, is_pretrained);
    if architecture.is_scaled()
        && let Some(alpha) = import.number(&bound, "alpha").filter(|alpha| *alpha != 1.0)
    {
        import
            .recipe
            .set("model.width", alpha, bound.place_of("alpha"));
    }
    Some(Base {
        application,
        number: layer.number,
        name: layer.name.clone(),
        place: layer.place,
        is_pretrained,
    })
}

fn set_weights(
    import: &mut Import<'_>,
    bound: &Bound<'_>,
    architecture: Architecture,
    layer: &Layer,
    is_pretrained: bool,
) {
    let place = bound.place_of("weights");
    let entry = architecture.entry();
    // Those of other widths are published by Keras alone.
    let is_narrow = bound
        .value("alpha")
        .and_then(number)
        .is_some_and(|alpha| alpha != 1.0);
    match bound.value("weights") {
        Some(Value::Str(path)) if &**path != "imagenet" => {
            import.recipe.set("model.weights", path.to_string(), place);
        }
        _ if !is_pretrained => import.recipe.set("model.weights", "none", place),
        _ if entry.published.is_none() || is_narrow => {
            let what = format!("Keras's weights of `{}`", layer.name);
            let here = "no address of such weights is known here: `model.weights` is to name \
                        Keras's file, which Keras keeps in ~/.keras/models";
            import.none(place, what, here);
            let file = format!("{}_no_top.h5", architecture.name());
            import
                .recipe
                .set_noted("model.weights", file, place, "Keras's file goes here");
        }
        _ => {
            import.recipe.set("model.weights", "imagenet", place);
            let what = format!("Keras's weights of `{}`", layer.name);
            let here = "torchvision's, which are fetched; Keras's own are read from the file in \
                        ~/.keras/models that `model.weights` names";
            import.differs(place, what, here);
        }
    }
}

/// The size of the images, where nothing else says it.
pub(super) fn set_size(import: &mut Import<'_>, base: &Base, layers: &Layers) {
    if import.recipe.has("data.image_size") {
        return;
    }
    let (sides, place) = layers.input.unwrap_or(([224; 2], base.place));
    let sides = sides.iter().map(|side| *side as i64).collect::<Vec<_>>();
    import.recipe.set("data.image_size", sides, place);
}
