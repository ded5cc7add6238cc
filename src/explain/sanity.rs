//! The randomization test of saliency maps (Adebayo et al. 2018, arXiv 1810.03292): networks with
//! more and more random layers must have other maps.

use super::{Explainer, Inputs, Map, spearman};
use crate::{
    nn::NnError,
    report::text_table::{align_right, table},
};

/// Rank correlation below which the maps of a network with random layers count as different.
const UNLIKE: f64 = 0.5;

/// Networks with more and more random layers, from the head down, each with the rank correlation of
/// its maps to the network's own, image by image.
pub(super) struct Sanity(Vec<(String, Explainer, Vec<f64>)>);

impl Sanity {
    /// Builds the networks.
    pub(super) fn new(explainer: &Explainer) -> Self {
        let stage = |groups: usize| match groups {
            0 => "head".to_owned(),
            groups => format!("and backbone.blocks.{}", explainer.num_groups() - groups),
        };
        Self(
            (0..=explainer.num_groups())
                .map(|groups| (stage(groups), explainer.randomized(groups, 0), Vec::new()))
                .collect(),
        )
    }

    /// Compares the maps of a batch with those of the random networks.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub(super) fn add(
        &mut self,
        images: &Inputs,
        classes: &[usize],
        maps: &[Map],
    ) -> Result<(), NnError> {
        for (_, explainer, likeness) in &mut self.0 {
            let random = explainer.explain(images, classes)?;
            // An inverted map counts as similar: it depends on the image in the same way.
            likeness.extend(
                maps.iter()
                    .zip(&random)
                    .map(|(map, random)| spearman(&map.scaled(), &random.scaled()).abs()),
            );
        }
        Ok(())
    }

    /// Returns the mean correlations as a table, and the conclusion.
    pub(super) fn text(&self) -> String {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let mut table = table(&["Randomized", "Similarity of the maps (Spearman)"]);
        for (stage, _, likeness) in &self.0 {
            table.add_row([stage.clone(), format!("{:.3}", mean(likeness))]);
        }
        align_right(&mut table, [1]);
        let last = self
            .0
            .last()
            .map_or(f64::NAN, |(.., likeness)| mean(likeness));
        let verdict = if last < UNLIKE {
            "The maps depend on what the network learned."
        } else {
            "With random weights the maps are much the same: they show the images, not what the \
             network learned. Don't rely on them."
        };
        format!("{table}\n{verdict}\n")
    }
}
