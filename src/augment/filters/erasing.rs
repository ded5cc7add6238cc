//! Random erasing (Zhong et al. 2020, arXiv 1708.04896), as in torchvision.

use rand::RngExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    augment::{
        change::Change,
        family::{Example, Family, Faults},
        ranged::comes_up,
    },
    base::rng::{Stream, uniform},
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Erasing> = Family {
    keys: &["random_erasing"],
    stream: 21,
    check,
    draw: |settings, mut stream, drawing| {
        if comes_up(settings.probability, &mut stream) {
            let area = rectangle(settings, drawing.size, &mut stream);
            drawing.plan.add(Erase {
                area,
                content: match settings.value {
                    ErasedTo::Level(level) => Content::Level(level as f32),
                    ErasedTo::Named(ErasedName::Noise) => Content::Noise(Box::new(stream)),
                },
            });
        }
    },
    examples: &[Example {
        name: "random erasing",
        settings: "random_erasing = { probability = 0.8, value = \"noise\" }",
        about: "A rectangle without content: one value, or noise (torchvision's `RandomErasing`).",
    }],
    ..Family::NEW
};

/// A rectangle without content (torchvision's `RandomErasing`; Zhong et al., 2020).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Erasing {
    /// How often an image is changed, 0 to 1.
    pub probability: f64,
    /// Share of the image's area, low and high.
    pub scale: [f64; 2],
    /// Width to height of the rectangle; drawn evenly on a logarithmic scale.
    pub ratio: [f64; 2],
    /// Content of the rectangle: a pixel value of 0..255, or `"noise"`.
    pub value: ErasedTo,
}

impl Default for Erasing {
    fn default() -> Self {
        Self {
            probability: 0.5,
            scale: [0.02, 0.33],
            ratio: [0.3, 3.3],
            value: ErasedTo::Level(0.0),
        }
    }
}

/// The content of an erased rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ErasedTo {
    /// This pixel value of 0..255.
    Level(f64),
    /// A name.
    Named(ErasedName),
}

/// A content without a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasedName {
    /// Each pixel and channel any value of 0..255.
    Noise,
}

fn check(settings: &Erasing, faults: &mut Faults) {
    faults.require_probability(settings.probability);
    faults.require_range("scale", settings.scale, [1e-6, 1.0]);
    faults.require_range("ratio", settings.ratio, [0.01, 100.0]);
    if let ErasedTo::Level(level) = settings.value {
        faults.require(
            (0.0..=255.0).contains(&level),
            "value",
            level,
            "a pixel value from 0 to 255, or \"noise\"",
        );
    }
}

/// Draws a rectangle, as top, left, height and width, of a random area and aspect ratio, clipped to
/// the image.
fn rectangle(settings: &Erasing, [height, width]: [usize; 2], stream: &mut Stream) -> [usize; 4] {
    let area = uniform(stream, settings.scale[0], settings.scale[1]) * (height * width) as f64;
    let ratio = uniform(stream, settings.ratio[0].ln(), settings.ratio[1].ln()).exp();
    let side = |length: f64, most: usize| (length.round() as usize).clamp(1, most);
    let (rows, columns) = (
        side((area / ratio).sqrt(), height),
        side((area * ratio).sqrt(), width),
    );
    [
        stream.random_range(0..=height - rows),
        stream.random_range(0..=width - columns),
        rows,
        columns,
    ]
}

/// Fills a rectangle.
#[derive(Debug)]
struct Erase {
    /// Top, left, height and width.
    area: [usize; 4],
    content: Content,
}

/// The content of the rectangle of one image.
#[derive(Debug)]
enum Content {
    /// One value.
    Level(f32),
    /// Uniform noise.
    Noise(Box<Stream>),
}

impl Change for Erase {
    fn apply(&self, levels: &mut [f32], shape: [usize; 3]) {
        match &self.content {
            Content::Level(level) => fill(levels, self.area, shape, || *level),
            Content::Noise(stream) => {
                let mut stream = stream.as_ref().clone();
                fill(levels, self.area, shape, || stream.random::<f32>() * 255.0);
            }
        }
    }
}

/// Fills the rectangle `[top, left, height, width]` of each channel with the values that `level`
/// returns, row by row.
fn fill(
    levels: &mut [f32],
    [top, left, rows, columns]: [usize; 4],
    [height, width, _]: [usize; 3],
    mut level: impl FnMut() -> f32,
) {
    for plane in levels.chunks_exact_mut(height * width) {
        for line in plane.chunks_exact_mut(width).skip(top).take(rows) {
            line[left..left + columns]
                .iter_mut()
                .for_each(|value| *value = level());
        }
    }
}
