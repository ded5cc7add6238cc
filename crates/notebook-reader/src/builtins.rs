//! Functions whose result is known: Python's own, of paths, and the command line's defaults.

use ruff_text_size::TextRange;

use crate::{
    calls::Given,
    machine::{MOST_LENGTH, Machine},
    operators::number,
    values::{Object, Origin, Value},
};

impl Machine<'_> {
    /// Returns the result of a function by its name, if it is known.
    pub(crate) fn known_result(
        &mut self,
        name: &str,
        given: &[Given],
        range: TextRange,
    ) -> Option<Value> {
        let last = name.rsplit('.').next().unwrap_or(name);
        if let Some((_, answer)) = self
            .options
            .answers
            .iter()
            .find(|(known, _)| *known == last)
        {
            return Some(Value::Str((*answer).into()));
        }
        if self.options.transparent.contains(&last) {
            let first = &given.iter().find(|argument| argument.name.is_none())?.value;
            let values = self.elements(first)?;
            return Some(self.list(values, range));
        }
        if let Some(value) = self.of_paths(name, given, range) {
            return Some(value);
        }
        let values: Vec<Value> = given
            .iter()
            .filter(|argument| argument.name.is_none())
            .map(|argument| argument.value.clone())
            .collect();
        if let Some(value) = self.of_sequences_by_name(name, given, &values, range) {
            return Some(value);
        }
        let (first, is_alone) = (values.first(), values.len() == 1);
        match name {
            "int" | "np.int" | "numpy.int32" | "numpy.int64" => match first? {
                Value::Str(text) => text.trim().parse().ok().map(Value::Int),
                value => whole(number(value)?.trunc()),
            },
            "float" | "numpy.float32" | "numpy.float64" => match first? {
                Value::Str(text) => text.trim().parse().ok().map(Value::Float),
                value => number(value).map(Value::Float),
            },
            "str" | "pathlib.Path" | "pathlib.PurePath" | "Path" if is_alone => {
                match self.text_of(first?) {
                    Some(text) => Some(self.string(text, range)),
                    // A path that begins with an unknown folder.
                    None => matches!(self.trace.opaque(first?)?.origin, Origin::Joined { .. })
                        .then(|| values[0].clone()),
                }
            }
            "bool" => self.truth(first?).map(Value::Bool),
            "abs" => match first? {
                Value::Int(value) => value.checked_abs().map(Value::Int),
                value => number(value).map(|value| Value::Float(value.abs())),
            },
            "round" => match values.get(1) {
                None => whole(number(first?)?.round_ties_even()),
                Some(Value::Int(digits @ 0..=12)) => {
                    let scale = 10f64.powi(i32::try_from(*digits).ok()?);
                    Some(Value::Float(
                        (number(first?)? * scale).round_ties_even() / scale,
                    ))
                }
                Some(_) => None,
            },
            "print" | "display" | "IPython.display.display" => Some(Value::None),
            _ => of_math(name, &values),
        }
    }

    fn of_sequences_by_name(
        &mut self,
        name: &str,
        given: &[Given],
        values: &[Value],
        range: TextRange,
    ) -> Option<Value> {
        match name {
            "len" => {
                let length = match values.first()? {
                    Value::Str(text) => text.chars().count(),
                    value => self.elements(value)?.len(),
                };
                i64::try_from(length).ok().map(Value::Int)
            }
            "range" | "tqdm.trange" | "tqdm.auto.trange" | "tqdm.notebook.trange" => {
                let numbers = numbers_of(values)?;
                Some(self.list(numbers, range))
            }
            "list" | "tuple" | "set" | "sorted" | "reversed" | "numpy.array" => {
                let mut values = match values.first() {
                    Some(value) => self.elements(value)?,
                    None => Vec::new(),
                };
                match name {
                    "sorted" => self.sort(&mut values)?,
                    "reversed" => values.reverse(),
                    _ => {}
                }
                if name == "tuple" {
                    return Some(self.object(Object::Tuple(values)));
                }
                Some(self.list(values, range))
            }
            "zip" => {
                let columns: Option<Vec<_>> =
                    values.iter().map(|value| self.elements(value)).collect();
                let columns = columns?;
                let rows = columns.iter().map(Vec::len).min().unwrap_or_default();
                let rows = (0..rows).map(|row| {
                    let row = columns.iter().map(|column| column[row].clone()).collect();
                    self.object(Object::Tuple(row))
                });
                let rows = rows.collect();
                Some(self.list(rows, range))
            }
            "enumerate" => {
                let values = self.elements(values.first()?)?;
                let pairs = values.into_iter().enumerate().map(|(index, value)| {
                    let index = Value::Int(i64::try_from(index).unwrap_or_default());
                    self.object(Object::Tuple(vec![index, value]))
                });
                let pairs = pairs.collect();
                Some(self.list(pairs, range))
            }
            "dict" => self.dictionary(given),
            "min" | "max" | "sum" => {
                let values = match values {
                    [one] => self.elements(one)?,
                    several => several.to_vec(),
                };
                extreme(name, &values)
            }
            _ => None,
        }
    }

    /// `dict(a=1)`, `dict(other)` and `dict(pairs)`.
    fn dictionary(&mut self, given: &[Given]) -> Option<Value> {
        let mut pairs = Vec::new();
        for argument in given {
            match &argument.name {
                Some(name) => pairs.push((Value::Str(name.clone()), argument.value.clone())),
                None => match self.trace.object(&argument.value)? {
                    Object::Dict(more) => pairs.extend(more.iter().cloned()),
                    Object::List(rows) => {
                        for row in rows {
                            let [key, value] = self.trace.sequence(row)? else {
                                return None;
                            };
                            pairs.push((key.clone(), value.clone()));
                        }
                    }
                    _ => return None,
                },
            }
        }
        Some(self.object(Object::Dict(pairs)))
    }

    /// Sorts numbers or strings; `None` for others.
    pub(crate) fn sort(&self, values: &mut [Value]) -> Option<()> {
        if values.iter().all(|value| matches!(value, Value::Str(_))) {
            values.sort_by_key(|value| self.text_of(value));
            return Some(());
        }
        let numbers: Option<Vec<f64>> = values.iter().map(number).collect();
        numbers?;
        values.sort_by(|a, b| {
            number(a)
                .unwrap_or_default()
                .total_cmp(&number(b).unwrap_or_default())
        });
        Some(())
    }

    fn of_paths(&mut self, name: &str, given: &[Given], range: TextRange) -> Option<Value> {
        let parts: Vec<Value> = given
            .iter()
            .map(|argument| argument.value.clone())
            .collect();
        let first = parts.first();
        match name {
            "os.path.join" | "posixpath.join" | "path.join" => Some(self.join(&parts, range)),
            "pathlib.Path" | "Path" if parts.len() > 1 => Some(self.join(&parts, range)),
            "pathlib.Path.cwd" | "os.getcwd" => Some(Value::Str(".".into())),
            "os.path.abspath" | "os.path.normpath" | "os.path.expanduser" | "os.path.realpath" => {
                matches!(first?, Value::Str(_)).then(|| parts[0].clone())
            }
            "os.path.basename" | "os.path.dirname" => {
                let Value::Str(path) = first? else {
                    return None;
                };
                let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
                let part = if name.ends_with("dirname") {
                    parent
                } else {
                    last
                };
                Some(Value::Str(part.into()))
            }
            "os.environ.get" | "os.getenv" => parts.get(1).cloned(),
            _ => None,
        }
    }

    /// Returns the default of an option of the command line, where `of` is what `parse_args` gave.
    pub(crate) fn parsed_argument(&mut self, of: &Value, name: &str) -> Option<Value> {
        let call = self.trace.call(of)?;
        if !["parse_args", "parse_known_args"].contains(&&*call.name) {
            return None;
        }
        let parser = self.trace.receiver(call)?.clone();
        let is_it = |value: &Value| match value {
            Value::Str(text) => text.trim_start_matches('-').replace('-', "_") == name,
            _ => false,
        };
        let option = self.trace.calls().find(|call| {
            &*call.name == "add_argument"
                && self.trace.receiver(call) == Some(&parser)
                && (call.positional().any(|argument| is_it(&argument.value))
                    || call
                        .argument("dest")
                        .is_some_and(|argument| is_it(&argument.value)))
        })?;
        let default = option
            .argument("default")
            .map(|argument| argument.value.clone());
        let action = option
            .argument("action")
            .map(|argument| argument.value.clone());
        match (default, action) {
            (Some(value), _) => Some(value),
            (None, Some(Value::Str(action))) if &*action == "store_true" => {
                Some(Value::Bool(false))
            }
            _ => None,
        }
    }
}

/// Functions of `math` and numpy on numbers.
fn of_math(name: &str, values: &[Value]) -> Option<Value> {
    let (first, is_alone) = (values.first(), values.len() == 1);
    match name {
        "math.ceil" | "numpy.ceil" => rounded(name, number(first?)?.ceil()),
        "math.floor" | "numpy.floor" => rounded(name, number(first?)?.floor()),
        "math.sqrt" | "numpy.sqrt" => finite(number(first?)?.sqrt()),
        "math.exp" | "numpy.exp" => finite(number(first?)?.exp()),
        "math.log" | "numpy.log" if is_alone => finite(number(first?)?.ln()),
        "math.cos" | "numpy.cos" => finite(number(first?)?.cos()),
        "math.pow" | "pow" | "numpy.power" => finite(number(first?)?.powf(number(values.get(1)?)?)),
        _ => None,
    }
}

fn whole(value: f64) -> Option<Value> {
    (value.abs() < 9e15).then_some(Value::Int(value as i64))
}

/// numpy's functions return floating-point numbers, those of `math` whole ones.
fn rounded(name: &str, value: f64) -> Option<Value> {
    if name.starts_with("math") {
        whole(value)
    } else {
        finite(value)
    }
}

fn finite(value: f64) -> Option<Value> {
    value.is_finite().then_some(Value::Float(value))
}

fn numbers_of(arguments: &[Value]) -> Option<Vec<Value>> {
    let bounds: Option<Vec<i64>> = arguments
        .iter()
        .map(|value| match value {
            Value::Int(value) => Some(*value),
            _ => None,
        })
        .collect();
    let (start, stop, step) = match bounds?[..] {
        [stop] => (0, stop, 1),
        [start, stop] => (start, stop, 1),
        [start, stop, step] if step != 0 => (start, stop, step),
        _ => return None,
    };
    let is_before = |at: &i64| if step > 0 { *at < stop } else { *at > stop };
    let numbers = std::iter::successors(Some(start), |at| at.checked_add(step));
    Some(
        numbers
            .take_while(is_before)
            .take(MOST_LENGTH)
            .map(Value::Int)
            .collect(),
    )
}

fn extreme(name: &str, values: &[Value]) -> Option<Value> {
    let is_whole = values.iter().all(|value| matches!(value, Value::Int(_)));
    let numbers: Option<Vec<f64>> = values.iter().map(number).collect();
    let numbers = numbers?.into_iter();
    let value = match name {
        "min" => numbers.reduce(f64::min)?,
        "max" => numbers.reduce(f64::max)?,
        _ => numbers.sum(),
    };
    if is_whole {
        whole(value)
    } else {
        finite(value)
    }
}
