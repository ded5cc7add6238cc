//! The judgment of a run's networks: probabilities of images by networks that weren't trained on
//! them.

use std::collections::BTreeMap;

use crate::{
    base::names::of_text,
    data::{duplicates::scan::ScannedImage, listing::Part},
};

/// Probability in place of less: the logarithm of zero is infinite.
const LEAST: f64 = 1e-9;

/// Probabilities of images by networks that weren't trained on them.
#[derive(Debug)]
pub struct HeldOut {
    /// Description of the networks for messages.
    pub words: String,
    /// Class names.
    pub classes: Vec<String>,
    /// By the digest of the image's pixels, indices of classes with their probabilities. What is
    /// missing to one is spread over the other classes.
    pub rows: BTreeMap<[u8; 32], Vec<(usize, f64)>>,
}

impl HeldOut {
    /// Whether there are probabilities of an image, and its class is one of the networks'. A test
    /// image may show what a training image does, and isn't one.
    pub(super) fn has(&self, seen: &ScannedImage) -> bool {
        seen.part != Part::Test
            && self.rows.contains_key(&seen.facts.pixels)
            && self.classes.contains(&of_text(&seen.entry.class))
    }

    /// Returns the logarithm of each class's probability for each image, `[images][classes]`.
    pub(super) fn logits(&self, images: &[&ScannedImage], classes: &[&str]) -> Vec<Vec<f32>> {
        let position = |class: &&str| {
            let name = of_text(class);
            self.classes.iter().position(|known| *known == name)
        };
        let positions: Vec<Option<usize>> = classes.iter().map(position).collect();
        let of_image = |seen: &&ScannedImage| {
            let row = self.rows.get(&seen.facts.pixels);
            let row = row.map_or(&[][..], Vec::as_slice);
            let known: f64 = row.iter().map(|(_, probability)| probability).sum();
            let rest = (1.0 - known) / (self.classes.len() - row.len()).max(1) as f64;
            let mut dense = vec![rest; self.classes.len()];
            row.iter()
                .for_each(|(class, probability)| dense[*class] = *probability);
            let logit = |at: &Option<usize>| {
                let probability = at.map_or(rest, |at| dense[at]);
                probability.max(LEAST).ln() as f32
            };
            positions.iter().map(logit).collect()
        };
        images.iter().map(of_image).collect()
    }
}
