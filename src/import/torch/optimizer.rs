//! Optimizer and schedule.

use notebook_reader::{Event, Origin, Place, Trace, Value};

use super::{
    calls::{Made, maker},
    training::{Run, Stretch},
};
use crate::import::{
    arguments::{Import, number},
    findings::Kind,
};

const OPTIMIZERS: [&str; 12] = [
    "SGD", "Adam", "AdamW", "RMSprop", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "Rprop",
    "LBFGS", "Lion",
];

const SCHEDULES: [&str; 11] = [
    "StepLR",
    "MultiStepLR",
    "ExponentialLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "LambdaLR",
    "LinearLR",
    "PolynomialLR",
    "CyclicLR",
];

const KEY: &str = "train.optimizer";

/// Sets optimizer and schedule, those of the first loop; phases have their own rates.
pub(super) fn import(import: &mut Import<'_>, run: &Run<'_>) {
    let trace = import.trace;
    let first = &run.stretches[0];
    let Some(made) = stepped(trace, first, &OPTIMIZERS) else {
        let what = "the optimizer";
        return import.unclear(run.place(), what, "Adam, the default");
    };
    let kind = kind(import, &made);
    import.recipe.set(&format!("{KEY}.kind"), kind, made.place);
    learning_rate(import, &made);
    settings(import, &made, kind);
    if let Some(groups) = made.value(0, "params")
        && trace
            .sequence(groups)
            .is_some_and(|groups| groups.len() > 1)
    {
        let what = "groups of parameters with rates of their own";
        let here = "one rate; `layer_factor` of `[[train.phases]]` has a ratio of layer groups";
        import.none(made.place_of(0, "params"), what, here);
    }
    if let Some(schedule) = stepped(trace, run.last(), &SCHEDULES) {
        self::schedule(import, run, &schedule);
    }
}

/// Returns the optimizer or schedule whose `step` is called in a loop.
pub(super) fn stepped<'t>(trace: &'t Trace, stretch: &Stretch, names: &[&str]) -> Option<Made<'t>> {
    trace.events[stretch.events.clone()]
        .iter()
        .find_map(|event| {
            let Event::Call { number, .. } = *event else {
                return None;
            };
            let step = Made::of(trace, number).filter(|made| made.name() == "step")?;
            // `scaler.step(optimizer)`.
            let given = step.value(0, "optimizer");
            let of = trace.receiver(step.call).into_iter().chain(given);
            of.filter_map(|value| maker(trace, value))
                .find(|made| names.contains(&made.name()))
        })
}

/// Returns the learning rate of a loop, and where it is.
pub(super) fn rate_of(trace: &Trace, stretch: &Stretch) -> Option<(f64, Place)> {
    let made = stepped(trace, stretch, &OPTIMIZERS)?;
    Some((made.number_of(1, "lr")?, made.place_of(1, "lr")))
}

fn kind(import: &mut Import<'_>, made: &Made<'_>) -> &'static str {
    match made.name() {
        "SGD" => "sgd",
        "Adam" => "adam",
        "AdamW" => "adamw",
        "RMSprop" => "rmsprop",
        name => {
            let here = if has_other_rates(name) {
                "Adam at its default rate"
            } else {
                "Adam at the same rate"
            };
            import.none(made.place, format!("the optimizer `{name}`"), here);
            "adam"
        }
    }
}

/// Returns whether an optimizer's learning rates are of another size than Adam's.
fn has_other_rates(name: &str) -> bool {
    ["Adadelta", "Rprop", "LBFGS"].contains(&name)
}

fn learning_rate(import: &mut Import<'_>, made: &Made<'_>) {
    let key = format!("{KEY}.learning_rate");
    let place = made.place_of(1, "lr");
    if has_other_rates(made.name()) {
        return;
    }
    if let Some(rate) = made.number_of(1, "lr") {
        return import.recipe.set(&key, rate, place);
    }
    if let Some(value) = made.value(1, "lr") {
        let text = import.trace.describe(value);
        return import.unclear(place, format!("the learning rate `{text}`"), "the default");
    }
    let default = match made.name() {
        "RMSprop" | "Adagrad" => 0.01,
        _ => 0.001,
    };
    let note = "PyTorch's default";
    import.recipe.set_noted(&key, default, place, note);
}

fn settings(import: &mut Import<'_>, made: &Made<'_>, kind: &str) {
    let trace = import.trace;
    // Positions, 0 where an optimizer hasn't got it.
    let (momentum, decay) = match kind {
        "sgd" => (2, 4),
        "rmsprop" => (5, 4),
        _ => (usize::MAX, 4),
    };
    if let Some(own) = made
        .number_of(momentum, "momentum")
        .filter(|own| *own > 0.0)
        && momentum != usize::MAX
    {
        let place = made.place_of(momentum, "momentum");
        import.recipe.set(&format!("{KEY}.momentum"), own, place);
        if kind == "sgd" && made.is(5, "nesterov") {
            let place = made.place_of(5, "nesterov");
            import.recipe.set(&format!("{KEY}.nesterov"), true, place);
        }
    }
    if let Some(own) = made.number_of(decay, "weight_decay") {
        let place = made.place_of(decay, "weight_decay");
        import
            .recipe
            .set(&format!("{KEY}.weight_decay"), own, place);
        if own > 0.0 {
            let what = "weight decay of all parameters";
            import.differs(place, what, "not of biases and norms");
        }
    }
    if kind.starts_with("adam")
        && let Some(betas) = made.pair_of(trace, 2, "betas", |own| [own, own])
    {
        let place = made.place_of(2, "betas");
        import
            .recipe
            .set(&format!("{KEY}.betas"), betas.to_vec(), place);
    }
    if kind == "rmsprop"
        && let Some(alpha) = made.number_of(2, "alpha")
    {
        let place = made.place_of(2, "alpha");
        import.recipe.set(&format!("{KEY}.alpha"), alpha, place);
    }
    if kind != "sgd"
        && let Some(epsilon) = made.number_of(3, "eps")
    {
        let place = made.place_of(3, "eps");
        import.recipe.set(&format!("{KEY}.epsilon"), epsilon, place);
    }
}

fn schedule(import: &mut Import<'_>, run: &Run<'_>, made: &Made<'_>) {
    const KEY: &str = "train.schedule";
    let place = made.place;
    let kind = |import: &mut Import<'_>, name: &str| {
        import.recipe.set(&format!("{KEY}.kind"), name, place);
    };
    match made.name() {
        "StepLR" => {
            kind(import, "step");
            let every = made.count_of(1, "step_size").unwrap_or(1) as i64;
            let factor = made.number_of(2, "gamma").unwrap_or(0.1);
            import.recipe.set(
                &format!("{KEY}.every_epochs"),
                every,
                made.place_of(1, "step_size"),
            );
            import
                .recipe
                .set(&format!("{KEY}.factor"), factor, made.place_of(2, "gamma"));
        }
        "ExponentialLR" => {
            kind(import, "exponential");
            let factor = made.number_of(1, "gamma").unwrap_or(0.9);
            import
                .recipe
                .set(&format!("{KEY}.factor"), factor, made.place_of(1, "gamma"));
        }
        "CosineAnnealingLR" => {
            kind(import, "cosine");
            if let Some(least) = made.number_of(2, "eta_min").filter(|own| *own > 0.0) {
                import
                    .recipe
                    .set(&format!("{KEY}.min_lr"), least, made.place_of(2, "eta_min"));
            }
            let period = made.count_of(1, "T_max");
            if period.is_none() || period != run.last().epochs {
                import.differs(place, "`CosineAnnealingLR` over `T_max`", "over all epochs");
            }
        }
        "CosineAnnealingWarmRestarts" => {
            kind(import, "cosine");
            let what = "`CosineAnnealingWarmRestarts`";
            import.none(place, what, "one cosine over all epochs");
        }
        "OneCycleLR" => one_cycle(import, made),
        "ReduceLROnPlateau" => plateau(import, made),
        name => {
            let what = format!("the schedule `{name}`");
            let here = "a constant rate; `train.schedule` has others";
            import
                .findings
                .add(Kind::NoCounterpart, Some(place), what, here);
        }
    }
}

fn one_cycle(import: &mut Import<'_>, made: &Made<'_>) {
    let place = made.place;
    import.recipe.set("train.schedule.kind", "one_cycle", place);
    if let Some(rate) = made.number_of(1, "max_lr") {
        let key = "train.optimizer.learning_rate";
        import.recipe.set(key, rate, made.place_of(1, "max_lr"));
    }
    for name in ["pct_start", "div_factor", "final_div_factor"] {
        if let Some(argument) = made.call.argument(name)
            && let Some(value) = number(&argument.value)
        {
            import
                .recipe
                .set(&format!("train.schedule.{name}"), value, argument.place);
        }
    }
}

fn plateau(import: &mut Import<'_>, made: &Made<'_>) {
    let place = made.place;
    import.recipe.set("train.schedule.kind", "plateau", place);
    let is_max = matches!(made.value(1, "mode"), Some(Value::Str(mode)) if &**mode == "max");
    let monitor = if is_max { "val_accuracy" } else { "val_loss" };
    let at = made.place_of(1, "mode");
    import.recipe.set("train.schedule.monitor", monitor, at);
    let factor = made.number_of(2, "factor").unwrap_or(0.1);
    let patience = made.count_of(3, "patience").unwrap_or(10) as i64;
    let at = made.place_of(2, "factor");
    import.recipe.set("train.schedule.factor", factor, at);
    let at = made.place_of(3, "patience");
    import.recipe.set("train.schedule.patience", patience, at);
    if let Some(argument) = made.call.argument("min_lr")
        && let Some(least) = number(&argument.value)
    {
        import
            .recipe
            .set("train.schedule.min_lr", least, argument.place);
    }
}

/// Returns the networks or parts whose parameters an optimizer gets.
pub(super) fn parameters(trace: &Trace, stretch: &Stretch) -> Vec<Value> {
    let Some(made) = stepped(trace, stretch, &OPTIMIZERS) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if let Some(value) = made.value(0, "params") {
        trace.any(value, &mut |value| {
            if let Some(opaque) = trace.opaque(value)
                && let Origin::Call(call) = &opaque.origin
                && ["parameters", "named_parameters"].contains(&&*call.name)
                && let Some(of) = trace.receiver(call)
            {
                found.push(of.clone());
            }
            false
        });
    }
    found
}
