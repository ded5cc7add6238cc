//! Saturation: from gray to more color than the image has.

use crate::augment::{
    change::Change,
    family::{Example, Family},
    levels::{clip, luma},
    ranged::Ranged,
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Ranged> = Family {
    keys: &["saturation"],
    stream: 13,
    needs_color: true,
    check: |ranged, faults| ranged.check([0.0, 100.0], faults),
    draw: |ranged, mut stream, drawing| {
        if let Some(factor) = ranged.strength(&mut stream) {
            drawing.plan.add(Saturation(factor as f32));
        }
    },
    examples: &[Example {
        name: "saturation",
        settings: "saturation = { range = [0.0, 2.5] }",
        about: "A factor on the distance from gray; 0 is gray.",
    }],
    neutral: &["saturation = { range = [1, 1] }"],
    ..Family::NEW
};

/// Scales the distance from each pixel's luma. Does nothing to a gray image.
#[derive(Debug)]
pub(in crate::augment) struct Saturation(pub(in crate::augment) f32);

impl Change for Saturation {
    fn apply(&self, levels: &mut [f32], shape: [usize; 3]) {
        let plane = shape[0] * shape[1];
        if levels.len() == plane {
            return;
        }
        for index in 0..plane {
            let gray = luma(levels, index, plane);
            for channel in 0..3 {
                let level = &mut levels[channel * plane + index];
                *level = clip(gray + (*level - gray) * self.0);
            }
        }
    }
}
