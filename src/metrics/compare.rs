//! Compares two networks on the same images: McNemar's exact test (McNemar 1947) on the images that
//! only one of them classifies correctly, and a paired bootstrap of the differences. McNemar's test
//! takes images for independent; where they come in groups, the bootstrap judges.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use super::{
    interval::{Estimate, FEW_GROUPS, middle, num_groups, resample, resamples},
    measures::{Measurer, Measures, names},
    predictions::ScoredPredictions,
    ranking::Ranking,
    significance::{LEVEL, p_words, two_sided},
};
use crate::base::words::counted;

/// The result of a comparison. Differences are the second network's value minus the first's.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Number of images that only the first network classifies correctly.
    pub only_first_right: u64,
    /// Number of images that only the second network classifies correctly.
    pub only_second_right: u64,
    /// Two-sided p-value of McNemar's exact test, which takes images for independent.
    pub mcnemar_p: f64,
    /// The p-value that counts: McNemar's, or where images come in groups that of the bootstrap
    /// over groups; NaN with too few groups to tell.
    pub p: f64,
    /// Whether images come in groups.
    #[serde(skip)]
    are_grouped: bool,
    /// Difference of each metric, with its 95 % interval.
    pub differences: BTreeMap<String, Estimate>,
}

impl Comparison {
    /// Compares the predictions of two networks on the same images in the same order. `groups` and
    /// `seed` are as in [`Report::new`](super::Report::new).
    pub fn new(
        first: &ScoredPredictions<'_>,
        second: &ScoredPredictions<'_>,
        groups: &[usize],
        seed: u64,
    ) -> Self {
        let only = |one: &ScoredPredictions<'_>, other: &ScoredPredictions<'_>| {
            (0..one.len())
                .filter(|index| one.is_right(*index) && !other.is_right(*index))
                .count() as u64
        };
        let (only_first_right, only_second_right) = (only(first, second), only(second, first));
        let differences = |first: Measures, second: Measures| -> Vec<f64> {
            first
                .values
                .iter()
                .zip(second.values)
                .map(|(first, second)| second - first)
                .collect()
        };
        let num_classes = first.num_classes();
        let (first, second) = (Measurer::new(first), Measurer::new(second));
        let found = differences(first.figures(), second.figures());
        let draw = |index: u64| {
            // Both networks are measured on the same resample; independent ones would add the
            // variance of the images to that of the difference.
            let counts = resample(groups, seed, index);
            differences(first.measure(&counts), second.measure(&counts))
        };
        let grouped = num_groups(groups);
        let drawn: Vec<Vec<f64>> = resamples(groups).into_par_iter().map(draw).collect();
        let mcnemar_p = mcnemar(only_first_right, only_second_right);
        let p = match grouped {
            None => mcnemar_p,
            // The accuracy is the first of the values.
            Some(_) => two_sided(drawn.iter().map(|values| values[0])),
        };
        let estimate = |(index, name): (usize, String)| {
            (
                name,
                middle(found[index], drawn.iter().map(|values| values[index])),
            )
        };
        Self {
            only_first_right,
            only_second_right,
            mcnemar_p,
            p,
            are_grouped: grouped.is_some(),
            differences: names(num_classes)
                .into_iter()
                .enumerate()
                .map(estimate)
                .collect(),
        }
    }

    /// Describes the comparison in sentences that call the networks `first` and `second`.
    pub fn words(&self, first: &str, second: &str) -> String {
        let difference = self.differences["accuracy"];
        let (better, worse) = if difference.value > 0.0 {
            (second, first)
        } else {
            (first, second)
        };
        let interval = if difference.low.is_nan() {
            String::new()
        } else {
            format!(" (95 %: {:+.4} to {:+.4})", difference.low, difference.high)
        };
        let test = match (self.are_grouped, self.p.is_nan()) {
            (false, _) => format!("McNemar {}", p_words(self.p)),
            (true, false) => format!("{}, by a bootstrap over groups", p_words(self.p)),
            (true, true) => format!("fewer than {FEW_GROUPS} groups, which are too few to tell"),
        };
        let numbers = format!(
            "accuracy differs by {:+.4}{interval}; {} only {second} gets right, {} only {first}; \
             {test}",
            difference.value,
            counted(self.only_second_right as usize, "image"),
            self.only_first_right,
        );
        let verdict = if self.p < LEVEL {
            format!(
                "{better} is better than {worse} on images like these: chance alone would seldom \
                 do this"
            )
        } else if self.only_first_right == self.only_second_right {
            "Neither is better".to_owned()
        } else {
            format!(
                "This does not show that {better} is better than {worse}: chance alone often does \
                 as much"
            )
        };
        format!("{numbers}.\n{verdict}.")
    }
}

/// Returns the area under the ROC curve of a score that is higher for images that `is_own` says yes
/// to; NaN unless there are others too. `groups` and `seed` are as in
/// [`Report::new`](super::Report::new).
pub fn roc_auc(scores: &[f32], is_own: &[bool], groups: &[usize], seed: u64) -> Estimate {
    let area = area_of(scores, is_own);
    let draw = |index: u64| area(&resample(groups, seed, index));
    middle(area(&vec![1; scores.len()]), resamples(groups).map(draw))
}

/// Returns by how much the area under the ROC curve of the first score is above that of the second
/// on the same images, both measured on the same resamples; see [`roc_auc`].
pub fn roc_auc_difference(
    [first, second]: [&[f32]; 2],
    is_own: &[bool],
    groups: &[usize],
    seed: u64,
) -> Estimate {
    let (first, second) = (area_of(first, is_own), area_of(second, is_own));
    let difference = |counts: &[u32]| first(counts) - second(counts);
    let draw = |index: u64| difference(&resample(groups, seed, index));
    middle(
        difference(&vec![1; is_own.len()]),
        resamples(groups).map(draw),
    )
}

/// Returns a function from how often each image is counted to the area.
fn area_of(scores: &[f32], is_own: &[bool]) -> impl Fn(&[u32]) -> f64 {
    let labels: Vec<usize> = is_own.iter().copied().map(usize::from).collect();
    let ranking = Ranking::new(scores, &labels, 1);
    move |counts| ranking.areas(counts).roc_auc
}

/// Returns the two-sided p-value of McNemar's exact test: the probability that `first + second`
/// fair coins split at least as unevenly.
fn mcnemar(first: u64, second: u64) -> f64 {
    let (fewer, all) = (first.min(second), first + second);
    // The logarithm of the binomial coefficient, updated term by term, which never overflows.
    let mut log_ways = 0.0;
    let mut sum = 0.0;
    for count in 0..=fewer {
        sum += (log_ways - all as f64 * std::f64::consts::LN_2).exp();
        log_ways += ((all - count) as f64 / (count + 1) as f64).ln();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// p-values from SciPy's `binomtest(first, first + second)` (`scripts/reference/metrics.py`).
    #[test]
    fn mcnemars_test_is_the_exact_binomial_one() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/metrics.json")).expect("JSON");
        for row in golden["mcnemar"].as_array().expect("a list") {
            let [first, second] = [0, 1].map(|index| row[index].as_u64().expect("a count"));
            let expected = row[2].as_f64().expect("a number");
            assert!(
                (mcnemar(first, second) - expected).abs() < 1e-9,
                "{row}: {}",
                mcnemar(first, second)
            );
        }
        assert_eq!(mcnemar(0, 0), 1.0);
    }

    /// One network is right on 20 images of one group that the other is wrong on, and wrong on one
    /// image in each of three groups: by images, a clear difference.
    #[test]
    fn where_images_come_in_groups_the_groups_decide() {
        let labels: Vec<usize> = (0..240).map(|index| index % 2).collect();
        let rows = |is_wrong: &dyn Fn(usize) -> bool| -> Vec<Vec<f32>> {
            let row = |(index, label): (usize, &usize)| {
                if (*label == 0) != is_wrong(index) {
                    vec![0.9, 0.1]
                } else {
                    vec![0.1, 0.9]
                }
            };
            labels.iter().enumerate().map(row).collect()
        };
        let (first, second) = (rows(&|at| at < 20), rows(&|at| [25, 45, 65].contains(&at)));
        let compared = |groups: &[usize]| {
            Comparison::new(&judge(&labels, &first), &judge(&labels, &second), groups, 0)
        };
        let alone = compared(&(0..240).collect::<Vec<_>>());
        assert!(alone.p < 0.001 && alone.p == alone.mcnemar_p, "{alone:?}");
        let grouped = compared(&(0..240).map(|index| index / 20).collect::<Vec<_>>());
        assert!(
            grouped.p > LEVEL && grouped.mcnemar_p == alone.mcnemar_p,
            "{grouped:?}"
        );
        let words = grouped.words("a", "b");
        assert!(
            words.contains("by a bootstrap over groups")
                && words.contains("does not show that b is better"),
            "{words}"
        );
        let few = compared(&(0..240).map(|index| index / 60).collect::<Vec<_>>());
        assert!(
            few.p.is_nan() && few.differences["accuracy"].low.is_nan(),
            "{few:?}"
        );
        assert!(few.words("a", "b").contains("fewer than 10 groups"));
    }

    #[test]
    fn a_score_that_tells_images_is_better_than_one_that_does_not() {
        let is_own: Vec<bool> = (0..60).map(|index| index % 3 == 0).collect();
        let alone: Vec<usize> = (0..60).collect();
        let good: Vec<f32> = (0..60)
            .map(|index| f32::from(u8::from(index % 3 == 0)) + index as f32 / 1000.0)
            .collect();
        let useless: Vec<f32> = (0..60).map(|index| (index * 37 % 60) as f32).collect();
        let best = roc_auc(&good, &is_own, &alone, 0);
        // All resamples agree.
        assert!(best.value == 1.0 && best.low.is_nan(), "{best:?}");
        let chance = roc_auc(&useless, &is_own, &alone, 0);
        assert!(chance.low < 0.5 && chance.high > 0.5, "{chance:?}");
        let better = roc_auc_difference([&good, &useless], &is_own, &alone, 0);
        assert!(better.low > 0.0 && better.high < 1.0, "{better:?}");
        assert_eq!(better.value, best.value - chance.value);
        assert!(roc_auc(&good, &[true; 60], &alone, 0).value.is_nan());
    }

    fn judge<'a>(labels: &[usize], rows: &'a [Vec<f32>]) -> ScoredPredictions<'a> {
        ScoredPredictions::new(labels.to_vec(), rows.iter().map(Vec::as_slice).collect(), 2)
    }

    #[test]
    fn a_clear_difference_is_told_from_chance_and_a_network_does_not_differ_from_itself() {
        let labels: Vec<usize> = (0..200).map(|index| index % 2).collect();
        // Wrong on every `nth` image.
        let rows = |nth: usize| -> Vec<Vec<f32>> {
            let row = |(index, label): (usize, &usize)| {
                let right = if index % nth == 0 { 0.3 } else { 0.9 };
                if *label == 0 {
                    vec![right, 1.0 - right]
                } else {
                    vec![1.0 - right, right]
                }
            };
            labels.iter().enumerate().map(row).collect()
        };
        let alone: Vec<usize> = (0..200).collect();
        let (good, bad, middling) = (rows(50), rows(4), rows(40));
        let found = Comparison::new(&judge(&labels, &bad), &judge(&labels, &good), &alone, 0);
        assert_eq!((found.only_first_right, found.only_second_right), (2, 48));
        let accuracy = found.differences["accuracy"];
        assert!(
            (accuracy.value - 0.23).abs() < 1e-12 && accuracy.low > 0.1 && found.mcnemar_p < 1e-9,
            "{found:?}"
        );
        assert!(
            found.words("a", "b").contains("b is better than a"),
            "{}",
            found.words("a", "b")
        );
        let found = Comparison::new(
            &judge(&labels, &good),
            &judge(&labels, &middling),
            &alone,
            0,
        );
        assert!(
            found.mcnemar_p > LEVEL
                && found
                    .words("a", "b")
                    .contains("does not show that a is better than b"),
            "{found:?}"
        );
        let same = Comparison::new(&judge(&labels, &good), &judge(&labels, &good), &alone, 0);
        assert!(
            same.differences
                .values()
                .all(|estimate| estimate.value == 0.0 || estimate.value.is_nan()),
            "{same:?}"
        );
        assert!(same.words("a", "b").contains("Neither is better"));
    }
}
