//! How far a figure can be trusted: Wilson's interval for a share, the bootstrap for everything else, at 95 %.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use super::measures::{ClassMeasures, Measurer, Measures};
use crate::base::rng::{Purpose, RngExt, stream};

/// A figure with its 95 % interval; NaN (in JSON null) where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Estimate {
    /// No figure.
    pub const NONE: Self = Self { value: f64::NAN, low: f64::NAN, high: f64::NAN };
}

/// Draws of the bootstrap.
pub(super) const DRAWS: u64 = 1000;

/// The standard normal's 97.5 % point.
const Z: f64 = 1.959_963_984_540_054;

/// A share of `total` with Wilson's score interval (Wilson 1927).
pub fn wilson(part: u64, total: u64) -> Estimate {
    let (count, share) = (total as f64, part as f64 / total as f64);
    let spread = 1.0 + Z * Z / count;
    let centre = (share + Z * Z / (2.0 * count)) / spread;
    let half = Z / spread * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
    // Exact at the ends, where rounding would leave them a last bit off.
    let low = if part == 0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if part == total { 1.0 } else { (centre + half).min(1.0) };
    Estimate { value: share, low, high }
}

/// The measures of draws with replacement, as many pictures (or groups of pictures) each as there are: the same for the same `seed`.
#[derive(Clone, Debug)]
pub(super) struct Bootstrap(Vec<Measures>);

impl Bootstrap {
    /// `groups[i]` is the group of picture `i`; pictures of one group are drawn together.
    pub(super) fn new(measurer: &Measurer<'_>, groups: &[usize], seed: u64) -> Self {
        let draw = |index: u64| measurer.measure(&resample(groups, seed, index));
        Self((0..DRAWS).into_par_iter().map(draw).collect())
    }

    /// The interval of one measure around its `value`: the middle 95 % of the draws that have it.
    pub(super) fn interval(&self, value: f64, of: impl Fn(&Measures) -> f64) -> Estimate {
        middle(value, self.0.iter().map(of))
    }

    /// As [`Self::interval`] for a measure of one class.
    pub(super) fn class_interval(&self, value: f64, class: usize, of: fn(&ClassMeasures) -> f64) -> Estimate {
        self.interval(value, |measures| of(&measures.class(class)))
    }
}

/// The share of hits: Wilson's interval where each has a group of its own, else the bootstrap's over `groups`; NaN of none.
pub fn share(hits: &[bool], groups: &[usize], seed: u64) -> Estimate {
    let (part, total) = (hits.iter().filter(|hit| **hit).count() as u64, hits.len() as u64);
    let names: BTreeSet<usize> = groups.iter().copied().collect();
    if total == 0 {
        return Estimate::NONE;
    }
    if names.len() == groups.len() {
        return wilson(part, total);
    }
    let places: BTreeMap<usize, usize> = names.into_iter().enumerate().map(|(place, group)| (group, place)).collect();
    let groups: Vec<usize> = groups.iter().map(|group| places[group]).collect();
    let draw = |index: u64| {
        let counts = resample(&groups, seed, index);
        let drawn = hits.iter().zip(&counts).filter(|(hit, _)| **hit).map(|(_, count)| f64::from(*count)).sum::<f64>();
        drawn / counts.iter().map(|count| f64::from(*count)).sum::<f64>()
    };
    middle(part as f64 / total as f64, (0..DRAWS).map(draw))
}

/// `value` with the middle 95 % of those draws that are numbers.
pub(super) fn middle(value: f64, draws: impl Iterator<Item = f64>) -> Estimate {
    let mut found: Vec<f64> = draws.filter(|value| !value.is_nan()).collect();
    found.sort_by(f64::total_cmp);
    let (low, high) = (quantile(&found, 0.025), quantile(&found, 0.975));
    if value.is_nan() { Estimate { value, low: f64::NAN, high: f64::NAN } } else { Estimate { value, low, high } }
}

/// How often each picture is in draw `index`.
pub(super) fn resample(groups: &[usize], seed: u64, index: u64) -> Vec<u32> {
    let num_groups = groups.iter().max().map_or(0, |last| last + 1);
    let mut stream = stream(seed, Purpose::Bootstrap, [index, 0, 0]);
    let mut of_group = vec![0u32; num_groups];
    (0..num_groups).for_each(|_| of_group[stream.random_range(0..num_groups)] += 1);
    groups.iter().map(|group| of_group[*group]).collect()
}

/// Linear between neighbours, as NumPy; NaN of nothing.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}
