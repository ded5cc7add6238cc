//! All metrics of a set of predictions with their intervals, in the form of `metrics.json`.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use super::{
    interval::{Bootstrap, Estimate, FEW_GROUPS, num_groups, of_groups, wilson},
    measures::{ClassMeasures, Measurer, RANKED_CLASSES, names},
    predictions::{Bin, ScoredPredictions, calibration_error},
};

/// The metrics of a set.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Metrics over all images, by name.
    pub metrics: BTreeMap<String, Estimate>,
    /// Metrics of each class against all others, by class name.
    pub per_class: BTreeMap<String, ClassReport>,
    /// Agreement of the probabilities with the accuracy.
    pub calibration: Calibration,
}

/// The metrics of one class.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ClassReport {
    /// Its metrics and the counts they are computed from.
    #[serde(flatten)]
    pub measures: ClassMeasures,
    /// The same metrics with their intervals.
    pub intervals: ClassIntervals,
}

/// 95 % intervals of a class's metrics.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ClassIntervals {
    /// Precision.
    pub precision: Estimate,
    /// Recall.
    pub recall: Estimate,
    /// Specificity.
    pub specificity: Estimate,
    /// F1 score.
    pub f1: Estimate,
    /// Area under the ROC curve.
    pub roc_auc: Estimate,
    /// Average precision.
    pub average_precision: Estimate,
}

impl ClassIntervals {
    /// Returns each metric with its name.
    pub fn by_name(&self) -> [(&'static str, Estimate); 6] {
        [
            ("precision", self.precision),
            ("recall", self.recall),
            ("specificity", self.specificity),
            ("f1", self.f1),
            ("roc_auc", self.roc_auc),
            ("average_precision", self.average_precision),
        ]
    }
}

/// Confidence compared with accuracy.
#[derive(Clone, Debug, Serialize)]
pub struct Calibration {
    /// Mean distance between confidence and accuracy, weighted by the number of predictions in each
    /// bin.
    pub expected_calibration_error: f64,
    /// Bins of the reliability curve.
    pub bins: Vec<Bin>,
}

/// A metric of a class.
type Measure = fn(&ClassMeasures) -> f64;

/// Metrics that are fractions of images, which get Wilson's interval; the others are bootstrapped.
const SHARES: [&str; 4] = [
    "accuracy",
    "top_2_accuracy",
    "top_3_accuracy",
    "top_5_accuracy",
];

impl Report {
    /// Computes all metrics of the predictions.
    ///
    /// `groups[i]` is the group that image `i` belongs to, such as a patient; without groups in the
    /// data each image is one of its own. Fractions of images get Wilson's interval if no two
    /// images share a group. All other metrics get the interval of a bootstrap seeded with `seed`,
    /// except ROC AUC and average precision of more than [`RANKED_CLASSES`] classes, which get
    /// none. There are no intervals with fewer than [`FEW_GROUPS`](super::FEW_GROUPS) groups, and
    /// none where all resamples give the same value; a fraction of 0 or 1 of images in groups then
    /// has Wilson's of the groups.
    pub fn new(
        judged: &ScoredPredictions<'_>,
        classes: &[String],
        groups: &[usize],
        seed: u64,
    ) -> Self {
        let measurer = Measurer::new(judged);
        let bootstrap = Bootstrap::new(&measurer, groups, seed);
        let found = measurer.figures();
        let grouped = num_groups(groups);
        let are_alone = grouped.is_none();
        let total = judged.len() as u64;
        let metrics = names(classes.len())
            .into_iter()
            .zip(&found.values)
            .enumerate()
            .map(|(index, (name, value))| {
                let drawn = || bootstrap.interval(*value, |measures| measures.values[index]);
                let estimate = match (SHARES.contains(&name.as_str()), are_alone) {
                    (true, true) => {
                        wilson_or_nothing((value * total as f64).round() as u64, total, *value)
                    }
                    (true, false) => whole_or(drawn(), grouped),
                    (false, _) => drawn(),
                };
                (name, estimate)
            });
        let of_class = |(class, name): (usize, &String)| {
            let scores = found.class(class);
            let drawn = |of: Measure| bootstrap.class_interval(of(&scores), class, of);
            let ranked = |of: Measure| match classes.len() {
                ..=RANKED_CLASSES => drawn(of),
                _ => Estimate::without_interval(of(&scores)),
            };
            let share = |part: u64, all: u64, of: Measure| match grouped {
                None => wilson_or_nothing(part, all, of(&scores)),
                Some(_) => drawn(of),
            };
            let quiet = scores.others - (scores.predicted - scores.hits);
            let intervals = ClassIntervals {
                precision: share(scores.hits, scores.predicted, |scores| scores.precision),
                recall: share(scores.hits, scores.support, |scores| scores.recall),
                specificity: share(quiet, scores.others, |scores| scores.specificity),
                f1: drawn(|scores| scores.f1),
                roc_auc: ranked(|scores| scores.roc_auc),
                average_precision: ranked(|scores| scores.average_precision),
            };
            let report = ClassReport {
                measures: scores,
                intervals,
            };
            (name.clone(), report)
        };
        let bins = judged.reliability();
        Self {
            metrics: metrics.collect(),
            per_class: classes.par_iter().enumerate().map(of_class).collect(),
            calibration: Calibration {
                expected_calibration_error: calibration_error(&bins),
                bins,
            },
        }
    }
}

/// Returns a fraction of images that come in groups, if it is 0 or 1, with Wilson's interval of the
/// groups: all resamples agree on it. Others stay as they are.
fn whole_or(estimate: Estimate, groups: Option<usize>) -> Estimate {
    match groups {
        Some(count) if count >= FEW_GROUPS && [0.0, 1.0].contains(&estimate.value) => {
            of_groups(estimate.value, count)
        }
        _ => estimate,
    }
}

/// Returns `part / total` with Wilson's interval, or the value without one if `total` is 0.
fn wilson_or_nothing(part: u64, total: u64, value: f64) -> Estimate {
    if total == 0 {
        Estimate::without_interval(value)
    } else {
        wilson(part, total)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::metrics::{Confusion, argmax, interval::resample};

    const GOLDEN: &str = include_str!("../../tests/golden/metrics.json");

    struct Case {
        about: Value,
        labels: Vec<usize>,
        probabilities: Vec<Vec<f32>>,
        classes: usize,
    }

    fn rows(probabilities: &[Vec<f32>]) -> Vec<&[f32]> {
        probabilities.iter().map(Vec::as_slice).collect()
    }

    fn golden() -> Value {
        serde_json::from_str(GOLDEN).expect("JSON")
    }

    fn cases() -> Vec<Case> {
        let case = |about: &Value| Case {
            labels: serde_json::from_value(about["labels"].clone()).expect("labels"),
            probabilities: serde_json::from_value(about["probabilities"].clone())
                .expect("probabilities"),
            classes: about["classes"].as_u64().expect("a number") as usize,
            about: about.clone(),
        };
        golden()["cases"]
            .as_array()
            .expect("a list")
            .iter()
            .map(case)
            .collect()
    }

    #[track_caller]
    fn assert_equal(what: &str, got: f64, expected: &Value) {
        match expected.as_f64() {
            Some(expected) => assert!(
                (got - expected).abs() < 1e-9,
                "{what}: {got}, scikit-learn has {expected}"
            ),
            None => assert!(got.is_nan(), "{what}: {got}, scikit-learn has none"),
        }
    }

    /// Each class in two groups, so that most resamples lack one: its recall isn't 0 then.
    #[test]
    fn classes_that_a_resample_lacks_are_left_out_of_its_averages() {
        let labels: Vec<usize> = (0..200).map(|at| at / 20).collect();
        let row = |(at, label): (usize, &usize)| {
            // Of the two groups of a class, one has more mistakes.
            let is_wrong = at % 10 < if at / 10 % 2 == 0 { 1 } else { 3 };
            let predicted = if is_wrong { (label + 1) % 10 } else { *label };
            (0..10)
                .map(|class| if class == predicted { 0.9 } else { 0.01 })
                .collect()
        };
        let rows: Vec<Vec<f32>> = labels.iter().enumerate().map(row).collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let groups: Vec<usize> = (0..200).map(|at| at / 10).collect();
        let classes: Vec<String> = (0..10).map(|class| class.to_string()).collect();
        let scored = ScoredPredictions::new(labels, rows, 10);
        let found = Report::new(&scored, &classes, &groups, 0).metrics;
        let recall = found["macro_recall"];
        assert_eq!(recall, found["balanced_accuracy"]);
        let f1 = found["macro_f1"];
        for Estimate { value, low, high } in [recall, f1, found["macro_precision"]] {
            assert!(low <= value && value <= high, "{value} in [{low}, {high}]");
        }
    }

    /// Compares with `scripts/reference/metrics.py`.
    #[test]
    fn every_measure_is_scikit_learns() {
        let mut seen = 0;
        for Case {
            about,
            labels,
            probabilities,
            classes,
        } in cases()
        {
            let judged = ScoredPredictions::new(labels.clone(), rows(&probabilities), classes);
            let found = Measurer::new(&judged).measure(&vec![1; labels.len()]);
            for (name, value) in names(classes).iter().zip(&found.values) {
                assert_equal(
                    &format!("{name} of {}", about["name"]),
                    *value,
                    &about["expected"][name],
                );
                seen += 1;
            }
            assert_eq!(
                about["expected"].as_object().expect("a table").len(),
                found.values.len()
            );
            for (class, expected) in about["per_class"]
                .as_array()
                .expect("a list")
                .iter()
                .enumerate()
            {
                let scores = found.class(class);
                for (name, value) in [
                    ("precision", scores.precision),
                    ("recall", scores.recall),
                    ("f1", scores.f1),
                    ("specificity", scores.specificity),
                    ("roc_auc", scores.roc_auc),
                    ("average_precision", scores.average_precision),
                    ("support", scores.support as f64),
                ] {
                    assert_equal(
                        &format!("{name} of a class of {}", about["name"]),
                        value,
                        &expected[name],
                    );
                }
            }
            let mut confusion = Confusion::new(classes);
            labels
                .iter()
                .zip(&probabilities)
                .for_each(|(label, row)| confusion.add(*label, crate::metrics::argmax(row)));
            assert_eq!(
                serde_json::to_value(confusion.dense()).expect("JSON"),
                about["confusion"],
                "{}",
                about["name"]
            );
        }
        assert!(seen > 120, "{seen}");
    }

    /// Intervals from SciPy's `binomtest(...).proportion_ci(method="wilson")`.
    #[test]
    fn wilsons_interval_is_scipys() {
        for row in golden()["wilson"].as_array().expect("a list") {
            let found = wilson(row[0].as_u64().expect("hits"), row[1].as_u64().expect("of"));
            assert_equal("low", found.low, &row[2]);
            assert_equal("high", found.high, &row[3]);
        }
    }

    /// An image drawn twice counts as two images: the weighted measures are those of the longer
    /// list.
    #[test]
    fn counts_are_repetitions() {
        for Case {
            labels,
            probabilities,
            classes,
            about,
        } in cases()
        {
            let judged = ScoredPredictions::new(labels.clone(), rows(&probabilities), classes);
            // What a resample lacks of true and of predicted classes, it treats otherwise than a
            // list does.
            let alone: Vec<usize> = (0..labels.len()).collect();
            let classes_of = |counts: &[u32]| -> [BTreeSet<usize>; 2] {
                let drawn = || (0..labels.len()).filter(|index| counts[*index] > 0);
                let predicted = |index: usize| argmax(&probabilities[index]);
                [
                    drawn().map(|index| labels[index]).collect(),
                    drawn().map(predicted).collect(),
                ]
            };
            let all = classes_of(&vec![1; labels.len()]);
            let has_all = |counts: &Vec<u32>| classes_of(counts) == all;
            let mut resamples = (1..1000).map(|index| resample(&alone, 3, index));
            let counts = resamples.find(has_all).expect("one with all");
            assert_eq!(counts.iter().sum::<u32>() as usize, labels.len());
            let repeated = |index: usize| std::iter::repeat_n(index, counts[index] as usize);
            let drawn: Vec<usize> = (0..labels.len()).flat_map(repeated).collect();
            let repeated: Vec<_> = drawn
                .iter()
                .map(|index| probabilities[*index].as_slice())
                .collect();
            let longer = ScoredPredictions::new(
                drawn.iter().map(|index| labels[*index]).collect(),
                repeated,
                classes,
            );
            let (a, b) = (
                Measurer::new(&judged).measure(&counts).values,
                Measurer::new(&longer).figures().values,
            );
            let are_equal = a
                .iter()
                .zip(&b)
                .all(|(a, b)| (a - b).abs() < 1e-12 || a.is_nan() && b.is_nan());
            assert!(are_equal, "{}: {a:?} {b:?}", about["name"]);
        }
    }

    #[test]
    fn intervals_hold_their_value_and_are_wider_where_images_come_in_groups() {
        let Case {
            labels,
            probabilities,
            classes,
            ..
        } = cases().swap_remove(0);
        let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        let width = |estimate: &Estimate| estimate.high - estimate.low;
        // Each image five times holds no more information than once.
        let five = |index: usize| index % labels.len();
        let many: Vec<_> = (0..labels.len() * 5).collect();
        let groups: Vec<_> = many.iter().map(|index| five(*index)).collect();
        let repeated = ScoredPredictions::new(
            groups.iter().map(|index| labels[*index]).collect(),
            groups
                .iter()
                .map(|index| probabilities[*index].as_slice())
                .collect(),
            classes,
        );
        let once = ScoredPredictions::new(labels.clone(), rows(&probabilities), classes);
        let of_once = || Report::new(&once, &names, &many[..labels.len()], 1);
        let as_one = of_once();
        let by_image = Report::new(&repeated, &names, &many, 1);
        let by_group = Report::new(&repeated, &names, &groups, 1);
        for (name, estimate) in &as_one.metrics {
            assert!(
                estimate.low <= estimate.value && estimate.value <= estimate.high,
                "{name}: {estimate:?}"
            );
            let [image, group] = [&by_image, &by_group].map(|report| width(&report.metrics[name]));
            assert!(
                image < 0.7 * width(estimate),
                "{name}: {image} beside {}",
                width(estimate)
            );
            // Wilson's interval and that of the bootstrap are similar, not equal.
            let tolerance = if SHARES.contains(&name.as_str()) {
                0.3
            } else {
                0.15
            };
            assert!(
                (group / width(estimate) - 1.0).abs() < tolerance,
                "{name}: {group} beside {}",
                width(estimate)
            );
        }
        assert_eq!(
            serde_json::to_value(&as_one).expect("JSON"),
            serde_json::to_value(of_once()).expect("JSON")
        );
    }

    #[test]
    fn curves_begin_and_end_where_they_must_and_a_perfect_confidence_has_no_error() {
        let Case {
            labels,
            probabilities,
            classes,
            ..
        } = cases().swap_remove(1);
        let judged = ScoredPredictions::new(labels.clone(), rows(&probabilities), classes);
        for class in 0..classes {
            let (roc, curve) = (judged.roc(class), judged.precision_recall(class));
            assert_eq!(
                (roc[0], roc[roc.len() - 1], curve[curve.len() - 1][0]),
                ([0.0, 0.0], [1.0, 1.0], 1.0)
            );
            assert!(
                roc.windows(2)
                    .all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]),
                "{roc:?}"
            );
        }
        let sure: Vec<Vec<f32>> = labels
            .iter()
            .map(|label| {
                (0..classes)
                    .map(|class| if class == *label { 1.0 } else { 0.0 })
                    .collect()
            })
            .collect();
        let bins = ScoredPredictions::new(labels, rows(&sure), classes).reliability();
        assert_eq!((calibration_error(&bins), bins[14].count), (0.0, 60));
        // Half of the predictions at a confidence of 0.8 are right.
        let half = [vec![0.8, 0.2], vec![0.8, 0.2]];
        assert!(
            (calibration_error(&ScoredPredictions::new(vec![0, 1], rows(&half), 2).reliability())
                - 0.3)
                .abs()
                < 1e-6
        );
    }

    /// With more than [`RANKED_CLASSES`] classes, only the intervals of ranked metrics are left
    /// out.
    #[test]
    fn many_classes_have_every_figure_and_no_interval_of_ranks() {
        let classes = 3 * RANKED_CLASSES;
        let names: Vec<String> = (0..classes).map(|class| format!("{class:04}")).collect();
        let labels: Vec<usize> = (0..2 * classes).map(|index| index % classes).collect();
        let row = |(index, label): (usize, &usize)| {
            let mut row = vec![0.5 / classes as f32; classes];
            // Every third image is mistaken for the next class, and its true class comes second.
            row[(label + usize::from(index % 3 == 0)) % classes] = 0.5;
            row[*label] = row[*label].max(0.25);
            row
        };
        let probabilities: Vec<Vec<f32>> = labels.iter().enumerate().map(row).collect();
        let groups: Vec<usize> = (0..labels.len()).collect();
        let report = Report::new(
            &ScoredPredictions::new(labels, rows(&probabilities), classes),
            &names,
            &groups,
            1,
        );
        for (name, expected) in [
            ("accuracy", 2.0 / 3.0),
            ("top_2_accuracy", 1.0),
            ("balanced_accuracy", 2.0 / 3.0),
        ] {
            let Estimate { value, low, high } = report.metrics[name];
            assert!(
                (value - expected).abs() < 1e-9
                    && low <= value
                    && value <= high
                    && high - low < 0.2,
                "{name}: {value} {low} {high}"
            );
        }
        assert_eq!(report.per_class.len(), classes);
        for of in [
            |report: &ClassReport| report.intervals.roc_auc,
            |report: &ClassReport| report.intervals.average_precision,
        ] {
            assert!(
                report
                    .per_class
                    .values()
                    .map(of)
                    .all(|found| found.value > 0.3 && found.low.is_nan() && found.high.is_nan())
            );
        }
        let auc = report.metrics["roc_auc"];
        assert!(
            auc.value > 0.99
                && auc.low.is_nan()
                && report.per_class["0001"].intervals.f1.high > 0.5,
            "{auc:?}"
        );
    }
}
