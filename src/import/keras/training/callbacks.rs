//! Callbacks: early stopping, checkpoints and schedules.

use notebook_reader::{Argument, Object, Place, Trace, Value};

use crate::{
    config::{KERAS_TRAINING, Metric},
    import::{
        arguments::{Bound, Import, number, row},
        findings::Mistake,
        keras::runs::Run,
    },
};

pub(super) fn import<'t>(import: &mut Import<'t>, run: &Run<'t>) {
    let trace = import.trace;
    let mut done: Vec<Value> = Vec::new();
    for fit in run.fits.iter().rev() {
        let Some(argument) = fit.arguments.get("callbacks") else {
            continue;
        };
        let values = match trace.sequence(&argument.value) {
            Some(values) => values.to_vec(),
            None if argument.value == Value::None => Vec::new(),
            None => vec![argument.value.clone()],
        };
        for value in values {
            if !done.contains(&value) {
                callback(import, run, &value, argument);
                done.push(value);
            }
        }
    }
    if !import.recipe.has("train.checkpoint.monitor") {
        let what = "the weights of the last epoch are kept";
        let here = "`best/` has those of the epoch with the best val_accuracy, `last/` the last";
        import.differs(run.place(), what, here);
    }
}

fn callback<'t>(import: &mut Import<'t>, run: &Run<'t>, value: &Value, argument: &Argument) {
    const WITHOUT: [&str; 5] = [
        "CSVLogger",
        "TerminateOnNaN",
        "ProgbarLogger",
        "History",
        "BackupAndRestore",
    ];
    let trace = import.trace;
    let own = trace.object(value);
    if let Some(Object::Instance { .. }) = own {
        let what = format!("a callback of its own: `{}`", trace.describe(value));
        return import.none(argument.place, what, "it is left out");
    }
    let (Value::Opaque(number), Some(call)) = (value, trace.call(value)) else {
        let what = format!("a callback: `{}`", trace.describe(value));
        return import.unclear(argument.place, what, "it is left out");
    };
    let name = &*call.name;
    let Some(table) = row(KERAS_TRAINING, name) else {
        if !WITHOUT.contains(&name) {
            let place = trace.opaques[*number].place;
            import.none(place, format!("the callback `{name}`"), "it is left out");
        }
        return;
    };
    let bound = import.bind(*number, table);
    match name {
        "EarlyStopping" => early_stopping(import, run, &bound),
        "ModelCheckpoint" => checkpoint(import, &bound),
        "ReduceLROnPlateau" => plateau(import, &bound),
        "LearningRateScheduler" => scheduler(import, run, &bound),
        "TensorBoard" => import.recipe.set("train.tensorboard", true, bound.place),
        _ => {}
    }
}

/// Returns the metric that a callback watches, under the name that it has here.
fn monitor<'t>(import: &mut Import<'t>, bound: &Bound<'t>) -> String {
    let place = bound.place_of("monitor");
    let name = import.text(bound, "monitor").unwrap_or("val_loss");
    let here = match name {
        "acc" | "categorical_accuracy" | "binary_accuracy" | "sparse_categorical_accuracy" => {
            "accuracy"
        }
        "val_acc"
        | "val_categorical_accuracy"
        | "val_binary_accuracy"
        | "val_sparse_categorical_accuracy" => "val_accuracy",
        name => name,
    };
    if here.parse::<Metric>().is_err() {
        let what = format!("`{}` watches `{name}`", bound.name);
        import.none(place, what, "val_loss");
        return "val_loss".to_owned();
    }
    let is_wrong = match bound.value("mode") {
        Some(Value::Str(mode)) => match &**mode {
            "min" => !here.ends_with("loss"),
            "max" => here.ends_with("loss"),
            _ => false,
        },
        _ => false,
    };
    if is_wrong {
        let what = format!(
            "`{}` takes the worst {name} for the best, by its `mode`",
            bound.name
        );
        let here = "which way is better belongs to the metric";
        import.mistake(Mistake::WrongDirection, bound.place_of("mode"), what, here);
    }
    if !here.starts_with("val_") {
        let what = format!("`{}` watches `{name}`, of the training images", bound.name);
        let advice = format!("as in the notebook; `val_{here}` tells what was learned");
        import.mistake(Mistake::WatchesTraining, place, what, advice);
    }
    here.to_owned()
}

fn early_stopping<'t>(import: &mut Import<'t>, run: &Run<'t>, bound: &Bound<'t>) {
    const SECTION: &str = "train.early_stopping";
    let key = |name: &str| format!("{SECTION}.{name}");
    let monitor = monitor(import, bound);
    import
        .recipe
        .set(&key("monitor"), monitor.clone(), bound.place_of("monitor"));
    match import.count(bound, "patience") {
        Some(patience) => {
            let place = bound.place_of("patience");
            import.recipe.set(&key("patience"), patience as i64, place);
            let epochs = run.last().arguments.value("epochs").and_then(number);
            if epochs.is_some_and(|epochs| patience as f64 >= epochs) {
                let what = format!("a patience of {patience} never ends a training this short");
                import.mistake(Mistake::WithoutEffect, place, what, "as in the notebook");
            }
        }
        None => import.recipe.set_default(&key("patience"), 0, bound.place),
    }
    for name in ["min_delta", "baseline"] {
        if let Some(value) = import.number(bound, name).filter(|value| *value != 0.0) {
            import
                .recipe
                .set(&key(name), value.abs(), bound.place_of(name));
        }
    }
    if let Some(epochs) = import
        .count(bound, "start_from_epoch")
        .filter(|own| *own > 0)
    {
        let place = bound.place_of("start_from_epoch");
        import
            .recipe
            .set(&key("start_from_epoch"), epochs as i64, place);
    }
    let restores = bound.value("restore_best_weights");
    if restores != Some(&Value::Bool(true)) && !reloads(import.trace) {
        let what = "`EarlyStopping` without `restore_best_weights` keeps the weights of the last \
                    epoch, not of the best";
        let here = format!("`best/` has the weights of the epoch with the best {monitor}");
        import.mistake(Mistake::LastWeightsKept, bound.place, what, here);
    }
    if !import.recipe.has("train.checkpoint.monitor") {
        let place = bound.place_of("monitor");
        import
            .recipe
            .set("train.checkpoint.monitor", monitor, place);
    }
}

/// Returns whether weights are read back after the training.
fn reloads(trace: &Trace) -> bool {
    trace
        .calls()
        .any(|call| ["load_weights", "load_model"].contains(&&*call.name))
}

fn checkpoint<'t>(import: &mut Import<'t>, bound: &Bound<'t>) {
    let monitor = monitor(import, bound);
    import.recipe.set(
        "train.checkpoint.monitor",
        monitor,
        bound.place_of("monitor"),
    );
    if let Some(Value::Int(steps)) = bound.value("save_freq") {
        let place = bound.place_of("save_freq");
        import
            .recipe
            .set("train.checkpoint.every_steps", *steps, place);
    }
}

fn plateau<'t>(import: &mut Import<'t>, bound: &Bound<'t>) {
    let key = |name: &str| format!("train.schedule.{name}");
    import.recipe.set(&key("kind"), "plateau", bound.place);
    let monitor = monitor(import, bound);
    import
        .recipe
        .set(&key("monitor"), monitor, bound.place_of("monitor"));
    for name in ["factor", "min_delta", "min_lr"] {
        if let Some(value) = import.number(bound, name) {
            import.recipe.set(&key(name), value, bound.place_of(name));
        }
    }
    for name in ["patience", "cooldown"] {
        if let Some(value) = import.count(bound, name) {
            import
                .recipe
                .set(&key(name), value as i64, bound.place_of(name));
        }
    }
    let least = bound.value("min_lr").and_then(number).unwrap_or_default();
    let rate = import
        .recipe
        .number("train.optimizer.learning_rate")
        .unwrap_or(0.001);
    if least >= rate {
        let what = format!("a `min_lr` of {least} is not below the rate of {rate}");
        let here = "as in the notebook: the rate never falls";
        import.mistake(Mistake::WithoutEffect, bound.place_of("min_lr"), what, here);
    }
}

/// A function of the epoch: computed for the epochs, and recognized where it is one of a recipe's.
fn scheduler(import: &mut Import<'_>, run: &Run<'_>, bound: &Bound<'_>) {
    let place = bound.place_of("schedule");
    let epochs = run
        .last()
        .arguments
        .value("epochs")
        .and_then(number)
        .unwrap_or(1.0) as usize;
    let results = bound
        .get("schedule")
        .map_or(&[][..], |argument| &argument.results);
    let rates: Option<Vec<f64>> = results.iter().take(epochs).map(number).collect();
    match rates.as_deref().map(recognized) {
        Some(Some(Rule::Constant(rate))) => set_rate(import, rate, place),
        Some(Some(Rule::Step(rate, every, factor))) => {
            set_rate(import, rate, place);
            import.recipe.set("train.schedule.kind", "step", place);
            import
                .recipe
                .set("train.schedule.every_epochs", every as i64, place);
            import.recipe.set("train.schedule.factor", factor, place);
        }
        _ => {
            let text = bound
                .value("schedule")
                .map_or(String::new(), |own| import.trace.describe(own));
            let what = format!("the schedule `{text}`");
            let here = "a constant rate; `train.schedule` has others";
            import.none(place, what, here);
        }
    }
}

/// A rate of 1 stands for that of the optimizer, which the function got as its second parameter.
fn set_rate(import: &mut Import<'_>, rate: f64, place: Place) {
    if rate != 1.0 {
        import
            .recipe
            .set("train.optimizer.learning_rate", rate, place);
    }
}

/// The rules of `train.schedule` that a function of the epoch can be.
#[derive(Debug, PartialEq)]
enum Rule {
    Constant(f64),
    /// The first rate, the number of epochs at one rate, and the factor after them.
    Step(f64, usize, f64),
}

fn recognized(rates: &[f64]) -> Option<Rule> {
    let first = *rates.first()?;
    let is_near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
    let Some(every) = rates.iter().position(|rate| !is_near(*rate, first)) else {
        return Some(Rule::Constant(first));
    };
    let factor = rates[every] / first;
    let fits = rates.iter().enumerate().all(|(epoch, rate)| {
        let times = i32::try_from(epoch / every).unwrap_or(i32::MAX);
        is_near(*rate, first * factor.powi(times))
    });
    // Rounded as people write it.
    let factor = (factor * 1e6).round() / 1e6;
    (fits && factor > 0.0 && factor < 1.0).then_some(Rule::Step(first, every, factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_epoch_are_recognized() {
        for (rates, expected) in [
            (vec![0.1, 0.1, 0.1], Some(Rule::Constant(0.1))),
            (
                vec![0.1, 0.1, 0.05, 0.05, 0.025],
                Some(Rule::Step(0.1, 2, 0.5)),
            ),
            (vec![1.0, 0.9, 0.81, 0.729], Some(Rule::Step(1.0, 1, 0.9))),
            (vec![0.1, 0.1, 0.05, 0.025], None),
            (vec![0.1, 0.2, 0.4], None),
            (vec![], None),
        ] {
            assert_eq!(recognized(&rates), expected, "{rates:?}");
        }
    }
}
