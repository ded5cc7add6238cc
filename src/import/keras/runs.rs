//! Which network a notebook trains: the calls of `fit` on one model, and its `compile`.

use notebook_reader::{Event, Object, Place, Value};

use super::sources::{self, Source};
use crate::{
    config::KERAS_TRAINING,
    import::{
        arguments::{Bound, Import, row},
        error::ImportError,
    },
};

/// Calls that make a model.
const MODELS: [&str; 6] = [
    "Sequential",
    "Model",
    "Functional",
    "load_model",
    "clone_model",
    "model_from_json",
];

/// The training of a network.
pub(super) struct Run<'t> {
    /// The network.
    pub(super) model: Value,
    /// Its calls of `fit`, one after the other.
    pub(super) fits: Vec<Fit<'t>>,
}

/// A call of `fit`.
pub(super) struct Fit<'t> {
    /// Its place among all events.
    pub(super) event: usize,
    pub(super) arguments: Bound<'t>,
    /// What it trains on.
    pub(super) source: Source<'t>,
    /// The last `compile` before it.
    pub(super) compile: Option<Compile<'t>>,
}

/// A call of `compile`.
#[derive(Clone)]
pub(super) struct Compile<'t> {
    /// Its place among all events.
    pub(super) event: usize,
    pub(super) arguments: Bound<'t>,
}

impl<'t> Run<'t> {
    /// Returns the last call of `fit`, whose arguments hold for what isn't said by phases.
    pub(super) fn last(&self) -> &Fit<'t> {
        self.fits.last().expect("a run has a fit")
    }

    pub(super) fn place(&self) -> Place {
        self.last().arguments.place
    }
}

/// Finds what is trained: the last model that is fitted on images, or else the last one.
pub(super) fn find<'t>(import: &mut Import<'t>) -> Result<Run<'t>, ImportError> {
    let trace = import.trace;
    let mut models: Vec<(Value, Vec<usize>)> = Vec::new();
    for (index, event) in trace.events.iter().enumerate() {
        let Event::Call { number, .. } = event else {
            continue;
        };
        let Some(model) = fitted(import, *number) else {
            continue;
        };
        match models.iter_mut().find(|(known, _)| *known == model) {
            Some((_, events)) => events.push(index),
            None => models.push((model, vec![index])),
        }
    }
    let on_images = models
        .iter()
        .rposition(|(_, events)| events.iter().any(|event| is_on_images(import, *event)));
    let Some(chosen) = on_images.or_else(|| models.len().checked_sub(1)) else {
        return Err(ImportError::NothingTrained(nothing_words(import)));
    };
    for (index, (_, events)) in models.iter().enumerate() {
        if index != chosen {
            let place = place_of(import, events[0]);
            let here = "a recipe trains one network, here the last one that is trained on images";
            import.none(place, "another network is trained as well", here);
        }
    }
    let (model, events) = models.swap_remove(chosen);
    let fits = events
        .into_iter()
        .map(|event| fit(import, &model, event))
        .collect();
    Ok(Run { model, fits })
}

/// Returns the model, if a call trains one.
fn fitted(import: &Import<'_>, number: usize) -> Option<Value> {
    let trace = import.trace;
    let call = trace.call_numbered(number)?;
    if !["fit", "fit_generator"].contains(&&*call.name) {
        return None;
    }
    let model = trace.receiver(call)?;
    let is_named = [
        "epochs",
        "nb_epoch",
        "validation_data",
        "callbacks",
        "steps_per_epoch",
    ]
    .iter()
    .any(|name| call.argument(name).is_some());
    let is_model = match trace.object(model) {
        Some(Object::Instance { .. }) => true,
        _ => trace.call(model).is_some_and(|maker| {
            MODELS.contains(&&*maker.name) || super::applications::find(&maker.name).is_some()
        }),
    };
    (is_named || is_model).then(|| model.clone())
}

fn is_on_images(import: &Import<'_>, event: usize) -> bool {
    let Event::Call { number, .. } = import.trace.events[event] else {
        return false;
    };
    let Some(call) = import.trace.call_numbered(number) else {
        return false;
    };
    let first = call.argument("x").or(call.argument("generator"));
    let first = first.or_else(|| call.positional().next());
    first.is_some_and(|argument| sources::is_of_images(import.trace, &argument.value))
}

fn place_of(import: &Import<'_>, event: usize) -> Place {
    match import.trace.events[event] {
        Event::Call { number, .. } => import.trace.opaques[number].place,
        Event::Set { place, .. } | Event::SetItem { place, .. } => place,
    }
}

fn fit<'t>(import: &mut Import<'t>, model: &Value, event: usize) -> Fit<'t> {
    let Event::Call { number, is_certain } = import.trace.events[event] else {
        unreachable!("a fit is a call");
    };
    let table = row(KERAS_TRAINING, "fit").expect("the table has fit");
    let arguments = import.bind(number, table);
    if !is_certain {
        let what = "training depends on a condition that isn't known";
        import.unclear(
            arguments.place,
            what,
            "the recipe takes it as if it happens",
        );
    }
    let images = arguments.value("x").cloned().unwrap_or(Value::None);
    let source = sources::resolve(import, &images, arguments.place_of("x"));
    Fit {
        event,
        source,
        compile: compile(import, model, event),
        arguments,
    }
}

/// Returns the last `compile` of the model before an event.
fn compile<'t>(import: &mut Import<'t>, model: &Value, before: usize) -> Option<Compile<'t>> {
    let trace = import.trace;
    let found = trace.events[..before]
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, event)| {
            let Event::Call { number, .. } = event else {
                return None;
            };
            let call = trace.call_numbered(*number)?;
            let is_it = &*call.name == "compile" && trace.receiver(call) == Some(model);
            is_it.then_some((at, *number))
        });
    let (event, number) = found?;
    let table = row(KERAS_TRAINING, "compile").expect("the table has compile");
    let arguments = import.bind(number, table);
    Some(Compile { event, arguments })
}

/// What there is instead of a network that is trained.
fn nothing_words(import: &Import<'_>) -> String {
    let trace = import.trace;
    let has = |names: &[&str]| trace.calls().any(|call| names.contains(&&*call.name));
    if has(&["train_on_batch", "GradientTape"]) {
        return "only a training loop of its own".to_owned();
    }
    if has(&["compile"]) {
        return "only a `compile`".to_owned();
    }
    if has(&[
        "flow_from_directory",
        "flow_from_dataframe",
        "image_dataset_from_directory",
    ]) {
        return "only images that are read".to_owned();
    }
    if trace.events.is_empty() {
        return "no calls at all".to_owned();
    }
    "neither a model nor images".to_owned()
}
