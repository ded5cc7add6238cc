//! The metrics of `history.csv` by name, and which way is better.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A metric of `history.csv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Metric {
    /// What is measured.
    pub measure: Measure,
    /// On which pictures.
    pub split: Split,
}

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Mean loss; smaller is better.
    Loss,
    /// Share of pictures whose most probable class is the right one.
    Accuracy,
    /// Mean of the classes' F1.
    MacroF1,
}

/// Which pictures a metric is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Training pictures, augmented, as they were trained on.
    Training,
    /// Validation pictures.
    Validation,
}

impl Metric {
    /// All metrics with their names in `history.csv`.
    pub const ALL: [(&'static str, Self); 6] = [
        ("accuracy", Self { measure: Measure::Accuracy, split: Split::Training }),
        ("loss", Self { measure: Measure::Loss, split: Split::Training }),
        ("macro_f1", Self { measure: Measure::MacroF1, split: Split::Training }),
        ("val_accuracy", Self { measure: Measure::Accuracy, split: Split::Validation }),
        ("val_loss", Self { measure: Measure::Loss, split: Split::Validation }),
        ("val_macro_f1", Self { measure: Measure::MacroF1, split: Split::Validation }),
    ];

    /// Is `value` better than `other` by more than `min_delta`? NaN is never better.
    pub fn is_better(self, value: f64, other: f64, min_delta: f64) -> bool {
        match self.measure {
            Measure::Loss => value + min_delta < other,
            Measure::Accuracy | Measure::MacroF1 => value - min_delta > other,
        }
    }
}

impl Default for Metric {
    fn default() -> Self {
        Self { measure: Measure::Loss, split: Split::Validation }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Self::ALL.iter().find(|(_, metric)| metric == self).expect("the table holds every metric");
        f.write_str(name)
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, metric)| *metric).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!("unknown metric `{text}`, expected one of {}", names.join(", "))
        })
    }
}

impl TryFrom<String> for Metric {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

impl JsonSchema for Metric {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Metric".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "enum": Self::ALL.map(|(name, _)| name) })
    }
}
