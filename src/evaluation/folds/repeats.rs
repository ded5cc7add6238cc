//! Several cross-validations with other seeds: what they classify together, and how much of a
//! difference between two recipes may be the seed.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::{spread, table_of};
use crate::{
    checkpoint::Meta,
    evaluation::{Evaluation, Judged},
    metrics::Estimate,
    report::Table,
};

/// What each repeat of a cross-validation gave.
#[derive(Clone, Debug, Serialize)]
pub struct Repeats {
    /// The repeats in order.
    pub per_repeat: Vec<RepeatFigures>,
    /// Mean of each metric over the repeats, by name.
    pub mean: BTreeMap<String, f64>,
    /// Standard deviation of each metric over the repeats, as of a sample, by name.
    pub sd: BTreeMap<String, f64>,
    /// Fold of each image in the first repeat, counted from 0.
    #[serde(skip)]
    pub(in crate::evaluation) of_image: Vec<usize>,
}

/// Out-of-fold figures of one repeat.
#[derive(Clone, Debug, Serialize)]
pub struct RepeatFigures {
    /// The repeat, counted from 1.
    pub repeat: usize,
    /// Its seed.
    pub seed: u64,
    /// Every metric with its 95 % confidence interval, by name.
    pub metrics: BTreeMap<String, Estimate>,
}

/// The 97.5 % quantiles of Student's t distribution with 1, 2, ... degrees of freedom; with more,
/// the last is a little too large.
const STUDENT: [f64; 10] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
];

impl Evaluation {
    /// Averages the out-of-fold probabilities of several cross-validations of the same images, each
    /// given with its seed. `meta` is that of one of the networks, without decisions.
    ///
    /// # Panics
    /// Panics if there is none, or if they aren't of the same images.
    pub fn averaged(meta: &Meta, repeats: &[(u64, Self)]) -> Self {
        let (_, first) = repeats.first().expect("there are repeats");
        let share = 1.0 / repeats.len() as f32;
        let mut probabilities = vec![vec![0.0; first.classes.len()]; first.images];
        for (_, found) in repeats {
            assert_eq!(found.data.blake3, first.data.blake3, "the same images");
            let values = probabilities.iter_mut().flatten();
            let others = found.probabilities.iter().flatten();
            values
                .zip(others)
                .for_each(|(sum, value)| *sum += share * value);
        }
        let losses = repeats.iter().map(|(_, found)| found.loss);
        let judged = Judged {
            features: Vec::new(),
            set: Arc::clone(&first.set),
            probabilities,
            logits: Vec::new(),
            loss: losses.sum::<f64>() / repeats.len() as f64,
            averaged_over: vec!["networks"],
            copied: None,
            skipped: first.skipped.clone(),
            damaged: first.damaged.clone(),
            files: Vec::new(),
        };
        Self {
            repeats: Some(Repeats::of(repeats)),
            ..judged.evaluated(meta, first.data.source.clone())
        }
    }
}

impl Repeats {
    fn of(repeats: &[(u64, Evaluation)]) -> Self {
        let figures = |(index, (seed, found)): (usize, &(u64, Evaluation))| RepeatFigures {
            repeat: index + 1,
            seed: *seed,
            metrics: found.metrics.clone(),
        };
        let per_repeat: Vec<RepeatFigures> = repeats.iter().enumerate().map(figures).collect();
        let metrics: Vec<_> = per_repeat.iter().map(|repeat| &repeat.metrics).collect();
        let (mean, sd) = spread(&metrics);
        let folds = repeats.first().and_then(|(_, found)| found.folds.as_ref());
        Self {
            per_repeat,
            mean,
            sd,
            of_image: folds
                .map(|folds| folds.of_image.clone())
                .unwrap_or_default(),
        }
    }

    /// Returns the repeats as a table, with their mean and standard deviation.
    pub(in crate::evaluation) fn table(&self) -> Table {
        let own = |repeat: &RepeatFigures| [repeat.repeat.to_string(), repeat.seed.to_string()];
        let rows = self.per_repeat.iter();
        table_of(
            ["Repeat", "Seed"],
            rows.map(|repeat| (own(repeat), &repeat.metrics)),
            [&self.mean, &self.sd],
        )
    }

    /// Describes how much the seed matters.
    pub fn words(&self) -> String {
        let count = self.per_repeat.len();
        let value =
            |values: &BTreeMap<String, f64>| values.get("accuracy").copied().unwrap_or(f64::NAN);
        let sd = value(&self.sd);
        format!(
            "Accuracy with one seed (its folds, initial weights and order): {:.4} on average over \
             {count} seeds, standard deviation {sd:.4}. If another recipe is cross-validated with \
             one seed on the same images, a difference of up to {:.4} may be the seed alone (95 \
             %, Student's t).",
            value(&self.mean),
            by_seed_alone(sd, count)
        )
    }
}

/// Returns the difference of two measurements with one seed each that the seed alone exceeds in 5 %
/// of cases, if seeds have the standard deviation `sd`, estimated from `count` of them.
fn by_seed_alone(sd: f64, count: usize) -> f64 {
    let freedom = count.saturating_sub(1).clamp(1, STUDENT.len());
    STUDENT[freedom - 1] * std::f64::consts::SQRT_2 * sd
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.t.ppf(0.975, df) * 2**0.5 * 0.01` of SciPy 1.
    #[test]
    fn a_difference_by_the_seed_follows_students_t() {
        for (count, expected) in [
            (2, 0.179_690),
            (3, 0.060_849),
            (5, 0.039_265),
            (11, 0.031_510),
        ] {
            let found = by_seed_alone(0.01, count);
            assert!((found - expected).abs() < 2e-5, "{count}: {found}");
        }
    }
}
