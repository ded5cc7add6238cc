//! The layers of a network in their order: from its output back to the images.

use notebook_reader::{Object, Origin, Place, Trace, Value};

use super::calls::{Made, maker, root};

/// Maximum number of layers.
const MOST_STEPS: usize = 2_000;

/// Maximum depth of layers in layers.
const MOST_DEPTH: usize = 12;

/// Calls that give images.
const SOURCES: [&str; 5] = ["DataLoader", "next", "iter", "enumerate", "tqdm"];

/// What is done to values on their way through a network.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'t> {
    /// A layer or a whole network, given by the call that makes it.
    Layer(Made<'t>),
    /// A function of a library, or a method of the values.
    Function(Made<'t>),
    /// Something that isn't known.
    Unknown(Place),
}

/// A network's steps.
#[derive(Debug)]
pub(super) struct Chain<'t> {
    /// From the image to the output.
    pub(super) steps: Vec<Step<'t>>,
    /// The images.
    pub(super) images: Value,
}

impl<'t> Chain<'t> {
    /// Returns the number of the call that makes the first layer.
    pub(super) fn first_layer(&self) -> Option<usize> {
        self.steps.iter().find_map(|step| match step {
            Step::Layer(made) => Some(made.number),
            _ => None,
        })
    }
}

/// Returns the steps that lead to an output.
pub(super) fn chain<'t>(trace: &'t Trace, output: &Value) -> Chain<'t> {
    // From the output back.
    let mut steps = Vec::new();
    let mut value = output.clone();
    while steps.len() < MOST_STEPS {
        let Some(opaque) = trace.opaque(&value) else {
            break;
        };
        let next = match &opaque.origin {
            Origin::Call(call) if SOURCES.contains(&&*call.name) => None,
            Origin::Call(_) => {
                let Value::Opaque(number) = value else {
                    break;
                };
                back(trace, number, &mut steps)
            }
            // `outputs.logits`.
            Origin::Attribute { of, .. } => Some(of.clone()),
            // The first of several outputs.
            Origin::Item {
                of,
                index: Value::Int(0),
            } if is_output(trace, of) => Some(of.clone()),
            Origin::Computed {
                operation: "?",
                from,
            } => from.first().cloned(),
            Origin::Computed { .. } => {
                steps.push(Step::Unknown(opaque.place));
                None
            }
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => break,
        }
    }
    steps.reverse();
    Chain {
        steps,
        images: value,
    }
}

fn is_output(trace: &Trace, value: &Value) -> bool {
    trace
        .call(value)
        .is_some_and(|call| !SOURCES.contains(&&*call.name))
}

/// Adds the steps of a call, the last first, and returns what it is given.
fn back<'t>(trace: &'t Trace, number: usize, steps: &mut Vec<Step<'t>>) -> Option<Value> {
    let made = Made::of(trace, number)?;
    let first = made.argument(0, "input").map(|input| input.value.clone());
    if let Some(layer) = maker(trace, &made.call.callee) {
        let mut layers = Vec::new();
        expand(trace, &Value::Opaque(layer.number), MOST_DEPTH, &mut layers);
        steps.extend(layers.into_iter().rev());
        return first.or_else(|| Some(made.call.arguments.first()?.value.clone()));
    }
    if let Some(Object::Instance { .. }) = trace.object(&made.call.callee) {
        steps.push(Step::Unknown(made.place));
        return first;
    }
    let of = trace.receiver(made.call).cloned();
    // `x.to(device)` and the like are no steps.
    if root(trace, &Value::Opaque(number)) == Value::Opaque(number) {
        steps.push(Step::Function(made));
    }
    of.or(first)
}

/// Adds a layer, or those of a `Sequential`.
pub(super) fn expand<'t>(trace: &'t Trace, layer: &Value, depth: usize, steps: &mut Vec<Step<'t>>) {
    let Some(made) = maker(trace, layer) else {
        if let Some(opaque) = trace.opaque(layer) {
            steps.push(Step::Unknown(opaque.place));
        }
        return;
    };
    if made.name() != "Sequential" || depth == 0 || steps.len() > MOST_STEPS {
        return steps.push(Step::Layer(made));
    }
    for argument in made.call.positional() {
        let named = trace
            .call(&argument.value)
            .filter(|call| &*call.name == "OrderedDict")
            .and_then(|call| trace.sequence(&call.positional().next()?.value));
        let Some(pairs) = named else {
            expand(trace, &argument.value, depth - 1, steps);
            continue;
        };
        for pair in pairs {
            if let Some([_, layer]) = trace.sequence(pair) {
                expand(trace, layer, depth - 1, steps);
            }
        }
    }
    if let Some(argument) = made.call.argument("*") {
        steps.push(Step::Unknown(argument.place));
    }
}

/// Returns the layers that a value stands for.
pub(super) fn layers<'t>(trace: &'t Trace, value: &Value) -> Vec<Step<'t>> {
    let mut steps = Vec::new();
    expand(trace, value, MOST_DEPTH, &mut steps);
    steps
}
