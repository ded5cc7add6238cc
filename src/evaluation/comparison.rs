//! Compares a network with others on the same images.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    Evaluation,
    subset::{SEED, Subset},
};
use crate::{
    base::{names, words},
    metrics::{Comparison, Estimate, LEVEL, holm, p_cell},
    report::Table,
};

/// Comparison with another network on the same images. Differences are the other's metrics minus
/// this one's.
#[derive(Clone, Debug, Serialize)]
pub struct RunComparison {
    /// Path of the other network.
    pub with: String,
    /// Number of images that the two were compared on.
    pub images: usize,
    /// Number of images left out because only one of the two runs knew them from its training.
    pub left_out: usize,
    /// Accuracy of the other network on the images compared.
    pub accuracy: f64,
    /// Differences and their intervals.
    #[serde(flatten)]
    pub found: Comparison,
    /// The p-value corrected for the number of comparisons (Holm), if there are several.
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
        let p: Vec<f64> = comparisons.iter().map(|of| of.found.p).collect();
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
        let places = self.places_in(other, [&own_name, &other_name])?;
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
        // Images that one of the two was trained on don't tell how it does on others.
        let knew = |evaluation: &Self, image| evaluation.copies.get(image).is_some_and(|is| *is);
        let compared: Vec<usize> = (0..self.set.images.len())
            .filter(|image| knew(self, *image) == knew(other, *image))
            .collect();
        if compared.is_empty() {
            bail!(
                "each of the {} images was known to one of {own_name} and {other_name} from its \
                 training, so they can't be compared on them; name others with --data",
                self.set.images.len()
            );
        }
        // The other network may have the same classes in another order.
        let in_order = |row: &Vec<f32>| places.iter().map(|place| row[*place]).collect();
        let theirs: Vec<Vec<f32>> = other.probabilities.iter().map(in_order).collect();
        let [own, theirs] =
            [&self.probabilities, &theirs].map(|rows| Subset::of(&self.set, rows, &compared));
        let found = Comparison::new(
            &own.scored(self.classes.len()),
            &theirs.scored(self.classes.len()),
            &own.groups,
            SEED,
        );
        let left_out = self.set.images.len() - compared.len();
        let words = found.words(&own_name, &other_name);
        Ok(RunComparison {
            corrected_p: None,
            words: match left_out {
                0 => words,
                _ => format!(
                    "{words}\nCompared on {} of {}: the others were known to only one of the two \
                     from its training.",
                    compared.len(),
                    words::counted(self.set.images.len(), "image")
                ),
            },
            with: other_name,
            images: compared.len(),
            left_out,
            accuracy: theirs.confusion(self.classes.len()).accuracy(),
            found,
        })
    }

    /// Returns the place of each class among those of another evaluation.
    fn places_in(&self, other: &Self, names: [&str; 2]) -> anyhow::Result<Vec<usize>> {
        let theirs: BTreeMap<&String, usize> = other.classes.iter().zip(0..).collect();
        let place = |class: &String| theirs.get(class).copied();
        let places: Option<Vec<usize>> = self.classes.iter().map(place).collect();
        let places = places.filter(|places| places.len() == other.classes.len());
        places.with_context(|| {
            format!(
                "found the classes {} in {} and {} in {}, expected the same",
                words::listed(&self.classes),
                names[0],
                words::listed(&other.classes),
                names[1]
            )
        })
    }

    /// Returns several comparisons as a table, the difference of each being its accuracy minus this
    /// network's.
    pub(super) fn comparison_table(&self) -> Table {
        let head = [
            "Compared with",
            "Images",
            "Accuracy",
            "Difference [95 %]",
            "Only it right",
            "Only this right",
            "p",
            "p, corrected",
        ];
        let row = |of: &RunComparison| {
            let Estimate { value, low, high } = of.found.differences["accuracy"];
            vec![
                of.with.clone(),
                of.images.to_string(),
                format!("{:.4}", of.accuracy),
                if low.is_nan() {
                    format!("{value:+.4} [-]")
                } else {
                    format!("{value:+.4} [{low:+.4}, {high:+.4}]")
                },
                of.found.only_second_right.to_string(),
                of.found.only_first_right.to_string(),
                p_cell(of.found.p),
                of.corrected_p.map_or_else(String::new, p_cell),
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
        let num_others = count - differ(true).len() - differ(false).len();
        let found: Vec<String> = [(true, "better"), (false, "worse")]
            .into_iter()
            .filter_map(|(is_better, word)| {
                let names = differ(is_better);
                let verb = if names.len() == 1 { "is" } else { "are" };
                let listed = words::listed(&names);
                (!names.is_empty()).then(|| format!("{listed} {verb} {word} than this run"))
            })
            .collect();
        if found.is_empty() {
            format!(
                "Corrected for {count} tests (Holm), none differs from this run by more than \
                 chance."
            )
        } else {
            format!(
                "Corrected for {count} tests (Holm), {} on images like these{}.",
                found.join(", and "),
                match num_others {
                    0 => "",
                    _ => "; of the others, chance alone often does as much",
                }
            )
        }
    }
}
