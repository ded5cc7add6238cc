//! How good predictions are: a confusion matrix, and what follows from it. Rows are the truth, columns the prediction.

mod compare;
mod decision;
mod interval;
mod measures;
mod report;
mod temperature;

use serde::{Deserialize, Serialize};

pub use compare::Comparison;
pub use decision::{Coverage, Threshold, fit_coverage, fit_threshold, pictures_for, prediction_set};
pub use interval::{Estimate, share, wilson};
pub use measures::{Bin, ClassMeasures, Judged, calibration_error};
pub use report::{Calibration, ClassReport, Report};
pub use temperature::{TEMPERATURES, fit_temperature, softened, temperature_interval};

/// Counts of (true class, predicted class).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// `counts[truth][predicted]`.
    pub counts: Vec<Vec<u64>>,
}

/// What the matrix says of one class, with scikit-learn's zero where a ratio has no denominator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// Share of the pictures predicted as this class that are of it.
    pub precision: f64,
    /// Share of the pictures of this class that were predicted as it.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Pictures of this class.
    pub support: u64,
}

impl Confusion {
    /// Nothing counted yet.
    pub fn new(num_classes: usize) -> Self {
        Self { counts: vec![vec![0; num_classes]; num_classes] }
    }

    /// Counts one prediction.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        self.counts[truth][predicted] += 1;
    }

    /// Pictures counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Share of right predictions; NaN where nothing was counted.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.counts.len()).map(|class| self.counts[class][class]).sum();
        right as f64 / self.total() as f64
    }

    /// The scores of each class.
    pub fn per_class(&self) -> Vec<ClassScores> {
        (0..self.counts.len()).map(|class| self.scores(class)).collect()
    }

    fn scores(&self, class: usize) -> ClassScores {
        let hits = self.counts[class][class] as f64;
        let support: u64 = self.counts[class].iter().sum();
        let predicted: u64 = self.counts.iter().map(|row| row[class]).sum();
        let ratio = |part: f64, whole: f64| if whole == 0.0 { 0.0 } else { part / whole };
        let (precision, recall) = (ratio(hits, predicted as f64), ratio(hits, support as f64));
        ClassScores { precision, recall, f1: ratio(2.0 * hits, (support + predicted) as f64), support }
    }

    /// Mean F1 over the classes that occur, as truth or as prediction (scikit-learn's `f1_score(average="macro")`).
    pub fn macro_f1(&self) -> f64 {
        let occurs = |class: &usize| self.counts[*class].iter().any(|count| *count > 0) || self.counts.iter().any(|row| row[*class] > 0);
        let occurring: Vec<_> = (0..self.counts.len()).filter(occurs).map(|class| self.scores(class).f1).collect();
        occurring.iter().sum::<f64>() / occurring.len() as f64
    }
}

/// The index of the largest value, the first of equals; NaN is never the largest.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] || values[best].is_nan() {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn argmax_takes_the_first_of_equals_and_never_a_nan() {
        for (values, expected) in [(&[1.0, 3.0, 3.0][..], 1), (&[f32::NAN, 1.0], 1), (&[2.0, f32::NAN], 0), (&[f32::NAN, f32::NAN], 1)] {
            assert_eq!(argmax(values), expected, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn rows_sum_to_the_support(pairs in prop::collection::vec((0usize..4, 0usize..4), 1..100)) {
            let mut confusion = Confusion::new(4);
            pairs.iter().for_each(|(truth, predicted)| confusion.add(*truth, *predicted));
            for (class, scores) in confusion.per_class().iter().enumerate() {
                prop_assert_eq!(scores.support, pairs.iter().filter(|(truth, _)| *truth == class).count() as u64);
            }
            prop_assert_eq!(confusion.total(), pairs.len() as u64);
        }
    }
}
