//! TrivialAugment (Müller and Hutter 2021, arXiv 2103.10158) and RandAugment (Cubuk et al. 2020,
//! arXiv 1909.13719), with torchvision's operations and strengths. Operations that move pixels join
//! the plan's single map; the others follow in the order drawn. Shears are about the image's
//! center, where torchvision's are about its corner.

use pixel_sampling::Map;
use rand::RngExt as _;

use super::{
    change::{Change, Plan},
    geometry::{about_centre, compose},
};
use crate::{base::rng::Stream, config::Policy};

/// The largest strength; strengths are whole numbers from 0 to this.
const MOST: f64 = 30.0;

/// The operations of both policies, in torchvision's order.
const OPERATIONS: [Operation; 14] = [
    Operation::Identity,
    Operation::ShearX,
    Operation::ShearY,
    Operation::TranslateX,
    Operation::TranslateY,
    Operation::Rotate,
    Operation::Brightness,
    Operation::Color,
    Operation::Contrast,
    Operation::Sharpness,
    Operation::Posterize,
    Operation::Solarize,
    Operation::AutoContrast,
    Operation::Equalize,
];

/// An operation, under torchvision's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

/// Adds the drawn operations to `plan`.
pub(super) fn draw(policy: &Policy, size: [usize; 2], stream: &mut Stream, plan: &mut Plan) {
    match policy {
        Policy::TrivialAugment { .. } => {
            let operation = OPERATIONS[stream.random_range(0..OPERATIONS.len())];
            // The direction is drawn for every operation, so that each takes the same number of
            // values.
            let share = stream.random_range(0..=30) as f64 / MOST;
            add(
                operation,
                share,
                &Strengths::wide(),
                (size, stream.random()),
                plan,
            );
        }
        Policy::RandAugment {
            num_ops, magnitude, ..
        } => {
            for _ in 0..*num_ops {
                let operation = OPERATIONS[stream.random_range(0..OPERATIONS.len())];
                add(
                    operation,
                    *magnitude as f64 / MOST,
                    &Strengths::usual(size),
                    (size, stream.random()),
                    plan,
                );
            }
        }
    }
}

/// The values of the operations at the largest strength: shear as a tangent, translation in pixels,
/// rotation in degrees, and the distance of a factor from 1.
struct Strengths {
    shear: f64,
    translate: [f64; 2],
    rotate: f64,
    factor: f64,
    /// Number of bits removed.
    posterize: f64,
}

impl Strengths {
    /// The strengths of torchvision's `TrivialAugmentWide`.
    fn wide() -> Self {
        Self {
            shear: 0.99,
            translate: [32.0; 2],
            rotate: 135.0,
            factor: 0.99,
            posterize: 6.0,
        }
    }

    /// The strengths of torchvision's `RandAugment`.
    fn usual([height, width]: [usize; 2]) -> Self {
        let translate = [height, width].map(|side| 150.0 / 331.0 * side as f64);
        Self {
            shear: 0.3,
            translate,
            rotate: 30.0,
            factor: 0.9,
            posterize: 4.0,
        }
    }
}

/// Adds an operation at the fraction `share` of its largest strength, in the other direction if it
/// is `backwards` and has two.
fn add(
    operation: Operation,
    share: f64,
    most: &Strengths,
    (size, backwards): ([usize; 2], bool),
    plan: &mut Plan,
) {
    let signed = |most: f64| {
        if backwards {
            -share * most
        } else {
            share * most
        }
    };
    let factor = (1.0 + signed(most.factor)) as f32;
    let mut moves = |map: Map| plan.map = compose(plan.map, about_centre(map, size));
    match operation {
        Operation::Identity => {}
        Operation::ShearX => moves([
            [1.0, signed(most.shear), 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 0.0, 1.0],
        ]),
        Operation::ShearY => moves([
            [1.0, 0.0, 0.0],
            [signed(most.shear), 1.0, 0.0],
            [0.0, 0.0, 1.0],
        ]),
        // torchvision truncates translations to whole pixels.
        Operation::TranslateX => moves([
            [1.0, 0.0, signed(most.translate[1]).trunc()],
            [0.0, 1.0, 0.0],
            [0.0, 0.0, 1.0],
        ]),
        Operation::TranslateY => moves([
            [1.0, 0.0, 0.0],
            [0.0, 1.0, signed(most.translate[0]).trunc()],
            [0.0, 0.0, 1.0],
        ]),
        Operation::Rotate => {
            let (sine, cosine) = signed(most.rotate).to_radians().sin_cos();
            moves([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]]);
        }
        Operation::Brightness => plan.changes.push(Change::Brightness(factor)),
        Operation::Color => plan.changes.push(Change::Saturation(factor)),
        Operation::Contrast => plan.changes.push(Change::Contrast(factor)),
        Operation::Sharpness => plan.changes.push(Change::Sharpen(factor)),
        Operation::Posterize => plan.changes.push(Change::Posterize(
            8 - (share * most.posterize).round() as u32,
        )),
        Operation::Solarize => plan
            .changes
            .push(Change::Solarize((255.0 * (1.0 - share)) as f32)),
        Operation::AutoContrast => plan.changes.push(Change::AutoContrast),
        Operation::Equalize => plan.changes.push(Change::Equalize),
    }
}
