//! Counts of (true class, predicted class), kept where there are any: of ten thousand classes, ten thousand pictures fill ten thousand of a
//! hundred million places.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one class counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pictures of the class.
    pub support: u32,
    /// Pictures predicted as the class.
    pub predicted: u32,
    /// Pictures that are both.
    pub hits: u32,
}

/// What a tally says of its class, with scikit-learn's zero where a ratio has no denominator.
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

impl Tally {
    /// Is there a picture of the class, or one predicted as it?
    pub fn occurs(self) -> bool {
        self.support + self.predicted > 0
    }

    /// Precision, recall and F1.
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

/// A confusion matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Confusion {
    cells: BTreeMap<(usize, usize), u64>,
    tallies: Vec<Tally>,
    total: u64,
}

impl Confusion {
    /// Nothing counted yet.
    pub fn new(num_classes: usize) -> Self {
        Self { cells: BTreeMap::new(), tallies: vec![Tally::default(); num_classes], total: 0 }
    }

    /// Counts one prediction.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        self.add_many(truth, predicted, 1);
    }

    fn add_many(&mut self, truth: usize, predicted: usize, count: u32) {
        *self.cells.entry((truth, predicted)).or_default() += u64::from(count);
        self.tallies[truth].support += count;
        self.tallies[predicted].predicted += count;
        if truth == predicted {
            self.tallies[truth].hits += count;
        }
        self.total += u64::from(count);
    }

    /// Classes that there are.
    pub fn num_classes(&self) -> usize {
        self.tallies.len()
    }

    /// Pictures counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How often a class was taken for another, or for itself.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.cells.get(&(truth, predicted)).copied().unwrap_or(0)
    }

    /// The places that aren't empty, row by row: true class, predicted class, count.
    pub fn cells(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        self.cells.iter().map(|((truth, predicted), count)| (*truth, *predicted, *count))
    }

    /// The mistakes, the most frequent first, of equals in the order of the matrix.
    pub fn mistakes(&self) -> Vec<(usize, usize, u64)> {
        let mut mistakes: Vec<_> = self.cells().filter(|(truth, predicted, _)| truth != predicted).collect();
        mistakes.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
        mistakes
    }

    /// The whole matrix: rows are the truth, columns the prediction.
    pub fn dense(&self) -> Vec<Vec<u64>> {
        let count = self.num_classes();
        (0..count).map(|truth| (0..count).map(|predicted| self.count(truth, predicted)).collect()).collect()
    }

    /// What each class counts.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// Share of right predictions; NaN where nothing was counted.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = self.tallies.iter().map(|tally| u64::from(tally.hits)).sum();
        right as f64 / self.total as f64
    }

    /// Mean F1 over the classes that occur, as truth or as prediction (scikit-learn's `f1_score(average="macro")`).
    pub fn macro_f1(&self) -> f64 {
        let occurring: Vec<_> = self.tallies.iter().filter(|tally| tally.occurs()).map(|tally| tally.scores().f1).collect();
        occurring.iter().sum::<f64>() / occurring.len() as f64
    }
}

/// As a file has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    /// What is written.
    Sparse {
        num_classes: usize,
        /// True class, predicted class, count.
        cells: Vec<(usize, usize, u32)>,
    },
    /// What earlier versions wrote: `counts[truth][predicted]`.
    Dense { counts: Vec<Vec<u32>> },
}

/// Classes that a file may have: beyond, it is damaged, and no memory is taken for them.
const MOST_CLASSES: usize = 10_000_000;

impl From<Confusion> for Stored {
    fn from(confusion: Confusion) -> Self {
        let cells = confusion.cells().map(|(truth, predicted, count)| (truth, predicted, count as u32)).collect();
        Self::Sparse { num_classes: confusion.num_classes(), cells }
    }
}

impl TryFrom<Stored> for Confusion {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let (num_classes, cells) = match stored {
            Stored::Sparse { num_classes, cells } => (num_classes, cells),
            Stored::Dense { counts } => {
                let row = |(truth, row): (usize, &Vec<u32>)| {
                    row.iter().enumerate().map(move |(predicted, count)| (truth, predicted, *count)).collect::<Vec<_>>()
                };
                (counts.len(), counts.iter().enumerate().flat_map(row).filter(|(.., count)| *count > 0).collect())
            }
        };
        if num_classes > MOST_CLASSES {
            return Err(format!("found a confusion matrix of {num_classes} classes, expected {MOST_CLASSES} at most"));
        }
        let mut confusion = Self::new(num_classes);
        for (truth, predicted, count) in cells {
            if truth.max(predicted) >= num_classes {
                return Err(format!("found class {} in a confusion matrix of {num_classes}, counted from 0", truth.max(predicted)));
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
        fn sums_are_those_of_the_dense_matrix_and_a_file_keeps_them(pairs in prop::collection::vec((0usize..4, 0usize..4), 1..100)) {
            let mut confusion = Confusion::new(4);
            pairs.iter().for_each(|(truth, predicted)| confusion.add(*truth, *predicted));
            let dense = confusion.dense();
            for (class, tally) in confusion.tallies().iter().enumerate() {
                prop_assert_eq!(u64::from(tally.support), dense[class].iter().sum::<u64>());
                prop_assert_eq!(u64::from(tally.predicted), dense.iter().map(|row| row[class]).sum::<u64>());
                prop_assert_eq!(u64::from(tally.hits), dense[class][class]);
                prop_assert_eq!(u64::from(tally.support), pairs.iter().filter(|(truth, _)| *truth == class).count() as u64);
            }
            prop_assert_eq!(confusion.total(), pairs.len() as u64);
            let mistakes = confusion.mistakes();
            prop_assert!(mistakes.windows(2).all(|pair| pair[0].2 >= pair[1].2) && mistakes.iter().all(|(a, b, _)| a != b));
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
        assert!(serde_json::to_string(&Confusion::new(10_000)).expect("written").len() < 100);
    }

    #[test]
    fn a_damaged_file_is_an_error_before_memory_is_taken() {
        for (text, expected) in [
            (r#"{"num_classes": 3, "cells": [[0, 3, 1]]}"#, "found class 3 in a confusion matrix of 3"),
            (r#"{"num_classes": 4000000000000000000, "cells": []}"#, "expected 10000000 at most"),
            (r#"{"counts": [[1, 2], [3, 4, 5]]}"#, "found class 2 in a confusion matrix of 2"),
            (r#"{"num_classes": 3, "cells": [[0, -1, 1]]}"#, "data did not match"),
        ] {
            let error = serde_json::from_str::<Confusion>(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
