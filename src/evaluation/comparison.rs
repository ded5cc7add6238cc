//! Compares two networks on the same images.

use std::{collections::BTreeMap, path::Path};

use anyhow::bail;
use serde::Serialize;

use super::{Evaluation, subset::SEED};
use crate::{
    base::{names, words},
    metrics::{Comparison, ScoredPredictions},
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
    /// The comparison in words.
    pub words: String,
}

impl Evaluation {
    /// Compares this network with another one measured on the same images. `paths` are the names of
    /// the two.
    ///
    /// # Errors
    /// Returns an error if the classes or the images differ.
    pub fn compare(&mut self, other: &Self, paths: [&Path; 2]) -> anyhow::Result<()> {
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
        self.comparison = Some(RunComparison {
            words: found.words(&own_name, &other_name),
            with: other_name,
            found,
        });
        Ok(())
    }
}
