//! Gamma: darkens or brightens, most in the middle of the scale.

use crate::augment::{
    change::Change,
    family::{Example, Family},
    levels::clip,
    ranged::Ranged,
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Ranged> = Family {
    keys: &["gamma"],
    stream: 12,
    check: |ranged, faults| ranged.check([0.01, 100.0], faults),
    draw: |ranged, mut stream, drawing| {
        if let Some(exponent) = ranged.strength(&mut stream) {
            drawing.plan.add(Gamma(exponent as f32));
        }
    },
    examples: &[Example {
        name: "gamma",
        settings: "gamma = { range = [0.4, 2.5] }",
        about: "An exponent on values scaled to 0..1; above 1 darkens.",
    }],
    neutral: &["gamma = { range = [1, 1] }"],
    ..Family::NEW
};

/// Raises values, scaled to 0..=1, to a power.
#[derive(Debug)]
pub(in crate::augment) struct Gamma(pub(in crate::augment) f32);

impl Change for Gamma {
    fn apply(&self, levels: &mut [f32], _: [usize; 3]) {
        levels
            .iter_mut()
            .for_each(|level| *level = clip((*level / 255.0).max(0.0).powf(self.0) * 255.0));
    }
}
