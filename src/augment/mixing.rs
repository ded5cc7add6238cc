//! MixUp (Zhang et al. 2018, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899). Each
//! image of a batch is mixed with the next one, the last with the first, and its target and weight
//! likewise.
//!
//! Whether, how and how much an image is mixed comes from its own stream; its partner comes from
//! the order of the batch, which is shuffled each epoch. A batch of one image stays as it is.

use rand::RngExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    family::{Example, Family, Faults},
    key::Key,
};
use crate::base::rng::{Stream, normal, uniform};

/// MixUp.
pub(super) static MIXUP: Family<Mixing> = Family {
    keys: &["mixup"],
    stream: 22,
    mixes: true,
    check,
    examples: &[Example {
        name: "mixup",
        settings: "mixup = { alpha = 1.0 }",
        about: "Each image of a batch blended with the next one; the label is blended likewise, \
                through to the loss, and accuracy counts the class with the larger share. The \
                captions give the shares.",
    }],
    ..Family::NEW
};

/// CutMix.
pub(super) static CUTMIX: Family<Mixing> = Family {
    keys: &["cutmix"],
    stream: 23,
    mixes: true,
    check,
    examples: &[Example {
        name: "cutmix",
        settings: "cutmix = { alpha = 1.0 }",
        about: "A rectangle of the next image; the label goes by area.",
    }],
    ..Family::NEW
};

/// Two images in one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mixing {
    /// How often an image is mixed, 0 to 1. Where mixup and cutmix both come up, one is tossed for.
    pub probability: f64,
    /// The share of the image itself is drawn from Beta(alpha, alpha): small values mix little, 1
    /// is uniform.
    pub alpha: f64,
}

impl Default for Mixing {
    fn default() -> Self {
        Self {
            probability: 1.0,
            alpha: 0.2,
        }
    }
}

fn check(mixing: &Mixing, faults: &mut Faults) {
    faults.require_probability(mixing.probability);
    let alpha = mixing.alpha;
    let expected = "a number above 0, at most 100";
    faults.require(alpha > 0.0 && alpha <= 100.0, "alpha", alpha, expected);
}

/// Mixes the images of a run's batches.
#[derive(Clone, Debug)]
pub struct Mixer {
    mixup: Option<Mixing>,
    cutmix: Option<Mixing>,
    /// Channels, height and width of an image.
    shape: [usize; 3],
    seed: u64,
}

/// The way in which an image takes from its partner.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mixture {
    /// Fraction of each pixel that stays.
    Blend(f32),
    /// Rectangle `[top, left, height, width]` that is replaced by the partner's.
    Cut([usize; 4]),
}

impl Mixer {
    /// Creates a mixer for images of `[height, width, channels]`, or returns `None` if neither
    /// method is on.
    pub(super) fn new(
        mixup: Option<&Mixing>,
        cutmix: Option<&Mixing>,
        [height, width, channels]: [usize; 3],
        seed: u64,
    ) -> Option<Self> {
        (mixup.is_some() || cutmix.is_some()).then(|| Self {
            mixup: mixup.cloned(),
            cutmix: cutmix.cloned(),
            shape: [channels, height, width],
            seed,
        })
    }

    /// Mixes a batch in place; `keys` identify its images.
    ///
    /// # Shapes
    /// `images` `[batch, channels, height, width]`, `targets` `[batch, classes]`, `weights`
    /// `[batch]`.
    pub fn mix(&self, keys: &[Key], images: &mut [f32], targets: &mut [f32], weights: &mut [f32]) {
        let count = keys.len();
        if count < 2 {
            return;
        }
        let (size, num_classes) = (images.len() / count, targets.len() / count);
        // The last image's partner is the first before it was mixed.
        let first = images[..size].to_vec();
        let (old_targets, old_weights) = (targets.to_vec(), weights.to_vec());
        for (index, key) in keys.iter().enumerate() {
            let Some(mixture) = self.draw(*key) else {
                continue;
            };
            let partner = (index + 1) % count;
            let (own, rest) = images[index * size..].split_at_mut(size);
            let other = if partner == 0 {
                &first[..]
            } else {
                &rest[..size]
            };
            let share = self.apply(mixture, own, other);
            let mixed = |own: f32, other: f32| own * share + other * (1.0 - share);
            for class in 0..num_classes {
                targets[index * num_classes + class] = mixed(
                    old_targets[index * num_classes + class],
                    old_targets[partner * num_classes + class],
                );
            }
            weights[index] = mixed(old_weights[index], old_weights[partner]);
        }
    }

    /// Draws how an image is mixed, or `None` if it isn't. If both methods come up, MixUp's stream
    /// decides between them.
    fn draw(&self, key: Key) -> Option<Mixture> {
        let drawn = |settings: &Option<Mixing>, family: &Family<Mixing>| {
            let settings = settings.as_ref()?;
            let mut own = key.stream(self.seed, family.stream);
            let is_on = own.random::<f64>() < settings.probability;
            let prefers = own.random::<bool>();
            is_on.then(|| (beta(settings.alpha, &mut own), prefers, own))
        };
        let mixup = drawn(&self.mixup, &MIXUP);
        let cutmix = drawn(&self.cutmix, &CUTMIX);
        match (mixup, cutmix) {
            (Some((share, true, _)), Some(_)) | (Some((share, ..)), None) => {
                Some(Mixture::Blend(share as f32))
            }
            (_, Some((share, _, mut own))) => Some(Mixture::Cut(self.rectangle(share, &mut own))),
            (None, None) => None,
        }
    }

    /// Draws a rectangle of about `1 - share` of the image, centered anywhere and clipped to the
    /// image (Yun et al. 2019).
    fn rectangle(&self, share: f64, stream: &mut Stream) -> [usize; 4] {
        let [_, height, width] = self.shape;
        let half = (1.0 - share).sqrt() / 2.0;
        let mut side = |length: usize| {
            let (length, half) = (length as f64, half * length as f64);
            let middle = uniform(stream, 0.0, length);
            let (start, end) = (
                (middle - half).max(0.0).round() as usize,
                (middle + half).min(length).round() as usize,
            );
            (start, end - start)
        };
        let ((top, rows), (left, columns)) = (side(height), side(width));
        [top, left, rows, columns]
    }

    /// Mixes `other` into `own` and returns the fraction of `own` that is left.
    fn apply(&self, mixture: Mixture, own: &mut [f32], other: &[f32]) -> f32 {
        let [_, height, width] = self.shape;
        match mixture {
            Mixture::Blend(share) => {
                own.iter_mut()
                    .zip(other)
                    .for_each(|(own, other)| *own = *own * share + other * (1.0 - share));
                share
            }
            Mixture::Cut([top, left, rows, columns]) => {
                for (own, other) in own
                    .chunks_exact_mut(height * width)
                    .zip(other.chunks_exact(height * width))
                {
                    for at in (top..top + rows).map(|row| row * width + left) {
                        own[at..at + columns].copy_from_slice(&other[at..at + columns]);
                    }
                }
                // The fraction of the clipped rectangle, not the drawn one, as Yun et al. weight
                // the labels.
                1.0 - (rows * columns) as f32 / (height * width) as f32
            }
        }
    }
}

/// Draws from Beta(alpha, alpha), as the fraction that one of two gamma draws has of their sum.
fn beta(alpha: f64, stream: &mut Stream) -> f64 {
    let (a, b) = (log_gamma_draw(alpha, stream), log_gamma_draw(alpha, stream));
    1.0 / (1.0 + (b - a).exp())
}

/// Returns the logarithm of a draw from Gamma(alpha, 1) (Marsaglia and Tsang 2000). The draw itself
/// would underflow to 0 for a small `alpha`.
fn log_gamma_draw(alpha: f64, stream: &mut Stream) -> f64 {
    if alpha < 1.0 {
        let boost = (1.0 - stream.random::<f64>()).ln() / alpha;
        return log_gamma_draw(alpha + 1.0, stream) + boost;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(stream);
        let cube = (1.0 + c * x).powi(3);
        if cube > 0.0
            && (1.0 - stream.random::<f64>()).ln() < 0.5 * x * x + d - d * cube + d * cube.ln()
        {
            return (d * cube).ln();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, key::Key, tests::settings};

    #[test]
    fn mixing_keeps_the_sum_of_targets_and_takes_from_the_next_image() {
        for text in ["mixup = { alpha = 0.4 }", "cutmix = { alpha = 1.0 }"] {
            let mixer = settings(text).mixer([2, 3, 1], 5).expect("mixes");
            for epoch in 0..50 {
                let keys: Vec<_> = (0..3)
                    .map(|image| Key {
                        epoch,
                        image,
                        repeat: 0,
                    })
                    .collect();
                let mut images: Vec<f32> = [10.0f32, 20.0, 40.0]
                    .iter()
                    .flat_map(|level| [*level; 6])
                    .collect();
                let mut targets = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
                let mut weights = vec![1.0, 2.0, 4.0];
                mixer.mix(&keys, &mut images, &mut targets, &mut weights);
                for index in 0..3 {
                    let share = targets[index * 4];
                    let partner = targets[index * 3 + (index + 1) % 3];
                    assert!((share + partner - 1.0).abs() < 1e-6, "{targets:?}");
                    let mean = images[index * 6..(index + 1) * 6].iter().sum::<f32>() / 6.0;
                    let (own, other) = ([10.0, 20.0, 40.0][index], [20.0, 40.0, 10.0][index]);
                    assert!(
                        (mean - own * share - other * partner).abs() < 1e-4,
                        "{mean} of {own} and {other} at {share}"
                    );
                    assert!(
                        (weights[index] - own / 10.0 * share - other / 10.0 * partner).abs() < 1e-5
                    );
                }
            }
        }
        assert!(Settings::default().mixer([2, 3, 1], 5).is_none());
    }
}
