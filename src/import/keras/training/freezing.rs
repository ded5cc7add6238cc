//! Which layers are frozen in which epochs: `trainable`, and several calls of `fit` as phases.

use notebook_reader::{Event, Object, Origin, Place, Value};
use toml::Table;

use super::optimizer;
use crate::import::{
    arguments::{Import, count},
    keras::{
        layers::Layers,
        network::{Base, Network},
        runs::{Fit, Run},
    },
    recipe::Line,
};

/// A part of the training between two calls of `compile`.
struct Phase {
    epochs: usize,
    freeze: Option<(String, Place)>,
    /// Its learning rate, and where.
    rate: Option<(f64, Place)>,
    place: Place,
}

/// Sets epochs, frozen layers and phases.
pub(in crate::import::keras) fn import(
    import: &mut Import<'_>,
    run: &Run<'_>,
    layers: &Layers,
    network: &Network,
) {
    let mut phases: Vec<Phase> = Vec::new();
    let mut total = 0;
    for (index, fit) in run.fits.iter().enumerate() {
        let epochs = epochs(import, fit, total);
        total += epochs;
        let is_same = index > 0 && compiled(&run.fits[index - 1]) == compiled(fit);
        if let Some(last) = phases.last_mut().filter(|_| is_same) {
            last.epochs += epochs;
            continue;
        }
        let freeze = network
            .base
            .as_ref()
            .and_then(|base| freeze(import, fit, run, layers, base));
        let compile = fit.compile.clone();
        let rate = compile.and_then(|compile| optimizer::rate_of(import, &compile.arguments));
        phases.push(Phase {
            epochs,
            freeze,
            rate,
            place: fit.arguments.place_of("epochs"),
        });
    }
    let first_rate = phases[0].rate.map(|(rate, _)| rate);
    if let [only] = &phases[..] {
        let is_given = run.fits.iter().any(|fit| fit.arguments.has("epochs"));
        if is_given {
            import
                .recipe
                .set("train.epochs", only.epochs as i64, only.place);
        } else {
            import
                .recipe
                .set_default("train.epochs", only.epochs as i64, only.place);
        }
        if let Some((freeze, place)) = &only.freeze {
            import.recipe.set("model.freeze", freeze.clone(), *place);
        }
        return;
    }
    let lines = phases.into_iter().map(|phase| {
        let mut table = Table::new();
        let freeze = phase.freeze.as_ref().map_or("none", |(freeze, _)| freeze);
        table.insert("epochs".to_owned(), (phase.epochs as i64).into());
        table.insert("freeze".to_owned(), freeze.into());
        if let Some((rate, _)) = phase.rate.filter(|(rate, _)| Some(*rate) != first_rate) {
            table.insert("learning_rate".to_owned(), rate.into());
        }
        Line::new(table, phase.place)
    });
    let lines = lines.collect();
    import.recipe.set_list("train.phases", lines);
}

fn compiled(fit: &Fit<'_>) -> Option<usize> {
    fit.compile.as_ref().map(|compile| compile.event)
}

/// Returns the number of epochs of a `fit`, after `done` epochs before it.
fn epochs(import: &mut Import<'_>, fit: &Fit<'_>, done: usize) -> usize {
    let arguments = &fit.arguments;
    let epochs = match import.count(arguments, "epochs") {
        Some(epochs) => epochs,
        None if arguments.has("epochs") => 30,
        None => 1,
    };
    let first = match arguments.value("initial_epoch") {
        None | Some(Value::None) => 0,
        // `history.epoch[-1]`, which is the last of those before.
        Some(value) => count(value).unwrap_or(done),
    };
    epochs.saturating_sub(first).max(1)
}

/// Returns what is frozen in a `fit`, as `model.freeze` has it, and where that is said.
fn freeze(
    import: &mut Import<'_>,
    fit: &Fit<'_>,
    run: &Run<'_>,
    layers: &Layers,
    base: &Base,
) -> Option<(String, Place)> {
    if !base.is_pretrained {
        return None;
    }
    // A change counts from the next `compile` on.
    let end = compiled(fit).unwrap_or(fit.event);
    let total = base.application.groups.last().copied().unwrap_or(1000);
    let mut trainable = vec![true; total];
    let mut place = base.place;
    for event in &import.trace.events[..end] {
        let Event::Set {
            of,
            name,
            value,
            place: at,
            is_certain,
        } = event
        else {
            continue;
        };
        let (true, Value::Bool(is_trainable)) = (&**name == "trainable", value) else {
            continue;
        };
        let Some((start, end)) = range(import, of, run, layers, base, total) else {
            continue;
        };
        if !is_certain {
            let text = import.trace.describe(of);
            let what = format!("a condition decides whether `{text}` is trained");
            import.unclear(*at, what, "it is passed over");
            continue;
        }
        place = *at;
        trainable[start..end].fill(*is_trainable);
    }
    let first = trainable
        .iter()
        .position(|trainable| *trainable)
        .unwrap_or(total);
    Some((named(import, first, total, base, place), place))
}

/// Returns the name of freezing the first layers of a network.
fn named(import: &mut Import<'_>, first: usize, total: usize, base: &Base, place: Place) -> String {
    if first == 0 {
        return "none".to_owned();
    }
    if first >= total {
        return "backbone".to_owned();
    }
    let groups = base.application.groups;
    let what = format!("the first {first} layers of `{}` are frozen", base.name);
    if groups.is_empty() {
        import.unclear(place, what, "the whole pretrained network is frozen");
        return "backbone".to_owned();
    }
    let (count, end) = std::iter::once(0)
        .chain(groups.iter().copied())
        .enumerate()
        .min_by_key(|(_, end)| end.abs_diff(first))
        .expect("there is a group");
    let name = match count {
        0 => "none".to_owned(),
        count if count == groups.len() => "backbone".to_owned(),
        count => format!("blocks:{count}"),
    };
    if end != first {
        import.differs(
            place,
            what,
            format!("the first {end} of {total}: whole layer groups"),
        );
    }
    name
}

/// Returns the layers of the pretrained network that a value stands for.
fn range(
    import: &mut Import<'_>,
    of: &Value,
    run: &Run<'_>,
    layers: &Layers,
    base: &Base,
    total: usize,
) -> Option<(usize, usize)> {
    let trace = import.trace;
    let is_base = |value: &Value| *value == Value::Opaque(base.number);
    if is_base(of) || *of == run.model {
        return Some((0, total));
    }
    let (sequence, index) = match &trace.opaque(of)?.origin {
        Origin::Element { of } => (of.clone(), Value::None),
        Origin::Item { of, index } => (of.clone(), index.clone()),
        Origin::Call(call) if &*call.name == "get_layer" => {
            let text = trace.describe(of);
            let place = trace.opaque(of)?.place;
            import.unclear(
                place,
                format!("which layer `{text}` is"),
                "it is passed over",
            );
            return None;
        }
        _ => return None,
    };
    let (list, index) = match &trace.opaque(&sequence)?.origin {
        Origin::Item { of, index } => (of.clone(), index.clone()),
        _ => (sequence, index),
    };
    let Origin::Attribute { of: owner, name } = &trace.opaque(&list)?.origin else {
        return None;
    };
    if &**name != "layers" {
        return None;
    }
    if is_base(owner) {
        return bounds(import, &index, total);
    }
    if *owner != run.model {
        return None;
    }
    let at = layers
        .layers
        .iter()
        .position(|layer| layer.number == base.number)?;
    if layers.layers[at].is_flat {
        let behind = layers.layers.len() - at - 1;
        let (start, end) = bounds(import, &index, total + behind)?;
        return Some((start.min(total), end.min(total)));
    }
    // A network in the network is one of its layers.
    let (start, end) = bounds(import, &index, layers.layers.len())?;
    (start..end).contains(&at).then_some((0, total))
}

/// Returns the start and end of an index or slice; all for `None`.
fn bounds(import: &Import<'_>, index: &Value, length: usize) -> Option<(usize, usize)> {
    let signed = i64::try_from(length).ok()?;
    let at = |value: &Value, default: i64| {
        let at = match value {
            Value::None => default,
            Value::Int(index) if *index < 0 => (index + signed).max(0),
            Value::Int(index) => (*index).min(signed),
            _ => return None,
        };
        usize::try_from(at).ok()
    };
    match (index, import.trace.object(index)) {
        (Value::None, _) => Some((0, length)),
        (Value::Int(_), _) => {
            let start = at(index, 0)?;
            Some((start, (start + 1).min(length)))
        }
        (_, Some(Object::Slice([start, stop, _]))) => {
            let start = at(start, 0)?;
            Some((start, at(stop, signed)?.max(start)))
        }
        _ => None,
    }
}
