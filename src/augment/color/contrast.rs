//! Contrast as in torchvision. The mean is not rounded to a whole value, as Pillow rounds it.

use crate::augment::{
    change::Change,
    family::{Example, Family},
    levels::{clip, luma},
    ranged::Ranged,
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Ranged> = Family {
    keys: &["contrast"],
    stream: 11,
    check: |ranged, faults| ranged.check([0.0, 100.0], faults),
    draw: |ranged, mut stream, drawing| {
        if let Some(factor) = ranged.strength(&mut stream) {
            drawing.plan.add(Contrast(factor as f32));
        }
    },
    examples: &[Example {
        name: "contrast",
        settings: "contrast = { range = [0.3, 2.0] }",
        about: "A factor on the distance from the image's mean gray.",
    }],
    neutral: &["contrast = { range = [1, 1] }"],
    ..Family::NEW
};

/// Scales the distance from the mean luma.
#[derive(Debug)]
pub(in crate::augment) struct Contrast(pub(in crate::augment) f32);

impl Change for Contrast {
    fn apply(&self, levels: &mut [f32], shape: [usize; 3]) {
        let plane = shape[0] * shape[1];
        let sum: f64 = (0..plane)
            .map(|index| f64::from(luma(levels, index, plane)))
            .sum();
        let mean = (sum / plane as f64) as f32;
        levels
            .iter_mut()
            .for_each(|level| *level = clip(mean + (*level - mean) * self.0));
    }
}
