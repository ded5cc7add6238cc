//! The metrics of `history.csv` by name, and the direction in which each improves.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::words::nearest;

/// A metric of `history.csv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Metric {
    /// Mean loss; smaller is better.
    Loss(Split),
    /// Fraction of images whose most probable class is the right one.
    Accuracy(Split),
    /// Mean F1 score over the classes.
    MacroF1(Split),
    /// Fraction of the validation images of this class that are found: its sensitivity.
    Recall(String),
}

/// The images that a metric is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Training images, augmented, as the network was trained on them.
    Training,
    /// Validation images.
    Validation,
}

/// Prefix of the class in the name of [`Metric::Recall`].
const RECALL: &str = "val_recall_";

impl Metric {
    /// The metrics of every run, with their names in `history.csv`; `val_recall_<class>` is written
    /// in addition.
    pub const ALL: [(&'static str, Self); 6] = [
        ("accuracy", Self::Accuracy(Split::Training)),
        ("loss", Self::Loss(Split::Training)),
        ("macro_f1", Self::MacroF1(Split::Training)),
        ("val_accuracy", Self::Accuracy(Split::Validation)),
        ("val_loss", Self::Loss(Split::Validation)),
        ("val_macro_f1", Self::MacroF1(Split::Validation)),
    ];

    /// Returns whether `value` is better than `other` by more than `min_delta`. NaN is never
    /// better.
    pub fn is_better(&self, value: f64, other: f64, min_delta: f64) -> bool {
        match self {
            Self::Loss(_) => value + min_delta < other,
            Self::Accuracy(_) | Self::MacroF1(_) | Self::Recall(_) => value - min_delta > other,
        }
    }
}

impl Default for Metric {
    fn default() -> Self {
        Self::Loss(Split::Validation)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Recall(class) = self {
            return write!(f, "{RECALL}{class}");
        }
        let (name, _) = Self::ALL
            .into_iter()
            .find(|(_, metric)| metric == self)
            .expect("the table holds every other metric");
        f.write_str(name)
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(class) = text.strip_prefix(RECALL).filter(|class| !class.is_empty()) {
            return Ok(Self::Recall(class.to_owned()));
        }
        Self::ALL
            .into_iter()
            .find(|(name, _)| *name == text)
            .map(|(_, metric)| metric)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
                let meant = nearest(text, names.iter().copied().chain([RECALL])).map_or_else(
                    String::new,
                    |name| {
                        let class = if name == RECALL { "<class>" } else { "" };
                        format!("; did you mean `{name}{class}`?")
                    },
                );
                format!(
                    "unknown metric `{text}`, expected one of {}, {RECALL}<class>{meant}",
                    names.join(", ")
                )
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
        let names = Self::ALL.map(|(name, _)| name).join("|");
        schemars::json_schema!({ "type": "string", "pattern": format!("^({names}|{RECALL}.+)$") })
    }
}
