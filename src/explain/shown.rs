//! The explanation of one image in memory, without files.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

use super::{Border, Explainer, SURE, border, explanation::words, overlay};
use crate::{
    data::batches::dataset::ImageSet,
    metrics::argmax,
    report::images::{colored, in_a_row, magnified, png},
};

/// What a map shows of an image.
#[derive(Debug, Serialize)]
pub struct Shown {
    class: String,
    probability: f64,
    method: &'static str,
    layer: String,
    /// Whether anything is evidence for the class.
    evidence: bool,
    words: String,
    /// Location of the most evidence, `[x, y]` in pixels of the network's input.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    border: Option<Border>,
    /// The image beside the map over it, as PNG in base64.
    overlay: String,
}

impl Explainer {
    /// Explains the first image of a set, for `class` or the most probable one. Where the method
    /// finds no evidence for a class that the network is sure of, the first other method that does
    /// is used.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub fn show(&self, set: &Arc<ImageSet>, class: Option<usize>) -> anyhow::Result<Shown> {
        let image = self.inputs(set, 0..1)?;
        let row = self.probabilities(&image)?.swap_remove(0);
        let class = class.unwrap_or_else(|| argmax(&row));
        let map = self.explain(&image, &[class])?.swap_remove(0);
        let next = if !map.places_evidence() && row[class] >= SURE {
            self.next_evidence(&image, class)?
        } else {
            None
        };
        let (explainer, map) = next.unwrap_or_else(|| (self.clone(), map));
        let shape @ [height, width, _] = set.store.format().shape();
        let evidence = map.at_size([height, width]);
        let border = border(&evidence, [height, width]);
        let words = words(&map, &set.classes[class], row[class], (border, None, None));
        let image = colored(&set.store.colored(0)?, shape);
        let sides = [magnified(&image), magnified(&overlay(&image, &evidence))];
        let is_placed = map.places_evidence();
        Ok(Shown {
            class: set.classes[class].clone(),
            probability: row[class],
            method: explainer.method().name(),
            layer: explainer.layer(),
            evidence: map.has_evidence(),
            words,
            peak: is_placed.then(|| map.peak([height, width])),
            border: is_placed.then_some(border),
            overlay: BASE64_STANDARD.encode(png(&in_a_row(&sides))?),
        })
    }
}
