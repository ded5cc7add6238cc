//! The loss, and the weights of classes in it.

use notebook_reader::{Origin, Place, Trace, Value};

use super::{
    calls::{Made, root},
    described::Network,
    training::Run,
};
use crate::import::{
    arguments::{Import, number},
    findings::Mistake,
};

/// Sets the loss.
pub(super) fn import<'t>(import: &mut Import<'t>, run: &Run<'t>, network: &Network<'t>) {
    let made = run.criterion.unwrap_or(run.loss);
    let is_function = run.criterion.is_none();
    let place = made.place;
    let kind = match made.name() {
        "CrossEntropyLoss"
        | "cross_entropy"
        | "LabelSmoothingCrossEntropy"
        | "SoftTargetCrossEntropy" => "cross_entropy",
        "NLLLoss" | "nll_loss" => "cross_entropy",
        "BCEWithLogitsLoss"
        | "binary_cross_entropy_with_logits"
        | "BCELoss"
        | "binary_cross_entropy" => "binary_cross_entropy",
        name => {
            import.none(place, format!("the loss `{name}`"), "cross-entropy");
            "cross_entropy"
        }
    };
    import.recipe.set("train.loss", kind, place);
    fits_output(import, &made, network);
    let named = |name: &str| made.call.argument(name);
    if let Some(argument) = named("label_smoothing").or_else(|| named("smoothing"))
        && let Some(smoothing) = number(&argument.value).filter(|own| *own > 0.0)
    {
        import
            .recipe
            .set("train.label_smoothing", smoothing, argument.place);
    }
    let weight = named("weight").or_else(|| {
        let first = made.call.positional().next();
        first.filter(|_| !is_function)
    });
    if let Some(argument) = weight.filter(|own| own.value != Value::None) {
        class_weights(import, &argument.value, argument.place);
    }
    accumulated(import, run);
}

/// Reports an output that doesn't go with its loss.
fn fits_output(import: &mut Import<'_>, made: &Made<'_>, network: &Network<'_>) {
    let ends_in = network.ends_in.as_ref().map_or("", |(name, _)| name);
    let place = made.place;
    let what = match (made.name(), ends_in) {
        ("CrossEntropyLoss" | "cross_entropy", "softmax" | "logsoftmax" | "sigmoid") => {
            Some(format!(
                "`{}` has a softmax in it, and gets the result of a {ends_in}",
                made.name()
            ))
        }
        ("NLLLoss" | "nll_loss", name) if name != "logsoftmax" => Some(format!(
            "`{}` expects the logarithms of probabilities, and the network doesn't end in a \
             log-softmax",
            made.name()
        )),
        ("BCEWithLogitsLoss" | "binary_cross_entropy_with_logits", "sigmoid") => Some(format!(
            "`{}` has a sigmoid in it, and gets the result of one",
            made.name()
        )),
        ("BCELoss" | "binary_cross_entropy", "") if network.units.is_some() => Some(format!(
            "`{}` expects probabilities, and gets no sigmoid",
            made.name()
        )),
        _ => None,
    };
    if let Some(what) = what {
        let here = "the loss is computed on what the last layer gives, with the activation in it";
        let place = network.ends_in.as_ref().map_or(place, |(_, place)| *place);
        import.mistake(Mistake::LossAndActivation, place, what, here);
    }
}

/// Weights by number, whose classes aren't known, or computed ones.
fn class_weights(import: &mut Import<'_>, value: &Value, place: Place) {
    let trace = import.trace;
    let listed = weights_in(trace, value);
    match listed {
        Some(weights) => {
            let weights: Vec<_> = weights
                .iter()
                .enumerate()
                .map(|(class, weight)| format!("{class}: {weight}"))
                .collect();
            let what = format!("class weights by number: {}", weights.join(", "));
            let here = "numbers count the class folders in the order of their names, from 0: set \
                        `train.class_weights` by name";
            import.unclear(place, what, here);
        }
        None => {
            let what = format!(
                "class weights that are computed: `{}`",
                trace.describe(value)
            );
            let here =
                "`\"balanced\"`: images / (classes * images of the class), as most compute them";
            import.unclear(place, what, here);
            import.recipe.set("train.class_weights", "balanced", place);
        }
    }
}

/// Returns the numbers of a list, or of a tensor made of one.
fn weights_in(trace: &Trace, value: &Value) -> Option<Vec<f64>> {
    let mut value = root(trace, value);
    for _ in 0..4 {
        if let Some(values) = trace.sequence(&value) {
            return values.iter().map(number).collect();
        }
        let call = trace.call(&value)?;
        let is_tensor = ["tensor", "FloatTensor", "Tensor", "as_tensor", "array"];
        if !is_tensor.contains(&&*call.name) {
            return None;
        }
        value = call.positional().next()?.value.clone();
    }
    None
}

/// The number of batches that a loss is divided by.
fn accumulated(import: &mut Import<'_>, run: &Run<'_>) {
    let trace = import.trace;
    let found = trace.opaques[run.stretches[0].opaques.clone()]
        .iter()
        .find_map(|opaque| {
            let Origin::Computed {
                operation: "/",
                from,
            } = &opaque.origin
            else {
                return None;
            };
            match from[..] {
                [Value::Opaque(number), Value::Int(batches @ 2..=1024)]
                    if number == run.loss.number =>
                {
                    Some((batches, opaque.place))
                }
                _ => None,
            }
        });
    if let Some((batches, place)) = found {
        import.recipe.set("train.accumulate", batches, place);
    }
}
