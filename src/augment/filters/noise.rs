//! Gaussian noise.

use rand::RngExt as _;

use crate::{
    augment::{
        change::Change,
        family::{Example, Family},
        levels::clip,
        ranged::Ranged,
    },
    base::rng::Stream,
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Ranged> = Family {
    keys: &["gaussian_noise"],
    stream: 19,
    check: |ranged, faults| ranged.check([0.0, 255.0], faults),
    draw: |ranged, mut stream, drawing| {
        if let Some(deviation) = ranged.strength(&mut stream) {
            drawing.plan.add(Noise {
                deviation: deviation as f32,
                stream,
            });
        }
    },
    examples: &[Example {
        name: "gaussian noise",
        settings: "gaussian_noise = { range = [5, 40] }",
        about: "Standard deviation in pixel values.",
    }],
    neutral: &["gaussian_noise = { range = [0, 0] }"],
    ..Family::NEW
};

/// Adds independent Gaussian noise to each value, and clips.
#[derive(Debug)]
struct Noise {
    /// Standard deviation in pixel values.
    deviation: f32,
    stream: Stream,
}

impl Change for Noise {
    fn apply(&self, levels: &mut [f32], _: [usize; 3]) {
        let mut stream = self.stream.clone();
        for pair in levels.chunks_mut(2) {
            // Box-Muller gives two values at a time.
            let radius = self.deviation * (-2.0 * (1.0 - stream.random::<f32>()).ln()).sqrt();
            let (sine, cosine) = (std::f32::consts::TAU * stream.random::<f32>()).sin_cos();
            for (level, share) in pair.iter_mut().zip([cosine, sine]) {
                *level = clip(*level + radius * share);
            }
        }
    }
}
