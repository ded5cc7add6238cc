//! Every measure of a set of predictions, with each picture counted as often as a draw has it: once for the figure itself, as often as the
//! bootstrap says for its interval. Definitions are scikit-learn's; where it has no number (one class only, say) there is NaN.

use rayon::prelude::*;

use super::{
    Tally, argmax,
    ranking::{Areas, Ranking},
};

/// Classes up to which draws are ranked: ROC AUC and average precision of more have no interval, because each of a thousand draws would look
/// at each picture once for each class.
pub const RANKED_CLASSES: usize = 100;

/// Classes whose probabilities are taken from all pictures at once: they lie beside each other, those of one class a picture's row apart.
const BLOCK: usize = 64;

/// Predictions beside the truth.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    labels: Vec<usize>,
    rows: Vec<&'a [f32]>,
    predicted: Vec<usize>,
    num_classes: usize,
}

/// The same, looked at once for all that the measures of any draw need.
#[derive(Clone, Debug)]
pub(super) struct Measurer<'a> {
    judged: &'a Judged<'a>,
    /// Class by class; none of more than [`RANKED_CLASSES`].
    rankings: Vec<Ranking>,
    /// Of all pictures, class by class.
    areas: Vec<Areas>,
    /// Place of the true class among the classes of each picture, the most probable 0; of equals the later class comes first.
    ranks: Vec<usize>,
    /// Logarithmic loss and squared error of each picture.
    errors: Vec<[f64; 2]>,
}

/// The measures of all pictures together, in the order of [`names`], and what those of each class are made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measures {
    /// As named by [`names`].
    pub values: Vec<f64>,
    total: u64,
    tallies: Vec<Tally>,
    /// Empty where nothing was ranked.
    areas: Vec<Areas>,
}

impl Measures {
    /// The measures of one class.
    pub(super) fn class(&self, class: usize) -> ClassMeasures {
        let areas = self.areas.get(class).copied().unwrap_or(Areas::NONE);
        ClassMeasures::new(self.tallies[class], areas, self.total)
    }
}

/// The measures of one class against all others.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ClassMeasures {
    /// Pictures of the class.
    pub support: u64,
    /// Pictures of other classes.
    pub others: u64,
    /// Pictures predicted as the class.
    pub predicted: u64,
    /// Of its pictures, those predicted as it.
    pub hits: u64,
    /// Share of the predicted that are of it; 0 where none is predicted.
    pub precision: f64,
    /// Share of its pictures that are predicted as it (sensitivity); 0 where there is none.
    pub recall: f64,
    /// Share of other pictures that are not predicted as it; NaN where there is none.
    pub specificity: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Area under the ROC curve; NaN without pictures on both sides.
    pub roc_auc: f64,
    /// Average precision; NaN without a picture of the class.
    pub average_precision: f64,
}

impl ClassMeasures {
    fn new(tally: Tally, Areas { roc_auc, average_precision }: Areas, total: u64) -> Self {
        let (scores, hits, predicted) = (tally.scores(), u64::from(tally.hits), u64::from(tally.predicted));
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

/// The largest ks of top-k accuracy that are given, where there are more classes.
const TOP: [usize; 3] = [2, 3, 5];

/// What [`Measures::values`] hold for so many classes.
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
    let top = TOP.iter().filter(|k| **k < num_classes).map(|k| format!("top_{k}_accuracy"));
    NAMES.iter().map(|name| (*name).to_owned()).chain(top).collect()
}

/// A mean of what is a number; NaN where nothing is.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.filter(|value| !value.is_nan()).fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

impl<'a> Judged<'a> {
    /// `labels` and the probability of each class, picture by picture.
    pub fn new(labels: Vec<usize>, rows: Vec<&'a [f32]>, num_classes: usize) -> Self {
        Self { predicted: rows.iter().map(|row| argmax(row)).collect(), labels, rows, num_classes }
    }

    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// How many classes there are.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// Is the prediction of a picture right?
    pub fn is_right(&self, index: usize) -> bool {
        self.predicted[index] == self.labels[index]
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// For each probability of a class that occurs, falling: how many pictures of the class, and of others, have it.
    fn thresholds(&self, class: usize) -> Vec<[f64; 2]> {
        let value = |index: &usize| self.rows[*index][class];
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| value(b).total_cmp(&value(a)));
        let sums = |equals: &[usize]| {
            let hits = equals.iter().filter(|index| self.labels[**index] == class).count();
            [hits, equals.len() - hits].map(|count| count as f64)
        };
        order.chunk_by(|a, b| value(a) == value(b)).map(sums).collect()
    }

    /// The points of the ROC curve of a class: share of others and share of the class above each threshold, from (0, 0) to (1, 1).
    pub fn roc(&self, class: usize) -> Vec<[f64; 2]> {
        let points = self.thresholds(class).into_iter().scan([0.0, 0.0], |at, [hits, alarms]| {
            *at = [at[0] + alarms, at[1] + hits];
            Some(*at)
        });
        let points: Vec<_> = std::iter::once([0.0, 0.0]).chain(points).collect();
        let [alarms, hits] = points[points.len() - 1];
        points.into_iter().map(|[x, y]| [x / alarms, y / hits]).collect()
    }

    /// The points of the precision-recall curve of a class, by rising recall.
    pub fn precision_recall(&self, class: usize) -> Vec<[f64; 2]> {
        let points = self.thresholds(class).into_iter().scan([0.0, 0.0], |at, [hits, alarms]| {
            *at = [at[0] + hits, at[1] + alarms];
            Some(*at)
        });
        let points: Vec<_> = points.collect();
        let all = points.last().map_or(0.0, |last| last[0]);
        points.into_iter().map(|[hits, alarms]| [hits / all, hits / (hits + alarms)]).collect()
    }

    /// The reliability curve: predictions by their highest probability, in equal steps from 0 to 1.
    pub fn reliability(&self) -> Vec<Bin> {
        let mut bins = vec![Bin::default(); BINS];
        for (index, row) in self.rows.iter().enumerate() {
            let confidence = f64::from(row[self.predicted[index]]);
            let bin = &mut bins[((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
            bin.count += 1;
            bin.confidence += confidence;
            bin.accuracy += if self.predicted[index] == self.labels[index] { 1.0 } else { 0.0 };
        }
        for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
            bin.confidence /= bin.count as f64;
            bin.accuracy /= bin.count as f64;
        }
        bins
    }
}

impl<'a> Measurer<'a> {
    /// Looks at every probability.
    pub(super) fn new(judged: &'a Judged<'a>) -> Self {
        let Judged { labels, rows, num_classes, .. } = judged;
        let num_classes = *num_classes;
        let rank = |(label, row): (&usize, &&[f32])| {
            row.iter().enumerate().filter(|(class, value)| **value > row[*label] || (**value == row[*label] && class > label)).count()
        };
        let ones = vec![1; judged.len()];
        let ranked = |(class, values): (usize, Vec<f32>)| {
            let ranking = Ranking::new(&values, labels, class);
            let areas = ranking.areas(&ones);
            ((num_classes <= RANKED_CLASSES).then_some(ranking), areas)
        };
        let blocks: Vec<usize> = (0..num_classes).step_by(BLOCK).collect();
        let of_block = |start: usize| -> Vec<_> { columns(rows, start, num_classes).into_iter().map(ranked).collect() };
        let (rankings, areas): (Vec<Option<Ranking>>, Vec<Areas>) = blocks.into_par_iter().flat_map_iter(of_block).unzip();
        Self {
            judged,
            rankings: rankings.into_iter().flatten().collect(),
            areas,
            ranks: labels.iter().zip(rows).map(rank).collect(),
            errors: labels.iter().zip(rows).map(|(label, row)| errors(*label, row)).collect(),
        }
    }

    /// The measures of all pictures, those of ranks whatever the number of classes.
    pub(super) fn figures(&self) -> Measures {
        self.measure_with(&vec![1; self.judged.len()], self.areas.clone())
    }

    /// The measures with picture `i` counted `counts[i]` times; those of ranks are NaN with more than [`RANKED_CLASSES`].
    pub(super) fn measure(&self, counts: &[u32]) -> Measures {
        self.measure_with(counts, self.rankings.iter().map(|ranking| ranking.areas(counts)).collect())
    }

    fn measure_with(&self, counts: &[u32], areas: Vec<Areas>) -> Measures {
        let mut tallies = vec![Tally::default(); self.judged.num_classes];
        for ((label, predicted), count) in self.judged.labels.iter().zip(&self.judged.predicted).zip(counts) {
            tallies[*label].support += count;
            tallies[*predicted].predicted += count;
            tallies[*label].hits += if label == predicted { *count } else { 0 };
        }
        let sum: u64 = tallies.iter().map(|tally| u64::from(tally.support)).sum();
        let right: u64 = tallies.iter().map(|tally| u64::from(tally.hits)).sum();
        let total = sum as f64;
        let mut measures = Measures { values: Vec::new(), total: sum, tallies, areas };
        let per_class: Vec<ClassMeasures> = (0..self.judged.num_classes).map(|class| measures.class(class)).collect();
        let occurs = |scores: &&ClassMeasures| scores.support + scores.predicted > 0;
        let macro_mean = |of: fn(&ClassMeasures) -> f64| mean(per_class.iter().filter(occurs).map(of));
        let weighted =
            |of: fn(&ClassMeasures) -> f64| per_class.iter().map(|scores| of(scores) * scores.support as f64).sum::<f64>() / total;
        let balanced = mean(per_class.iter().filter(|scores| scores.support > 0).map(|scores| scores.recall));
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
        measures.values.extend(TOP.iter().filter(|k| **k < self.judged.num_classes).map(|k| {
            let hits: u64 = self.ranks.iter().zip(counts).filter(|(rank, _)| *rank < k).map(|(_, count)| u64::from(*count)).sum();
            hits as f64 / total
        }));
        measures
    }

    /// Sums of the logarithmic loss and of the Brier score (which for two classes is halved, as usual).
    fn sum_errors(&self, counts: &[u32]) -> [f64; 2] {
        let scale = if self.judged.num_classes == 2 { 0.5 } else { 1.0 };
        self.errors.iter().zip(counts).fold([0.0, 0.0], |[log, brier], ([own_log, square], count)| {
            let count = f64::from(*count);
            [log + count * own_log, brier + count * scale * square]
        })
    }
}

/// The classes of a block from `start` on, each with its probabilities, picture by picture.
fn columns(rows: &[&[f32]], start: usize, num_classes: usize) -> Vec<(usize, Vec<f32>)> {
    let end = (start + BLOCK).min(num_classes);
    let mut columns: Vec<(usize, Vec<f32>)> = (start..end).map(|class| (class, Vec::with_capacity(rows.len()))).collect();
    for row in rows {
        columns.iter_mut().zip(&row[start..end]).for_each(|((_, column), value)| column.push(*value));
    }
    columns
}

/// Logarithmic loss and squared error of one picture.
fn errors(label: usize, row: &[f32]) -> [f64; 2] {
    let of_truth = f64::from(row[label]).clamp(f64::EPSILON, 1.0 - f64::EPSILON);
    let square = |(class, value): (usize, &f32)| (f64::from(*value) - if class == label { 1.0 } else { 0.0 }).powi(2);
    [-of_truth.ln(), row.iter().enumerate().map(square).sum()]
}

/// Steps of the reliability curve (Guo et al. 2017, arXiv 1706.04599, take as many).
const BINS: usize = 15;

/// Predictions of about one confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Bin {
    /// How many.
    pub count: u64,
    /// Their mean highest probability.
    pub confidence: f64,
    /// Share of them that is right.
    pub accuracy: f64,
}

/// Expected calibration error: the mean distance of confidence from accuracy, by the number of predictions.
pub fn calibration_error(bins: &[Bin]) -> f64 {
    let total: u64 = bins.iter().map(|bin| bin.count).sum();
    bins.iter().map(|bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs()).sum::<f64>() / total as f64
}

/// Matthews's correlation for any number of classes (Gorodkin 2004); 0 where truth or prediction has one class only.
fn mcc(per_class: &[ClassMeasures], total: f64) -> f64 {
    let sum = |of: fn(&ClassMeasures) -> f64| per_class.iter().map(of).sum::<f64>();
    let both = sum(|scores| scores.support as f64 * scores.predicted as f64);
    let (truth, predicted) = (sum(|scores| (scores.support as f64).powi(2)), sum(|scores| (scores.predicted as f64).powi(2)));
    let spread = (total * total - truth) * (total * total - predicted);
    if spread == 0.0 { 0.0 } else { (total * sum(|scores| scores.hits as f64) - both) / spread.sqrt() }
}

/// Cohen's kappa; NaN where chance alone agrees.
fn kappa(per_class: &[ClassMeasures], total: f64) -> f64 {
    let sum = |of: fn(&ClassMeasures) -> f64| per_class.iter().map(of).sum::<f64>();
    let chance = sum(|scores| scores.support as f64 * scores.predicted as f64) / total;
    (sum(|scores| scores.hits as f64) - chance) / (total - chance)
}
