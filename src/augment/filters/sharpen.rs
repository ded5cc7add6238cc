//! Sharpening and smoothing, as Pillow's `ImageEnhance.Sharpness`.

use crate::augment::{
    change::Change,
    family::{Example, Family},
    ranged::Ranged,
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Ranged> = Family {
    keys: &["sharpen"],
    stream: 18,
    check: |ranged, faults| ranged.check([0.0, 100.0], faults),
    draw: |ranged, mut stream, drawing| {
        if let Some(factor) = ranged.strength(&mut stream) {
            drawing.plan.add(Sharpen(factor as f32));
        }
    },
    examples: &[Example {
        name: "sharpen",
        settings: "sharpen = { range = [1.5, 6.0] }",
        about: "1 changes nothing.",
    }],
    neutral: &["sharpen = { range = [1, 1] }"],
    ..Family::NEW
};

/// Scales the difference from a smoothed image. The outermost pixels stay as they are.
#[derive(Debug)]
pub(in crate::augment) struct Sharpen(pub(in crate::augment) f32);

impl Change for Sharpen {
    fn apply(&self, levels: &mut [f32], [height, width, _]: [usize; 3]) {
        let mut source = vec![0.0; height * width];
        for plane in levels.chunks_exact_mut(height * width) {
            source.copy_from_slice(plane);
            for row in 1..height - 1 {
                for column in 1..width - 1 {
                    let at = row * width + column;
                    let around: f32 = [at - width, at, at + width]
                        .iter()
                        .map(|at| source[at - 1] + source[*at] + source[at + 1])
                        .sum();
                    let smooth = (around + 4.0 * source[at]) / 13.0;
                    plane[at] = (smooth + (source[at] - smooth) * self.0).clamp(0.0, 255.0);
                }
            }
        }
    }
}
