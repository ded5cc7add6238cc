//! Attributes and items of values.

use ruff_python_ast::ExprSubscript;
use ruff_text_size::TextRange;

use crate::{
    machine::{FunctionKind, Machine},
    operators::position,
    values::{Object, Origin, Value},
};

/// Maximum length in bytes of a name with its modules, as in `a.b.c`.
const MOST_NAME: usize = 300;

impl<'a> Machine<'a> {
    pub(crate) fn attribute(&mut self, of: &Value, name: &str, range: TextRange) -> Value {
        if let Value::Name(module) = of
            && module.len() < MOST_NAME
        {
            let whole = format!("{module}.{name}");
            // A constant of a module that the notebook sets elsewhere is unknown here.
            return Value::Name(whole.into());
        }
        if let Some(value) = self.member(of, name) {
            let is_property = matches!(of, Value::Object(_))
                && self.kind_of(&value) == Some(FunctionKind::Property);
            if is_property {
                return self.call_function(&value, vec![(None, of.clone())], range);
            }
            return value;
        }
        if let (Value::Str(text), "name" | "stem" | "parent") = (of, name) {
            return path_part(text, name);
        }
        if name == "shape"
            && let Value::Int(_) | Value::Float(_) = of
        {
            return self.object(Object::Tuple(Vec::new()));
        }
        if let Some(value) = self.parsed_argument(of, name) {
            return value;
        }
        let (of, name) = (of.clone(), name.into());
        self.opaque(Origin::Attribute { of, name }, range)
    }

    /// Returns an attribute of an object of the notebook's classes, or of a class.
    pub(crate) fn member(&self, of: &Value, name: &str) -> Option<Value> {
        let mut value = of.clone();
        for _ in 0..16 {
            match self.trace.object(&value)? {
                Object::Instance { class, attributes } => {
                    if let Some(found) = attributes.get(name) {
                        return Some(found.clone());
                    }
                    value = Value::Object(*class);
                }
                Object::Class {
                    attributes, bases, ..
                } => {
                    if let Some(found) = attributes.get(name) {
                        return Some(found.clone());
                    }
                    value = bases
                        .iter()
                        .find(|base| matches!(base, Value::Object(_)))?
                        .clone();
                }
                _ => return None,
            }
        }
        None
    }

    pub(super) fn subscript(&mut self, subscript: &'a ExprSubscript) -> Value {
        let of = self.expression(&subscript.value);
        let index = self.expression(&subscript.slice);
        self.item(of, index, subscript.range)
    }

    pub(crate) fn item(&mut self, of: Value, index: Value, range: TextRange) -> Value {
        let slice = match self.trace.object(&index) {
            Some(Object::Slice(parts)) => Some(parts.clone()),
            _ => None,
        };
        if let Value::Str(text) = &of {
            let letters: Vec<char> = text.chars().collect();
            let bounds = match &slice {
                Some(parts) => bounds(parts, letters.len()),
                None => position(&index, letters.len()).map(|at| (at, at + 1)),
            };
            if let Some((start, end)) = bounds {
                let part: String = letters[start..end].iter().collect();
                return Value::Str(part.into());
            }
        }
        let found = match (self.trace.object(&of), &slice) {
            (Some(Object::List(values) | Object::Tuple(values)), Some(parts)) => {
                let part = bounds(parts, values.len());
                let part = part.map(|(start, end)| values[start..end].to_vec());
                return match part {
                    Some(values) => self.list(values, range),
                    None => self.opaque(Origin::Item { of, index }, range),
                };
            }
            (Some(Object::List(values) | Object::Tuple(values)), None) => {
                position(&index, values.len()).map(|at| values[at].clone())
            }
            (Some(Object::Dict(pairs)), None) => {
                let found = pairs.iter().find(|(key, _)| *key == index);
                found.map(|(_, value)| value.clone())
            }
            _ => None,
        };
        found.unwrap_or_else(|| self.opaque(Origin::Item { of, index }, range))
    }
}

/// Returns the start and end of a slice with a step of 1.
fn bounds([start, stop, step]: &[Value; 3], length: usize) -> Option<(usize, usize)> {
    if !matches!(step, Value::None | Value::Int(1)) {
        return None;
    }
    let signed = i64::try_from(length).ok()?;
    let at = |value: &Value, default: i64| match value {
        Value::None => Some(default),
        Value::Int(index) if *index < 0 => Some((index + signed).max(0)),
        Value::Int(index) => Some((*index).min(signed)),
        _ => None,
    };
    let (start, stop) = (at(start, 0)?, at(stop, signed)?);
    let start = usize::try_from(start).ok()?;
    Some((start, usize::try_from(stop).ok()?.max(start)))
}

fn path_part(path: &str, part: &str) -> Value {
    let path = path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let found = match part {
        "parent" => parent,
        "stem" => name.rsplit_once('.').map_or(name, |(stem, _)| stem),
        _ => name,
    };
    Value::Str(found.into())
}
