//! What the probabilities of an image mean: its class, and what `calibrate` has fitted for a
//! threshold and for prediction sets.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::{
    checkpoint::Meta,
    metrics::{most, prediction_set},
};

/// The label of an image that a person should classify.
const REFER: &str = "refer";

/// Classes of a checkpoint, and its fitted threshold and coverage.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Class names in the order of the probabilities.
    pub classes: Arc<Vec<String>>,
    /// Index of the class that a threshold was fitted for, and the threshold.
    flagged: Option<(usize, f32)>,
    /// The probability from which on a class belongs to the prediction set.
    coverage: Option<f32>,
}

impl Rules {
    /// Returns the rules of a checkpoint.
    pub fn of(meta: &Meta) -> Self {
        let position = |name: &str| meta.classes.iter().position(|class| class == name);
        let flagged = meta
            .threshold
            .as_ref()
            .and_then(|fitted| Some((position(&fitted.class)?, fitted.probability)));
        Self {
            classes: Arc::new(meta.classes.clone()),
            flagged,
            coverage: meta.coverage.as_ref().map(|fitted| fitted.probability),
        }
    }

    /// Returns whether prediction sets were fitted, which [`Classified::abstain`] needs.
    pub fn has_sets(&self) -> bool {
        self.coverage.is_some()
    }

    /// Returns the class of an image.
    ///
    /// # Panics
    /// Panics if `row` doesn't have a probability for each class.
    pub fn classify(&self, row: Vec<f32>) -> Classified {
        let best = most(&row, 1)[0];
        let set = |threshold| {
            prediction_set(&row, threshold)
                .into_iter()
                .map(|class| self.classes[class].clone())
                .collect()
        };
        Classified {
            label: self.classes[best].clone(),
            probability: row[best],
            flagged: self
                .flagged
                .map(|(class, threshold)| row[class] >= threshold),
            set: self.coverage.map(set),
            probabilities: Probabilities {
                classes: Arc::clone(&self.classes),
                row,
            },
        }
    }
}

/// The class of an image.
#[derive(Debug, Serialize)]
pub struct Classified {
    /// The most probable class.
    pub label: String,
    /// Its probability.
    pub probability: f32,
    /// The probability of each class.
    pub probabilities: Probabilities,
    /// Whether it counts as the class that a threshold was fitted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flagged: Option<bool>,
    /// The classes that it may belong to, at the fitted coverage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<Vec<String>>,
}

impl Classified {
    /// Replaces the label by "refer", unless the image may belong to exactly one class.
    pub fn abstain(&mut self) {
        if self.set.as_ref().is_none_or(|set| set.len() != 1) {
            REFER.clone_into(&mut self.label);
        }
    }
}

/// Probabilities by class name, in the order of the classes.
#[derive(Debug)]
pub struct Probabilities {
    /// Class names.
    pub classes: Arc<Vec<String>>,
    /// A probability for each.
    pub row: Vec<f32>,
}

impl Serialize for Probabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.classes.iter().zip(&self.row))
    }
}
