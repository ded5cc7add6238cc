//! Occlusion: covers one patch of an image after the other and measures how much evidence the class
//! loses.

use super::{Map, member::Member};
use crate::nn::NnError;

/// Number of patches along the shorter side if they didn't overlap; they move by half their size.
const PATCHES: usize = 8;

/// Number of covered images per batch.
const BATCH: usize = 32;

impl Member {
    /// Returns the mean loss of log-odds of the class over all patches that cover a pixel. Patches
    /// have the mean of each channel of the image. Log-odds rather than probabilities, which stay
    /// at 1 for a network that is very sure.
    ///
    /// # Shapes
    /// `image` is `[channels, height, width]`, flattened and normalized.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub(super) fn occlude(&self, image: &[f32], class: usize) -> Result<Map, NnError> {
        let [_, height, width] = self.design.input;
        let mean = self.channel_means(image);
        let whole = log_odds(&self.logits(image)?[0], class);
        let side = height.min(width).div_ceil(PATCHES);
        let patches: Vec<[usize; 2]> = starts(height, side)
            .into_iter()
            .flat_map(|top| starts(width, side).into_iter().map(move |left| [top, left]))
            .collect();
        let (mut sums, mut counts) = (vec![0.0f32; height * width], vec![0.0f32; height * width]);
        for patches in patches.chunks(BATCH) {
            let mut covered = Vec::with_capacity(patches.len() * image.len());
            for [top, left] in patches {
                let start = covered.len();
                covered.extend_from_slice(image);
                for (plane, mean) in covered[start..].chunks_exact_mut(height * width).zip(&mean) {
                    plane
                        .chunks_exact_mut(width)
                        .skip(*top)
                        .take(side)
                        .for_each(|line| line[*left..(left + side).min(width)].fill(*mean));
                }
            }
            for (logits, [top, left]) in self.logits(&covered)?.iter().zip(patches) {
                let lost = whole - log_odds(logits, class);
                for row in *top..(top + side).min(height) {
                    for at in row * width + left..row * width + (left + side).min(width) {
                        sums[at] += lost;
                        counts[at] += 1.0;
                    }
                }
            }
        }
        Ok(Map::new(
            sums.iter()
                .zip(&counts)
                .map(|(sum, count)| sum / count)
                .collect(),
            [height, width],
        ))
    }

    /// Returns the mean of each channel of an image.
    pub(super) fn channel_means(&self, image: &[f32]) -> Vec<f32> {
        let [_, height, width] = self.design.input;
        image
            .chunks_exact(height * width)
            .map(|plane| plane.iter().sum::<f32>() / plane.len() as f32)
            .collect()
    }
}

/// Returns where patches start along a side: half a patch apart, the last one at the end.
fn starts(length: usize, side: usize) -> Vec<usize> {
    // Ends at the border even if steps don't add up, so that every pixel is covered.
    let last = length.saturating_sub(side);
    (0..last).step_by((side / 2).max(1)).chain([last]).collect()
}

/// Returns log(p / (1 - p)) of a class, computed from logits without overflow.
fn log_odds(logits: &[f32], class: usize) -> f32 {
    let others = || {
        logits
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != class)
            .map(|(_, logit)| *logit)
    };
    // Log-sum-exp of the other logits, shifted by their maximum.
    let most = others().fold(f32::NEG_INFINITY, f32::max);
    logits[class] - most - others().map(|logit| (logit - most).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_cover_every_pixel() {
        for (length, side) in [(10, 3), (9, 3), (3, 3), (5, 1), (150, 19), (2, 1)] {
            let starts = starts(length, side);
            let is_covered = |pixel: usize| {
                starts
                    .iter()
                    .any(|start| (*start..start + side).contains(&pixel))
            };
            assert!(
                (0..length).all(is_covered) && starts.iter().all(|start| start + side <= length),
                "{length} by {side}: {starts:?}"
            );
        }
    }

    #[test]
    fn log_odds_are_those_of_the_probabilities() {
        for (logits, class) in [
            (vec![0.5f32, -1.0, 2.0], 2),
            (vec![0.5, -1.0, 2.0], 1),
            (vec![0.0, 30.0], 1),
        ] {
            let row: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
            let p = crate::metrics::softmax(&row);
            let others: f64 = p
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != class)
                .map(|(_, p)| p)
                .sum();
            assert!(
                (f64::from(log_odds(&logits, class)) - (p[class] / others).ln()).abs() < 1e-4,
                "{logits:?}"
            );
        }
    }
}
