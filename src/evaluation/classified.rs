//! What the outputs for an image mean: its class, and what `calibrate` has fitted for a threshold,
//! for prediction sets and for novelty.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::{
    checkpoint::Meta,
    metrics::{Novelty, most, prediction_set},
    nn::infer::{Detail, Predictions},
};

/// The label of an image that a person should classify.
const REFER: &str = "refer";
/// The label of an image for which the network wasn't made.
const UNLIKE: &str = "unlike the training images";

/// Classes of a checkpoint, and what was fitted to it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Class names in the order of the probabilities.
    pub classes: Arc<Vec<String>>,
    /// Index of the class that a threshold was fitted for, and the threshold.
    flagged: Option<(usize, f32)>,
    /// The probability from which on a class belongs to the prediction set.
    coverage: Option<f32>,
    /// How images unlike the training images are told.
    novelty: Option<Novelty>,
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
            novelty: meta.novelty.clone(),
        }
    }

    /// Returns whether anything was fitted that [`Classified::abstain`] can go by.
    pub fn can_abstain(&self) -> bool {
        self.coverage.is_some() || self.novelty.is_some()
    }

    /// Returns what to keep of each image for [`Self::classify_all`].
    pub fn detail(&self) -> Detail {
        match &self.novelty {
            Some(_) => Detail::Features,
            None => Detail::Probabilities,
        }
    }

    /// Returns the class of each image, in order.
    ///
    /// # Panics
    /// Panics if `found` has less than [`Self::detail`].
    pub fn classify_all(&self, found: Predictions) -> impl Iterator<Item = Classified> {
        let p_value = |index: usize| {
            let novelty = self.novelty.as_ref()?;
            Some(novelty.model.p_value(&found.features[index]))
        };
        let p_values: Vec<_> = (0..found.images.len()).map(p_value).collect();
        let rows = found.probabilities.into_iter().zip(p_values);
        rows.map(|(row, p_value)| self.classify(row, p_value))
    }

    /// Returns the class of an image with these probabilities and this p-value of novelty, if it
    /// was fitted.
    ///
    /// # Panics
    /// Panics if `row` doesn't have a probability for each class.
    fn classify(&self, row: Vec<f32>, novelty_p_value: Option<f64>) -> Classified {
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
            unlike: self
                .novelty
                .as_ref()
                .zip(novelty_p_value)
                .map(|(novelty, p_value)| novelty.is_unlike(p_value)),
            novelty_p_value,
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
    /// The fraction of the validation images that lie as far from the training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub novelty_p_value: Option<f64>,
    /// Whether these are so few that it counts as unlike the training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlike: Option<bool>,
}

impl Classified {
    /// Replaces the label of an image that is unlike the training images by these words, and that
    /// of another by "refer" if it may belong to no class or to several.
    pub fn abstain(&mut self) {
        if self.unlike == Some(true) {
            UNLIKE.clone_into(&mut self.label);
        } else if self.set.as_ref().is_some_and(|set| set.len() != 1) {
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
