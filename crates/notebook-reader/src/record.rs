//! The record of what a notebook does outside of its own values.

use std::{collections::HashSet, ops::Range, sync::Arc};

use crate::values::{Call, Object, Opaque, Origin, Place, Value};

/// Something that happens outside of the notebook's own values.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A call: the number of its [`Opaque`].
    Call {
        /// The number.
        number: usize,
        /// Whether it happens whatever the unknown conditions around it are.
        is_certain: bool,
    },
    /// An attribute of an unknown value is set.
    Set {
        /// The value.
        of: Value,
        /// Name of the attribute.
        name: Arc<str>,
        /// What it is set to.
        value: Value,
        /// The place of the assignment.
        place: Place,
        /// Whether it happens whatever the unknown conditions around it are.
        is_certain: bool,
    },
    /// An item of an unknown value is set: `of[index] = value`.
    SetItem {
        /// The value.
        of: Value,
        /// The index.
        index: Value,
        /// What it is set to.
        value: Value,
        /// The place of the assignment.
        place: Place,
        /// Whether it happens whatever the unknown conditions around it are.
        is_certain: bool,
    },
}

/// A `for` loop that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Where it begins.
    pub place: Place,
    /// Its number of rounds over a range of whole numbers, as far as it is known; the body was
    /// followed so often or less.
    pub count: Option<usize>,
    /// What happened in it, as positions among the events.
    pub events: Range<usize>,
    /// The unknown values that came up in it, by number.
    pub opaques: Range<usize>,
}

/// Code that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it begins.
    pub place: Place,
    /// Why.
    pub reason: String,
}

/// The calls of a notebook, and the values in them.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Calls and assignments in the order in which they happen.
    pub events: Vec<Event>,
    /// Unknown values, by number.
    pub opaques: Vec<Opaque>,
    /// Values with parts, by number, as they are at the end.
    pub objects: Vec<Object>,
    /// Loops in the order in which they end, so that inner ones come first.
    pub loops: Vec<Loop>,
    /// What was passed over: code that isn't Python, and what is beyond the limits.
    pub skipped: Vec<Skipped>,
}

impl Trace {
    /// Returns all calls in their order.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.events.iter().filter_map(|event| match event {
            Event::Call { number, .. } => self.call_numbered(*number),
            Event::Set { .. } | Event::SetItem { .. } => None,
        })
    }

    /// Returns the call with this number.
    pub fn call_numbered(&self, number: usize) -> Option<&Call> {
        match &self.opaques.get(number)?.origin {
            Origin::Call(call) => Some(call),
            _ => None,
        }
    }

    /// Returns the call whose result `value` is.
    pub fn call(&self, value: &Value) -> Option<&Call> {
        match value {
            Value::Opaque(number) => self.call_numbered(*number),
            _ => None,
        }
    }

    /// Returns where an unknown value comes from.
    pub fn opaque(&self, value: &Value) -> Option<&Opaque> {
        match value {
            Value::Opaque(number) => self.opaques.get(*number),
            _ => None,
        }
    }

    /// Returns a value's parts.
    pub fn object(&self, value: &Value) -> Option<&Object> {
        match value {
            Value::Object(number) => self.objects.get(*number),
            _ => None,
        }
    }

    /// Returns the elements of a list or tuple.
    pub fn sequence(&self, value: &Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::List(values) | Object::Tuple(values) => Some(values),
            _ => None,
        }
    }

    /// Returns the value whose method a call calls.
    pub fn receiver(&self, call: &Call) -> Option<&Value> {
        match &self.opaque(&call.callee)?.origin {
            Origin::Attribute { of, .. } => Some(of),
            _ => None,
        }
    }

    /// Returns whether a value is, or is computed from, one for which `is_it` holds.
    pub fn any(&self, value: &Value, is_it: &mut dyn FnMut(&Value) -> bool) -> bool {
        let mut seen = HashSet::new();
        let mut stack = vec![value.clone()];
        while let Some(value) = stack.pop() {
            if is_it(&value) {
                return true;
            }
            let key = match value {
                Value::Object(number) => (false, number),
                Value::Opaque(number) => (true, number),
                _ => continue,
            };
            if seen.insert(key) {
                self.push_parts(&value, &mut stack);
            }
        }
        false
    }

    fn push_parts(&self, value: &Value, stack: &mut Vec<Value>) {
        match self.object(value) {
            Some(Object::List(values) | Object::Tuple(values)) => stack.extend_from_slice(values),
            Some(Object::Dict(pairs)) => {
                stack.extend(
                    pairs
                        .iter()
                        .flat_map(|(key, value)| [key.clone(), value.clone()]),
                );
            }
            _ => {}
        }
        match self.opaque(value).map(|opaque| &opaque.origin) {
            Some(Origin::Call(call)) => {
                stack.push(call.callee.clone());
                stack.extend(call.arguments.iter().map(|argument| argument.value.clone()));
            }
            Some(
                Origin::Attribute { of, .. } | Origin::Item { of, .. } | Origin::Element { of },
            ) => stack.push(of.clone()),
            Some(Origin::Joined { head, .. }) => stack.push(head.clone()),
            Some(Origin::Computed { from, .. }) => stack.extend_from_slice(from),
            Some(Origin::Parameter(_)) | None => {}
        }
    }

    /// Describes a value for a person: as Python writes it, and unknown ones as in the notebook.
    pub fn describe(&self, value: &Value) -> String {
        self.describe_within(value, 3)
    }

    fn describe_within(&self, value: &Value, depth: usize) -> String {
        match value {
            Value::None => "None".to_owned(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => float_text(*number),
            Value::Str(text) => format!("\"{text}\""),
            Value::Name(name) => name.to_string(),
            Value::Opaque(number) => match &self.opaques[*number] {
                Opaque {
                    origin:
                        Origin::Computed {
                            operation: "?",
                            from,
                        },
                    ..
                } if depth > 0 => {
                    let values: Vec<_> = from
                        .iter()
                        .map(|value| self.describe_within(value, depth - 1))
                        .collect();
                    values.join(" or ")
                }
                opaque => opaque.text.to_string(),
            },
            Value::Object(_) if depth == 0 => "...".to_owned(),
            Value::Object(number) => self.describe_object(*number, depth - 1),
        }
    }

    fn describe_object(&self, number: usize, depth: usize) -> String {
        let text = |value: &Value| self.describe_within(value, depth);
        let listed = |values: &[Value]| {
            let mut texts: Vec<_> = values.iter().take(8).map(text).collect();
            if values.len() > 8 {
                texts.push("...".to_owned());
            }
            texts.join(", ")
        };
        match &self.objects[number] {
            Object::List(values) => format!("[{}]", listed(values)),
            Object::Tuple(values) => format!("({})", listed(values)),
            Object::Dict(pairs) => {
                let pairs = pairs.iter().take(8);
                let pairs: Vec<_> = pairs
                    .map(|(key, value)| format!("{}: {}", text(key), text(value)))
                    .collect();
                format!("{{{}}}", pairs.join(", "))
            }
            Object::Slice(parts) => {
                let [start, stop, _] = parts;
                let bound = |value: &Value| match value {
                    Value::None => String::new(),
                    value => text(value),
                };
                format!("{}:{}", bound(start), bound(stop))
            }
            Object::Function { name } | Object::Class { name, .. } => name.to_string(),
            Object::Instance { class, .. } => match &self.objects[*class] {
                Object::Class { name, .. } => format!("{name}()"),
                _ => "an object".to_owned(),
            },
        }
    }
}

/// Returns a number as Python writes it.
fn float_text(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{number:?}");
    }
    format!("{number:e}")
}
