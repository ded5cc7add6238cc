//! `[train.optimizer]`, and a schedule that Keras's optimizers have as their learning rate.

use notebook_reader::{Place, Trace, Value};

use crate::{
    config::KERAS_TRAINING,
    import::{
        arguments::{Bound, Import, number, row},
        keras::network::Network,
    },
};

/// Sets the optimizer of a `compile`.
pub(super) fn import<'t>(import: &mut Import<'t>, compile: &Bound<'t>, network: &Network) {
    let place = compile.place_of("optimizer");
    let value = compile.value("optimizer");
    let name = value.map_or("rmsprop".to_owned(), |value| name_of(import.trace, value));
    let kind = match &*name {
        "adam" | "sgd" | "rmsprop" | "adamw" => &*name,
        "nadam" | "adamax" | "adagrad" | "adadelta" | "ftrl" | "lion" | "adafactor" => {
            let here = if name == "adadelta" {
                "Adam at its default rate"
            } else {
                "Adam at the same rate"
            };
            import.none(place, format!("the optimizer `{name}`"), here);
            "adam"
        }
        other => {
            import.unclear(place, format!("the optimizer `{other}`"), "Adam");
            "adam"
        }
    };
    import.recipe.set("train.optimizer.kind", kind, place);
    let bound = value.and_then(|value| bind(import, value));
    match &bound {
        // Those of Adadelta are of another size.
        Some(bound) if bound.has("learning_rate") && name != "adadelta" => rate(import, bound),
        _ if ["rmsprop", "adadelta", "adagrad"].contains(&&*name) => {
            import
                .recipe
                .set_default("train.optimizer.learning_rate", 0.001, place);
        }
        _ => {}
    }
    if kind != "sgd" {
        epsilons(import, bound.as_ref(), kind, place);
    }
    if let Some(bound) = &bound {
        settings(import, bound, kind);
    }
    decay(import, bound.as_ref(), kind, network, place);
}

/// Returns the learning rate of a `compile`, and where it is.
pub(super) fn rate_of(import: &mut Import<'_>, compile: &Bound<'_>) -> Option<(f64, Place)> {
    let value = compile.value("optimizer")?;
    let place = compile.place_of("optimizer");
    let Some(bound) = bind(import, value) else {
        let default = match &*name_of(import.trace, value) {
            "sgd" => 0.01,
            _ => 0.001,
        };
        return Some((default, place));
    };
    match bound.value("learning_rate") {
        Some(value) => Some((number(value)?, bound.place_of("learning_rate"))),
        None => Some((if bound.name == "SGD" { 0.01 } else { 0.001 }, place)),
    }
}

fn name_of(trace: &Trace, value: &Value) -> String {
    match value {
        Value::Str(name) | Value::Name(name) => {
            name.rsplit('.').next().unwrap_or_default().to_lowercase()
        }
        value => match trace.call(value) {
            Some(call) => call.name.to_lowercase(),
            None => trace.describe(value),
        },
    }
}

fn bind<'t>(import: &mut Import<'t>, value: &Value) -> Option<Bound<'t>> {
    let Value::Opaque(number) = *value else {
        return None;
    };
    import.trace.call_numbered(number)?;
    let table = row(KERAS_TRAINING, "Adam").expect("the table has optimizers");
    Some(import.bind(number, table))
}

fn rate<'t>(import: &mut Import<'t>, bound: &Bound<'t>) {
    const KEY: &str = "train.optimizer.learning_rate";
    let place = bound.place_of("learning_rate");
    let schedule = bound
        .value("learning_rate")
        .and_then(|value| import.trace.call(value));
    let Some(schedule) = schedule else {
        if let Some(rate) = import.number(bound, "learning_rate") {
            import.recipe.set(KEY, rate, place);
        }
        return;
    };
    let argument = |at: usize, name: &str| {
        let found = schedule
            .argument(name)
            .or_else(|| schedule.positional().nth(at));
        found.and_then(|argument| number(&argument.value))
    };
    let first = argument(0, "initial_learning_rate");
    if let Some(first) = first {
        import.recipe.set(KEY, first, place);
    }
    match &*schedule.name {
        "CosineDecay" => {
            import.recipe.set("train.schedule.kind", "cosine", place);
            if let (Some(share), Some(first)) = (argument(2, "alpha"), first)
                && share > 0.0
            {
                // Kept from the noise of binary fractions.
                let least = (share * first * 1e12).round() / 1e12;
                import.recipe.set("train.schedule.min_lr", least, place);
            }
            let what = "`CosineDecay` over so many steps";
            import.differs(place, what, "over all epochs");
        }
        name => {
            let what = format!("the schedule `{name}`, which counts steps");
            let here = "a constant rate; `train.schedule` has others";
            import.none(place, what, here);
        }
    }
}

/// Keras's defaults where ours are PyTorch's.
fn epsilons(import: &mut Import<'_>, bound: Option<&Bound<'_>>, kind: &str, place: Place) {
    let default = |import: &mut Import<'_>, name: &str, key: &str, value: f64| {
        let given = bound.filter(|bound| bound.has(name));
        let found = given.and_then(|bound| import.number(bound, name));
        match (found, given) {
            (Some(found), Some(bound)) => import.recipe.set(key, found, bound.place_of(name)),
            _ => import.recipe.set_default(key, value, place),
        }
    };
    if kind == "rmsprop" {
        default(import, "rho", "train.optimizer.alpha", 0.9);
    }
    default(import, "epsilon", "train.optimizer.epsilon", 1e-7);
}

fn settings<'t>(import: &mut Import<'t>, bound: &Bound<'t>, kind: &str) {
    if kind.starts_with("adam") && (bound.has("beta_1") || bound.has("beta_2")) {
        let betas = [("beta_1", 0.9), ("beta_2", 0.999)]
            .map(|(name, default)| bound.value(name).and_then(number).unwrap_or(default));
        let place = bound.place_of(if bound.has("beta_1") {
            "beta_1"
        } else {
            "beta_2"
        });
        import
            .recipe
            .set("train.optimizer.betas", betas.to_vec(), place);
    }
    if ["sgd", "rmsprop"].contains(&kind)
        && let Some(momentum) = import.number(bound, "momentum").filter(|own| *own > 0.0)
    {
        import.recipe.set(
            "train.optimizer.momentum",
            momentum,
            bound.place_of("momentum"),
        );
        if kind == "sgd" && import.truth(bound, "nesterov") == Some(true) {
            import
                .recipe
                .set("train.optimizer.nesterov", true, bound.place_of("nesterov"));
        }
    }
    if let Some(norm) = import.number(bound, "global_clipnorm") {
        import
            .recipe
            .set("train.clip_norm", norm, bound.place_of("global_clipnorm"));
    }
    if bound.value("use_ema") == Some(&Value::Bool(true)) {
        let decay = bound.value("ema_momentum").and_then(number).unwrap_or(0.99);
        import
            .recipe
            .set("train.ema_decay", decay, bound.place_of("use_ema"));
    }
    if let Some(batches) = import.count(bound, "gradient_accumulation_steps") {
        let place = bound.place_of("gradient_accumulation_steps");
        import.recipe.set("train.accumulate", batches as i64, place);
    }
}

/// Weight decay, or a regularizer that is the same.
fn decay(
    import: &mut Import<'_>,
    bound: Option<&Bound<'_>>,
    kind: &str,
    network: &Network,
    optimizer: Place,
) {
    const KEY: &str = "train.optimizer.weight_decay";
    let given = bound.filter(|bound| bound.has("weight_decay"));
    if let Some(bound) = given
        && let Some(decay) = import.number(bound, "weight_decay")
    {
        return import
            .recipe
            .set(KEY, decay, bound.place_of("weight_decay"));
    }
    if let Some((factor, place)) = network.decay {
        let what = format!("L2 regularization of {factor} of some layers");
        if kind == "adamw" {
            return import.none(
                place,
                what,
                "`adamw` decays weights apart from the gradient",
            );
        }
        import
            .recipe
            .set_noted(KEY, 2.0 * factor, place, "twice the factor of L2");
        import.differs(place, what, "of all layers, as weight decay");
    } else if kind == "adamw" {
        import.recipe.set_default(KEY, 0.004, optimizer);
    }
}
