//! The errors of an autoencoder in sentences and as a table.

use super::Reconstructions;
use crate::{
    base::words::{counted, listed},
    evaluation::decisions::alarm_words,
    metrics::Estimate,
    report::{Table, text_table::table_text},
};

impl Reconstructions {
    /// Returns the summary, the most important first.
    pub fn sentences(&self) -> Vec<String> {
        let others = self.is_other.iter().filter(|is_other| **is_other).count();
        let mut lines = Vec::new();
        lines.extend(self.separation_words(others));
        if let Some(error) = self.metrics.get("mean_squared_error") {
            let images = counted(self.images - others, "image");
            let whose = match others {
                0 => String::new(),
                _ => " of the classes of training".to_owned(),
            };
            lines.push(format!(
                "Mean squared error {} on {images}{whose}",
                error.with_digits(6)
            ));
        }
        lines.push(self.threshold_words());
        lines
    }

    /// Describes how well images of other classes are told.
    fn separation_words(&self, others: usize) -> Option<String> {
        let area = self.metrics.get("roc_auc")?;
        let classes = self.per_class.iter();
        let classes = classes.filter(|(_, of)| !of.is_trained_on);
        let classes: Vec<String> = classes.map(|(name, _)| name.clone()).collect();
        let (names, images) = (listed(&classes), counted(others, "image"));
        let how = match (area.low.is_nan(), area.low > 0.5, area.high < 0.5) {
            (false, true, _) => "tells",
            (false, _, true) => "is smaller for",
            // All resamples agree.
            (true, ..) if area.value > 0.5 => "tells",
            _ => "isn't shown to tell",
        };
        let mut text = format!(
            "The error {how} {names}, which training had no image of ({images} here), with an \
             area under the ROC curve of {}",
            area.with_digits(4)
        );
        let (Some(mean), Some(difference)) = (
            self.metrics.get("roc_auc_mean_image"),
            self.metrics.get("roc_auc_difference"),
        ) else {
            return Some(text);
        };
        let verdict = match (difference.low > 0.0, difference.high < 0.0) {
            (true, _) => "the autoencoder is better",
            (_, true) => "the autoencoder is worse",
            _ => "which is better can't be told from these images",
        };
        text += &format!(
            "; the distance from the mean training image with {}. They differ by {}: {verdict}",
            mean.with_digits(4),
            difference.with_digits(4)
        );
        Some(text)
    }

    /// Describes the threshold and the share of images above it.
    fn threshold_words(&self) -> String {
        let Some(threshold) = &self.threshold else {
            return "No threshold: too few validation images for the rate of false alarms"
                .to_owned();
        };
        let unlike = self
            .metrics
            .get("unlike")
            .copied()
            .unwrap_or(Estimate::NONE);
        let found = if unlike.value.is_nan() {
            String::new()
        } else {
            let is_own = |index: &usize| !self.is_other[*index];
            let own: Vec<usize> = (0..self.images).filter(is_own).collect();
            let alarms = own
                .iter()
                .filter(|index| threshold.is_unlike(self.errors[**index]));
            let words = alarm_words(
                (threshold.rate, threshold.fitted_on),
                (alarms.count(), own.len()),
                unlike,
            );
            format!("; here {}{words}", unlike.with_digits(4))
        };
        format!(
            "Unlike the training images: an error above {:.6}, which at most {} of new images \
             like the {} validation images have{found}",
            threshold.error, threshold.rate, threshold.fitted_on
        )
    }

    /// Returns the figures of each class.
    pub fn class_table(&self) -> Table {
        let head = [
            "Class",
            "Images",
            "Mean squared error",
            "Unlike",
            "In training",
        ];
        let rows = self.per_class.iter().map(|(name, of)| {
            vec![
                name.clone(),
                of.images.to_string(),
                format!("{:.6}", of.mean_squared_error.value),
                of.unlike
                    .map_or_else(String::new, |unlike| format!("{:.4}", unlike.value)),
                if of.is_trained_on { "yes" } else { "no" }.to_owned(),
            ]
        });
        Table {
            head: head.map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }
    }

    /// Returns the table and the sentences.
    pub fn to_text(&self) -> String {
        let sentences = self.sentences().join(".\n");
        format!("{}\n\n{sentences}.\n", table_text(&self.class_table()))
    }
}
