//! Random grayscale.

use super::saturation::Saturation;
use crate::augment::{
    family::{Example, Family},
    ranged::{Chance, comes_up},
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Chance> = Family {
    keys: &["random_gray"],
    stream: 15,
    needs_color: true,
    check: |gray, faults| faults.require_probability(gray.probability),
    draw: |gray, mut stream, drawing| {
        if comes_up(gray.probability, &mut stream) {
            // Without any saturation, each pixel is its luma.
            drawing.plan.add(Saturation(0.0));
        }
    },
    examples: &[Example {
        name: "random gray",
        settings: "random_gray = { probability = 0.5 }",
        about: "Color images without their color.",
    }],
    ..Family::NEW
};
