//! `[train]`: epochs, loss and class weights; optimizer and callbacks in files of their own.

use notebook_reader::{Object, Place, Value};

use super::{callbacks, optimizer};
use crate::import::{
    arguments::{Bound, Import, count, number},
    findings::Mistake,
    keras::{images, network::Network, runs::Run, sources::Source},
    recipe::Line,
};

/// Sets all but the phases.
pub(in crate::import::keras) fn import<'t>(
    import: &mut Import<'t>,
    run: &Run<'t>,
    network: &Network,
) {
    let last = run.last();
    steps(import, &last.arguments);
    match run.fits[0].compile.clone() {
        Some(compile) => {
            loss(import, &compile.arguments, network);
            optimizer::import(import, &compile.arguments, network);
        }
        None => {
            let what = "the network's `compile`";
            let here = "cross-entropy and Adam, the defaults";
            import.unclear(last.arguments.place, what, here);
        }
    }
    callbacks::import(import, run);
    class_weights(import, &last.arguments, &last.source);
    if last.arguments.has("validation_freq") {
        let place = last.arguments.place_of("validation_freq");
        import.differs(place, "validation in some epochs only", "after every epoch");
    }
}

/// An epoch that isn't every image once.
fn steps(import: &mut Import<'_>, fit: &Bound<'_>) {
    let Some(steps) = fit.value("steps_per_epoch").and_then(count) else {
        return;
    };
    let place = fit.place_of("steps_per_epoch");
    let argument = fit
        .get("steps_per_epoch")
        .and_then(|argument| argument.name.as_deref());
    let unit = match argument {
        // Of Keras 1.
        Some("samples_per_epoch") => "images",
        _ => "steps",
    };
    let what = format!("an epoch has {steps} {unit}, however many images there are");
    let here = "an epoch is every image once";
    import.mistake(Mistake::StepsPerEpoch, place, what, here);
}

/// The kinds of losses that classifiers have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Categorical,
    Binary,
    Focal,
}

fn loss<'t>(import: &mut Import<'t>, compile: &Bound<'t>, network: &Network) {
    let trace = import.trace;
    let place = compile.place_of("loss");
    let Some(value) = compile.value("loss") else {
        let what = "`compile` without a loss";
        return import.unclear(place, what, "cross-entropy");
    };
    let call = trace.call(value);
    let name = match (value, call) {
        (Value::Str(name) | Value::Name(name), _) => name.to_string(),
        (_, Some(call)) => call.name.to_string(),
        _ => trace.describe(value),
    };
    let name = name
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_lowercase()
        .replace('_', "");
    let kind = match &*name {
        "categoricalcrossentropy" | "sparsecategoricalcrossentropy" => Kind::Categorical,
        "binarycrossentropy" => Kind::Binary,
        name if name.contains("focal") => Kind::Focal,
        _ => {
            let what = format!("the loss `{}`", trace.describe(value));
            import.none(place, what, "cross-entropy");
            Kind::Categorical
        }
    };
    let named = |name: &str| {
        let argument = call.and_then(|call| call.argument(name));
        argument.map(|argument| &argument.value)
    };
    let first = call
        .and_then(|call| call.positional().next())
        .map(|argument| &argument.value);
    let is_on_logits = named("from_logits").or(first) == Some(&Value::Bool(true));
    if let Some(smoothing) = named("label_smoothing")
        .and_then(number)
        .filter(|own| *own > 0.0)
    {
        import.recipe.set("train.label_smoothing", smoothing, place);
    }
    let units = network.output.as_ref().and_then(|output| output.units);
    let here = match (kind, units) {
        (Kind::Focal, _) => "focal",
        (Kind::Binary, None | Some(1)) => "binary_cross_entropy",
        _ if units == Some(1) => "binary_cross_entropy",
        _ => "cross_entropy",
    };
    import.recipe.set("train.loss", here, place);
    if kind == Kind::Focal
        && let Some(gamma) = named("gamma").and_then(number)
    {
        import.recipe.set("train.focal_gamma", gamma, place);
    }
    fits_output(import, kind, is_on_logits, network);
}

/// Reports a last layer that doesn't go with its loss.
fn fits_output(import: &mut Import<'_>, kind: Kind, is_on_logits: bool, network: &Network) {
    let Some(output) = &network.output else {
        return;
    };
    let (activation, units) = (&*output.activation, output.units);
    let is_activated = ["softmax", "sigmoid"].contains(&activation);
    let here = "the loss is computed on what the last layer gives, with the activation in it";
    if activation == "softmax" && units == Some(1) {
        let what = "a softmax over one output is always 1: the network can't learn";
        let here = "one output with a sigmoid (`binary_cross_entropy`)";
        return import.mistake(Mistake::SoftmaxOfOne, output.place, what, here);
    }
    let what = match (kind, activation, units) {
        _ if is_on_logits && is_activated => {
            format!(
                "the loss gets `from_logits=True` behind a {activation}, which is applied twice"
            )
        }
        (_, "" | "linear", _) if !is_on_logits => {
            "the last layer has no activation, and the loss no `from_logits=True`".to_owned()
        }
        (Kind::Categorical, _, Some(1)) => {
            "categorical cross-entropy over one output is always 0".to_owned()
        }
        (Kind::Categorical, "sigmoid", Some(units)) => {
            format!("a sigmoid for each of {units} classes, where one of them is right")
        }
        (Kind::Binary, _, Some(units @ 3..)) => {
            format!("binary cross-entropy over {units} classes: its accuracy counts each class")
        }
        (_, "relu", _) => "the last layer ends in ReLU".to_owned(),
        _ => return,
    };
    import.mistake(Mistake::LossAndActivation, output.place, what, here);
}

fn class_weights<'t>(import: &mut Import<'t>, fit: &Bound<'t>, train: &Source<'t>) {
    let trace = import.trace;
    let place = fit.place_of("class_weight");
    let Some(value) = fit
        .value("class_weight")
        .filter(|value| **value != Value::None)
    else {
        return;
    };
    let mut is_of_sklearn = |value: &Value| match value {
        Value::Name(name) => name.ends_with("compute_class_weight"),
        _ => false,
    };
    if trace.any(value, &mut is_of_sklearn)
        || matches!(value, Value::Str(name) if ["balanced", "auto"].contains(&&**name))
    {
        return import.recipe.set("train.class_weights", "balanced", place);
    }
    let pairs: Option<Vec<(usize, f64)>> = match trace.object(value) {
        Some(Object::Dict(pairs)) => pairs
            .iter()
            .map(|(class, weight)| Some((count(class)?, number(weight)?)))
            .collect(),
        _ => None,
    };
    let Some(pairs) = pairs else {
        let what = format!(
            "class weights that are computed: `{}`",
            trace.describe(value)
        );
        let here = "`\"balanced\"`: images / (classes * images of the class), as most compute them";
        import.unclear(place, what, here);
        return import.recipe.set("train.class_weights", "balanced", place);
    };
    named_weights(import, &pairs, train, place);
}

/// Weights by the names of classes, if these are known.
fn named_weights(
    import: &mut Import<'_>,
    pairs: &[(usize, f64)],
    train: &Source<'_>,
    place: Place,
) {
    if pairs.windows(2).all(|two| two[0].1 == two[1].1) {
        return;
    }
    let names = images::class_names(import, train);
    let named: Option<Vec<_>> = pairs
        .iter()
        .map(|(class, weight)| Some((names.get(*class)?, *weight)))
        .collect();
    let Some(named) = named else {
        let weights: Vec<_> = pairs
            .iter()
            .map(|(class, weight)| format!("{class}: {weight}"))
            .collect();
        let what = format!("class weights by number: {}", weights.join(", "));
        let here = "numbers count the class folders in the order of their names, from 0: set \
                    `train.class_weights` by name, or give their folder by --data";
        return import.unclear(place, what, here);
    };
    for (name, weight) in named {
        if weight > 0.0 {
            import
                .recipe
                .set_in("train.class_weights", name, Line::new(weight, place));
        }
    }
}
