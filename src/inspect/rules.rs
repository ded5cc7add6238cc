//! Measures how well a single property of the files, such as their size or brightness, predicts the
//! class. A network may learn such a property instead of the content. Each rule is evaluated by
//! cross validation.

use std::collections::BTreeMap;

use serde::Serialize;

use super::source_name;
use crate::{
    base::rng::{Purpose, permutation, stream},
    data::{duplicates::scan::ScannedImage, listing::Part},
};

/// Number of folds. Each is predicted by a rule made from the others.
const FOLDS: usize = 5;
/// Number of quantile bins that a numeric property is divided into.
const STEPS: usize = 16;
/// Smallest number of training images of a class that is included.
const LEAST: usize = 20;
/// Balanced accuracy above chance from which a rule is reported, as a fraction of the possible
/// range above chance.
const TELLING: f64 = 0.2;

/// The property that isn't visible to a network.
const NAME: &str = "the name of the file without its digits";

/// A property that predicts the class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// Description of the property.
    pub property: &'static str,
    /// Mean recall of the classes on held-out folds.
    pub balanced_accuracy: f64,
    /// Balanced accuracy of guessing.
    pub chance: f64,
    /// Whether the property is visible in the pixels, so that a network can learn it.
    pub is_seen: bool,
}

/// Finds the properties that predict the class of the training images well above chance, the most
/// accurate first.
pub(super) fn find(seen: &[ScannedImage]) -> Vec<Rule> {
    let trained: Vec<&ScannedImage> = seen
        .iter()
        .filter(|seen| seen.part == Part::Train)
        .collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    trained
        .iter()
        .for_each(|seen| *counts.entry(&seen.entry.class).or_default() += 1);
    let classes: Vec<&str> = counts
        .iter()
        .filter(|(_, count)| **count >= LEAST)
        .map(|(class, _)| *class)
        .collect();
    if classes.len() < 2 {
        return Vec::new();
    }
    let labeled = trained.iter().filter_map(|seen| {
        Some((
            *seen,
            classes.binary_search(&seen.entry.class.as_str()).ok()?,
        ))
    });
    let (images, labels): (Vec<&ScannedImage>, Vec<usize>) = labeled.unzip();
    let chance = 1.0 / classes.len() as f64;
    let rule = |(property, values): (&'static str, Vec<usize>)| Rule {
        property,
        balanced_accuracy: judge(&values, &labels, classes.len()),
        chance,
        is_seen: property != NAME,
    };
    let mut rules: Vec<Rule> = properties(&images)
        .into_iter()
        .map(rule)
        .filter(|rule| rule.balanced_accuracy > chance + TELLING * (1.0 - chance))
        .collect();
    rules.sort_by(|a, b| b.balanced_accuracy.total_cmp(&a.balanced_accuracy));
    rules
}

/// Returns each property with its value for each image.
fn properties(images: &[&ScannedImage]) -> Vec<(&'static str, Vec<usize>)> {
    let numbers = |of: fn(&ScannedImage) -> f64| {
        steps(&images.iter().map(|seen| of(seen)).collect::<Vec<_>>())
    };
    let names =
        |of: fn(&ScannedImage) -> String| places(images.iter().map(|seen| of(seen)).collect());
    [
        ("the image's width", numbers(|seen| seen.facts.width as f64)),
        (
            "the image's height",
            numbers(|seen| seen.facts.height as f64),
        ),
        (
            "the image's size (height and width)",
            names(|seen| format!("{}x{}", seen.facts.height, seen.facts.width)),
        ),
        (
            "the aspect ratio",
            numbers(|seen| seen.facts.width as f64 / seen.facts.height as f64),
        ),
        (
            "the file size per pixel",
            numbers(|seen| {
                seen.facts.file_bytes as f64 / (seen.facts.height * seen.facts.width) as f64
            }),
        ),
        (
            "the format and the stored colors",
            names(|seen| format!("{} {}", seen.facts.format, seen.facts.mode)),
        ),
        (
            "the brightness",
            numbers(|seen| f64::from(seen.facts.brightness)),
        ),
        (
            "the brightness of the border",
            numbers(|seen| f64::from(seen.facts.border)),
        ),
        (
            "the sharpness",
            numbers(|seen| f64::from(seen.facts.sharpness)),
        ),
        (NAME, names(|seen| source_name(&seen.entry.path))),
    ]
    .into()
}

/// Replaces each value by its quantile bin. Bins have about the same number of images; equal values
/// share a bin.
fn steps(values: &[f64]) -> Vec<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ends: Vec<f64> = (1..STEPS)
        .map(|step| sorted[step * sorted.len() / STEPS])
        .collect();
    values
        .iter()
        .map(|value| ends.partition_point(|end| end <= value))
        .collect()
}

/// Replaces each name by its rank among the distinct names.
fn places(names: Vec<String>) -> Vec<usize> {
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    names
        .iter()
        .map(|name| sorted.partition_point(|other| other < name))
        .collect()
}

/// Computes the balanced accuracy of a rule on held-out folds: it predicts the class that has the
/// value most often, relative to the size of the class.
fn judge(values: &[usize], labels: &[usize], num_classes: usize) -> f64 {
    let count = values.len();
    let mut sizes = vec![0.0; num_classes];
    labels.iter().for_each(|label| sizes[*label] += 1.0);
    // Stratified, because a class that is over-represented in one fold is missing in the others,
    // which would bias the rule against it.
    let (mut folds, mut dealt) = (vec![0; count], vec![0; num_classes]);
    for index in permutation(&mut stream(0, Purpose::Folds, [0, 0, 0]), count) {
        folds[index] = dealt[labels[index]] % FOLDS;
        dealt[labels[index]] += 1;
    }
    let mut sorted: Vec<usize> = (0..count).collect();
    sorted.sort_by_key(|index| values[*index]);
    let mut hits = vec![0.0; num_classes];
    for alike in sorted.chunk_by(|a, b| values[*a] == values[*b]) {
        for fold in 0..FOLDS {
            // Only classes that have this value, so that values that are unique to a class stay
            // cheap with many classes.
            let mut counts: BTreeMap<usize, f64> = BTreeMap::new();
            alike
                .iter()
                .filter(|index| folds[**index] != fold)
                .for_each(|index| *counts.entry(labels[*index]).or_default() += 1.0);
            let weight =
                |class: usize| counts.get(&class).map_or(0.0, |count| count / sizes[class]);
            let most = counts
                .keys()
                .map(|class| weight(*class))
                .fold(0.0, f64::max);
            // Ties count as a guess among the tied classes, and a value that the other folds don't
            // have as a guess among all.
            let tied = counts
                .keys()
                .filter(|class| weight(**class) == most)
                .count();
            let tied = if tied == 0 { num_classes } else { tied };
            for index in alike
                .iter()
                .filter(|index| folds[**index] == fold && weight(labels[**index]) == most)
            {
                hits[labels[*index]] += 1.0 / tied as f64;
            }
        }
    }
    hits.iter()
        .zip(&sizes)
        .map(|(hits, size)| hits / size)
        .sum::<f64>()
        / num_classes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_tells_is_told_and_noise_is_not() {
        let labels: Vec<usize> = (0..300).map(|index| index % 3).collect();
        let cases: [(&str, Vec<usize>, [f64; 2]); 4] = [
            ("the class itself", labels.clone(), [1.0, 1.0]),
            ("always the same", vec![0; 300], [0.33, 0.34]),
            (
                "one class of three",
                labels
                    .iter()
                    .map(|label| usize::from(*label == 1))
                    .collect(),
                [0.65, 0.68],
            ),
            ("each its own", (0..300).collect(), [0.33, 0.34]),
        ];
        for (name, values, [low, high]) in cases {
            let found = judge(&values, &labels, 3);
            assert!((low..=high).contains(&found), "{name}: {found}");
        }
        let noise: Vec<usize> = permutation(&mut stream(5, Purpose::Synthetic, [0, 0, 0]), 300)
            .iter()
            .map(|at| at % 4)
            .collect();
        assert!(judge(&noise, &labels, 3) < 1.0 / 3.0 + TELLING * 2.0 / 3.0);
    }

    #[test]
    fn steps_have_as_many_images_each_and_equal_values_stay_together() {
        let values: Vec<f64> = (0..160).map(f64::from).collect();
        let found = steps(&values);
        assert!((0..STEPS).all(|step| found.iter().filter(|value| **value == step).count() == 10));
        assert_eq!(steps(&[5.0; 20]), vec![STEPS - 1; 20]);
        assert_eq!(
            places(["b", "a", "b"].map(str::to_owned).to_vec()),
            [1, 0, 1]
        );
    }
}
