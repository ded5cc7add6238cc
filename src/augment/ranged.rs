//! The settings that most families have: a probability, and a range for the strength.

use rand::RngExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::Faults;
use crate::base::rng::{Stream, uniform};

/// Default of a probability.
pub(super) fn always() -> f64 {
    1.0
}

/// A change with a strength.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ranged {
    /// How often an image is changed, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// Low and high; the strength is drawn uniformly between them.
    pub range: [f64; 2],
}

impl Ranged {
    /// Requires a probability, and a range within `limits`.
    pub(super) fn check(&self, limits: [f64; 2], faults: &mut Faults) {
        faults.require_probability(self.probability);
        faults.require_range("range", self.range, limits);
    }

    /// Draws whether the image is changed, and how much.
    pub(super) fn strength(&self, stream: &mut Stream) -> Option<f64> {
        let [low, high] = self.range;
        comes_up(self.probability, stream).then(|| uniform(stream, low, high))
    }
}

/// A change without a strength.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chance {
    /// How often an image is changed, 0 to 1.
    pub probability: f64,
}

/// Draws whether something of this probability happens.
pub(super) fn comes_up(probability: f64, stream: &mut Stream) -> bool {
    stream.random::<f64>() < probability
}
