//! The loops that train a network: those with `backward` in them.

use std::ops::Range;

use notebook_reader::{Event, Place, Value};

use super::{
    calls::{Made, first_call, maker},
    chain::{Chain, chain},
};
use crate::import::{arguments::Import, error::ImportError};

/// Losses that are made before they are called.
const CRITERIA: [&str; 8] = [
    "CrossEntropyLoss",
    "NLLLoss",
    "BCEWithLogitsLoss",
    "BCELoss",
    "MultiMarginLoss",
    "MSELoss",
    "LabelSmoothingCrossEntropy",
    "SoftTargetCrossEntropy",
];

/// Losses that are functions.
const FUNCTIONS: [&str; 5] = [
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy",
    "mse_loss",
];

/// The training of a network.
pub(super) struct Run<'t> {
    /// Its loops, one after the other.
    pub(super) stretches: Vec<Stretch>,
    /// The call of the loss.
    pub(super) loss: Made<'t>,
    /// The call that makes the loss, where it isn't a function.
    pub(super) criterion: Option<Made<'t>>,
    /// The network, and the images that it is trained on.
    pub(super) chain: Chain<'t>,
}

/// A loop over epochs.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// Its number of epochs, if that is known.
    pub(super) epochs: Option<usize>,
    pub(super) place: Place,
    /// What happens in it, as positions among the events.
    pub(super) events: Range<usize>,
    /// The values that come up in it.
    pub(super) opaques: Range<usize>,
    /// The number of the first call of `backward`.
    backward: usize,
}

impl Run<'_> {
    /// Returns the last loop.
    pub(super) fn last(&self) -> &Stretch {
        self.stretches.last().expect("a run has a loop")
    }

    pub(super) fn place(&self) -> Place {
        self.last().place
    }
}

/// Finds what is trained last.
pub(super) fn find<'t>(import: &mut Import<'t>) -> Result<Run<'t>, ImportError> {
    let mut runs: Vec<Run<'t>> = Vec::new();
    for stretch in stretches(import) {
        let Some((loss, criterion)) = loss(import, stretch.backward) else {
            continue;
        };
        let chain = chain(import.trace, &output(&loss));
        let known = runs.iter_mut().find(|run| {
            chain.first_layer().is_some() && run.chain.first_layer() == chain.first_layer()
        });
        match known {
            Some(run) => run.stretches.push(stretch),
            None => runs.push(Run {
                stretches: vec![stretch],
                loss,
                criterion,
                chain,
            }),
        }
    }
    runs.sort_by_key(|run| run.last().events.start);
    let Some(run) = runs.pop() else {
        let found = "a `backward` whose loss isn't known".to_owned();
        return Err(ImportError::NothingTrained(found));
    };
    for other in runs {
        let here = "a recipe trains one network, here the last one that is trained";
        import.none(other.place(), "another network is trained as well", here);
    }
    Ok(run)
}

/// Returns the loops with a `backward` in them: the innermost over a range of numbers.
fn stretches(import: &Import<'_>) -> Vec<Stretch> {
    let trace = import.trace;
    let mut found: Vec<Stretch> = Vec::new();
    for (index, event) in trace.events.iter().enumerate() {
        let Event::Call { number, .. } = *event else {
            continue;
        };
        let is_backward = |call: &notebook_reader::Call| &*call.name == "backward";
        if !trace.call_numbered(number).is_some_and(is_backward) {
            continue;
        }
        if found
            .last()
            .is_some_and(|last| last.events.contains(&index))
        {
            continue;
        }
        let mut around = trace.loops.iter().filter(|own| own.events.contains(&index));
        let over_numbers = around.clone().find(|own| own.count.is_some());
        let stretch = match over_numbers.or_else(|| around.next_back()) {
            Some(own) => Stretch {
                epochs: own.count,
                place: own.place,
                events: own.events.clone(),
                opaques: own.opaques.clone(),
                backward: number,
            },
            None => Stretch {
                epochs: None,
                place: trace.opaques[number].place,
                events: index..index + 1,
                opaques: number..number + 1,
                backward: number,
            },
        };
        found.push(stretch);
    }
    found
}

/// Returns the call of the loss that a `backward` is called on, and the call that makes it.
fn loss<'t>(import: &Import<'t>, backward: usize) -> Option<(Made<'t>, Option<Made<'t>>)> {
    let trace = import.trace;
    let call = trace.call_numbered(backward)?;
    let is_loss = |call: &notebook_reader::Call| {
        FUNCTIONS.contains(&&*call.name)
            || maker(trace, &call.callee).is_some_and(|made| CRITERIA.contains(&made.name()))
    };
    // Of the loss itself, or of `accelerator.backward(loss)`.
    let of = trace.receiver(call).into_iter();
    let given = call.positional().map(|argument| &argument.value);
    let found = of
        .chain(given)
        .find_map(|value| first_call(trace, value, is_loss))?;
    let criterion = maker(trace, &found.call.callee);
    Some((found, criterion))
}

/// Returns what a loss is computed on.
fn output(loss: &Made<'_>) -> Value {
    loss.argument(0, "input")
        .map_or(Value::None, |argument| argument.value.clone())
}
