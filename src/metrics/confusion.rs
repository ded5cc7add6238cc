//! A sparse confusion matrix. It holds only cells that were counted: with 10,000 classes, 10,000
//! images fill at most 10,000 of 100 million cells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The counts of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of images of the class.
    pub support: u32,
    /// Number of images predicted as the class.
    pub predicted: u32,
    /// Number of images of the class that are predicted as it.
    pub hits: u32,
}

/// The scores of one class. A ratio without a denominator is 0, as in scikit-learn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// Fraction of the images predicted as the class that belong to it.
    pub precision: f64,
    /// Fraction of the class's images that are predicted as it.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Number of images of the class.
    pub support: u64,
}

impl Tally {
    /// Whether any image belongs to the class or is predicted as it.
    pub fn occurs(self) -> bool {
        self.support + self.predicted > 0
    }

    /// Computes precision, recall and F1.
    pub fn scores(self) -> ClassScores {
        let [support, predicted, hits] = [self.support, self.predicted, self.hits].map(f64::from);
        let ratio = |part: f64, whole: f64| if whole == 0.0 { 0.0 } else { part / whole };
        ClassScores {
            precision: ratio(hits, predicted),
            recall: ratio(hits, support),
            f1: ratio(2.0 * hits, support + predicted),
            support: self.support.into(),
        }
    }
}

/// A confusion matrix: counts of true and predicted class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Confusion {
    cells: BTreeMap<(usize, usize), u64>,
    tallies: Vec<Tally>,
    total: u64,
}

impl Confusion {
    /// Creates a matrix of zeros.
    pub fn new(num_classes: usize) -> Self {
        Self {
            cells: BTreeMap::new(),
            tallies: vec![Tally::default(); num_classes],
            total: 0,
        }
    }

    /// Counts one prediction.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        self.add_many(truth, predicted, 1);
    }

    /// Counts `count` equal predictions.
    fn add_many(&mut self, truth: usize, predicted: usize, count: u32) {
        *self.cells.entry((truth, predicted)).or_default() += u64::from(count);
        self.tallies[truth].support += count;
        self.tallies[predicted].predicted += count;
        if truth == predicted {
            self.tallies[truth].hits += count;
        }
        self.total += u64::from(count);
    }

    /// Returns the number of classes.
    pub fn num_classes(&self) -> usize {
        self.tallies.len()
    }

    /// Returns the number of predictions.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns how often `truth` was predicted as `predicted`.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.cells.get(&(truth, predicted)).copied().unwrap_or(0)
    }

    /// Iterates over the nonzero cells, row by row: true class, predicted class, count.
    pub fn cells(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        self.cells
            .iter()
            .map(|((truth, predicted), count)| (*truth, *predicted, *count))
    }

    /// Lists the nonzero cells off the diagonal, the most frequent first, equals in the order of
    /// the matrix.
    pub fn mistakes(&self) -> Vec<(usize, usize, u64)> {
        let mut mistakes: Vec<_> = self
            .cells()
            .filter(|(truth, predicted, _)| truth != predicted)
            .collect();
        // The sort is stable, so equal counts keep the order of the matrix.
        mistakes.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
        mistakes
    }

    /// Returns the whole matrix; rows are the true class, columns the predicted one.
    pub fn dense(&self) -> Vec<Vec<u64>> {
        let count = self.num_classes();
        (0..count)
            .map(|truth| {
                (0..count)
                    .map(|predicted| self.count(truth, predicted))
                    .collect()
            })
            .collect()
    }

    /// Returns the counts of each class.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// Returns the fraction of correct predictions, or NaN if nothing was counted.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = self.tallies.iter().map(|tally| u64::from(tally.hits)).sum();
        right as f64 / self.total as f64
    }

    /// Returns the mean F1 over the classes that occur as truth or prediction, as scikit-learn's
    /// `f1_score(average="macro")`.
    pub fn macro_f1(&self) -> f64 {
        let occurring: Vec<_> = self
            .tallies
            .iter()
            .filter(|tally| tally.occurs())
            .map(|tally| tally.scores().f1)
            .collect();
        occurring.iter().sum::<f64>() / occurring.len() as f64
    }
}

/// The serialized forms of a confusion matrix.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    /// The form that is written.
    Sparse {
        num_classes: usize,
        /// True class, predicted class, count.
        cells: Vec<(usize, usize, u32)>,
    },
    /// The form that earlier versions wrote: `counts[truth][predicted]`.
    Dense { counts: Vec<Vec<u32>> },
}

/// Largest number of classes accepted from a file. A larger number means that the file is damaged,
/// and no memory is allocated for it.
const MOST_CLASSES: usize = 10_000_000;

impl From<Confusion> for Stored {
    fn from(confusion: Confusion) -> Self {
        let cells = confusion
            .cells()
            .map(|(truth, predicted, count)| (truth, predicted, count as u32))
            .collect();
        Self::Sparse {
            num_classes: confusion.num_classes(),
            cells,
        }
    }
}

impl TryFrom<Stored> for Confusion {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let (num_classes, cells) = match stored {
            Stored::Sparse { num_classes, cells } => (num_classes, cells),
            Stored::Dense { counts } => {
                let row = |(truth, row): (usize, &Vec<u32>)| {
                    row.iter()
                        .enumerate()
                        .map(move |(predicted, count)| (truth, predicted, *count))
                        .collect::<Vec<_>>()
                };
                (
                    counts.len(),
                    counts
                        .iter()
                        .enumerate()
                        .flat_map(row)
                        .filter(|(.., count)| *count > 0)
                        .collect(),
                )
            }
        };
        if num_classes > MOST_CLASSES {
            return Err(format!(
                "found a confusion matrix of {num_classes} classes, expected {MOST_CLASSES} at most"
            ));
        }
        let mut confusion = Self::new(num_classes);
        for (truth, predicted, count) in cells {
            if truth.max(predicted) >= num_classes {
                return Err(format!(
                    "found class {} in a confusion matrix of {num_classes}, counted from 0",
                    truth.max(predicted)
                ));
            }
            confusion.add_many(truth, predicted, count);
        }
        Ok(confusion)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_are_those_of_the_dense_matrix_and_a_file_keeps_them(
            pairs in prop::collection::vec((0usize..4, 0usize..4), 1..100)
        ) {
            let mut confusion = Confusion::new(4);
            pairs.iter().for_each(|(truth, predicted)| confusion.add(*truth, *predicted));
            let dense = confusion.dense();
            for (class, tally) in confusion.tallies().iter().enumerate() {
                let predicted = dense.iter().map(|row| row[class]).sum::<u64>();
                let support = pairs.iter().filter(|(truth, _)| *truth == class).count();
                prop_assert_eq!(u64::from(tally.support), dense[class].iter().sum::<u64>());
                prop_assert_eq!(u64::from(tally.predicted), predicted);
                prop_assert_eq!(u64::from(tally.hits), dense[class][class]);
                prop_assert_eq!(u64::from(tally.support), support as u64);
            }
            prop_assert_eq!(confusion.total(), pairs.len() as u64);
            let mistakes = confusion.mistakes();
            prop_assert!(mistakes.windows(2).all(|pair| pair[0].2 >= pair[1].2));
            prop_assert!(mistakes.iter().all(|(a, b, _)| a != b));
            let text = serde_json::to_string(&confusion).expect("written");
            prop_assert_eq!(&serde_json::from_str::<Confusion>(&text).expect("read"), &confusion);
            let old = serde_json::json!({ "counts": dense });
            prop_assert_eq!(&serde_json::from_value::<Confusion>(old).expect("read"), &confusion);
        }
    }

    #[test]
    fn ten_thousand_classes_take_the_room_of_what_was_counted() {
        let mut confusion = Confusion::new(10_000);
        (0..10_000).for_each(|class| confusion.add(class, class * 7 % 10_000));
        assert!(serde_json::to_string(&confusion).expect("written").len() < 200_000);
        assert!(
            serde_json::to_string(&Confusion::new(10_000))
                .expect("written")
                .len()
                < 100
        );
    }

    #[test]
    fn a_damaged_file_is_an_error_before_memory_is_taken() {
        for (text, expected) in [
            (
                r#"{"num_classes": 3, "cells": [[0, 3, 1]]}"#,
                "found class 3 in a confusion matrix of 3",
            ),
            (
                r#"{"num_classes": 4000000000000000000, "cells": []}"#,
                "expected 10000000 at most",
            ),
            (
                r#"{"counts": [[1, 2], [3, 4, 5]]}"#,
                "found class 2 in a confusion matrix of 2",
            ),
            (
                r#"{"num_classes": 3, "cells": [[0, -1, 1]]}"#,
                "data did not match",
            ),
        ] {
            let error = serde_json::from_str::<Confusion>(text)
                .expect_err(text)
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
