//! 95 % confidence intervals: Wilson's for a fraction of images, percentiles of the bootstrap
//! (Efron 1979) for everything else. Where resamples can't tell how sure a value is, it has none.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

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

    /// Returns a value whose interval isn't known.
    pub fn without_interval(value: f64) -> Self {
        Self {
            value,
            ..Self::NONE
        }
    }

    /// Formats the value and its interval as a cell of a table: `0.8290 [0.7510, 0.8870]`, with
    /// dashes for what does not exist.
    pub fn in_brackets(&self) -> String {
        let number = |value: f64| {
            if value.is_nan() {
                "-".to_owned()
            } else {
                format!("{value:.4}")
            }
        };
        if self.low.is_nan() {
            format!("{} [-]", number(self.value))
        } else {
            format!(
                "{} [{}, {}]",
                number(self.value),
                number(self.low),
                number(self.high)
            )
        }
    }

    /// Formats the value and its interval for a sentence: `0.829 (95 %: 0.751 to 0.887)`.
    pub fn in_words(&self) -> String {
        self.with_digits(3)
    }

    /// As [`Self::in_words`], with so many digits.
    pub fn with_digits(&self, digits: usize) -> String {
        let Self { value, low, high } = self;
        if low.is_nan() {
            format!("{value:.digits$} (without an interval)")
        } else {
            format!("{value:.digits$} (95 %: {low:.digits$} to {high:.digits$})")
        }
    }
}

/// Number of groups below which resamples of groups tell nothing: their intervals are too narrow.
pub const FEW_GROUPS: usize = 10;

/// Returns the number of groups, which are numbered without gaps, or `None` if each image is one of
/// its own.
pub fn num_groups(groups: &[usize]) -> Option<usize> {
    let count = groups.iter().max().map_or(0, |last| last + 1);
    (count < groups.len()).then_some(count)
}

/// Number of bootstrap resamples.
pub(super) const DRAWS: u64 = 1000;

/// Returns the numbers of the resamples of these groups, for [`resample`]: none of fewer than
/// [`FEW_GROUPS`].
pub(super) fn resamples(groups: &[usize]) -> Range<u64> {
    match num_groups(groups) {
        Some(count) if count < FEW_GROUPS => 0..0,
        _ => 0..DRAWS,
    }
}

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
    /// drawn together, as they are not independent of each other. With fewer than [`FEW_GROUPS`]
    /// groups there are no resamples, and no intervals.
    pub(super) fn new(measurer: &Measurer<'_>, groups: &[usize], seed: u64) -> Self {
        let draw = |index: u64| measurer.measure(&resample(groups, seed, index));
        Self(resamples(groups).into_par_iter().map(draw).collect())
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
/// with that of the bootstrap over `groups`. Where all or none are hits, which resamples repeat,
/// Wilson's interval counts groups in place of images. The result is [`Estimate::NONE`] without
/// images, and has no interval with fewer than [`FEW_GROUPS`] groups.
pub fn share(hits: &[bool], groups: &[usize], seed: u64) -> Estimate {
    let (part, total) = (
        hits.iter().filter(|hit| **hit).count() as u64,
        hits.len() as u64,
    );
    if total == 0 {
        return Estimate::NONE;
    }
    let names: BTreeSet<usize> = groups.iter().copied().collect();
    let places: BTreeMap<usize, usize> = names.into_iter().zip(0..).collect();
    let groups: Vec<usize> = groups.iter().map(|group| places[group]).collect();
    let value = part as f64 / total as f64;
    match num_groups(&groups) {
        None => wilson(part, total),
        Some(count) if count >= FEW_GROUPS && (part == 0 || part == total) => {
            of_groups(value, count)
        }
        Some(_) => {
            let draw = |index: u64| {
                let counts = resample(&groups, seed, index);
                let drawn = hits.iter().zip(&counts);
                let drawn = drawn
                    .filter(|(hit, _)| **hit)
                    .map(|(_, count)| f64::from(*count));
                drawn.sum::<f64>() / counts.iter().map(|count| f64::from(*count)).sum::<f64>()
            };
            middle(value, resamples(&groups).map(draw))
        }
    }
}

/// Returns a fraction that is 0 or 1 in each of so many groups, with Wilson's interval of the
/// groups.
pub(super) fn of_groups(value: f64, count: usize) -> Estimate {
    let count = count as u64;
    wilson(if value == 0.0 { 0 } else { count }, count)
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
    middle(value, resamples(groups).map(draw))
}

/// Returns `value` with the middle 95 % of the draws that are not NaN. There is no interval if all
/// are equal: then the images are too alike for resamples to tell how sure the value is.
pub(super) fn middle(value: f64, draws: impl Iterator<Item = f64>) -> Estimate {
    let mut found: Vec<f64> = draws.filter(|value| !value.is_nan()).collect();
    found.sort_by(f64::total_cmp);
    if value.is_nan() || found.first() == found.last() {
        return Estimate::without_interval(value);
    }
    Estimate {
        value,
        low: quantile(&found, 0.025),
        high: quantile(&found, 0.975),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_groups_have_no_interval_and_those_that_agree_have_wilsons_of_groups() {
        let hits = |wrong: usize| -> Vec<bool> { (0..60).map(|at| at >= wrong).collect() };
        let groups = |count: usize| -> Vec<usize> { (0..60).map(|at| at % count).collect() };
        for (wrong, count, expected) in [
            (6, 60, Some(wilson(54, 60))),
            (6, 1, None),
            (6, 9, None),
            (0, 9, None),
            (0, 12, Some(wilson(12, 12))),
            (60, 12, Some(wilson(0, 12))),
        ] {
            let value = (60 - wrong) as f64 / 60.0;
            let expected = expected.unwrap_or(Estimate::without_interval(value));
            let found = share(&hits(wrong), &groups(count), 0);
            assert_eq!(
                format!("{found:?}"),
                format!("{expected:?}"),
                "{wrong} in {count}"
            );
        }
        // Groups differ: five are all wrong, and the interval is wider than that of images.
        let by_group: Vec<bool> = (0..60).map(|at| at % 12 >= 5).collect();
        let found = share(&by_group, &groups(12), 0);
        let of_images = wilson(35, 60);
        assert!(
            found.low < of_images.low && found.high > of_images.high,
            "{found:?}"
        );
    }

    #[test]
    fn what_all_resamples_agree_on_has_no_interval() {
        let none = middle(1.0, [1.0, 1.0, f64::NAN].into_iter());
        assert!(none.value == 1.0 && none.low.is_nan() && none.high.is_nan());
        assert_eq!(none.in_brackets(), "1.0000 [-]");
        assert_eq!(none.in_words(), "1.000 (without an interval)");
        let some = middle(0.5, [0.25, 0.75].into_iter());
        assert_eq!(some.in_brackets(), "0.5000 [0.2625, 0.7375]");
        assert_eq!(some.in_words(), "0.500 (95 %: 0.263 to 0.738)");
        assert_eq!(Estimate::NONE.in_brackets(), "- [-]");
    }
}
