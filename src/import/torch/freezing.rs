//! Which layers are frozen in which loop: `requires_grad`, and what the optimizer gets.

use notebook_reader::{Event, Origin, Place, Trace, Value};
use toml::Table;

use super::{
    calls::root,
    described::{Base, Network},
    optimizer,
    training::{Run, Stretch},
};
use crate::import::{arguments::Import, recipe::Line};

/// Networks without batch norms.
const WITHOUT_NORMS: [&str; 5] = [
    "vgg16",
    "vgg19",
    "squeezenet1_1",
    "convnext_tiny",
    "dinov2_s",
];

/// Epochs of a phase whose own number isn't known.
const EPOCHS: usize = 10;

/// Sets epochs, frozen layers and phases.
pub(super) fn import(import: &mut Import<'_>, run: &Run<'_>, network: &Network<'_>) {
    let mut phases = Vec::new();
    for stretch in &run.stretches {
        let base = network.base.as_ref().filter(|base| base.is_pretrained);
        let freeze = base.map(|base| frozen(import, stretch, base));
        phases.push((stretch, freeze));
    }
    if let Some(base) = &network.base
        && base.is_pretrained
        && !WITHOUT_NORMS.contains(&base.architecture.name())
        && phases
            .iter()
            .any(|(_, freeze)| freeze.as_ref().is_some_and(|(name, _)| name != "backbone"))
    {
        let place = phases[0]
            .1
            .as_ref()
            .map_or(run.place(), |(_, place)| *place);
        let note = "batch norms are trained, as PyTorch does";
        import
            .recipe
            .set_noted("model.freeze_norms", false, place, note);
    }
    if let [(only, freeze)] = &phases[..] {
        match only.epochs {
            Some(epochs) => import.recipe.set("train.epochs", epochs as i64, only.place),
            None => {
                let what = "the number of epochs";
                import.unclear(only.place, what, "30, the default of `train.epochs`");
            }
        }
        if let Some((freeze, place)) = freeze {
            import.recipe.set("model.freeze", freeze.clone(), *place);
        }
        return;
    }
    for (stretch, _) in phases.iter().filter(|(own, _)| own.epochs.is_none()) {
        let what = "the number of epochs of a loop";
        import.unclear(stretch.place, what, format!("{EPOCHS} in its phase"));
    }
    let first = optimizer::rate_of(import.trace, &run.stretches[0]).map(|(rate, _)| rate);
    let lines = phases.into_iter().map(|(stretch, freeze)| {
        let mut table = Table::new();
        let freeze = freeze.map_or_else(|| "none".to_owned(), |(freeze, _)| freeze);
        let epochs = stretch.epochs.unwrap_or(EPOCHS) as i64;
        table.insert("epochs".to_owned(), epochs.into());
        table.insert("freeze".to_owned(), freeze.into());
        let rate = optimizer::rate_of(import.trace, stretch);
        if let Some((rate, _)) = rate.filter(|(rate, _)| Some(*rate) != first) {
            table.insert("learning_rate".to_owned(), rate.into());
        }
        Line::new(table, stretch.place)
    });
    let lines = lines.collect();
    import.recipe.set_list("train.phases", lines);
}

/// What is trained of a pretrained network.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    All,
    /// A layer group of a ResNet, counted from 1.
    Group(usize),
    Head,
}

/// Returns what is frozen in a loop, as `model.freeze` has it, and where that is said.
fn frozen(import: &mut Import<'_>, stretch: &Stretch, base: &Base<'_>) -> (String, Place) {
    let trace = import.trace;
    // Whether the first layers and each of the four groups of a ResNet are trained.
    let mut is_trained = [true; 5];
    let mut place = base.made.place;
    for event in &trace.events[..stretch.events.start] {
        let Some((of, is_on, at, is_certain)) = change(trace, event) else {
            continue;
        };
        let Some(part) = part(trace, &of, base) else {
            continue;
        };
        if part == Part::Head {
            continue;
        }
        if !is_certain {
            let what = "a condition decides which layers are trained";
            import.unclear(at, what, "the whole pretrained network is frozen");
            is_trained = [false; 5];
            place = at;
            continue;
        }
        place = at;
        match part {
            Part::Group(group) => is_trained[group] = is_on,
            _ => is_trained = [is_on; 5],
        }
    }
    // An optimizer of the head alone leaves the rest as it is.
    let given = optimizer::parameters(trace, stretch);
    let parts: Vec<Part> = given
        .iter()
        .filter_map(|of| part(trace, of, base))
        .collect();
    if !parts.is_empty() && parts.iter().all(|part| *part == Part::Head) {
        return ("backbone".to_owned(), place);
    }
    let first = is_trained.iter().position(|trained| *trained);
    let name = match first {
        None => "backbone".to_owned(),
        Some(0) => "none".to_owned(),
        Some(groups) => format!("blocks:{groups}"),
    };
    (name, place)
}

/// Returns the parameters whose `requires_grad` an event sets, to what, where, and whether it is
/// certain.
fn change(trace: &Trace, event: &Event) -> Option<(Value, bool, Place, bool)> {
    match event {
        Event::Set {
            of,
            name,
            value: Value::Bool(is_on),
            place,
            is_certain,
        } if &**name == "requires_grad" => Some((owner(trace, of)?, *is_on, *place, *is_certain)),
        Event::Call { number, is_certain } => {
            let call = trace.call_numbered(*number)?;
            if &*call.name != "requires_grad_" {
                return None;
            }
            let is_on = !matches!(
                call.arguments.first().map(|argument| &argument.value),
                Some(Value::Bool(false))
            );
            let of = trace.receiver(call)?;
            let of = owner(trace, of).unwrap_or_else(|| of.clone());
            Some((of, is_on, trace.opaques[*number].place, *is_certain))
        }
        _ => None,
    }
}

/// Returns the network or layer that a parameter is an element of.
fn owner(trace: &Trace, parameter: &Value) -> Option<Value> {
    let mut found = None;
    trace.any(parameter, &mut |value| {
        if let Some(call) = trace.call(value)
            && ["parameters", "named_parameters", "children", "modules"].contains(&&*call.name)
        {
            found = found.take().or_else(|| trace.receiver(call).cloned());
        }
        found.is_some()
    });
    found
}

/// Returns which part of the pretrained network a value is.
fn part(trace: &Trace, value: &Value, base: &Base<'_>) -> Option<Part> {
    let own = Value::Opaque(base.made.number);
    let value = root(trace, value);
    if value == own {
        return Some(Part::All);
    }
    if matches!(value, Value::Object(_)) {
        // An object of a class with the network in it.
        return Some(Part::All);
    }
    let mut value = value;
    for _ in 0..8 {
        let (of, name) = match &trace.opaque(&value)?.origin {
            Origin::Attribute { of, name } => (of.clone(), Some(name.clone())),
            Origin::Item { of, .. } => (of.clone(), None),
            _ => return None,
        };
        if root(trace, &of) == own {
            return Some(match name.as_deref() {
                Some("fc" | "_fc" | "classifier" | "head" | "heads") => Part::Head,
                Some("layer1") => Part::Group(1),
                Some("layer2") => Part::Group(2),
                Some("layer3") => Part::Group(3),
                Some("layer4") => Part::Group(4),
                _ => Part::All,
            });
        }
        value = root(trace, &of);
    }
    None
}
