//! What an evaluation found, as tables for a person.

use std::fmt::Write;

use super::{
    evaluation::{Evaluation, Unseen},
    ui,
};
use crate::{
    metrics::{ClassReport, Estimate},
    report::Table,
};

impl Evaluation {
    /// Tables for a person.
    pub fn to_text(&self) -> String {
        let mut text =
            format!("{}\n\n{}\n\n{}\n\n", ui::table_text(&self.class_figures()), self.confusion_table(), ui::table_text(&self.measures()));
        let Self { images, accuracy, macro_f1, loss, .. } = self;
        let _ = writeln!(text, "{images} images: accuracy {accuracy:.4}, macro-F1 {macro_f1:.4}, loss {loss:.4}");
        if let Some(Unseen { count, accuracy, macro_f1, .. }) = &self.unseen
            && count < images
        {
            let numbers = match (accuracy, macro_f1) {
                (Some(accuracy), Some(macro_f1)) => format!("accuracy {accuracy:.4}, macro-F1 {macro_f1:.4}"),
                _ => "none is new".to_owned(),
            };
            let _ = writeln!(
                text,
                "{} of them are copies of pictures that the training knew; on the {count} that are not: {numbers}",
                images - count
            );
        }
        for words in self.decisions.words() {
            let _ = writeln!(text, "{words}");
        }
        for words in self.unseen.iter().filter(|unseen| unseen.count < *images).flat_map(|unseen| unseen.decisions.words()) {
            let _ = writeln!(text, "On those never seen: {words}");
        }
        if !self.skipped.is_empty() {
            let _ = writeln!(text, "{} images can't be decoded and were skipped", self.skipped.len());
        }
        if let Some(comparison) = &self.comparison {
            let _ = writeln!(text, "\nBeside {}: {}", comparison.with, comparison.words);
        }
        text
    }

    /// The figures of each class.
    pub(super) fn class_figures(&self) -> Table {
        let head = ["Class", "Precision", "Recall [95 %]", "Specificity", "F1", "ROC AUC", "Support"].map(str::to_owned).to_vec();
        let row = |class: &String| {
            let ClassReport { measures: scores, intervals } = &self.per_class[class];
            let recall = intervals.recall;
            vec![
                class.clone(),
                number(scores.precision),
                format!("{} [{}, {}]", number(recall.value), number(recall.low), number(recall.high)),
                number(scores.specificity),
                number(scores.f1),
                number(scores.roc_auc),
                scores.support.to_string(),
            ]
        };
        Table { head, rows: self.classes.iter().map(row).collect() }
    }

    fn confusion_table(&self) -> String {
        let head: Vec<_> = std::iter::once("True \\ predicted").chain(self.classes.iter().map(String::as_str)).collect();
        let mut table = ui::table(&head);
        for (class, counts) in self.classes.iter().zip(&self.confusion_matrix) {
            table.add_row(std::iter::once(class.clone()).chain(counts.iter().map(ToString::to_string)));
        }
        ui::align_right(&mut table, 1..=self.classes.len());
        table.to_string()
    }

    /// Each measure on all pictures and, where some are copies of pictures that the training knew, on those that are not.
    pub(super) fn measures(&self) -> Table {
        let unseen = self.unseen.as_ref().filter(|unseen| unseen.count < self.images && unseen.count > 0);
        let mut head = vec!["Measure".to_owned(), format!("All {}", self.images), "95 %".to_owned()];
        head.extend(unseen.iter().flat_map(|unseen| [format!("The {} never seen", unseen.count), "95 % ".to_owned()]));
        let cells = |estimate: &Estimate| [number(estimate.value), format!("{} to {}", number(estimate.low), number(estimate.high))];
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (name, words) in MEASURES {
            let Some(estimate) = self.metrics.get(name) else { continue };
            let other = unseen.and_then(|unseen| unseen.metrics.get(name));
            rows.push(std::iter::once(words.to_owned()).chain(cells(estimate)).chain(other.into_iter().flat_map(cells)).collect());
        }
        rows.push(vec!["Calibration error".to_owned(), number(self.calibration.expected_calibration_error)]);
        Table { head, rows }
    }
}

/// The measures of the table, in its order.
const MEASURES: [(&str, &str); 17] = [
    ("accuracy", "Accuracy"),
    ("top_2_accuracy", "Top-2 accuracy"),
    ("top_3_accuracy", "Top-3 accuracy"),
    ("top_5_accuracy", "Top-5 accuracy"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("macro_precision", "Precision, macro"),
    ("macro_recall", "Recall, macro"),
    ("macro_f1", "F1, macro"),
    ("weighted_precision", "Precision, weighted"),
    ("weighted_recall", "Recall, weighted"),
    ("weighted_f1", "F1, weighted"),
    ("mcc", "Matthews correlation"),
    ("kappa", "Cohen's kappa"),
    ("roc_auc", "ROC AUC, one against rest"),
    ("average_precision", "Average precision"),
    ("log_loss", "Log loss"),
    ("brier", "Brier score"),
];

/// Four decimals, or a dash where there is no number.
fn number(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.4}") }
}
