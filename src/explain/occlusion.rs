//! Occlusion: a patch of the picture is covered, place by place, and the class loses something or doesn't.

use super::{Explainer, Map};
use crate::nn::NnError;

/// Patches along the smaller side, without overlap; they move by half of themselves.
const PATCHES: usize = 8;

/// Covered pictures that the network sees at a time.
const BATCH: usize = 32;

impl Explainer {
    /// The mean loss of log-odds of the class over all patches that cover a pixel. Covered pixels have the picture's own mean, channel by
    /// channel. Log-odds rather than probabilities, which stay at 1 where a network is very sure.
    pub(super) fn occlude(&self, image: &[f32], class: usize) -> Result<Map, NnError> {
        let [_, height, width] = self.design.input;
        let mean = self.channel_means(image);
        let whole = log_odds(&self.logits(image)?[0], class);
        let side = height.min(width).div_ceil(PATCHES);
        let patches: Vec<[usize; 2]> =
            starts(height, side).into_iter().flat_map(|top| starts(width, side).into_iter().map(move |left| [top, left])).collect();
        let (mut sums, mut counts) = (vec![0.0f32; height * width], vec![0.0f32; height * width]);
        for patches in patches.chunks(BATCH) {
            let mut covered = Vec::with_capacity(patches.len() * image.len());
            for [top, left] in patches {
                let start = covered.len();
                covered.extend_from_slice(image);
                for (plane, mean) in covered[start..].chunks_exact_mut(height * width).zip(&mean) {
                    plane.chunks_exact_mut(width).skip(*top).take(side).for_each(|line| line[*left..(left + side).min(width)].fill(*mean));
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
        Ok(Map::new(sums.iter().zip(&counts).map(|(sum, count)| sum / count).collect(), [height, width]))
    }

    pub(super) fn channel_means(&self, image: &[f32]) -> Vec<f32> {
        let [_, height, width] = self.design.input;
        image.chunks_exact(height * width).map(|plane| plane.iter().sum::<f32>() / plane.len() as f32).collect()
    }
}

/// Where patches begin along a side: half of one apart, the last at the end.
fn starts(length: usize, side: usize) -> Vec<usize> {
    let last = length.saturating_sub(side);
    (0..last).step_by((side / 2).max(1)).chain([last]).collect()
}

/// The logarithm of p / (1 - p).
fn log_odds(logits: &[f32], class: usize) -> f32 {
    let others = || logits.iter().enumerate().filter(|(index, _)| *index != class).map(|(_, logit)| *logit);
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
            let is_covered = |pixel: usize| starts.iter().any(|start| (*start..start + side).contains(&pixel));
            assert!((0..length).all(is_covered) && starts.iter().all(|start| start + side <= length), "{length} by {side}: {starts:?}");
        }
    }

    #[test]
    fn log_odds_are_those_of_the_probabilities() {
        for (logits, class) in [(vec![0.5f32, -1.0, 2.0], 2), (vec![0.5, -1.0, 2.0], 1), (vec![0.0, 30.0], 1)] {
            let row: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
            let p = super::super::softmax(&row);
            let others: f64 = p.iter().enumerate().filter(|(index, _)| *index != class).map(|(_, p)| p).sum();
            assert!((f64::from(log_odds(&logits, class)) - (p[class] / others).ln()).abs() < 1e-4, "{logits:?}");
        }
    }
}
