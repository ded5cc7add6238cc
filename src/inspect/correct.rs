//! Builds the list that `inspect --write-labels` saves for a person to correct and to train on: all
//! images, those with doubtful labels first.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{DoubtfulLabel, Inspection, clean::absolute_path};

/// A row of the list. Columns from the suggestion on are for the person; `train` passes over them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelRow {
    /// Absolute path of the image; the path as listed if it can't be resolved.
    pub path: String,
    /// Class of the image, to be corrected.
    pub label: String,
    /// `train`, `val` or `test`.
    pub split: &'static str,
    /// Group of the image; empty if it has none.
    pub group: String,
    /// Weight of the image in training.
    pub weight: f32,
    /// The most probable class, if the label is doubtful.
    pub suggestion: String,
    /// Held-out probability of the label, if it is doubtful.
    pub label_probability: Option<f64>,
    /// Held-out probability of the suggestion.
    pub suggestion_probability: Option<f64>,
}

impl Inspection {
    /// Builds the list: doubtful labels in the order of [`super::Labels::suspects`], then all other
    /// images in the order of the inspected ones.
    pub fn label_rows(&self) -> Vec<LabelRow> {
        let doubtful = self.labels.iter().flat_map(|labels| &labels.suspects);
        let firsts: BTreeSet<usize> = doubtful.clone().map(DoubtfulLabel::index).collect();
        let others = (0..self.seen.len()).filter(|index| !firsts.contains(index));
        doubtful
            .map(|doubtful| LabelRow {
                suggestion: doubtful.suggestion.clone(),
                label_probability: Some(doubtful.label_probability),
                suggestion_probability: Some(doubtful.suggestion_probability),
                ..self.label_row(doubtful.index())
            })
            .chain(others.map(|index| self.label_row(index)))
            .collect()
    }

    fn label_row(&self, index: usize) -> LabelRow {
        let seen = &self.seen[index];
        LabelRow {
            path: absolute_path(&seen.entry),
            label: seen.entry.class.clone(),
            split: seen.part.name(),
            group: seen.entry.group.clone().unwrap_or_default(),
            weight: seen.entry.weight,
            suggestion: String::new(),
            label_probability: None,
            suggestion_probability: None,
        }
    }
}
