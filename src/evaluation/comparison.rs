//! Compares a network with others on the same images.

use std::{collections::BTreeMap, path::Path};

use anyhow::bail;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Evaluation, subset::SEED};
use crate::{
    base::{names, words},
    metrics::{Comparison, Estimate, LEVEL, ScoredPredictions, holm},
    report::Table,
};

/// Comparison with another network on the same images. Differences are the other's metrics minus
/// this one's.
#[derive(Clone, Debug, Serialize)]
pub struct RunComparison {
    /// Path of the other network.
    pub with: String,
    /// Differences and their intervals.
    #[serde(flatten)]
    pub found: Comparison,
    /// McNemar's p-value corrected for the number of comparisons (Holm), if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected_p: Option<f64>,
    /// The comparison in words.
    pub words: String,
}

/// Writes a single comparison as `comparison`, several as the list `comparisons`.
pub(super) fn serialize<S: Serializer>(
    comparisons: &[RunComparison],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    match comparisons {
        [] => {}
        [comparison] => map.serialize_entry("comparison", comparison)?,
        several => map.serialize_entry("comparisons", several)?,
    }
    map.end()
}

/// Corrects the p-values of several comparisons for their number.
pub fn corrected(mut comparisons: Vec<RunComparison>) -> Vec<RunComparison> {
    if comparisons.len() > 1 {
        let p: Vec<f64> = comparisons.iter().map(|of| of.found.mcnemar_p).collect();
        for (comparison, p) in comparisons.iter_mut().zip(holm(&p)) {
            comparison.corrected_p = Some(p);
        }
    }
    comparisons
}

impl Evaluation {
    /// Returns the comparison of this network with another one measured on the same images. `paths`
    /// are the names of the two.
    ///
    /// # Errors
    /// Returns an error if the classes or the images differ.
    pub fn compare(&self, other: &Self, paths: [&Path; 2]) -> anyhow::Result<RunComparison> {
        let [own_name, other_name] = paths.map(names::of_path);
        let theirs: BTreeMap<&String, usize> = other
            .classes
            .iter()
            .enumerate()
            .map(|(place, class)| (class, place))
            .collect();
        let places: Option<Vec<usize>> = self
            .classes
            .iter()
            .map(|class| theirs.get(class).copied())
            .collect();
        let Some(places) = places.filter(|places| places.len() == other.classes.len()) else {
            bail!(
                "found the classes {} in {own_name} and {} in {other_name}, expected the same",
                words::listed(&self.classes),
                words::listed(&other.classes)
            );
        };
        let paths = |evaluation: &Self| {
            evaluation
                .set
                .images
                .iter()
                .map(|image| image.path.clone())
                .collect::<Vec<_>>()
        };
        if paths(self) != paths(other) {
            bail!(
                "the two runs could not read the same images, so they can't be compared; see the \
                 warnings above"
            );
        }
        // The other network may have the same classes in another order.
        let labels = self.set.labels();
        let theirs: Vec<Vec<f32>> = other
            .probabilities
            .iter()
            .map(|row| places.iter().map(|place| row[*place]).collect())
            .collect();
        let judge = |rows: Vec<_>| ScoredPredictions::new(labels.clone(), rows, self.classes.len());
        let [own, theirs] = [&self.probabilities, &theirs]
            .map(|rows| judge(rows.iter().map(Vec::as_slice).collect()));
        let found = Comparison::new(&own, &theirs, &self.groups, SEED);
        Ok(RunComparison {
            corrected_p: None,
            words: found.words(&own_name, &other_name),
            with: other_name,
            found,
        })
    }

    /// Returns several comparisons as a table, the difference of each being its accuracy minus this
    /// network's.
    pub(super) fn comparison_table(&self) -> Table {
        let head = [
            "Compared with",
            "Accuracy",
            "Difference [95 %]",
            "Only it right",
            "Only this right",
            "McNemar p",
            "p, corrected",
        ];
        let row = |of: &RunComparison| {
            let Estimate { value, low, high } = of.found.differences["accuracy"];
            vec![
                of.with.clone(),
                format!("{:.4}", self.accuracy + value),
                format!("{value:+.4} [{low:+.4}, {high:+.4}]"),
                of.found.only_second_right.to_string(),
                of.found.only_first_right.to_string(),
                format!("{:.4}", of.found.mcnemar_p),
                of.corrected_p
                    .map_or_else(String::new, |p| format!("{p:.4}")),
            ]
        };
        Table {
            head: head.map(str::to_owned).to_vec(),
            rows: self.comparisons.iter().map(row).collect(),
        }
    }

    /// Describes which of several networks differ from this one by more than chance.
    pub(super) fn comparison_words(&self) -> String {
        let differ = |is_better: bool| -> Vec<String> {
            let comparisons = self.comparisons.iter().filter(|of| {
                let value = of.found.differences["accuracy"].value;
                of.corrected_p.is_some_and(|p| p < LEVEL) && (value > 0.0) == is_better
            });
            comparisons.map(|of| of.with.clone()).collect()
        };
        let count = self.comparisons.len();
        let found: Vec<String> = [(true, "better"), (false, "worse")]
            .into_iter()
            .filter_map(|(is_better, word)| {
                let names = differ(is_better);
                let verb = if names.len() == 1 { "is" } else { "are" };
                let listed = words::listed(&names);
                (!names.is_empty()).then(|| format!("{listed} {verb} {word} than this run"))
            })
            .collect();
        match found.is_empty() {
            true => format!(
                "Corrected for {count} tests (Holm), none differs from this run by more than \
                 chance."
            ),
            false => format!(
                "Corrected for {count} tests (Holm), {} on images like these; of the others, \
                 chance alone often does as much.",
                found.join(", and ")
            ),
        }
    }
}
