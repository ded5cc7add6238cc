//! Random streams keyed by what they are for, so that a draw depends on seed, purpose and indices
//! and on nothing else: not on threads, order, workers or a resume. ChaCha8 (Bernstein, 2008) is
//! counter-based, so that a stream starts anywhere at no cost.

use std::ops::RangeInclusive;

use rand::SeedableRng;
pub use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers.
pub type Stream = ChaCha8Rng;

/// Purpose of a stream. The number is part of the key: never reuse or renumber one, or seeds give
/// other results. The next one is 1001: the numbers below that are missing here belong to
/// [`AUGMENTATION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Split into training, validation and test images. Indices: class, 1 for test images.
    Split = 1,
    /// Order of an epoch. Indices: epoch.
    Order = 2,
    /// Initial weights. Indices: position of the parameter.
    Weights = 5,
    /// Burn's generator (dropout) for a batch. Indices: epoch, batch.
    Step = 6,
    /// The synthetic phantom images. Indices: class, set, image.
    Phantom = 7,
    /// Synthetic images of the self-test and the benchmarks.
    Synthetic = 8,
    /// Bootstrap draws behind confidence intervals. Indices: draw.
    Bootstrap = 24,
    /// Saliency maps with shuffled pixels. Indices: image.
    Shuffled = 25,
    /// Folds of a cross-validation, and the order in which clusters are split. Indices: user.
    Folds = 26,
    /// Random Fourier features of the label model. Indices: feature.
    Waves = 27,
    /// Order in which images are packed into shards.
    Packing = 1000,
}

/// Numbers that stand for the families of augmentations instead of a [`Purpose`]. Each family has
/// its own, beside the code that draws from it.
pub const AUGMENTATION: [RangeInclusive<u64>; 3] = [3..=4, 9..=23, 28..=999];

/// Returns the stream of `purpose` at `indices` under the run's `seed`.
pub fn stream(seed: u64, purpose: Purpose, indices: [u64; 3]) -> Stream {
    numbered_stream(seed, purpose as u64, indices)
}

/// Returns the stream of an augmentation family by its number. Indices: epoch, image, number of
/// earlier draws of it in the epoch.
pub fn augmentation_stream(seed: u64, number: u64, indices: [u64; 3]) -> Stream {
    numbered_stream(seed, number, indices)
}

fn numbered_stream(seed: u64, number: u64, indices: [u64; 3]) -> Stream {
    // Three indices don't fit into the key beside seed and number; the third is the stream number.
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&number.to_le_bytes());
    key[16..24].copy_from_slice(&indices[0].to_le_bytes());
    key[24..].copy_from_slice(&indices[1].to_le_bytes());
    let mut stream = ChaCha8Rng::from_seed(key);
    stream.set_stream(indices[2]);
    stream
}

/// Returns a uniformly random permutation of `0..count` (Fisher-Yates).
pub fn permutation(stream: &mut Stream, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, stream.random_range(0..=last));
    }
    order
}

/// Draws uniformly from `low..high`; returns `low` for an empty range. Always takes one number from
/// the stream, so that later draws don't depend on the range.
pub fn uniform(stream: &mut Stream, low: f64, high: f64) -> f64 {
    let share: f64 = stream.random();
    low + share * (high - low)
}

/// Draws from the standard normal distribution (Box-Muller). The second value isn't kept, so that
/// every call takes two numbers.
pub fn normal(stream: &mut Stream) -> f64 {
    // 1 - u lies in (0, 1], where the logarithm is finite; u may be 0.
    let radius = (-2.0 * (1.0 - stream.random::<f64>()).ln()).sqrt();
    let angle: f64 = std::f64::consts::TAU * stream.random::<f64>();
    radius * angle.cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_index_and_purpose_gives_another_stream_and_the_same_key_the_same() {
        let first = |seed, purpose, indices| stream(seed, purpose, indices).random::<u64>();
        let base = first(1, Purpose::Order, [0, 0, 0]);
        assert_eq!(base, first(1, Purpose::Order, [0, 0, 0]));
        let others = [
            first(2, Purpose::Order, [0, 0, 0]),
            first(1, Purpose::Split, [0, 0, 0]),
            first(1, Purpose::Order, [1, 0, 0]),
            first(1, Purpose::Order, [0, 1, 0]),
            first(1, Purpose::Order, [0, 0, 1]),
        ];
        assert!(
            others.iter().all(|other| *other != base),
            "{base} is in {others:?}"
        );
    }

    #[test]
    fn normal_draws_have_mean_zero_and_variance_one() {
        let mut stream = stream(5, Purpose::Synthetic, [0; 3]);
        let draws: Vec<f64> = (0..20_000).map(|_| normal(&mut stream)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance =
            draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "mean {mean}, variance {variance}"
        );
    }

    proptest! {
        #[test]
        fn a_permutation_holds_each_number_once(seed: u64, count in 0usize..300) {
            let mut order = permutation(&mut stream(seed, Purpose::Order, [0; 3]), count);
            order.sort_unstable();
            prop_assert_eq!(order, (0..count).collect::<Vec<_>>());
        }
    }
}
