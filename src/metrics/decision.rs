//! Decision rules beyond the most probable class: a probability threshold that reaches a given
//! sensitivity for a class, sets of classes that hold the true one with a given probability, and
//! the error above which an autoencoder's images are unlike the training images. All are fitted on
//! images that the network was not trained on.

use serde::{Deserialize, Serialize};

/// The probability at which an image counts as one of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Name of the class.
    pub class: String,
    /// Fraction of the class's images that the threshold must find.
    pub sensitivity: f64,
    /// The highest probability that finds them.
    pub probability: f32,
    /// Number of images of the class that it was fitted on.
    pub fitted_on: usize,
}

/// The probability at which a class belongs to an image's prediction set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Fraction of images whose set must hold the true class.
    pub coverage: f64,
    /// The threshold, common to all classes.
    pub probability: f32,
    /// Number of images that it was fitted on.
    pub fitted_on: usize,
}

/// The error above which an image is unlike those that an autoencoder was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconstruction {
    /// Fraction of new images of the same kind that are taken for others.
    pub rate: f64,
    /// The error.
    pub error: f32,
    /// Number of validation images that it was fitted on.
    pub fitted_on: usize,
}

impl Reconstruction {
    /// Rate of false alarms where no other is asked for.
    pub const RATE: f64 = 0.05;

    /// Fits a rate of false alarms to the errors of validation images, or returns `None` if there
    /// are fewer than [`Self::images_for`]. A new image of their kind is unlike the training images
    /// with a probability of at most the rate, as a prediction set misses its class
    /// ([`fit_coverage`]).
    pub fn fit(rate: f64, errors: &[f32]) -> Option<Self> {
        let error = -fit_coverage(errors.iter().map(|error| -error).collect(), 1.0 - rate)?;
        Some(Self {
            rate,
            error,
            fitted_on: errors.len(),
        })
    }

    /// Returns the least number of validation images that a rate can be promised with.
    pub fn images_for(rate: f64) -> usize {
        images_for(1.0 - rate)
    }

    /// Whether an image with this error is unlike the training images.
    pub fn is_unlike(&self, error: f32) -> bool {
        error > self.error
    }
}

/// Returns the highest threshold that at least a fraction of `sensitivity` of the probabilities
/// reach, or `None` if there are none.
pub fn fit_threshold(mut probabilities: Vec<f32>, sensitivity: f64) -> Option<f32> {
    probabilities.sort_by(|a, b| b.total_cmp(a));
    let rank = rank_of_threshold(sensitivity, probabilities.len());
    probabilities.get(rank - 1).copied()
}

/// Fits the threshold of split conformal prediction (Vovk et al. 2005; Sadinle, Lei and Wasserman
/// 2019, arXiv 1609.00451) to the probabilities of the true classes.
///
/// The set of a new image from the same distribution holds its class with a probability of at least
/// `coverage`, whatever the network. Returns `None` if there are too few images to guarantee that;
/// see [`images_for`].
pub fn fit_coverage(mut probabilities: Vec<f32>, coverage: f64) -> Option<f32> {
    probabilities.sort_by(|a, b| b.total_cmp(a));
    let rank = rank_of_coverage(coverage, probabilities.len());
    probabilities.get(rank - 1).copied()
}

/// Rank of a fitted threshold among the probabilities that it was fitted to, the highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// The rank, counted from 1.
    pub rank: usize,
    /// Number of probabilities.
    pub fitted_on: usize,
}

impl Threshold {
    /// Returns the rank of the threshold among the probabilities of the class's images.
    pub fn rank(&self) -> Rank {
        Rank {
            rank: rank_of_threshold(self.sensitivity, self.fitted_on),
            fitted_on: self.fitted_on,
        }
    }
}

impl Coverage {
    /// Returns the rank of the threshold among the probabilities of the true classes.
    pub fn rank(&self) -> Rank {
        Rank {
            rank: rank_of_coverage(self.coverage, self.fitted_on),
            fitted_on: self.fitted_on,
        }
    }
}

impl Rank {
    /// Returns the rank, counted from the image that is least unlike the training images, of the
    /// last one that doesn't count as unlike them at this rate of false alarms.
    pub fn of_rate(rate: f64, fitted_on: usize) -> Self {
        Self {
            rank: rank_of_coverage(1.0 - rate, fitted_on),
            fitted_on,
        }
    }

    /// Returns the probability that of `total` new images from the distribution that the threshold
    /// was fitted to, no more than `hits` reach it.
    ///
    /// A threshold of rank k among n is reached by a fraction of all images that has the
    /// distribution Beta(k, n + 1 - k), whatever the network, so the number of hits is
    /// beta-binomial.
    pub fn chance_of_at_most(self, hits: usize, total: usize) -> f64 {
        let (above, below) = (
            self.rank,
            self.fitted_on + 1 - self.rank.min(self.fitted_on),
        );
        // Logarithms of factorials: all parameters are whole numbers.
        let mut sum = 0.0;
        let factorials: Vec<f64> = std::iter::once(0.0)
            .chain((1..=total + above + below).map(|number| {
                sum += (number as f64).ln();
                sum
            }))
            .collect();
        let beta =
            |a: usize, b: usize| factorials[a - 1] + factorials[b - 1] - factorials[a + b - 1];
        let ways = |count: usize| factorials[total] - factorials[count] - factorials[total - count];
        let chance = |count: usize| {
            (ways(count) + beta(count + above, total - count + below) - beta(above, below)).exp()
        };
        (0..=hits.min(total)).map(chance).sum::<f64>().min(1.0)
    }
}

fn rank_of_threshold(sensitivity: f64, count: usize) -> usize {
    ((sensitivity * count as f64).ceil() as usize).max(1)
}

fn rank_of_coverage(coverage: f64, count: usize) -> usize {
    // The guarantee counts the new image as well, hence n + 1. The small constant keeps a product
    // that is a whole number from being rounded up.
    (((count + 1) as f64 * coverage - 1e-9).ceil() as usize).max(1)
}

/// Returns the least number of images that [`fit_coverage`] needs.
pub fn images_for(coverage: f64) -> usize {
    (coverage / (1.0 - coverage) - 1e-9).ceil() as usize
}

/// Returns the classes in an image's prediction set, the most probable first. The set may be empty.
pub fn prediction_set(probabilities: &[f32], threshold: f32) -> Vec<usize> {
    let mut set: Vec<usize> = (0..probabilities.len())
        .filter(|class| probabilities[*class] >= threshold)
        .collect();
    set.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    set
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::rng::{Purpose, RngExt, stream};

    #[test]
    fn thresholds_of_small_lists() {
        let list = || vec![0.9, 0.2, 0.5, 0.7];
        for (sensitivity, expected) in [
            (1.0, 0.2),
            (0.75, 0.5),
            (0.76, 0.2),
            (0.5, 0.7),
            (0.25, 0.9),
            (0.01, 0.9),
        ] {
            assert_eq!(
                fit_threshold(list(), sensitivity),
                Some(expected),
                "{sensitivity}"
            );
        }
        assert_eq!(fit_threshold(Vec::new(), 0.5), None);
        for (coverage, expected) in [
            (0.8, Some(0.2)),
            (0.6, Some(0.5)),
            (0.81, None),
            (0.2, Some(0.9)),
        ] {
            assert_eq!(fit_coverage(list(), coverage), expected, "{coverage}");
        }
        for (coverage, least) in [(0.9, 9), (0.95, 19), (0.8, 4), (0.5, 1)] {
            assert_eq!(images_for(coverage), least, "{coverage}");
            assert!(
                fit_coverage(vec![0.5; least], coverage).is_some()
                    && fit_coverage(vec![0.5; least - 1], coverage).is_none()
            );
        }
        assert_eq!(prediction_set(&[0.2, 0.5, 0.3], 0.3), [1, 2]);
        assert!(prediction_set(&[0.4, 0.6], 0.7).is_empty());
    }

    proptest! {
        #[test]
        fn a_threshold_finds_what_is_wanted_and_no_higher_one_does(
            list in prop::collection::vec(0.0f32..1.0, 1..60),
            sensitivity in 0.01f64..1.0,
        ) {
            let found = |threshold: f32| {
                let count = list.iter().filter(|value| **value >= threshold).count();
                count as f64 / list.len() as f64
            };
            let threshold = fit_threshold(list.clone(), sensitivity).expect("some");
            prop_assert!(found(threshold) >= sensitivity);
            prop_assert!(found(f32::from_bits(threshold.to_bits() + 1)) < sensitivity + 1e-12);
        }
    }

    /// `scipy.stats.betabinom(m, k, n + 1 - k).cdf(hits)`.
    #[test]
    fn what_chance_does_to_new_images_is_beta_binomial() {
        for (rank, fitted_on, total, hits, expected) in [
            (24, 30, 83, 54, 0.097_187_776_7),
            (56, 61, 153, 130, 0.131_016_723_0),
            (4, 4, 10, 5, 0.125_874_125_9),
            (1, 1, 1, 0, 0.5),
            (9, 9, 20, 20, 1.0),
        ] {
            let found = Rank { rank, fitted_on }.chance_of_at_most(hits, total);
            assert!(
                (found - expected).abs() < 1e-9,
                "{rank} of {fitted_on}: {found}"
            );
        }
    }

    #[test]
    fn the_error_is_the_smallest_that_keeps_the_promise() {
        let errors: Vec<f32> = (1..=19).map(|value| value as f32).collect();
        for (rate, error) in [(0.05, 19.0), (0.1, 18.0), (0.5, 10.0)] {
            let fitted = Reconstruction::fit(rate, &errors).expect("enough");
            assert_eq!((fitted.error, fitted.fitted_on), (error, 19), "{rate}");
            assert!(fitted.is_unlike(error + 0.5) && !fitted.is_unlike(error));
        }
        assert_eq!(Reconstruction::fit(0.04, &errors), None);
        assert_eq!(Reconstruction::images_for(0.05), 19);
    }

    /// Over many draws of 40 validation images, new ones of their kind are false alarms at most as
    /// often as promised, and little less.
    #[test]
    fn false_alarms_are_as_rare_as_promised() {
        for rate in [0.05, 0.2] {
            let (mut alarms, rounds) = (0, 20_000);
            for round in 0..rounds {
                let mut stream = stream(2, Purpose::Synthetic, [round, 0, 0]);
                let mut draw = || stream.random::<f32>().powi(3);
                let errors: Vec<f32> = (0..40).map(|_| draw()).collect();
                let fitted = Reconstruction::fit(rate, &errors).expect("enough");
                alarms += u32::from(fitted.is_unlike(draw()));
            }
            let share = f64::from(alarms) / rounds as f64;
            // At most 1/41 below, and three standard deviations of the count.
            assert!(
                share < rate + 0.009 && share > rate - 1.0 / 41.0 - 0.009,
                "{rate}: {share}"
            );
        }
    }

    /// The guarantee itself: over many draws of 40 images to fit on, new images are covered as
    /// often as promised and little more.
    #[test]
    fn new_images_are_covered_as_often_as_promised() {
        for coverage in [0.8, 0.9] {
            let mut covered = 0;
            let rounds = 20_000;
            for round in 0..rounds {
                let mut stream = stream(1, Purpose::Synthetic, [round, 0, 0]);
                let mut draw = || stream.random::<f32>().powi(3);
                let threshold =
                    fit_coverage((0..40).map(|_| draw()).collect(), coverage).expect("enough");
                covered += u32::from(draw() >= threshold);
            }
            let share = f64::from(covered) / rounds as f64;
            // At most 1/41 above, and three standard deviations of the count below.
            assert!(
                share > coverage - 0.009 && share < coverage + 1.0 / 41.0 + 0.009,
                "{coverage}: {share}"
            );
        }
    }
}
