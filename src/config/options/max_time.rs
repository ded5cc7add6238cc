//! A duration, as the user writes it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A duration, as the user writes it: `"45m"`, `"2h"`, `"90s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MaxTime(pub Duration);

impl TryFrom<String> for MaxTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unit = text.chars().last().and_then(|unit| match unit {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(3600),
            _ => None,
        });
        unit.and_then(|unit| {
            text[..text.len() - 1]
                .parse::<u32>()
                .ok()
                .map(|count| Self(Duration::from_secs(u64::from(count) * unit)))
        })
        .ok_or_else(|| {
            format!("can't read `{text}` as a time, expected a whole number and s, m or h: \"45m\"")
        })
    }
}

impl From<MaxTime> for String {
    fn from(time: MaxTime) -> Self {
        match time.0.as_secs() {
            seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
            seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
            seconds => format!("{seconds}s"),
        }
    }
}

impl JsonSchema for MaxTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]+[smh]$" })
    }
}
