//! Every measure of a set of predictions, with each picture counted as often as a draw has it: once for the figure itself, as often as the
//! bootstrap says for its interval. Definitions are scikit-learn's; where it has no number (one class only, say) there is NaN.

use super::{Confusion, argmax};

/// Predictions beside the truth, sorted once for all that looks at ranks.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    labels: Vec<usize>,
    probabilities: &'a [Vec<f32>],
    predicted: Vec<usize>,
    num_classes: usize,
    /// Pictures by falling probability of each class.
    orders: Vec<Vec<usize>>,
    /// Place of the true class among the classes of each picture, the most probable 0; of equals the later class comes first.
    ranks: Vec<usize>,
}

/// The measures of all pictures together, in the order of [`names`], and of each class.
#[derive(Clone, Debug, PartialEq)]
pub struct Measures {
    /// As named by [`names`].
    pub values: Vec<f64>,
    /// Class by class.
    pub per_class: Vec<ClassMeasures>,
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
    pub fn new(labels: Vec<usize>, probabilities: &'a [Vec<f32>], num_classes: usize) -> Self {
        let of = |class: usize| move |index: usize| probabilities[index][class];
        let order = |class: usize| {
            let mut order: Vec<usize> = (0..labels.len()).collect();
            order.sort_by(|a, b| of(class)(*b).total_cmp(&of(class)(*a)));
            order
        };
        let rank = |(label, row): (&usize, &Vec<f32>)| {
            row.iter().enumerate().filter(|(class, value)| **value > row[*label] || (**value == row[*label] && class > label)).count()
        };
        Self {
            orders: (0..num_classes).map(order).collect(),
            ranks: labels.iter().zip(probabilities).map(rank).collect(),
            predicted: probabilities.iter().map(|row| argmax(row)).collect(),
            labels,
            probabilities,
            num_classes,
        }
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

    /// The measures with picture `i` counted `counts[i]` times.
    pub fn measure(&self, counts: &[u32]) -> Measures {
        let mut confusion = Confusion::new(self.num_classes);
        for (index, count) in counts.iter().enumerate() {
            confusion.counts[self.labels[index]][self.predicted[index]] += u64::from(*count);
        }
        let per_class: Vec<_> = (0..self.num_classes).map(|class| self.measure_class(class, &confusion, counts)).collect();
        let total = confusion.total() as f64;
        let occurs = |scores: &&ClassMeasures| scores.support + scores.predicted > 0;
        let macro_mean = |of: fn(&ClassMeasures) -> f64| mean(per_class.iter().filter(occurs).map(of));
        let weighted =
            |of: fn(&ClassMeasures) -> f64| per_class.iter().map(|scores| of(scores) * scores.support as f64).sum::<f64>() / total;
        let balanced = mean(per_class.iter().filter(|scores| scores.support > 0).map(|scores| scores.recall));
        let (log_loss, brier) = self.errors(counts);
        let mut values = vec![
            confusion.accuracy(),
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
        values.extend(TOP.iter().filter(|k| **k < self.num_classes).map(|k| {
            let hits: u64 = self.ranks.iter().zip(counts).filter(|(rank, _)| *rank < k).map(|(_, count)| u64::from(*count)).sum();
            hits as f64 / total
        }));
        Measures { values, per_class }
    }

    fn measure_class(&self, class: usize, confusion: &Confusion, counts: &[u32]) -> ClassMeasures {
        let scores = confusion.scores(class);
        let predicted: u64 = confusion.counts.iter().map(|row| row[class]).sum();
        let (hits, others) = (confusion.counts[class][class], confusion.total() - scores.support);
        let (roc_auc, average_precision) = self.areas(class, counts);
        ClassMeasures {
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

    /// The area under the ROC curve and the average precision of a class against all others; equal probabilities are one threshold.
    fn areas(&self, class: usize, counts: &[u32]) -> (f64, f64) {
        let (mut hits, mut alarms, mut area, mut precision) = (0.0f64, 0.0f64, 0.0, 0.0);
        for (new_hits, new_alarms) in self.thresholds(class, counts) {
            area += new_alarms * (hits + new_hits / 2.0);
            (hits, alarms) = (hits + new_hits, alarms + new_alarms);
            if hits + alarms > 0.0 {
                precision += new_hits * hits / (hits + alarms);
            }
        }
        (area / (hits * alarms), precision / hits)
    }

    /// For each probability that occurs, falling: how many pictures of the class, and of others, have it.
    fn thresholds(&self, class: usize, counts: &[u32]) -> impl Iterator<Item = (f64, f64)> {
        let value = move |index: &usize| self.probabilities[*index][class];
        self.orders[class].chunk_by(move |a, b| value(a) == value(b)).map(move |equals| {
            equals.iter().fold((0.0, 0.0), |(hits, alarms), index| {
                let count = f64::from(counts[*index]);
                if self.labels[*index] == class { (hits + count, alarms) } else { (hits, alarms + count) }
            })
        })
    }

    /// The points of the ROC curve of a class: share of others and share of the class above each threshold, from (0, 0) to (1, 1).
    pub fn roc(&self, class: usize) -> Vec<[f64; 2]> {
        let ones = vec![1; self.len()];
        let points = self.thresholds(class, &ones).scan([0.0, 0.0], |at, (hits, alarms)| {
            *at = [at[0] + alarms, at[1] + hits];
            Some(*at)
        });
        let points: Vec<_> = std::iter::once([0.0, 0.0]).chain(points).collect();
        let [alarms, hits] = points[points.len() - 1];
        points.into_iter().map(|[x, y]| [x / alarms, y / hits]).collect()
    }

    /// The points of the precision-recall curve of a class, by rising recall.
    pub fn precision_recall(&self, class: usize) -> Vec<[f64; 2]> {
        let ones = vec![1; self.len()];
        let points = self.thresholds(class, &ones).scan([0.0, 0.0], |at, (hits, alarms)| {
            *at = [at[0] + hits, at[1] + alarms];
            Some(*at)
        });
        let points: Vec<_> = points.collect();
        let all = points.last().map_or(0.0, |last| last[0]);
        points.into_iter().map(|[hits, alarms]| [hits / all, hits / (hits + alarms)]).collect()
    }

    /// Sums of the logarithmic loss and of the Brier score (which for two classes is halved, as usual).
    fn errors(&self, counts: &[u32]) -> (f64, f64) {
        let scale = if self.num_classes == 2 { 0.5 } else { 1.0 };
        let mut sums = (0.0, 0.0);
        for ((label, row), count) in self.labels.iter().zip(self.probabilities).zip(counts).filter(|(_, count)| **count > 0) {
            let count = f64::from(*count);
            let of_truth = f64::from(row[*label]).clamp(f64::EPSILON, 1.0 - f64::EPSILON);
            sums.0 -= count * of_truth.ln();
            let square = |(class, value): (usize, &f32)| (f64::from(*value) - if class == *label { 1.0 } else { 0.0 }).powi(2);
            sums.1 += count * scale * row.iter().enumerate().map(square).sum::<f64>();
        }
        sums
    }

    /// The reliability curve: predictions by their highest probability, in equal steps from 0 to 1.
    pub fn reliability(&self) -> Vec<Bin> {
        let mut bins = vec![Bin::default(); BINS];
        for (index, row) in self.probabilities.iter().enumerate() {
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
