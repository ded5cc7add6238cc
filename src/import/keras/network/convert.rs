//! The layers of a network, one after the other, as features or head.

use notebook_reader::Value;

use super::{base, described::Network, head, list};
use crate::{
    config::{KERAS_LAYERS, KERAS_NETWORKS},
    import::{
        arguments::{Bound, Import, number, row},
        findings::Mistake,
        head::Head,
        keras::{
            applications,
            layers::{Layer, Layers},
            runs::Run,
        },
        list::List,
    },
};

/// Where in a network a layer stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Features,
    Head,
}

pub(in crate::import::keras) fn import<'t>(
    import: &mut Import<'t>,
    run: &Run<'t>,
    layers: &Layers,
) -> Network {
    let mut network = Network::default();
    let (mut list, mut head, mut stage) = (List::default(), Head::default(), Stage::Features);
    for layer in &layers.layers {
        if let Some(application) = applications::find(&layer.name) {
            network.base = base::base(import, application, layer, &mut head);
            if layer.training == Some(true) {
                let what = "the pretrained network is called with `training=True`: its batch norms \
                            take their statistics from each batch";
                let here = "they keep those of the weights";
                import.mistake(Mistake::NormsInTraining, layer.place, what, here);
            }
            list = List::default();
            if head.is_begun() {
                stage = Stage::Head;
            }
            continue;
        }
        if ["Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"].contains(&&*layer.name) {
            stage = Stage::Head;
        }
        let table = row(KERAS_NETWORKS, &layer.name);
        let Some(table) = table.filter(|table| table.name != "keras.applications") else {
            other(import, layer, stage, &mut head);
            continue;
        };
        let bound = import.bind(layer.number, table);
        regularizer(import, &bound, &mut network);
        if layer.name == "Dense" {
            stage = Stage::Head;
        }
        match stage {
            Stage::Head => head::add(&mut head, import, &layer.name, &bound),
            Stage::Features if network.base.is_some() => behind(import, &bound, &mut head),
            Stage::Features => list::add(&mut list, import, &layer.name, &bound),
        }
    }
    network.output = head.output();
    match &network.base {
        Some(base) => base::set_size(import, base, layers),
        None => {
            if let Some((rate, place)) = head.take_first_dropout() {
                list.dropout(rate, place);
            }
            list.set(import, run.place());
        }
    }
    if import.recipe.has("model.architecture") {
        let place = network.base.as_ref().map_or(run.place(), |base| base.place);
        head.set(import, place);
        initial(import, run, layers);
    }
    network
}

/// A layer that stands between a pretrained network and its head.
fn behind<'t>(import: &mut Import<'t>, bound: &Bound<'t>, head: &mut Head) {
    if bound.name == "Dropout" {
        return head::add(head, import, "Dropout", bound);
    }
    let what = format!("`{}` behind the pretrained network", bound.name);
    import.none(bound.place, what, "it is left out");
}

/// A layer that isn't of the table: one that prepares images, or one without a counterpart.
fn other(import: &mut Import<'_>, layer: &Layer, stage: Stage, head: &mut Head) {
    const PREPARING: [&str; 9] = [
        "",
        "Input",
        "InputLayer",
        "preprocess_input",
        "Rescaling",
        "Resizing",
        "CenterCrop",
        "Normalization",
        "cast",
    ];
    if PREPARING.contains(&&*layer.name) || row(KERAS_LAYERS, &layer.name).is_some() {
        return;
    }
    match &*layer.name {
        "GlobalMaxPooling2D" => {
            head.pool("max_average", layer.place);
            let here = "`model.pooling` is the maximum and the mean side by side";
            import.none(layer.place, "`GlobalMaxPooling2D`: the maximum alone", here);
        }
        "concatenate" | "Concatenate" | "add" | "Add" | "Reshape" => {}
        name => {
            let what = format!("the layer `{name}`");
            let here = if stage == Stage::Head {
                "the head has none"
            } else {
                "it is left out"
            };
            import.none(layer.place, what, here);
        }
    }
}

/// L2 regularization, which becomes weight decay.
fn regularizer(import: &mut Import<'_>, bound: &Bound<'_>, network: &mut Network) {
    let Some(argument) = bound
        .get("kernel_regularizer")
        .filter(|own| own.value != Value::None)
    else {
        return;
    };
    let factor = match &argument.value {
        Value::Str(name) if &**name == "l2" => Some(0.01),
        value => import.trace.call(value).and_then(|call| {
            let is_l2 = ["l2", "L2"].contains(&&*call.name);
            let argument = call.arguments.first();
            is_l2.then(|| argument.map_or(Some(0.01), |own| number(&own.value)))?
        }),
    };
    match (factor, &network.decay) {
        (Some(factor), None) => network.decay = Some((factor, argument.place)),
        (Some(factor), Some((known, _))) if factor == *known => {}
        (Some(factor), Some(_)) => {
            let what = format!("a regularizer of its own for a layer: {factor}");
            import.none(argument.place, what, "all layers have that of the first");
        }
        (None, _) => {
            let text = import.trace.describe(&argument.value);
            import.none(
                argument.place,
                format!("the regularizer `{text}`"),
                "there is L2 alone",
            );
        }
    }
}

/// Keras initializes by Glorot's rule.
fn initial(import: &mut Import<'_>, run: &Run<'_>, layers: &Layers) {
    let trace = import.trace;
    let written = layers.layers.iter().find_map(|layer| {
        let argument = trace
            .call_numbered(layer.number)?
            .argument("kernel_initializer")?;
        let name = match &argument.value {
            Value::Str(name) => name.to_string(),
            value => trace.call(value)?.name.to_string(),
        };
        Some((name.to_lowercase(), argument.place))
    });
    let place = layers
        .layers
        .last()
        .map_or(run.place(), |layer| layer.place);
    match written {
        Some((name, place)) if name.starts_with("he") => {
            import.recipe.set("model.init", "he", place);
        }
        Some((name, place)) if !name.starts_with("glorot") => {
            let what = format!("weights are initialized by \"{name}\"");
            import.none(place, what, "`model.init` is \"glorot_uniform\"");
            import.recipe.set("model.init", "glorot_uniform", place);
        }
        Some((_, place)) => import.recipe.set("model.init", "glorot_uniform", place),
        None => import
            .recipe
            .set_default("model.init", "glorot_uniform", place),
    }
}
