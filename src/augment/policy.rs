//! TrivialAugment (Müller and Hutter 2021, arXiv 2103.10158) and RandAugment (Cubuk et al. 2020,
//! arXiv 1909.13719), with torchvision's operations and strengths. Operations that move pixels join
//! the plan's single map; the others follow in the order drawn. Shears are about the image's
//! center, where torchvision's are about its corner.

use pixel_sampling::Map;
use rand::RngExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    change::Plan,
    color::{
        brightness::Brighten,
        contrast::Contrast,
        pillow::{AutoContrast, Equalize, Posterize, Solarize},
        saturation::Saturation,
    },
    family::{Effect, Example, Family, Faults},
    filters::sharpen::Sharpen,
    geometry::{about_center, compose},
    ranged::{always, comes_up},
};
use crate::base::rng::Stream;

/// The family.
pub(super) static FAMILY: Family<Policy> = Family {
    keys: &["policy"],
    stream: 16,
    effect: |_| Effect::Moves,
    check,
    draw: |policy, mut stream, drawing| {
        if comes_up(policy.probability(), &mut stream) {
            draw(policy, drawing.size, &mut stream, &mut drawing.plan);
        }
    },
    examples: &[
        Example {
            name: "trivial augment",
            settings: "policy = { kind = \"trivial_augment\" }",
            about: "One operation of any strength (torchvision's `TrivialAugmentWide`).",
        },
        Example {
            name: "rand augment",
            settings: "policy = { kind = \"rand_augment\", num_ops = 2, magnitude = 15 }",
            about: "Some operations of one strength, 0 to 30 (torchvision's `RandAugment`). What \
                    moves pixels joins the one map, so that it comes before what changes values.",
        },
    ],
    neutral: &["policy = { kind = \"rand_augment\", num_ops = 1, magnitude = 0 }"],
    ..Family::NEW
};

/// A whole sequence of changes in one line, with torchvision's operations and strengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Policy {
    /// One operation of any strength (Mueller and Hutter, 2021; torchvision's
    /// `TrivialAugmentWide`).
    TrivialAugment {
        /// How often an image is changed, 0 to 1.
        #[serde(default = "always")]
        probability: f64,
    },
    /// Some operations, one after the other, of one strength (Cubuk et al., 2020).
    RandAugment {
        /// How often an image is changed, 0 to 1.
        #[serde(default = "always")]
        probability: f64,
        /// Operations an image.
        #[serde(default = "two")]
        num_ops: usize,
        /// Strength, 0 to 30.
        #[serde(default = "nine")]
        magnitude: usize,
    },
}

fn two() -> usize {
    2
}

fn nine() -> usize {
    9
}

impl Policy {
    /// Returns how often an image is changed.
    fn probability(&self) -> f64 {
        match self {
            Self::TrivialAugment { probability } | Self::RandAugment { probability, .. } => {
                *probability
            }
        }
    }
}

fn check(policy: &Policy, faults: &mut Faults) {
    faults.require_probability(policy.probability());
    if let Policy::RandAugment {
        num_ops, magnitude, ..
    } = policy
    {
        let fits = (1..=10).contains(num_ops);
        faults.require(fits, "num_ops", num_ops, "1 to 10");
        faults.require(*magnitude <= 30, "magnitude", magnitude, "0 to 30");
    }
}

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
fn draw(policy: &Policy, size: [usize; 2], stream: &mut Stream, plan: &mut Plan) {
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
    let mut moves = |map: Map| plan.map = compose(plan.map, about_center(map, size));
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
        Operation::Brightness => plan.add(Brighten(factor)),
        Operation::Color => plan.add(Saturation(factor)),
        Operation::Contrast => plan.add(Contrast(factor)),
        Operation::Sharpness => plan.add(Sharpen(factor)),
        Operation::Posterize => {
            plan.add(Posterize(8 - (share * most.posterize).round() as u32));
        }
        Operation::Solarize => plan.add(Solarize((255.0 * (1.0 - share)) as f32)),
        Operation::AutoContrast => plan.add(AutoContrast),
        Operation::Equalize => plan.add(Equalize),
    }
}
