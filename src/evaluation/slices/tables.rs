//! Slices in words, as tables, as a CSV and as a figure.

use serde::Serialize;

use super::{FEW, Slice, Slicing};
use crate::{
    base::{
        names::of_text,
        words::{counted, listed},
    },
    evaluation::Evaluation,
    metrics::{Estimate, LEVEL, p_cell, p_words},
    report::{Figure, Interval, Intervals, Panel, Table},
};

/// Maximum number of slices that tables and figures show; of more, those with the lowest accuracy.
const SHOWN: usize = 40;

/// Metrics of the figure.
const DRAWN: [(&str, &str); 2] = [
    ("accuracy", "Accuracy"),
    ("balanced_accuracy", "Balanced accuracy"),
];

/// Metrics of the table beside accuracy.
const COLUMNS: [(&str, &str); 4] = [
    ("balanced_accuracy", "Balanced"),
    ("macro_f1", "F1, macro"),
    ("roc_auc", "ROC AUC"),
    ("log_loss", "Log loss"),
];

impl Slice {
    fn metric(&self, name: &str) -> Estimate {
        self.metrics.get(name).copied().unwrap_or(Estimate::NONE)
    }

    fn accuracy(&self) -> f64 {
        self.metric("accuracy").value
    }
}

impl Slicing {
    /// Describes the worst slice and those that are too small. `tests` is the number of tests that
    /// p-values are corrected for.
    pub(super) fn describe(&self, tests: usize) -> Vec<String> {
        if let [slice] = &self.slices[..] {
            return vec![format!(
                "There is one slice, {}, of {}: there is nothing to compare.",
                of_text(&slice.name),
                counted(slice.images, "image")
            )];
        }
        let small = self.slices.iter().filter(|slice| slice.too_small);
        let small: Vec<String> = small
            .map(|slice| format!("{} ({})", slice.name, counted(slice.images, "image")))
            .collect();
        let few = format!("fewer than {FEW} {}s", self.unit);
        let large = self.slices.iter().filter(|slice| !slice.too_small);
        let worst = large.min_by(|a, b| a.accuracy().total_cmp(&b.accuracy()));
        let worst = match worst {
            None => format!(
                "All slices by {} have {few}: too few to tell anything.",
                self.by
            ),
            Some(slice) => self.worst_words(slice, tests),
        };
        let small = (!small.is_empty() && small.len() < self.slices.len()).then(|| {
            format!(
                "Too small to tell anything, with {few}: {}.",
                listed(&small)
            )
        });
        std::iter::once(worst).chain(small).collect()
    }

    /// Describes the slice with the lowest accuracy.
    fn worst_words(&self, slice: &Slice, tests: usize) -> String {
        let by = of_text(&self.by);
        let count = self.slices.iter().filter(|slice| !slice.too_small).count();
        let (Some(p), true) = (slice.corrected_p, slice.difference < 0.0) else {
            return format!("By {by}, no slice is worse than the other images.");
        };
        let verdict = if p < LEVEL {
            "chance alone would seldom do this. Slices may differ in their classes, too: \
                 compare balanced accuracy and the classes' recalls"
        } else {
            "chance alone often does as much"
        };
        format!(
            "By {by}, {} is the {}: accuracy {} on {}, {:.3} below the others; {}, {}: {verdict}.",
            of_text(&slice.name),
            match count {
                1 => "only slice large enough to tell".to_owned(),
                count => format!("worst of {count} slices"),
            },
            slice.metric("accuracy").in_words(),
            counted(slice.images, "image"),
            -slice.difference,
            p_words(p),
            match tests {
                1 => "one test".to_owned(),
                count => format!("corrected for {count} tests (Holm)"),
            }
        )
    }

    /// Returns the slices that are shown, in order, and whether these are not all.
    fn shown(&self) -> (Vec<&Slice>, bool) {
        let mut shown: Vec<&Slice> = self.slices.iter().collect();
        let is_cut = shown.len() > SHOWN;
        if is_cut {
            shown.sort_by(|a, b| a.accuracy().total_cmp(&b.accuracy()));
            shown.truncate(SHOWN);
        }
        (shown, is_cut)
    }

    /// Describes which slices are shown, if these are not all.
    fn cut_words(&self) -> Option<String> {
        self.shown().1.then(|| {
            format!(
                "Of {} slices by {}, the {SHOWN} with the lowest accuracy (all in slices.csv).",
                self.slices.len(),
                of_text(&self.by)
            )
        })
    }

    /// Returns what the slices and their table mean, a line each.
    pub(in crate::evaluation) fn lines(&self) -> Vec<String> {
        self.words.iter().cloned().chain(self.cut_words()).collect()
    }

    /// Returns the slices as a table.
    pub(in crate::evaluation) fn table(&self) -> Table {
        let by = format!("By {}", self.by);
        let head = [
            by.as_str(),
            "Images",
            "Accuracy [95 %]",
            "To others",
            "p, corrected",
        ];
        let head = head.into_iter().chain(COLUMNS.map(|(_, title)| title));
        let row = |slice: &Slice| {
            let p = match slice.corrected_p {
                Some(p) => p_cell(p),
                None if slice.too_small => "too small".to_owned(),
                None => "-".to_owned(),
            };
            let own = [
                slice.name.clone(),
                slice.images.to_string(),
                slice.metric("accuracy").in_brackets(),
                if slice.difference.is_nan() {
                    "-".to_owned()
                } else {
                    format!("{:+.4}", slice.difference)
                },
                p,
            ];
            let more = COLUMNS.map(|(name, _)| number(slice.metric(name).value));
            own.into_iter().chain(more).collect()
        };
        Table {
            head: head.map(str::to_owned).collect(),
            rows: self.shown().0.into_iter().map(row).collect(),
        }
    }

    /// Returns a panel for each of [`DRAWN`]. `all` are the metrics of all images.
    fn panels(&self, all: &Evaluation) -> Vec<Panel> {
        let interval = |name: &str, count: usize, estimate: Estimate| Interval {
            name: format!("{name} ({count})"),
            value: estimate.value,
            range: [estimate.low, estimate.high],
        };
        let panel = |(metric, title): (&str, &str)| {
            let of_all = all.metrics.get(metric).copied().unwrap_or(Estimate::NONE);
            let slices = self.shown().0.into_iter();
            let slices =
                slices.map(|slice| interval(&slice.name, slice.images, slice.metric(metric)));
            Panel::Intervals(Intervals {
                title: format!("{title} by {}", self.by),
                label: "95 % intervals; in brackets the number of images",
                rows: std::iter::once(interval("all", all.images, of_all))
                    .chain(slices)
                    .collect(),
            })
        };
        DRAWN.map(panel).into()
    }
}

/// Formats a number with four decimals, NaN as a dash.
fn number(value: f64) -> String {
    if value.is_nan() {
        "-".to_owned()
    } else {
        format!("{value:.4}")
    }
}

/// A row of `slices.csv`.
#[derive(Serialize)]
pub(in crate::evaluation) struct SliceRow {
    by: String,
    slice: String,
    /// Number of images of the slice or, in the row of a class, of the class in it.
    images: u64,
    /// The class that the metric is of; empty if it is of all.
    class: String,
    metric: String,
    value: f64,
    low: f64,
    high: f64,
}

impl Evaluation {
    /// Returns the rows of `slices.csv`: each metric of each slice, and of each class in it.
    pub(in crate::evaluation) fn slice_rows(&self) -> Vec<SliceRow> {
        let mut rows = Vec::new();
        for (by, slice) in self
            .slices
            .iter()
            .flat_map(|of| of.slices.iter().map(move |slice| (&of.by, slice)))
        {
            let mut add = |class: &str, images: u64, metric: &str, estimate: Estimate| {
                rows.push(SliceRow {
                    by: of_text(by),
                    slice: of_text(&slice.name),
                    images,
                    class: of_text(class),
                    metric: metric.to_owned(),
                    value: estimate.value,
                    low: estimate.low,
                    high: estimate.high,
                });
            };
            for (metric, estimate) in &slice.metrics {
                add("", slice.images as u64, metric, *estimate);
            }
            for (class, report) in &slice.per_class {
                for (metric, estimate) in report.intervals.by_name() {
                    add(class, report.measures.support, metric, estimate);
                }
            }
        }
        rows
    }

    /// Returns the figure of all slices; `None` without any.
    pub(in crate::evaluation) fn slice_figure(&self) -> Option<Figure> {
        let several = self
            .slices
            .iter()
            .filter(|slicing| slicing.slices.len() > 1);
        let panels: Vec<Panel> = several.flat_map(|slicing| slicing.panels(self)).collect();
        (!panels.is_empty()).then(|| Figure {
            name: "slices",
            caption: "Each slice with its 95 % interval; the dashed line is the value of all \
                      images. Among many slices, some are low by chance."
                .to_owned(),
            panels,
        })
    }
}
