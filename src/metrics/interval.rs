//! 95 % confidence intervals: Wilson's for a fraction of images, percentiles of the bootstrap
//! (Efron 1979) for everything else.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use super::measures::{ClassMeasures, Measurer, Measures};
use crate::base::rng::{Purpose, RngExt, stream};

/// A value with its 95 % interval. NaN (`null` in JSON) stands for a value or an interval that does
/// not exist.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// Neither a value nor an interval.
    pub const NONE: Self = Self {
        value: f64::NAN,
        low: f64::NAN,
        high: f64::NAN,
    };
}

/// Number of bootstrap resamples.
pub(super) const DRAWS: u64 = 1000;

/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Returns the fraction `part / total` with Wilson's score interval (Wilson 1927).
pub fn wilson(part: u64, total: u64) -> Estimate {
    let (count, share) = (total as f64, part as f64 / total as f64);
    let spread = 1.0 + Z * Z / count;
    let center = (share + Z * Z / (2.0 * count)) / spread;
    let half = Z / spread * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
    // Exact at the ends, where rounding would leave the last bit wrong.
    let low = if part == 0 {
        0.0
    } else {
        (center - half).max(0.0)
    };
    let high = if part == total {
        1.0
    } else {
        (center + half).min(1.0)
    };
    Estimate {
        value: share,
        low,
        high,
    }
}

/// The measures of resamples with replacement. Each has as many images, or groups of images, as the
/// data; the same `seed` gives the same resamples.
#[derive(Clone, Debug)]
pub(super) struct Bootstrap(Vec<Measures>);

impl Bootstrap {
    /// Measures all resamples. `groups[i]` is the group of image `i`; the images of a group are
    /// drawn together, as they are not independent of each other.
    pub(super) fn new(measurer: &Measurer<'_>, groups: &[usize], seed: u64) -> Self {
        let draw = |index: u64| measurer.measure(&resample(groups, seed, index));
        Self((0..DRAWS).into_par_iter().map(draw).collect())
    }

    /// Returns the interval of a measure around its `value`: the middle 95 % of the resamples in
    /// which it exists.
    pub(super) fn interval(&self, value: f64, of: impl Fn(&Measures) -> f64) -> Estimate {
        middle(value, self.0.iter().map(of))
    }

    /// As [`Self::interval`], for a measure of one class.
    pub(super) fn class_interval(
        &self,
        value: f64,
        class: usize,
        of: fn(&ClassMeasures) -> f64,
    ) -> Estimate {
        self.interval(value, |measures| of(&measures.class(class)))
    }
}

/// Returns the fraction of hits: with Wilson's interval if every image is a group of its own, else
/// with that of the bootstrap over `groups`. The result is [`Estimate::NONE`] without images.
pub fn share(hits: &[bool], groups: &[usize], seed: u64) -> Estimate {
    let (part, total) = (
        hits.iter().filter(|hit| **hit).count() as u64,
        hits.len() as u64,
    );
    let names: BTreeSet<usize> = groups.iter().copied().collect();
    if total == 0 {
        return Estimate::NONE;
    }
    if names.len() == groups.len() {
        return wilson(part, total);
    }
    let places: BTreeMap<usize, usize> = names
        .into_iter()
        .enumerate()
        .map(|(place, group)| (group, place))
        .collect();
    let groups: Vec<usize> = groups.iter().map(|group| places[group]).collect();
    let draw = |index: u64| {
        let counts = resample(&groups, seed, index);
        let drawn = hits
            .iter()
            .zip(&counts)
            .filter(|(hit, _)| **hit)
            .map(|(_, count)| f64::from(*count))
            .sum::<f64>();
        drawn / counts.iter().map(|count| f64::from(*count)).sum::<f64>()
    };
    middle(part as f64 / total as f64, (0..DRAWS).map(draw))
}

/// Returns the mean of values, one of each image, with the interval of the bootstrap over `groups`,
/// which are numbered from 0.
pub fn mean(values: &[f64], groups: &[usize], seed: u64) -> Estimate {
    let draw = |index: u64| {
        let counts = resample(groups, seed, index);
        let drawn = values.iter().zip(&counts);
        let sum = drawn.map(|(value, count)| value * f64::from(*count));
        sum.sum::<f64>() / counts.iter().map(|count| f64::from(*count)).sum::<f64>()
    };
    let value = values.iter().sum::<f64>() / values.len() as f64;
    middle(value, (0..DRAWS).map(draw))
}

/// Returns `value` with the middle 95 % of the draws that are not NaN.
pub(super) fn middle(value: f64, draws: impl Iterator<Item = f64>) -> Estimate {
    let mut found: Vec<f64> = draws.filter(|value| !value.is_nan()).collect();
    found.sort_by(f64::total_cmp);
    let (low, high) = (quantile(&found, 0.025), quantile(&found, 0.975));
    if value.is_nan() {
        Estimate {
            value,
            low: f64::NAN,
            high: f64::NAN,
        }
    } else {
        Estimate { value, low, high }
    }
}

/// Returns how often each image occurs in resample `index`.
pub(super) fn resample(groups: &[usize], seed: u64, index: u64) -> Vec<u32> {
    let num_groups = groups.iter().max().map_or(0, |last| last + 1);
    let mut stream = stream(seed, Purpose::Bootstrap, [index, 0, 0]);
    let mut of_group = vec![0u32; num_groups];
    (0..num_groups).for_each(|_| of_group[stream.random_range(0..num_groups)] += 1);
    groups.iter().map(|group| of_group[*group]).collect()
}

/// Returns a quantile of sorted values, interpolated linearly as by NumPy's default; NaN if there
/// are none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}
