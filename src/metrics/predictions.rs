//! Predictions together with the true classes: their ROC, precision-recall and reliability curves.

use super::argmax;

/// Number of bins of the reliability curve, as in Guo et al. 2017 (arXiv 1706.04599).
const BINS: usize = 15;

/// Predictions together with the true classes.
#[derive(Clone, Debug)]
pub struct ScoredPredictions<'a> {
    pub(super) labels: Vec<usize>,
    pub(super) rows: Vec<&'a [f32]>,
    pub(super) predicted: Vec<usize>,
    pub(super) num_classes: usize,
}

impl<'a> ScoredPredictions<'a> {
    /// Pairs each image's label with its row of class probabilities.
    pub fn new(labels: Vec<usize>, rows: Vec<&'a [f32]>, num_classes: usize) -> Self {
        Self {
            predicted: rows.iter().map(|row| argmax(row)).collect(),
            labels,
            rows,
            num_classes,
        }
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns the number of classes.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// Whether the image at `index` is predicted correctly.
    pub fn is_right(&self, index: usize) -> bool {
        self.predicted[index] == self.labels[index]
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// For each distinct probability of a class, in falling order, counts the images of the class
    /// and the other images that have it.
    fn thresholds(&self, class: usize) -> Vec<[f64; 2]> {
        let value = |index: &usize| self.rows[*index][class];
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| value(b).total_cmp(&value(a)));
        let sums = |equals: &[usize]| {
            let hits = equals
                .iter()
                .filter(|index| self.labels[**index] == class)
                .count();
            [hits, equals.len() - hits].map(|count| count as f64)
        };
        order
            .chunk_by(|a, b| value(a) == value(b))
            .map(sums)
            .collect()
    }

    /// Returns the points of a class's ROC curve, false positive rate and true positive rate at
    /// each threshold, from (0, 0) to (1, 1).
    pub fn roc(&self, class: usize) -> Vec<[f64; 2]> {
        let points = self
            .thresholds(class)
            .into_iter()
            .scan([0.0, 0.0], |at, [hits, alarms]| {
                *at = [at[0] + alarms, at[1] + hits];
                Some(*at)
            });
        let points: Vec<_> = std::iter::once([0.0, 0.0]).chain(points).collect();
        let [alarms, hits] = points[points.len() - 1];
        points
            .into_iter()
            .map(|[x, y]| [x / alarms, y / hits])
            .collect()
    }

    /// Returns the points of a class's precision-recall curve, recall and precision at each
    /// threshold, by rising recall.
    pub fn precision_recall(&self, class: usize) -> Vec<[f64; 2]> {
        let points = self
            .thresholds(class)
            .into_iter()
            .scan([0.0, 0.0], |at, [hits, alarms]| {
                *at = [at[0] + hits, at[1] + alarms];
                Some(*at)
            });
        let points: Vec<_> = points.collect();
        let all = points.last().map_or(0.0, |last| last[0]);
        points
            .into_iter()
            .map(|[hits, alarms]| [hits / all, hits / (hits + alarms)])
            .collect()
    }

    /// Returns the reliability curve: predictions binned by their confidence in equal steps from 0
    /// to 1.
    pub fn reliability(&self) -> Vec<Bin> {
        let mut bins = vec![Bin::default(); BINS];
        for (index, row) in self.rows.iter().enumerate() {
            let confidence = f64::from(row[self.predicted[index]]);
            // Bins are open below and closed above, as in Guo et al.; a confidence of 0 falls into
            // the first.
            let bin = &mut bins[((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
            bin.count += 1;
            bin.confidence += confidence;
            bin.accuracy += if self.predicted[index] == self.labels[index] {
                1.0
            } else {
                0.0
            };
        }
        for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
            bin.confidence /= bin.count as f64;
            bin.accuracy /= bin.count as f64;
        }
        bins
    }
}

/// A bin of predictions of similar confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Bin {
    /// Number of predictions.
    pub count: u64,
    /// Mean of their highest probabilities.
    pub confidence: f64,
    /// Fraction of them that is correct.
    pub accuracy: f64,
}

/// Returns the expected calibration error: the mean distance between confidence and accuracy,
/// weighted by the number of predictions.
pub fn calibration_error(bins: &[Bin]) -> f64 {
    let total: u64 = bins.iter().map(|bin| bin.count).sum();
    bins.iter()
        .map(|bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs())
        .sum::<f64>()
        / total as f64
}
