//! Pictures that a person should look at: dark, light, almost empty, blurred, odd in size or shape.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    base::names,
    data::{duplicates::survey::Seen, pixels::facts::Facts},
};

/// Mean levels below and above which a picture is dark or light, whatever the others.
const DARK: f32 = 12.0;
const LIGHT: f32 = 243.0;
/// Standard deviation of the levels below which there is next to nothing in it.
const EMPTY: f32 = 5.0;
/// Distances from the median, in usual distances (the median one), from which a value is odd.
const ODD: f64 = 7.0;

/// Share of the pictures from which on something is common rather than odd.
const COMMON: f64 = 0.03;

/// A picture that stands out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suspect {
    /// Where it is.
    pub path: String,
    /// What was measured.
    pub value: f64,
    /// What the others have.
    pub usual: f64,
    #[serde(skip)]
    index: usize,
}

impl Suspect {
    /// Its position among the pictures that were seen.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// A number of a picture.
type Measure = fn(&Facts) -> f64;

/// Suspects by their kind, the oddest first.
pub(super) fn find(seen: &[Seen]) -> BTreeMap<&'static str, Vec<Suspect>> {
    let kinds: [(&'static str, Measure, Odd); 7] = [
        ("dark", |facts| f64::from(facts.brightness), Odd::Below(f64::from(DARK))),
        ("light", |facts| f64::from(facts.brightness), Odd::Above(f64::from(LIGHT))),
        ("almost empty", |facts| f64::from(facts.contrast), Odd::Below(f64::from(EMPTY))),
        ("blurred", |facts| f64::from(facts.sharpness).max(1e-9).ln(), Odd::FarBelow),
        ("small", |facts| (facts.height.min(facts.width) as f64).ln(), Odd::FarBelow),
        ("wide", |facts| (facts.width as f64 / facts.height as f64).ln(), Odd::FarAbove),
        ("tall", |facts| (facts.height as f64 / facts.width as f64).ln(), Odd::FarAbove),
    ];
    let mut found = BTreeMap::new();
    for (kind, of, odd) in kinds {
        let values: Vec<f64> = seen.iter().map(|seen| of(&seen.facts)).collect();
        let suspects = odd.among(&values);
        if !suspects.is_empty() {
            let usual = median(values.clone());
            let suspect = |index: usize| Suspect { path: names::of_path(&seen[index].entry.path), value: values[index], usual, index };
            found.insert(kind, suspects.into_iter().map(suspect).collect());
        }
    }
    found
}

/// When a value is odd.
#[derive(Clone, Copy)]
enum Odd {
    Below(f64),
    Above(f64),
    /// Far from what the others have; a logarithm, so that twice as much is as far everywhere.
    FarBelow,
    FarAbove,
}

impl Odd {
    /// Positions of the odd ones, the oddest first.
    fn among(self, values: &[f64]) -> Vec<usize> {
        let centre = median(values.to_vec());
        // At least a tenth: where all others are equal, nothing else would be usual.
        let usual = median(values.iter().map(|value| (value - centre).abs()).collect()).max(0.1);
        let oddness = |value: f64| match self {
            Self::Below(limit) => limit - value,
            Self::Above(limit) => value - limit,
            Self::FarBelow => (centre - value) / usual - ODD,
            Self::FarAbove => (value - centre) / usual - ODD,
        };
        // Nothing is odd that many are.
        let is_common = |count: usize| count as f64 > COMMON * values.len() as f64;
        let mut odd: Vec<usize> = (0..values.len()).filter(|index| oddness(values[*index]) > 0.0).collect();
        if matches!(self, Self::FarBelow | Self::FarAbove) && is_common(odd.len()) {
            return Vec::new();
        }
        odd.sort_by(|a, b| oddness(values[*b]).total_cmp(&oddness(values[*a])));
        odd
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_odd_depends_on_the_others_or_on_a_limit() {
        let even: Vec<f64> = (0..50).map(|index| f64::from(index % 5) * 0.1).collect();
        let with = |value: f64| [even.clone(), vec![value]].concat();
        for (values, odd, expected) in [
            (with(9.0), Odd::FarAbove, vec![50]),
            (with(9.0), Odd::FarBelow, vec![]),
            (with(-9.0), Odd::FarBelow, vec![50]),
            (with(0.5), Odd::FarAbove, vec![]),
            (vec![1.0, 5.0, 0.0], Odd::Below(2.0), vec![2, 0]),
            (vec![1.0, 5.0, 9.0], Odd::Above(4.0), vec![2, 1]),
            (vec![], Odd::FarAbove, vec![]),
        ] {
            assert_eq!(odd.among(&values), expected, "{values:?}");
        }
    }
}
