//! Measures the images of an evaluation that the run didn't know.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{decisions::Decisions, subset::Subset};
use crate::{
    checkpoint::Meta,
    data::{
        batches::dataset::ImageSet,
        duplicates::{Likeness, known::KnownCopy},
    },
    metrics::Estimate,
};

/// Metrics on the images that the run didn't know.
#[derive(Clone, Debug, Serialize)]
pub struct Unseen {
    /// Number of images.
    pub count: usize,
    /// Number of left-out images with pixels equal to a known one.
    pub exact_copies: usize,
    /// Number of left-out images that duplicate a known one after resaving, resizing, cropping,
    /// turning or the like.
    pub near_copies: usize,
    /// Fraction of correct predictions; `None` without images.
    pub accuracy: Option<f64>,
    /// Mean F1 of the classes; `None` without images.
    pub macro_f1: Option<f64>,
    /// Every metric with its 95 % confidence interval, by name; empty without images.
    pub metrics: BTreeMap<String, Estimate>,
    /// Metrics of the checkpoint's threshold and prediction sets.
    #[serde(flatten)]
    pub decisions: Decisions,
}

impl Unseen {
    /// Measures the images that aren't copies.
    pub(super) fn of(
        meta: &Meta,
        set: &ImageSet,
        probabilities: &[Vec<f32>],
        copied: &[Option<KnownCopy>],
    ) -> Self {
        let unseen: Vec<usize> = (0..copied.len())
            .filter(|index| copied[*index].is_none())
            .collect();
        let near_copies = copied
            .iter()
            .flatten()
            .filter(|copy| copy.likeness == Likeness::Near)
            .count();
        let mut found = Self {
            count: unseen.len(),
            exact_copies: copied.len() - unseen.len() - near_copies,
            near_copies,
            accuracy: None,
            macro_f1: None,
            metrics: BTreeMap::new(),
            decisions: Decisions::default(),
        };
        if !unseen.is_empty() {
            let part = Subset::of(set, probabilities, &unseen);
            found.metrics = part.report(&meta.classes).metrics;
            let value = |name: &str| found.metrics.get(name).map(|estimate| estimate.value);
            (found.accuracy, found.macro_f1, found.decisions) =
                (value("accuracy"), value("macro_f1"), part.decisions(meta));
        }
        found
    }
}
