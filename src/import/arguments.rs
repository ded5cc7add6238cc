//! The arguments of a call under Keras's names, and their values as a recipe has them.

use notebook_reader::{Argument, Object, Place, Trace, Value};

use super::findings::{Findings, Kind, Mistake};
use crate::{
    base::words::nearest,
    config::{Counterpart, KerasCall},
};

/// Arguments that any layer or callback may have and a recipe doesn't need.
const COMMON: [&str; 14] = [
    "name",
    "dtype",
    "trainable",
    "input_shape",
    "batch_input_shape",
    "input_dim",
    "batch_shape",
    "autocast",
    "verbose",
    "seed",
    "data_format",
    "value_range",
    "interpolation",
    "jit_compile",
];

/// Names of Keras 1 and 2, and what they are now.
const OLD: [(&str, &str); 15] = [
    ("lr", "learning_rate"),
    ("nb_epoch", "epochs"),
    ("generator", "x"),
    ("samples_per_epoch", "steps_per_epoch"),
    ("nb_val_samples", "validation_steps"),
    ("pickle_safe", "use_multiprocessing"),
    ("max_q_size", "max_queue_size"),
    ("nb_worker", "workers"),
    ("border_mode", "padding"),
    ("subsample", "strides"),
    ("nb_filter", "filters"),
    ("p", "rate"),
    ("output_dim", "units"),
    ("init", "kernel_initializer"),
    ("alpha", "negative_slope"),
];

/// The arguments of `fit_generator`, in its order.
const FIT_GENERATOR: [&str; 9] = [
    "x",
    "steps_per_epoch",
    "epochs",
    "verbose",
    "callbacks",
    "validation_data",
    "validation_steps",
    "validation_freq",
    "class_weight",
];

/// The state of an import: what is read, and what is written.
pub(super) struct Import<'t> {
    pub(super) trace: &'t Trace,
    pub(super) recipe: super::recipe::Recipe,
    pub(super) findings: Findings,
    /// Where the images are on this machine.
    pub(super) data: Option<std::path::PathBuf>,
}

/// The arguments of a call by Keras's names.
#[derive(Clone, Debug)]
pub(super) struct Bound<'t> {
    /// What is called, as written.
    pub(super) name: &'t str,
    /// Where it is called.
    pub(super) place: Place,
    arguments: Vec<(&'static str, &'t Argument)>,
}

impl<'t> Bound<'t> {
    pub(super) fn get(&self, name: &str) -> Option<&'t Argument> {
        let found = self.arguments.iter().find(|(own, _)| *own == name);
        found.map(|(_, argument)| *argument)
    }

    pub(super) fn value(&self, name: &str) -> Option<&'t Value> {
        self.get(name).map(|argument| &argument.value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| *value != Value::None)
    }

    /// Returns the line of an argument, or that of the call.
    pub(super) fn place_of(&self, name: &str) -> Place {
        self.get(name).map_or(self.place, |argument| argument.place)
    }
}

impl<'t> Import<'t> {
    /// Gives the arguments of a call their names by a row of Keras's table, and reports those that
    /// don't exist and those that have no counterpart.
    pub(super) fn bind(&mut self, number: usize, table: &'static KerasCall) -> Bound<'t> {
        let (trace, place) = (self.trace, self.trace.opaques[number].place);
        let call = trace.call_numbered(number).expect("the number is a call's");
        let mut bound = Bound {
            name: &call.name,
            place,
            arguments: Vec::new(),
        };
        let mut position = 0;
        for argument in &call.arguments {
            let name = match argument.name.as_deref() {
                None if &*call.name == "fit_generator" => FIT_GENERATOR.get(position).copied(),
                None if &*call.name == "SGD" && position == 1 => Some("momentum"),
                // Keras 2 has the metrics third.
                None if &*call.name == "compile" && position == 2 => Some("metrics"),
                // Keras 1 has height and width of the kernel apart.
                None if &*call.name == "Convolution2D" && position == 2 => None,
                None => table.arguments.get(position).map(|known| known.name),
                Some("*" | "**") => {
                    let what = format!("`{}` gets arguments from a variable", call.name);
                    self.unclear(argument.place, what, "they are left out");
                    continue;
                }
                Some(name) if table.arguments.iter().any(|known| known.name == name) => Some(name),
                Some(name) => {
                    let new = OLD
                        .iter()
                        .find(|(old, _)| *old == name)
                        .map(|(_, new)| *new);
                    Some(new.unwrap_or(name))
                }
            };
            position += usize::from(argument.name.is_none());
            let Some(name) = name else {
                continue;
            };
            match table.arguments.iter().find(|known| known.name == name) {
                Some(known) => {
                    if matches!(known.here, Counterpart::Missing) {
                        self.missing(&call.name, known.name, known.note, argument);
                    }
                    bound.arguments.push((known.name, argument));
                }
                None if COMMON.contains(&name) || OLD.iter().any(|(_, new)| *new == name) => {}
                None => self.misspelt(&call.name, name, table, argument.place),
            }
        }
        bound
    }

    fn missing(&mut self, call: &str, name: &str, note: &str, argument: &Argument) {
        let is_off = matches!(argument.value, Value::None | Value::Bool(false));
        // Reported with more words where it is used.
        let is_told_elsewhere = ["steps_per_epoch", "validation_steps"].contains(&name);
        if is_off || is_told_elsewhere {
            return;
        }
        let value = self.trace.describe(&argument.value);
        let here = if note.is_empty() {
            "nothing does the same"
        } else {
            note
        };
        let what = format!("`{call}`: `{name} = {value}`");
        self.findings
            .add(Kind::NoCounterpart, Some(argument.place), what, here);
    }

    fn misspelt(&mut self, call: &str, name: &str, table: &'static KerasCall, place: Place) {
        // Keras 2: the rate divided by 1 + decay * steps.
        if name == "decay" {
            let what = format!("`{call}`: `decay`, by which the rate falls with each step");
            return self.none(place, what, "the rate stays as it is");
        }
        let known = table.arguments.iter().map(|known| known.name);
        let meant = nearest(name, known.filter(|known| *known != "..."))
            .map_or_else(String::new, |meant| {
                format!("; probably `{meant}` is meant")
            });
        let what = format!("`{call}` has no argument `{name}`{meant}");
        let here = "it is left out";
        self.mistake(Mistake::Misspelt, place, what, here);
    }

    pub(super) fn mistake(
        &mut self,
        mistake: Mistake,
        place: Place,
        what: impl Into<String>,
        here: impl Into<String>,
    ) {
        self.findings
            .add(Kind::Mistake(mistake), Some(place), what, here);
    }

    pub(super) fn unclear(
        &mut self,
        place: Place,
        what: impl Into<String>,
        here: impl Into<String>,
    ) {
        self.findings
            .add(Kind::NotUnderstood, Some(place), what, here);
    }

    pub(super) fn none(&mut self, place: Place, what: impl Into<String>, here: impl Into<String>) {
        self.findings
            .add(Kind::NoCounterpart, Some(place), what, here);
    }

    pub(super) fn differs(
        &mut self,
        place: Place,
        what: impl Into<String>,
        here: impl Into<String>,
    ) {
        self.findings.add(Kind::Differs, Some(place), what, here);
    }

    fn unknown(&mut self, bound: &Bound<'_>, name: &str) {
        if let Some(argument) = bound
            .get(name)
            .filter(|argument| argument.value != Value::None)
        {
            let value = self.trace.describe(&argument.value);
            let what = format!("the value of `{name}` of `{}`: `{value}`", bound.name);
            self.unclear(argument.place, what, "it is left out");
        }
    }

    /// Returns a number; an unknown one is reported.
    pub(super) fn number(&mut self, bound: &Bound<'_>, name: &str) -> Option<f64> {
        let found = bound.value(name).and_then(number);
        if found.is_none() {
            self.unknown(bound, name);
        }
        found
    }

    /// Returns a whole number of 0 or more; an unknown one is reported.
    pub(super) fn count(&mut self, bound: &Bound<'_>, name: &str) -> Option<usize> {
        let found = bound.value(name).and_then(count);
        if found.is_none() {
            self.unknown(bound, name);
        }
        found
    }

    /// Returns a text; an unknown one is reported.
    pub(super) fn text(&mut self, bound: &Bound<'t>, name: &str) -> Option<&'t str> {
        match bound.value(name) {
            Some(Value::Str(text)) => Some(text),
            _ => {
                self.unknown(bound, name);
                None
            }
        }
    }

    /// Returns `True` or `False`; an unknown one is reported.
    pub(super) fn truth(&mut self, bound: &Bound<'_>, name: &str) -> Option<bool> {
        match bound.value(name) {
            Some(Value::Bool(truth)) => Some(*truth),
            Some(Value::Int(number)) => Some(*number != 0),
            _ => {
                self.unknown(bound, name);
                None
            }
        }
    }

    /// Returns height and width; one number stands for both. Unknown ones are reported.
    pub(super) fn sides(&mut self, bound: &Bound<'_>, name: &str) -> Option<[usize; 2]> {
        let found = bound.value(name).and_then(|value| sides(self.trace, value));
        if found.is_none() {
            self.unknown(bound, name);
        }
        found
    }

    /// Returns two numbers; one number `x` stands for what `from` makes of it. Unknown ones are
    /// reported.
    pub(super) fn pair(
        &mut self,
        bound: &Bound<'_>,
        name: &str,
        from: fn(f64) -> [f64; 2],
    ) -> Option<[f64; 2]> {
        let value = bound.value(name);
        let found = value.and_then(|value| match self.trace.sequence(value) {
            Some([low, high]) => Some([number(low)?, number(high)?]),
            Some(_) => None,
            None => number(value).map(from),
        });
        if found.is_none() {
            self.unknown(bound, name);
        }
        found
    }

    /// Returns any value as TOML; an unknown one is reported.
    pub(super) fn any(&mut self, bound: &Bound<'_>, name: &str) -> Option<toml::Value> {
        let found = bound
            .value(name)
            .and_then(|value| to_toml(self.trace, value, 3));
        if found.is_none() {
            self.unknown(bound, name);
        }
        found
    }
}

/// Returns the row of Keras's table for a call of this name.
pub(super) fn row(calls: &'static [KerasCall], name: &str) -> Option<&'static KerasCall> {
    calls
        .iter()
        .find(|call| call.name.split(", ").any(|known| known == name))
}

pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

pub(super) fn count(value: &Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        Value::Float(number) if number.fract() == 0.0 && (0.0..1e15).contains(number) => {
            Some(*number as usize)
        }
        _ => None,
    }
}

/// Returns the two sides of a size, a kernel or a stride; a shape may have channels after them.
pub(super) fn sides(trace: &Trace, value: &Value) -> Option<[usize; 2]> {
    match trace.sequence(value) {
        Some([height, width] | [height, width, _]) => Some([count(height)?, count(width)?]),
        Some(_) => None,
        None => count(value).map(|side| [side; 2]),
    }
}

fn to_toml(trace: &Trace, value: &Value, depth: usize) -> Option<toml::Value> {
    Some(match value {
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) if number.is_finite() => (*number).into(),
        Value::Str(text) => text.to_string().into(),
        Value::Object(_) if depth > 0 => match trace.object(value)? {
            Object::List(values) | Object::Tuple(values) => {
                let values: Option<Vec<_>> = values
                    .iter()
                    .map(|value| to_toml(trace, value, depth - 1))
                    .collect();
                values?.into()
            }
            _ => return None,
        },
        _ => return None,
    })
}
