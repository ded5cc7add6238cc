//! `[augment]`: Keras's ImageDataGenerator knobs under their Keras names and units.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Random changes to training pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Degrees, drawn uniformly from -x to x.
    pub rotation_range: f64,
    /// Sideways shift, either way: below 1 a share of the width, from 1 on pixels.
    pub width_shift_range: f64,
    /// Shift up or down, either way: below 1 a share of the height, from 1 on pixels.
    pub height_shift_range: f64,
    /// Degrees, drawn uniformly from -x to x.
    pub shear_range: f64,
    /// A number z stands for [1 - z, 1 + z]; below 1 magnifies, above 1 shrinks. Width and height are drawn apart.
    pub zoom_range: Zoom,
    /// Mirror left and right with probability one half.
    pub horizontal_flip: bool,
    /// Mirror top and bottom with probability one half.
    pub vertical_flip: bool,
    /// Factor on all pixels, drawn uniformly from this pair; `[1, 1]` is off. Clipped to 0..255.
    pub brightness_range: Option<[f64; 2]>,
    /// Added to all channels alike, drawn uniformly from -x to x, in grey levels of 0..255; clipped to the picture's own range.
    pub channel_shift_range: f64,
    /// What stands where the changed picture has no pixels.
    pub fill_mode: FillMode,
    /// The grey level of 0..255 for `fill_mode = "constant"`; 0 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cval: Option<f32>,
}

impl Augment {
    /// Does any setting move pixels, other than by an exact flip?
    pub fn resamples(&self) -> bool {
        let zoom = self.zoom_range.pair();
        [self.rotation_range, self.width_shift_range, self.height_shift_range, self.shear_range].iter().any(|range| *range != 0.0)
            || zoom != [1.0, 1.0]
    }

    /// Does any setting change anything at all?
    pub fn is_active(&self) -> bool {
        self.resamples() || self.horizontal_flip || self.vertical_flip || self.brightness_range.is_some() || self.channel_shift_range != 0.0
    }
}

/// A zoom range: one number or a pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Zoom {
    /// z stands for [1 - z, 1 + z].
    Around(f64),
    /// Low and high.
    Pair([f64; 2]),
}

impl Zoom {
    /// Low and high factor of the inverse map.
    pub fn pair(self) -> [f64; 2] {
        match self {
            Self::Around(range) => [1.0 - range, 1.0 + range],
            Self::Pair(pair) => pair,
        }
    }
}

impl Default for Zoom {
    fn default() -> Self {
        Self::Around(0.0)
    }
}

/// What stands where the changed picture has no pixels (SciPy's modes, as Keras uses them).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FillMode {
    /// The nearest pixel of the edge: `aaaa|abcd|dddd`.
    #[default]
    Nearest,
    /// The grey level `cval`: `kkkk|abcd|kkkk`.
    Constant,
    /// Mirrored at the edge: `dcba|abcd|dcba`.
    Reflect,
    /// From the other side, as SciPy's `wrap` does it: the period is one pixel short, so that first and last pixel coincide.
    Wrap,
}
