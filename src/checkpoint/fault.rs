//! What is wrong with a file of JSON, with the field that it is in.

use std::fmt;

use serde_json::Value;

/// Letters of a value that a message shows.
const SHOWN: usize = 60;

/// What is wrong with a file of JSON.
#[derive(Debug)]
pub(super) enum Fault {
    /// Another version's.
    Version(u64),
    /// No JSON, or not what belongs there.
    Unreadable {
        /// Dotted; empty for the whole.
        field: String,
        /// As the reader said it.
        reason: String,
    },
    /// A value that can't be.
    Value {
        /// Dotted.
        field: String,
        found: String,
        expected: String,
    },
}

impl Fault {
    pub(super) fn of(field: &str, found: &str, expected: &str) -> Self {
        Self::Value { field: field.to_owned(), found: found.to_owned(), expected: expected.to_owned() }
    }

    /// The field of the whole that it is in.
    pub(super) fn field(&self) -> &str {
        match self {
            Self::Version(_) => "format",
            Self::Unreadable { field, .. } | Self::Value { field, .. } => field.split(['.', '[']).next().unwrap_or_default(),
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
            Self::Value { field, found, expected } => write!(f, "`{field}`: found {found}, expected {expected}"),
            Self::Unreadable { field, reason } => {
                let reason =
                    reason.replace("invalid type: ", "found ").replace("invalid value: ", "found ").replace("unknown variant ", "found ");
                if field.is_empty() { f.write_str(&reason) } else { write!(f, "`{field}`: {reason}") }
            }
        }
    }
}

/// A value for a message, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

/// A text, cut where it is long.
pub(super) fn cut(text: &str) -> String {
    if text.chars().count() <= SHOWN { text.to_owned() } else { text.chars().take(SHOWN).collect::<String>() + "..." }
}
