//! The augmentation families beyond ImageDataGenerator: each a table with a probability and a
//! range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn always() -> f64 {
    1.0
}

/// A change of some strength.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ranged {
    /// How often an image is changed, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// Low and high; the strength is drawn uniformly between them.
    pub range: [f64; 2],
}

/// A change that is there or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chance {
    /// How often an image is changed, 0 to 1.
    pub probability: f64,
}

/// A part of the image at the whole size (torchvision's `RandomResizedCrop`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResizedCrop {
    /// How often an image is cropped, 0 to 1.
    pub probability: f64,
    /// Share of the image's area that is kept, low and high.
    pub scale: [f64; 2],
    /// Width to height of the part, before it is stretched to the whole; drawn evenly on a
    /// logarithmic scale.
    pub ratio: [f64; 2],
}

impl Default for ResizedCrop {
    fn default() -> Self {
        Self {
            probability: 1.0,
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

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
    /// What stands in the rectangle: a grey level of 0..255, or `"noise"`.
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

/// What stands in an erased rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ErasedTo {
    /// This grey level of 0..255.
    Level(f64),
    /// A name.
    Named(ErasedName),
}

/// A content without a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasedName {
    /// Each pixel and channel any level of 0..255.
    Noise,
}

/// Two images in one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mixing {
    /// How often an image is mixed, 0 to 1. Where mixup and cutmix both come up, one is tossed for.
    pub probability: f64,
    /// The share of the image itself is drawn from Beta(alpha, alpha): small values mix little, 1
    /// is uniform.
    pub alpha: f64,
}

impl Default for Mixing {
    fn default() -> Self {
        Self {
            probability: 1.0,
            alpha: 0.2,
        }
    }
}

/// A whole recipe of changes in one line, torchvision's operations and strengths.
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
    /// How often an image is changed.
    pub fn probability(&self) -> f64 {
        match self {
            Self::TrivialAugment { probability } | Self::RandAugment { probability, .. } => {
                *probability
            }
        }
    }
}
