//! The settings of all families as `[augment]` has them, for the images of one class.

use pixel_sampling::Edge;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    color::brightness::Brightness,
    family::Semantics,
    filters::erasing::Erasing,
    geometry::{affine::Affine, crop::ResizedCrop},
    mixing::Mixing,
    policy::Policy,
    ranged::{Chance, Ranged},
};

/// Random changes to training images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// How Keras's options are understood: as its documentation says, or pixel for pixel as Keras
    /// 2.9 to 3.15 does it (docs/augmentation.md lists the differences).
    pub semantics: Semantics,
    /// Rotation, shifts, shear, zoom and flips.
    #[serde(flatten)]
    pub affine: Affine,
    /// Brightness and channel shift.
    #[serde(flatten)]
    pub brightness: Brightness,
    /// Content of the parts of a changed image for which the original has no pixels.
    pub fill_mode: FillMode,
    /// The pixel value of 0..255 for `fill_mode = "constant"`; 0 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cval: Option<f32>,
    /// A part of the image at the whole size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<ResizedCrop>,
    /// A view from an angle: range 0 to 1, how far each corner may move towards the middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perspective: Option<Ranged>,
    /// Factor on the distance from the image's mean gray.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<Ranged>,
    /// Exponent on pixel values scaled to 0..1; above 1 darkens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<Ranged>,
    /// Factor on the distance from gray; 0 is gray.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturation: Option<Ranged>,
    /// Degrees around the color circle, -180 to 180.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hue: Option<Ranged>,
    /// Color images without their color.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_gray: Option<Chance>,
    /// TrivialAugment or RandAugment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Standard deviation of a Gaussian blur in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_blur: Option<Ranged>,
    /// Factor on what a 3x3 smoothing takes away: 0 smooths, 1 changes nothing, 2 sharpens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharpen: Option<Ranged>,
    /// Standard deviation of Gaussian noise in pixel values, each pixel and channel on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_noise: Option<Ranged>,
    /// Quality 1 to 100 of a JPEG that the image is saved as and read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jpeg: Option<Ranged>,
    /// A rectangle without content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<Erasing>,
    /// The image and the next of the batch blended, labels likewise (Zhang et al., 2018).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<Mixing>,
    /// A rectangle of the next image of the batch, labels by area (Yun et al., 2019).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<Mixing>,
}

/// Content of the parts of a changed image for which the original has no pixels (SciPy's modes, as
/// Keras uses them).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FillMode {
    /// The nearest pixel of the edge: `aaaa|abcd|dddd`.
    #[default]
    Nearest,
    /// The pixel value `cval`: `kkkk|abcd|kkkk`.
    Constant,
    /// Mirrored at the edge: `dcba|abcd|dcba`.
    Reflect,
    /// From the other side, as SciPy's `wrap` does it: the period is one pixel short, so that first
    /// and last pixel coincide.
    Wrap,
}

impl Settings {
    /// Returns the values of pixels outside the image.
    pub fn edge(&self) -> Edge {
        match self.fill_mode {
            FillMode::Nearest => Edge::Nearest,
            FillMode::Constant => Edge::Constant(self.cval.unwrap_or(0.0)),
            FillMode::Reflect => Edge::Reflect,
            FillMode::Wrap => Edge::Wrap,
        }
    }
}
