//! Calls with their arguments, and what stands behind a value.

use notebook_reader::{Argument, Call, Origin, Place, Trace, Value};

use crate::import::arguments::{count, number, sides};

/// Methods that return the network that they are called on, and functions that return their first
/// argument or something that behaves like it.
pub(in crate::import) const RETURNING: &[&str] = &[
    "to",
    "cuda",
    "cpu",
    "half",
    "float",
    "eval",
    "train",
    "requires_grad_",
    "DataParallel",
    "DistributedDataParallel",
    "FullyShardedDataParallel",
    "compile",
    "deepcopy",
    "convert_sync_batchnorm",
];

/// Methods that return the values that they are called on, perhaps as a copy.
const SAME: [&str; 5] = ["long", "contiguous", "detach", "clone", "share_memory"];

/// A call and its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made<'t> {
    pub(super) number: usize,
    pub(super) call: &'t Call,
    pub(super) place: Place,
}

impl<'t> Made<'t> {
    /// Returns the call with this number.
    pub(super) fn of(trace: &'t Trace, number: usize) -> Option<Self> {
        Some(Self {
            number,
            call: trace.call_numbered(number)?,
            place: trace.opaques[number].place,
        })
    }

    /// Returns the last part of the name of what is called.
    pub(super) fn name(&self) -> &'t str {
        &self.call.name
    }

    /// Returns the argument at a position, counted from 0, or of this name.
    pub(super) fn argument(&self, at: usize, name: &str) -> Option<&'t Argument> {
        let named = self.call.argument(name);
        named.or_else(|| self.call.positional().nth(at))
    }

    /// Returns the value of an argument; nothing for `None`.
    pub(super) fn value(&self, at: usize, name: &str) -> Option<&'t Value> {
        let argument = self.argument(at, name)?;
        (argument.value != Value::None).then_some(&argument.value)
    }

    pub(super) fn number_of(&self, at: usize, name: &str) -> Option<f64> {
        self.value(at, name).and_then(number)
    }

    pub(super) fn count_of(&self, at: usize, name: &str) -> Option<usize> {
        self.value(at, name).and_then(count)
    }

    /// Returns height and width; one number stands for both.
    pub(super) fn sides_of(&self, trace: &Trace, at: usize, name: &str) -> Option<[usize; 2]> {
        self.value(at, name).and_then(|value| sides(trace, value))
    }

    /// Returns whether an argument is `True`.
    pub(super) fn is(&self, at: usize, name: &str) -> bool {
        self.value(at, name) == Some(&Value::Bool(true))
    }

    /// Returns two numbers; one number `x` stands for what `from` makes of it.
    pub(super) fn pair_of(
        &self,
        trace: &Trace,
        at: usize,
        name: &str,
        from: fn(f64) -> [f64; 2],
    ) -> Option<[f64; 2]> {
        let value = self.value(at, name)?;
        match trace.sequence(value) {
            Some([low, high, ..]) => Some([number(low)?, number(high)?]),
            Some(_) => None,
            None => number(value).map(from),
        }
    }

    /// Returns the line of an argument, or that of the call.
    pub(super) fn place_of(&self, at: usize, name: &str) -> Place {
        self.argument(at, name)
            .map_or(self.place, |argument| argument.place)
    }
}

/// Returns the network, optimizer or values that a value is, without what moves or wraps them.
pub(super) fn root(trace: &Trace, value: &Value) -> Value {
    let mut value = value.clone();
    for _ in 0..32 {
        let Some(opaque) = trace.opaque(&value) else {
            break;
        };
        let next = match &opaque.origin {
            Origin::Call(call) if SAME.contains(&&*call.name) => trace.receiver(call).cloned(),
            Origin::Call(call) if RETURNING.contains(&&*call.name) => {
                let first = call.positional().next();
                let first = first.map(|argument| argument.value.clone());
                trace.receiver(call).cloned().or(first)
            }
            Origin::Attribute { of, name } if &**name == "module" => Some(of.clone()),
            // Of `accelerator.prepare(model, optimizer, ...)`.
            Origin::Item {
                of,
                index: Value::Int(index),
            } => prepared(trace, of, *index),
            Origin::Computed {
                operation: "?",
                from,
            } => from.first().cloned(),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => break,
        }
    }
    value
}

fn prepared(trace: &Trace, of: &Value, index: i64) -> Option<Value> {
    let call = trace.call(of).filter(|call| &*call.name == "prepare")?;
    let argument = call.positional().nth(usize::try_from(index).ok()?)?;
    Some(argument.value.clone())
}

/// Returns the call behind a value.
pub(super) fn maker<'t>(trace: &'t Trace, value: &Value) -> Option<Made<'t>> {
    match root(trace, value) {
        Value::Opaque(number) => Made::of(trace, number),
        _ => None,
    }
}

/// Returns the first call among what a value is computed from, in the order of the notebook, that
/// `is_it` holds for.
pub(super) fn first_call<'t>(
    trace: &'t Trace,
    value: &Value,
    is_it: impl Fn(&Call) -> bool,
) -> Option<Made<'t>> {
    let mut found: Option<usize> = None;
    trace.any(value, &mut |value| {
        if let Value::Opaque(number) = *value
            && trace.call_numbered(number).is_some_and(&is_it)
        {
            found = Some(found.map_or(number, |known| known.min(number)));
        }
        false
    });
    Made::of(trace, found?)
}
