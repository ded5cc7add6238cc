//! Texts of values: `str`, `%` and `str.format`.

use crate::{
    calls::Given,
    machine::{MOST_LENGTH, Machine},
    operators::number,
    values::Value,
};

impl Machine<'_> {
    /// Returns a value's text, as `str` gives it.
    pub(crate) fn text_of(&self, value: &Value) -> Option<String> {
        match value {
            Value::Opaque(_) | Value::Name(_) | Value::Object(_) => None,
            Value::Str(text) => Some(text.to_string()),
            value => Some(self.trace.describe(value)),
        }
    }

    /// Formats by `%`.
    pub(crate) fn percent(&self, format: &str, values: &[Value]) -> Option<String> {
        let mut values = values.iter();
        let mut parts = format.split('%');
        let mut text = parts.next()?.to_owned();
        while let Some(part) = parts.next() {
            if part.is_empty() {
                text.push('%');
                text.push_str(parts.next()?);
                continue;
            }
            let kind = part.find(|letter: char| letter.is_ascii_alphabetic())?;
            let (spec, rest) = part.split_at(kind + 1);
            text.push_str(&self.formatted(values.next()?, spec)?);
            text.push_str(rest);
        }
        Some(text)
    }

    /// Formats a value by a specification such as `03d` or `.2f`.
    pub(crate) fn formatted(&self, value: &Value, spec: &str) -> Option<String> {
        if spec.is_empty() || spec == "s" {
            return self.text_of(value);
        }
        let kind = spec.chars().last()?;
        let numbers = spec.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let (width, precision) = numbers.split_once('.').unwrap_or((numbers, ""));
        let is_zeros = width.starts_with('0');
        let width: usize = if width.is_empty() {
            0
        } else {
            width.parse().ok()?
        };
        let text = match kind {
            'd' => match value {
                Value::Int(number) => number.to_string(),
                _ => return None,
            },
            'f' => {
                let digits = if precision.is_empty() {
                    6
                } else {
                    precision.parse().ok()?
                };
                (digits <= 30).then(|| format!("{:.digits$}", number(value).unwrap_or(f64::NAN)))?
            }
            '0'..='9' => self.text_of(value)?,
            _ => return None,
        };
        if width > 200 {
            return None;
        }
        let is_number = number(value).is_some();
        Some(match (is_zeros, is_number) {
            (true, _) => format!("{text:0>width$}"),
            (false, true) => format!("{text:>width$}"),
            (false, false) => format!("{text:<width$}"),
        })
    }

    /// Formats by `str.format`: `{}`, `{0}`, `{name}`, each with a specification.
    pub(crate) fn format(&self, format: &str, given: &[Given]) -> Option<String> {
        let mut text = String::new();
        let mut rest = format;
        let mut next = 0;
        while let Some(start) = rest.find(['{', '}']) {
            text.push_str(&rest[..start]);
            let doubled = &rest[start..];
            if doubled.starts_with("{{") || doubled.starts_with("}}") {
                text.push_str(&doubled[..1]);
                rest = &doubled[2..];
                continue;
            }
            let end = doubled.find('}').filter(|end| *end > 0)?;
            let (key, spec) = doubled[1..end]
                .split_once(':')
                .unwrap_or((&doubled[1..end], ""));
            let argument = match key.parse::<usize>() {
                Ok(index) => given.get(index)?,
                Err(_) if key.is_empty() => {
                    next += 1;
                    given.get(next - 1)?
                }
                Err(_) => given
                    .iter()
                    .find(|argument| argument.name.as_deref() == Some(key))?,
            };
            text.push_str(&self.formatted(&argument.value, spec)?);
            if text.len() > MOST_LENGTH {
                return None;
            }
            rest = &doubled[end + 1..];
        }
        text.push_str(rest);
        Some(text)
    }
}
