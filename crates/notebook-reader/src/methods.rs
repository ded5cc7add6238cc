//! Methods of strings, paths, lists and dictionaries.

use ruff_text_size::TextRange;

use crate::{
    calls::Given,
    machine::{MOST_LENGTH, Machine},
    operators::position,
    values::{Object, Value},
};

impl Machine<'_> {
    /// Returns the result of a method of a known value; `None` if it isn't known.
    pub(crate) fn method(
        &mut self,
        of: &Value,
        name: &str,
        given: &[Given],
        range: TextRange,
    ) -> Option<Value> {
        match of {
            Value::Str(text) => self.method_of_text(text, name, given, range),
            Value::Object(number) => match &self.trace.objects[*number] {
                Object::List(_) | Object::Tuple(_) => self.method_of_list(of, name, given, range),
                Object::Dict(_) => self.method_of_dict(of, name, given, range),
                _ => None,
            },
            _ => None,
        }
    }

    /// Methods of `pathlib` on paths that begin with an unknown folder, and numpy's on numbers.
    pub(crate) fn path_method(
        &mut self,
        of: &Value,
        name: &str,
        given: &[Given],
        range: TextRange,
    ) -> Option<Value> {
        match (of, name) {
            (Value::Int(_) | Value::Float(_), "astype") => Some(of.clone()),
            (Value::Opaque(_), "joinpath") => {
                let parts: Vec<_> = std::iter::once(of.clone())
                    .chain(given.iter().map(|argument| argument.value.clone()))
                    .collect();
                Some(self.join(&parts, range))
            }
            _ => None,
        }
    }

    fn method_of_text(
        &mut self,
        text: &str,
        name: &str,
        given: &[Given],
        range: TextRange,
    ) -> Option<Value> {
        let argument = |index: usize| match given.get(index).map(|argument| &argument.value) {
            Some(Value::Str(text)) => Some(&**text),
            _ => None,
        };
        let changed = match name {
            "lower" => text.to_lowercase(),
            "upper" => text.to_uppercase(),
            "strip" if given.is_empty() => text.trim().to_owned(),
            "rstrip" => match argument(0) {
                Some(letters) => text.trim_end_matches(|at| letters.contains(at)).to_owned(),
                None => text.trim_end().to_owned(),
            },
            "title" | "capitalize" | "as_posix" | "resolve" | "expanduser" => text.to_owned(),
            "replace" => {
                let (old, new) = (argument(0)?, argument(1)?);
                if old.is_empty() || text.len().saturating_mul(new.len().max(1)) > 1 << 22 {
                    return None;
                }
                text.replace(old, new)
            }
            "startswith" => return Some(Value::Bool(text.starts_with(argument(0)?))),
            "endswith" => return Some(Value::Bool(text.ends_with(argument(0)?))),
            "joinpath" => {
                let parts: Vec<_> = std::iter::once(Value::Str(text.into()))
                    .chain(given.iter().map(|argument| argument.value.clone()))
                    .collect();
                return Some(self.join(&parts, range));
            }
            "split" => {
                let parts: Vec<_> = match argument(0) {
                    Some("") => return None,
                    Some(separator) => text.split(separator).map(Into::into).collect(),
                    None => text.split_whitespace().map(Into::into).collect(),
                };
                let parts = parts.into_iter().map(Value::Str).collect();
                return Some(self.list(parts, range));
            }
            "join" => {
                let values = self.elements(&given.first()?.value)?;
                let parts: Option<Vec<_>> =
                    values.iter().map(|value| self.text_of(value)).collect();
                let parts = parts?;
                let length: usize = parts.iter().map(|part| part.len() + text.len()).sum();
                if length > MOST_LENGTH {
                    return None;
                }
                parts.join(text)
            }
            "format" => self.format(text, given)?,
            _ => return None,
        };
        Some(self.string(changed, range))
    }

    fn method_of_list(
        &mut self,
        of: &Value,
        name: &str,
        given: &[Given],
        range: TextRange,
    ) -> Option<Value> {
        let first = given.first().map(|argument| argument.value.clone());
        let more = match name {
            "extend" => self.elements(first.as_ref()?)?,
            _ => Vec::new(),
        };
        let copied = self.trace.sequence(of)?.to_vec();
        let Value::Object(number) = *of else {
            return None;
        };
        let Object::List(values) = &mut self.trace.objects[number] else {
            return None;
        };
        match name {
            "append" | "add" if values.len() < MOST_LENGTH => values.push(first?),
            "insert" if values.len() < MOST_LENGTH => {
                let at = position(&first?, values.len()).unwrap_or(values.len());
                values.insert(at, given.get(1)?.value.clone());
            }
            "extend" if values.len() + more.len() <= MOST_LENGTH => values.extend(more),
            "clear" => values.clear(),
            "pop" => {
                let index = first.unwrap_or(Value::Int(-1));
                let at = position(&index, values.len())?;
                return Some(values.remove(at));
            }
            "reverse" => values.reverse(),
            "sort" => {
                let mut sorted = copied;
                self.sort(&mut sorted)?;
                self.trace.objects[number] = Object::List(sorted);
            }
            "copy" | "tolist" => return Some(self.list(copied, range)),
            "index" => {
                let at = copied
                    .iter()
                    .position(|value| Some(value) == first.as_ref())?;
                return i64::try_from(at).ok().map(Value::Int);
            }
            _ => return None,
        }
        Some(Value::None)
    }

    fn method_of_dict(
        &mut self,
        of: &Value,
        name: &str,
        given: &[Given],
        range: TextRange,
    ) -> Option<Value> {
        let Some(Object::Dict(pairs)) = self.trace.object(of) else {
            return None;
        };
        let pairs = pairs.clone();
        let first = given.first().map(|argument| argument.value.clone());
        let found = |key: &Value| pairs.iter().find(|(other, _)| other == key);
        Some(match name {
            "get" => match found(&first?) {
                Some((_, value)) => value.clone(),
                None => given
                    .get(1)
                    .map_or(Value::None, |default| default.value.clone()),
            },
            "keys" => {
                let keys = pairs.iter().map(|(key, _)| key.clone()).collect();
                self.list(keys, range)
            }
            "values" => {
                let values = pairs.iter().map(|(_, value)| value.clone()).collect();
                self.list(values, range)
            }
            "items" => {
                let items = pairs.iter().map(|(key, value)| {
                    self.object(Object::Tuple(vec![key.clone(), value.clone()]))
                });
                let items = items.collect();
                self.list(items, range)
            }
            "copy" => self.object(Object::Dict(pairs)),
            "update" => {
                let more = match first {
                    Some(other) => match self.trace.object(&other)? {
                        Object::Dict(more) => more.clone(),
                        _ => return None,
                    },
                    None => {
                        let named = given.iter().filter_map(|argument| {
                            let name = argument.name.clone()?;
                            Some((Value::Str(name), argument.value.clone()))
                        });
                        named.collect()
                    }
                };
                for (key, value) in more {
                    self.set_item(of, key, value);
                }
                Value::None
            }
            _ => return None,
        })
    }
}
