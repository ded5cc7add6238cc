//! How many of the measured images are unlike the training images, by the novelty that `calibrate`
//! has fitted.

use serde::Serialize;

use super::subset::SEED;
use crate::metrics::{Estimate, Novelty, share};

/// The images that count as unlike the training images.
#[derive(Clone, Debug, Serialize)]
pub struct Unlike {
    /// The novelty: a promised rate of false alarms, and what it was fitted on.
    pub fitted: Novelty,
    /// Number of images.
    pub count: usize,
    /// Fraction of the measured images.
    pub share: Estimate,
}

impl Unlike {
    /// Measures images with these features. Groups are resampled as a whole.
    pub(super) fn of(fitted: &Novelty, features: &[Vec<f32>], groups: &[usize]) -> Self {
        let is_unlike = |row: &Vec<f32>| fitted.is_unlike(fitted.model.p_value(row));
        let unlike: Vec<bool> = features.iter().map(is_unlike).collect();
        Self {
            fitted: fitted.clone(),
            count: unlike.iter().filter(|is| **is).count(),
            share: share(&unlike, groups, SEED),
        }
    }

    /// Describes the share in a line.
    pub(super) fn words(&self) -> String {
        format!(
            "Unlike the training images: {} of the images; of images of their kind, at most {} in \
             the long run.",
            self.share.in_brackets(),
            self.fitted.rate
        )
    }
}
