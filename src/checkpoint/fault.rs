//! Faults in a JSON file, each with the field that contains it.

use std::fmt;

use serde_json::Value;

/// Number of characters of a value that a message shows.
const SHOWN: usize = 60;

/// A fault in a JSON file.
#[derive(Debug)]
pub(super) enum Fault {
    /// A format that this version doesn't read.
    Version(u64),
    /// No JSON, or a value of another type.
    Unreadable {
        /// Dotted path; empty for the whole file.
        field: String,
        /// Message of the JSON reader.
        reason: String,
    },
    /// A value that is impossible.
    Value {
        /// Dotted path.
        field: String,
        found: String,
        expected: String,
    },
}

impl Fault {
    pub(super) fn of(field: &str, found: &str, expected: &str) -> Self {
        Self::Value {
            field: field.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        }
    }

    /// Returns the top-level field that contains the fault.
    pub(super) fn field(&self) -> &str {
        match self {
            Self::Version(_) => "format",
            Self::Unreadable { field, .. } | Self::Value { field, .. } => {
                field.split(['.', '[']).next().unwrap_or_default()
            }
        }
    }

    pub(super) fn missing(field: &str) -> Self {
        Self::of(field, "nothing", "this field")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(found) => write!(f, "`format`: found {found}, expected another"),
            Self::Value {
                field,
                found,
                expected,
            } => write!(f, "`{field}`: found {found}, expected {expected}"),
            Self::Unreadable { field, reason } => {
                let reason = reason
                    .replace("invalid type: ", "found ")
                    .replace("invalid value: ", "found ")
                    .replace("unknown variant ", "found ");
                if field.is_empty() {
                    f.write_str(&reason)
                } else {
                    write!(f, "`{field}`: {reason}")
                }
            }
        }
    }
}

/// Formats a value for a message, cut off if it is long.
pub(super) fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

/// Cuts a text off if it is long.
pub(super) fn cut(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        text.to_owned()
    } else {
        text.chars().take(SHOWN).collect::<String>() + "..."
    }
}

/// The result of a check.
pub(super) type Checked = Result<(), Fault>;

/// Returns a fault that names `field` unless the condition holds.
pub(super) fn require(
    holds: bool,
    field: &str,
    found: impl fmt::Debug,
    expected: impl fmt::Display,
) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(Fault::of(
            field,
            &cut(&format!("{found:?}")),
            &expected.to_string(),
        ))
    }
}
