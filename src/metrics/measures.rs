//! Computes the metrics of a set of predictions with weighted images: each counts once for the
//! metric itself, and as often as it was drawn for a bootstrap resample. The definitions are
//! scikit-learn's; where scikit-learn has no value, as with a single class, the result is NaN.

use rayon::prelude::*;

use super::{
    Tally,
    predictions::ScoredPredictions,
    ranking::{Areas, Ranking},
};

/// Largest number of classes for which resamples are ranked. Beyond it, ROC AUC and average
/// precision have no interval, because a thousand resamples would each visit every image once per
/// class.
pub const RANKED_CLASSES: usize = 100;

/// Number of classes whose probabilities are copied from all images in one pass. Neighboring
/// classes are adjacent in memory, while the values of one class are a row apart.
const BLOCK: usize = 64;
/// Predictions with the per-image quantities that the metrics of every resample need.
#[derive(Clone, Debug)]
pub(super) struct Measurer<'a> {
    judged: &'a ScoredPredictions<'a>,
    /// Ranking of each class; empty for more than [`RANKED_CLASSES`] classes.
    rankings: Vec<Ranking>,
    /// Areas of each class over all images.
    areas: Vec<Areas>,
    /// Rank of the true class among each image's probabilities, 0 for the most probable. Among
    /// equals the later class comes first, as in scikit-learn's `top_k_accuracy_score`.
    ranks: Vec<usize>,
    /// Log loss and squared error of each image.
    errors: Vec<[f64; 2]>,
    /// Whether each class is predicted though no image belongs to it.
    only_predicted: Vec<bool>,
}

/// Metrics over all images, and the counts that those of each class are computed from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measures {
    /// Values in the order of [`names`].
    pub values: Vec<f64>,
    total: u64,
    tallies: Vec<Tally>,
    /// Areas of each class; empty if nothing was ranked.
    areas: Vec<Areas>,
}

impl Measures {
    /// Computes the metrics of one class.
    pub(super) fn class(&self, class: usize) -> ClassMeasures {
        let areas = self.areas.get(class).copied().unwrap_or(Areas::NONE);
        ClassMeasures::new(self.tallies[class], areas, self.total)
    }
}

/// The metrics of one class against all others.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ClassMeasures {
    /// Number of images of the class.
    pub support: u64,
    /// Number of images of other classes.
    pub others: u64,
    /// Number of images predicted as the class.
    pub predicted: u64,
    /// Number of images of the class that are predicted as it.
    pub hits: u64,
    /// Fraction of the images predicted as the class that belong to it; 0 if none is predicted.
    pub precision: f64,
    /// Fraction of the class's images that are predicted as it (sensitivity); 0 if there are none.
    pub recall: f64,
    /// Fraction of the other images that are not predicted as it; NaN if there are none.
    pub specificity: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Area under the ROC curve; NaN unless there are images of the class and of others.
    pub roc_auc: f64,
    /// Average precision; NaN without an image of the class.
    pub average_precision: f64,
}

impl ClassMeasures {
    fn new(
        tally: Tally,
        Areas {
            roc_auc,
            average_precision,
        }: Areas,
        total: u64,
    ) -> Self {
        let (scores, hits, predicted) = (
            tally.scores(),
            u64::from(tally.hits),
            u64::from(tally.predicted),
        );
        let others = total - scores.support;
        Self {
            support: scores.support,
            others,
            predicted,
            hits,
            precision: scores.precision,
            recall: scores.recall,
            specificity: (others - (predicted - hits)) as f64 / others as f64,
            f1: scores.f1,
            roc_auc,
            average_precision,
        }
    }
}

/// The k of the top-k accuracies, each reported if there are more classes than k.
const TOP: [usize; 3] = [2, 3, 5];

/// Returns the names of [`Measures::values`] for this number of classes.
pub(super) fn names(num_classes: usize) -> Vec<String> {
    const NAMES: [&str; 14] = [
        "accuracy",
        "balanced_accuracy",
        "macro_precision",
        "macro_recall",
        "macro_f1",
        "weighted_precision",
        "weighted_recall",
        "weighted_f1",
        "mcc",
        "kappa",
        "log_loss",
        "brier",
        "roc_auc",
        "average_precision",
    ];
    let top = TOP
        .iter()
        .filter(|k| **k < num_classes)
        .map(|k| format!("top_{k}_accuracy"));
    NAMES
        .iter()
        .map(|name| (*name).to_owned())
        .chain(top)
        .collect()
}

/// Returns the mean of the values that are not NaN, or NaN if there are none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values
        .filter(|value| !value.is_nan())
        .fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}
impl<'a> Measurer<'a> {
    /// Ranks the images for every class and computes each image's errors.
    pub(super) fn new(judged: &'a ScoredPredictions<'a>) -> Self {
        let ScoredPredictions {
            labels,
            rows,
            num_classes,
            ..
        } = judged;
        let num_classes = *num_classes;
        let rank = |(label, row): (&usize, &&[f32])| {
            row.iter()
                .enumerate()
                .filter(|(class, value)| {
                    **value > row[*label] || (**value == row[*label] && class > label)
                })
                .count()
        };
        let ones = vec![1; judged.len()];
        let ranked = |(class, values): (usize, Vec<f32>)| {
            let ranking = Ranking::new(&values, labels, class);
            let areas = ranking.areas(&ones);
            ((num_classes <= RANKED_CLASSES).then_some(ranking), areas)
        };
        let blocks: Vec<usize> = (0..num_classes).step_by(BLOCK).collect();
        let of_block = |start: usize| -> Vec<_> {
            columns(rows, start, num_classes)
                .into_iter()
                .map(ranked)
                .collect()
        };
        let (rankings, areas): (Vec<Option<Ranking>>, Vec<Areas>) =
            blocks.into_par_iter().flat_map_iter(of_block).unzip();
        let mut found = Self {
            judged,
            rankings: rankings.into_iter().flatten().collect(),
            areas,
            ranks: labels.iter().zip(rows).map(rank).collect(),
            errors: labels
                .iter()
                .zip(rows)
                .map(|(label, row)| errors(*label, row))
                .collect(),
            only_predicted: Vec::new(),
        };
        let tallies = found.tallies(&ones).into_iter();
        found.only_predicted = tallies
            .map(|tally| tally.support == 0 && tally.predicted > 0)
            .collect();
        found
    }

    /// Computes the metrics with each image counted once. Ranked metrics are computed for any
    /// number of classes.
    pub(super) fn figures(&self) -> Measures {
        self.measure_with(&vec![1; self.judged.len()], self.areas.clone())
    }

    /// Computes the metrics with image `i` counted `counts[i]` times. Ranked metrics are NaN for
    /// more than [`RANKED_CLASSES`] classes.
    pub(super) fn measure(&self, counts: &[u32]) -> Measures {
        self.measure_with(
            counts,
            self.rankings
                .iter()
                .map(|ranking| ranking.areas(counts))
                .collect(),
        )
    }

    /// Computes the metrics with these weights and areas.
    fn measure_with(&self, counts: &[u32], areas: Vec<Areas>) -> Measures {
        let tallies = self.tallies(counts);
        let sum: u64 = tallies.iter().map(|tally| u64::from(tally.support)).sum();
        let right: u64 = tallies.iter().map(|tally| u64::from(tally.hits)).sum();
        let total = sum as f64;
        let mut measures = Measures {
            values: Vec::new(),
            total: sum,
            tallies,
            areas,
        };
        let per_class: Vec<ClassMeasures> = (0..self.judged.num_classes)
            .map(|class| measures.class(class))
            .collect();
        // scikit-learn's macro averages leave out classes that occur neither as truth nor as
        // prediction; balanced accuracy leaves out those that are not the truth. A class that a
        // resample has no image of is left out too: its recall of 0 would be the resample's fault.
        let occurs = per_class.iter().zip(&self.only_predicted);
        let occurs = occurs.filter(|(scores, only)| scores.support > 0 || **only);
        let occurs: Vec<&ClassMeasures> = occurs.map(|(scores, _)| scores).collect();
        let macro_mean =
            |of: fn(&ClassMeasures) -> f64| mean(occurs.iter().map(|scores| of(scores)));
        let weighted = |of: fn(&ClassMeasures) -> f64| {
            per_class
                .iter()
                .map(|scores| of(scores) * scores.support as f64)
                .sum::<f64>()
                / total
        };
        let balanced = mean(
            per_class
                .iter()
                .filter(|scores| scores.support > 0)
                .map(|scores| scores.recall),
        );
        let [log_loss, brier] = self.sum_errors(counts);
        measures.values = vec![
            right as f64 / total,
            balanced,
            macro_mean(|scores| scores.precision),
            macro_mean(|scores| scores.recall),
            macro_mean(|scores| scores.f1),
            weighted(|scores| scores.precision),
            weighted(|scores| scores.recall),
            weighted(|scores| scores.f1),
            mcc(&per_class, total),
            kappa(&per_class, total),
            log_loss / total,
            brier / total,
            mean(per_class.iter().map(|scores| scores.roc_auc)),
            mean(per_class.iter().map(|scores| scores.average_precision)),
        ];
        let top = TOP.iter().filter(|k| **k < self.judged.num_classes);
        measures
            .values
            .extend(top.map(|k| self.top_hits(*k, counts) as f64 / total));
        measures
    }

    /// Returns the counts of each class with these weights.
    fn tallies(&self, counts: &[u32]) -> Vec<Tally> {
        let ScoredPredictions {
            labels, predicted, ..
        } = self.judged;
        let mut tallies = vec![Tally::default(); self.judged.num_classes];
        for ((label, predicted), count) in labels.iter().zip(predicted).zip(counts) {
            tallies[*label].support += count;
            tallies[*predicted].predicted += count;
            tallies[*label].hits += if label == predicted { *count } else { 0 };
        }
        tallies
    }

    /// Returns the weighted number of images whose true class is among the `k` most probable.
    fn top_hits(&self, k: usize, counts: &[u32]) -> u64 {
        self.ranks
            .iter()
            .zip(counts)
            .filter(|(rank, _)| **rank < k)
            .map(|(_, count)| u64::from(*count))
            .sum()
    }

    /// Returns the weighted sums of the log loss and of the Brier score.
    fn sum_errors(&self, counts: &[u32]) -> [f64; 2] {
        // With two classes both squared errors are equal, and the usual binary score is one of
        // them.
        let scale = if self.judged.num_classes == 2 {
            0.5
        } else {
            1.0
        };
        self.errors.iter().zip(counts).fold(
            [0.0, 0.0],
            |[log, brier], ([own_log, square], count)| {
                let count = f64::from(*count);
                [log + count * own_log, brier + count * scale * square]
            },
        )
    }
}

/// Returns the classes of the block that begins at `start`, each with its probability for every
/// image.
fn columns(rows: &[&[f32]], start: usize, num_classes: usize) -> Vec<(usize, Vec<f32>)> {
    let end = (start + BLOCK).min(num_classes);
    let mut columns: Vec<(usize, Vec<f32>)> = (start..end)
        .map(|class| (class, Vec::with_capacity(rows.len())))
        .collect();
    for row in rows {
        columns
            .iter_mut()
            .zip(&row[start..end])
            .for_each(|((_, column), value)| column.push(*value));
    }
    columns
}

/// Returns the log loss and the squared error of one image.
fn errors(label: usize, row: &[f32]) -> [f64; 2] {
    // scikit-learn's `log_loss` clips probabilities in the same way.
    let of_truth = f64::from(row[label]).clamp(f64::EPSILON, 1.0 - f64::EPSILON);
    let square = |(class, value): (usize, &f32)| {
        (f64::from(*value) - if class == label { 1.0 } else { 0.0 }).powi(2)
    };
    [-of_truth.ln(), row.iter().enumerate().map(square).sum()]
}
/// Returns Matthews's correlation coefficient for any number of classes (Gorodkin 2004), or 0 if
/// the truth or the prediction has one class only.
fn mcc(per_class: &[ClassMeasures], total: f64) -> f64 {
    let sum = |of: fn(&ClassMeasures) -> f64| per_class.iter().map(of).sum::<f64>();
    let both = sum(|scores| scores.support as f64 * scores.predicted as f64);
    let (truth, predicted) = (
        sum(|scores| (scores.support as f64).powi(2)),
        sum(|scores| (scores.predicted as f64).powi(2)),
    );
    let spread = (total * total - truth) * (total * total - predicted);
    if spread == 0.0 {
        0.0
    } else {
        (total * sum(|scores| scores.hits as f64) - both) / spread.sqrt()
    }
}

/// Returns Cohen's kappa (Cohen 1960), or NaN if chance alone agrees fully.
fn kappa(per_class: &[ClassMeasures], total: f64) -> f64 {
    let sum = |of: fn(&ClassMeasures) -> f64| per_class.iter().map(of).sum::<f64>();
    let chance = sum(|scores| scores.support as f64 * scores.predicted as f64) / total;
    (sum(|scores| scores.hits as f64) - chance) / (total - chance)
}
