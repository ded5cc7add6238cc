//! The result of an evaluation as tables.

use std::{collections::BTreeMap, fmt::Write};

use super::{Evaluation, Unseen, decisions::Unlike};
use crate::{
    base::{names::of_text, words::counted},
    data::table::Damaged,
    metrics::{ClassReport, Estimate, FEW_GROUPS, RANKED_CLASSES, num_groups},
    report::{Table, text_table::table_text},
};

/// Maximum number of classes for a table of all; above it, the worst and the best are shown.
const ALL: usize = 40;
/// Number of classes shown with the lowest recall.
const WORST: usize = 20;
/// Number of classes shown with the highest recall.
const BEST: usize = 5;
/// Maximum number of classes whose confusion matrix the terminal shows; above it, the most frequent
/// mistakes are shown.
const MATRIX: usize = 20;
/// Number of mistakes listed.
const MISTAKES: usize = 20;

impl Evaluation {
    /// Returns the tables and remarks that the terminal shows.
    pub fn to_text(&self) -> String {
        let confusion = if self.classes.len() > MATRIX {
            self.mistakes()
        } else {
            self.confusion_table()
        };
        let tables = [&self.class_figures(), &confusion, &self.measures()]
            .map(table_text)
            .join("\n\n");
        let mut text = format!(
            "{}{tables}\n\n",
            self.class_words()
                .map_or(String::new(), |words| format!("{words}:\n"))
        );
        let Self {
            images,
            accuracy,
            macro_f1,
            loss,
            ..
        } = self;
        let _ = writeln!(
            text,
            "{images} images: accuracy {accuracy:.4}, macro-F1 {macro_f1:.4}, loss {loss:.4}"
        );
        if let Some(words) = self
            .unseen_among_copies()
            .map(|unseen| self.new_words(unseen))
        {
            let _ = writeln!(text, "{words}");
        }
        for words in self.measure_words().iter().chain(&self.decision_words()) {
            let _ = writeln!(text, "{words}");
        }
        let unseen = self.unseen_among_copies().into_iter();
        for words in unseen.flat_map(|unseen| unseen.decisions.words()) {
            let _ = writeln!(text, "On the unseen ones: {words}");
        }
        if !self.skipped.is_empty() {
            let _ = writeln!(
                text,
                "{} images can't be decoded and were skipped",
                self.skipped.len()
            );
        }
        if let Some(words) = Damaged::words(&self.damaged) {
            let _ = writeln!(text, "{words}");
        }
        self.add_groups(&mut text);
        text
    }

    /// Adds the tables of folds, repeats, slices and comparisons.
    fn add_groups(&self, text: &mut String) {
        let folds = self.folds.as_ref().map(|of| (of.table(), of.words()));
        let repeats = self.repeats.as_ref().map(|of| (of.table(), of.words()));
        for (table, words) in folds.into_iter().chain(repeats) {
            let _ = writeln!(text, "\n{}\n\n{words}", table_text(&table));
        }
        for slicing in &self.slices {
            let lines = slicing.lines().join("\n");
            let _ = writeln!(text, "\n{}\n\n{lines}", table_text(&slicing.table()));
        }
        match &self.comparisons[..] {
            [] => {}
            [comparison] => {
                let _ = writeln!(text, "\nBeside {}: {}", comparison.with, comparison.words);
            }
            _ => {
                let table = table_text(&self.comparison_table());
                let _ = writeln!(text, "\n{table}\n\n{}", self.comparison_words());
            }
        }
    }

    /// Returns the metrics on the images that the run didn't know, if it knew some.
    fn unseen_among_copies(&self) -> Option<&Unseen> {
        self.unseen
            .as_ref()
            .filter(|unseen| unseen.count < self.images)
    }

    /// Describes how many images the run knew, and the metrics on the others.
    fn new_words(&self, unseen: &Unseen) -> String {
        let count = unseen.count;
        let (Some(accuracy), Some(macro_f1)) = (unseen.accuracy, unseen.macro_f1) else {
            return "All of them are copies of images known from training".to_owned();
        };
        format!(
            "{} of them are copies of images known from training; on the {count} that are not: \
             accuracy {accuracy:.4}, macro-F1 {macro_f1:.4}",
            self.images - count
        )
    }

    /// Describes the accuracy with its interval and number of images in a line, also of the images
    /// that the run didn't know.
    pub fn accuracy_words(&self) -> String {
        let words = |metrics: &BTreeMap<String, Estimate>| {
            let Estimate { value, low, high } =
                metrics.get("accuracy").copied().unwrap_or(Estimate::NONE);
            format!("{} [{}, {}]", number(value), number(low), number(high))
        };
        let unseen = match self.unseen_among_copies() {
            Some(unseen) if unseen.count == 0 => " (none of them unseen)".to_owned(),
            Some(unseen) => format!(" ({} never seen: {})", unseen.count, words(&unseen.metrics)),
            None => String::new(),
        };
        format!(
            "accuracy {} on {}{unseen}",
            words(&self.metrics),
            counted(self.images, "image")
        )
    }

    /// Describes which classes [`Self::class_figures`] shows if it doesn't show all.
    pub(super) fn class_words(&self) -> Option<String> {
        (self.classes.len() > ALL).then(|| {
            let count = self.classes.len();
            format!(
                "Of {count} classes, the {WORST} that are found least often and the {BEST} that \
                 are found most often (all in metrics.json)"
            )
        })
    }

    /// Returns the classes of [`Self::class_figures`], with `None` for a gap.
    fn shown_classes(&self) -> Vec<Option<&String>> {
        if self.classes.len() <= ALL {
            return self.classes.iter().map(Some).collect();
        }
        let measures = |class: &String| &self.per_class[class].measures;
        let mut order: Vec<&String> = self
            .classes
            .iter()
            .filter(|class| measures(class).support > 0)
            .collect();
        // Of classes with equal scores, the one with more images is better supported.
        order.sort_by(|a, b| {
            let (a, b) = (measures(a), measures(b));
            a.recall
                .total_cmp(&b.recall)
                .then(a.f1.total_cmp(&b.f1))
                .then(b.support.cmp(&a.support))
        });
        if order.len() <= WORST + BEST {
            return order.into_iter().map(Some).collect();
        }
        let best = &order[order.len() - BEST..];
        order[..WORST]
            .iter()
            .copied()
            .map(Some)
            .chain([None])
            .chain(best.iter().copied().map(Some))
            .collect()
    }

    /// Returns the metrics of each class; above [`ALL`] classes, of the worst and the best.
    pub(super) fn class_figures(&self) -> Table {
        let head = [
            "Class",
            "Precision",
            "Recall [95 %]",
            "Specificity",
            "F1",
            "ROC AUC",
            "Support",
        ]
        .map(str::to_owned)
        .to_vec();
        let row = |class: Option<&String>| {
            let Some(class) = class else {
                return vec!["...".to_owned(); head.len()];
            };
            let ClassReport {
                measures: scores,
                intervals,
            } = &self.per_class[class];
            vec![
                of_text(class),
                number(scores.precision),
                intervals.recall.in_brackets(),
                number(scores.specificity),
                number(scores.f1),
                number(scores.roc_auc),
                scores.support.to_string(),
            ]
        };
        let rows = self.shown_classes().into_iter().map(row).collect();
        Table { head, rows }
    }

    /// Returns the confusion matrix.
    fn confusion_table(&self) -> Table {
        let head = std::iter::once("True \\ predicted".to_owned())
            .chain(self.classes.iter().cloned())
            .collect();
        let row = |(class, counts): (&String, Vec<u64>)| {
            std::iter::once(class.clone())
                .chain(counts.iter().map(ToString::to_string))
                .collect()
        };
        Table {
            head,
            rows: self
                .classes
                .iter()
                .zip(self.confusion.dense())
                .map(row)
                .collect(),
        }
    }

    /// Returns the most frequent pairs of true and predicted class.
    pub(super) fn mistakes(&self) -> Table {
        let head = ["True class", "Taken for", "Images", "Of the class"]
            .map(str::to_owned)
            .to_vec();
        let row = |(truth, predicted, count): (usize, usize, u64)| {
            let support = self.confusion.tallies()[truth].support;
            let share = format!("{:.0} %", count as f64 / f64::from(support) * 100.0);
            vec![
                self.classes[truth].clone(),
                self.classes[predicted].clone(),
                count.to_string(),
                share,
            ]
        };
        Table {
            head,
            rows: self
                .confusion
                .mistakes()
                .into_iter()
                .take(MISTAKES)
                .map(row)
                .collect(),
        }
    }

    /// Returns every metric on all images and, if some are duplicates of images that the run knew,
    /// on the others.
    pub(super) fn measures(&self) -> Table {
        let unseen = self.unseen_among_copies().filter(|unseen| unseen.count > 0);
        let mut head = vec![
            "Measure".to_owned(),
            format!("All {}", self.images),
            "95 %".to_owned(),
        ];
        head.extend(unseen.iter().flat_map(|unseen| {
            [
                format!("The {} never seen", unseen.count),
                "95 % ".to_owned(),
            ]
        }));
        let range = |Estimate { low, high, .. }: &Estimate| {
            if low.is_nan() && high.is_nan() {
                "-".to_owned()
            } else {
                format!("{} to {}", number(*low), number(*high))
            }
        };
        let cells = |estimate: &Estimate| [number(estimate.value), range(estimate)];
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (name, words) in MEASURES {
            let Some(estimate) = self.metrics.get(name) else {
                continue;
            };
            let other = unseen.and_then(|unseen| unseen.metrics.get(name));
            rows.push(
                std::iter::once(words.to_owned())
                    .chain(cells(estimate))
                    .chain(other.into_iter().flat_map(cells))
                    .collect(),
            );
        }
        rows.push(vec![
            "Calibration error".to_owned(),
            number(self.calibration.expected_calibration_error),
        ]);
        Table { head, rows }
    }
}

impl Evaluation {
    /// Describes what the decisions that `calibrate` has fitted do, a line each.
    pub(super) fn decision_words(&self) -> Vec<String> {
        let unlike = self.unlike.as_ref().map(Unlike::words);
        self.decisions.words().into_iter().chain(unlike).collect()
    }

    /// Returns remarks on the metrics: missing intervals, and why two losses differ.
    pub(super) fn measure_words(&self) -> Vec<String> {
        let ranked = (self.classes.len() > RANKED_CLASSES).then(|| {
            format!(
                "ROC AUC and average precision have no interval: of more than {RANKED_CLASSES} \
                 classes, ranking them takes too long."
            )
        });
        let log_loss = self
            .metrics
            .get("log_loss")
            .map_or(f64::NAN, |estimate| estimate.value);
        let losses =
            (!self.loss_reasons.is_empty() && number(log_loss) != number(self.loss)).then(|| {
                format!(
                    "The run's own loss is {}, log loss {}: {}.",
                    number(self.loss),
                    number(log_loss),
                    self.loss_reasons.join("; ")
                )
            });
        let few = num_groups(&self.groups).filter(|count| *count < FEW_GROUPS);
        let few = few.map(|count| {
            format!(
                "There are no intervals: the images come from {}, and fewer than {FEW_GROUPS} are \
                 too few to tell how sure a figure is.",
                counted(count, "group")
            )
        });
        few.into_iter().chain(ranked).chain(losses).collect()
    }
}

/// Metrics of the table with their names, in its order.
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

/// Formats a number with four decimals, NaN as a dash.
fn number(value: f64) -> String {
    if value.is_nan() {
        "-".to_owned()
    } else {
        format!("{value:.4}")
    }
}
