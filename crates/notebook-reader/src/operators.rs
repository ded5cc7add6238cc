//! Arithmetic, paths and comparisons, and the elements of what they apply to.

use std::cmp::Ordering;

use ruff_python_ast::{CmpOp, Operator, UnaryOp};
use ruff_text_size::TextRange;

use crate::{
    machine::{MOST_LENGTH, Machine},
    values::{Object, Origin, Value},
};

impl Machine<'_> {
    /// Returns whether a value counts as true, if that is known.
    pub(crate) fn truth(&self, value: &Value) -> Option<bool> {
        Some(match value {
            Value::None => false,
            Value::Bool(truth) => *truth,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::Name(_) | Value::Opaque(_) => return None,
            Value::Object(number) => match &self.trace.objects[*number] {
                Object::List(values) | Object::Tuple(values) => !values.is_empty(),
                Object::Dict(pairs) => !pairs.is_empty(),
                _ => true,
            },
        })
    }

    pub(crate) fn unary(&mut self, operator: UnaryOp, value: Value, range: TextRange) -> Value {
        let known = match (operator, &value) {
            (UnaryOp::Not, value) => self.truth(value).map(|truth| Value::Bool(!truth)),
            (UnaryOp::USub, Value::Int(number)) => number.checked_neg().map(Value::Int),
            (UnaryOp::USub, Value::Float(number)) => Some(Value::Float(-number)),
            (UnaryOp::UAdd, Value::Int(_) | Value::Float(_)) => Some(value.clone()),
            (UnaryOp::Invert, Value::Int(number)) => Some(Value::Int(!number)),
            _ => None,
        };
        known.unwrap_or_else(|| self.computed(operator.as_str(), vec![value], range))
    }

    pub(crate) fn binary(
        &mut self,
        operator: Operator,
        left: Value,
        right: Value,
        range: TextRange,
    ) -> Value {
        if let (Value::Int(left), Value::Int(right)) = (&left, &right)
            && let Some(value) = whole(operator, *left, *right)
        {
            return value;
        }
        if let (Some(left), Some(right)) = (number(&left), number(&right))
            && let Some(value) = real(operator, left, right)
        {
            return value;
        }
        match (operator, &left, &right) {
            (Operator::Add, Value::Str(left), Value::Str(right)) => {
                return self.string(format!("{left}{right}"), range);
            }
            // A path of `pathlib`, which is a string here.
            (Operator::Div, Value::Str(_), Value::Str(_))
            | (Operator::Div, Value::Opaque(_), Value::Str(_)) => {
                return self.join(&[left, right], range);
            }
            (Operator::Add, Value::Opaque(_), Value::Str(tail)) if tail.starts_with('/') => {
                return self.join(&[left.clone(), Value::Str(tail[1..].into())], range);
            }
            (Operator::Mod, Value::Str(format), _) => {
                let values = match self.trace.sequence(&right) {
                    Some(values) => values.to_vec(),
                    None => vec![right.clone()],
                };
                if let Some(text) = self.percent(format, &values) {
                    return self.string(text, range);
                }
            }
            _ => {}
        }
        if let Some(values) = self.of_sequences(operator, &left, &right, range) {
            return values;
        }
        self.computed(operator.as_str(), vec![left, right], range)
    }

    /// Adds and repeats lists, tuples and strings.
    fn of_sequences(
        &mut self,
        operator: Operator,
        left: &Value,
        right: &Value,
        range: TextRange,
    ) -> Option<Value> {
        let is_tuple = matches!(self.trace.object(left), Some(Object::Tuple(_)));
        let values = match (operator, left, right) {
            (Operator::Add, _, _) => {
                let left = self.trace.sequence(left)?;
                [left, self.trace.sequence(right)?].concat()
            }
            (Operator::Mult, Value::Str(text), Value::Int(times)) => {
                let times = usize::try_from(*times).unwrap_or_default();
                let fits = text.len().saturating_mul(times) <= MOST_LENGTH;
                return fits.then(|| Value::Str(text.repeat(times).into()));
            }
            (Operator::Mult, _, Value::Int(times)) => {
                let values = self.trace.sequence(left)?;
                let times = usize::try_from(*times).unwrap_or_default();
                if values.len().saturating_mul(times) > MOST_LENGTH {
                    return None;
                }
                let all = std::iter::repeat_n(values, times);
                all.flatten().cloned().collect()
            }
            _ => return None,
        };
        if is_tuple && values.len() <= MOST_LENGTH {
            return Some(self.object(Object::Tuple(values)));
        }
        Some(self.list(values, range))
    }

    /// As [`Self::binary`]; a list is changed in place.
    pub(crate) fn augmented(
        &mut self,
        operator: Operator,
        left: Value,
        right: Value,
        range: TextRange,
    ) -> Value {
        if let (Operator::Add, Value::Object(number)) = (operator, &left)
            && let Some(mut more) = self.elements(&right)
            && let Object::List(values) = &mut self.trace.objects[*number]
        {
            more.truncate(MOST_LENGTH.saturating_sub(values.len()));
            values.append(&mut more);
            return left;
        }
        self.binary(operator, left, right, range)
    }

    /// Joins parts of a path, which may begin with an unknown one.
    pub(crate) fn join(&mut self, parts: &[Value], range: TextRange) -> Value {
        let mut head: Option<Value> = None;
        let mut tail = String::new();
        for part in parts {
            match part {
                Value::Str(text) if text.starts_with('/') => {
                    (head, tail) = (None, text.to_string());
                }
                Value::Str(text) => {
                    if !tail.is_empty() && !tail.ends_with('/') {
                        tail.push('/');
                    }
                    tail.push_str(text);
                }
                part => match self.trace.opaque(part).map(|opaque| &opaque.origin) {
                    Some(Origin::Joined {
                        head: first,
                        tail: more,
                    }) if tail.is_empty() => {
                        (head, tail) = (Some(first.clone()), more.to_string());
                    }
                    _ if tail.is_empty() && head.is_none() => head = Some(part.clone()),
                    _ => return self.computed("path", parts.to_vec(), range),
                },
            }
        }
        if tail.len() > MOST_LENGTH {
            return self.computed("long string", Vec::new(), range);
        }
        match head {
            None => Value::Str(tail.into()),
            Some(head) if tail.is_empty() => head,
            Some(head) => {
                let tail = tail.into();
                self.opaque(Origin::Joined { head, tail }, range)
            }
        }
    }

    pub(crate) fn compare(
        &mut self,
        operator: CmpOp,
        left: &Value,
        right: &Value,
        range: TextRange,
    ) -> Value {
        let order = order(left, right);
        let known = match operator {
            CmpOp::Eq | CmpOp::Is => self.equal(left, right),
            CmpOp::NotEq | CmpOp::IsNot => self.equal(left, right).map(|equal| !equal),
            CmpOp::Lt => order.map(Ordering::is_lt),
            CmpOp::LtE => order.map(Ordering::is_le),
            CmpOp::Gt => order.map(Ordering::is_gt),
            CmpOp::GtE => order.map(Ordering::is_ge),
            CmpOp::In => self.contains(right, left),
            CmpOp::NotIn => self.contains(right, left).map(|contains| !contains),
        };
        match known {
            Some(truth) => Value::Bool(truth),
            None => self.computed(operator.as_str(), vec![left.clone(), right.clone()], range),
        }
    }

    fn equal(&self, left: &Value, right: &Value) -> Option<bool> {
        if let (Some(left), Some(right)) = (number(left), number(right)) {
            return Some(left == right);
        }
        if let (Some(left), Some(right)) = (self.trace.sequence(left), self.trace.sequence(right)) {
            if left.len() != right.len() {
                return Some(false);
            }
            let is_plain = |value: &Value| {
                !matches!(value, Value::Object(_) | Value::Opaque(_) | Value::Name(_))
            };
            let is_known = left.iter().chain(right).all(is_plain);
            return is_known.then(|| left == right);
        }
        match (left, right) {
            (Value::Opaque(_) | Value::Name(_), _) | (_, Value::Opaque(_) | Value::Name(_)) => None,
            (Value::Object(_), Value::Object(_)) => None,
            _ => Some(left == right),
        }
    }

    fn contains(&self, whole: &Value, part: &Value) -> Option<bool> {
        if let (Value::Str(whole), Value::Str(part)) = (whole, part) {
            return Some(whole.contains(&**part));
        }
        let keys: Vec<&Value> = match self.trace.object(whole)? {
            Object::List(values) | Object::Tuple(values) => values.iter().collect(),
            Object::Dict(pairs) => pairs.iter().map(|(key, _)| key).collect(),
            _ => return None,
        };
        let mut is_unsure = false;
        for key in keys {
            match self.equal(key, part) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => is_unsure = true,
            }
        }
        (!is_unsure).then_some(false)
    }

    /// Returns the elements of what a loop can go over.
    pub(crate) fn elements(&self, value: &Value) -> Option<Vec<Value>> {
        if let Value::Str(text) = value {
            let letters = text.chars().take(MOST_LENGTH);
            return Some(
                letters
                    .map(|letter| Value::Str(letter.to_string().into()))
                    .collect(),
            );
        }
        Some(match self.trace.object(value)? {
            Object::List(values) | Object::Tuple(values) => values.clone(),
            Object::Dict(pairs) => pairs.iter().map(|(key, _)| key.clone()).collect(),
            _ => return None,
        })
    }
}

/// Returns a number as Python computes with it.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// Returns the place in a sequence that an index stands for.
pub(crate) fn position(index: &Value, length: usize) -> Option<usize> {
    let Value::Int(index) = index else {
        return None;
    };
    let length = i64::try_from(length).ok()?;
    let at = if *index < 0 { index + length } else { *index };
    usize::try_from(at).ok().filter(|_| at < length)
}

fn whole(operator: Operator, left: i64, right: i64) -> Option<Value> {
    Some(Value::Int(match operator {
        Operator::Add => left.checked_add(right)?,
        Operator::Sub => left.checked_sub(right)?,
        Operator::Mult => left.checked_mul(right)?,
        Operator::FloorDiv if right != 0 => {
            let quotient = left.checked_div(right)?;
            let is_exact = left.checked_rem(right)? == 0;
            quotient - i64::from(!is_exact && (left < 0) != (right < 0))
        }
        Operator::Mod if right != 0 => {
            let rest = left.checked_rem(right)?;
            if rest != 0 && (rest < 0) != (right < 0) {
                rest + right
            } else {
                rest
            }
        }
        Operator::Pow => left.checked_pow(u32::try_from(right).ok()?)?,
        Operator::BitAnd => left & right,
        Operator::BitOr => left | right,
        Operator::BitXor => left ^ right,
        Operator::LShift => {
            let shift = u32::try_from(right).ok().filter(|shift| *shift < 40)?;
            left.checked_mul(1 << shift)?
        }
        Operator::RShift => left >> u32::try_from(right).ok().filter(|shift| *shift < 63)?,
        _ => return None,
    }))
}

fn real(operator: Operator, left: f64, right: f64) -> Option<Value> {
    let value = match operator {
        Operator::Add => left + right,
        Operator::Sub => left - right,
        Operator::Mult => left * right,
        Operator::Div if right != 0.0 => left / right,
        Operator::FloorDiv if right != 0.0 => (left / right).floor(),
        Operator::Mod if right != 0.0 => left - right * (left / right).floor(),
        Operator::Pow => left.powf(right),
        _ => return None,
    };
    value.is_finite().then_some(Value::Float(value))
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Str(left), Value::Str(right)) => Some(left.cmp(right)),
        _ => number(left)?.partial_cmp(&number(right)?),
    }
}
