//! `[augment]`: Keras's ImageDataGenerator knobs under their Keras names and units, and the
//! families that it lacks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::families::{Chance, Erasing, Mixing, Policy, Ranged, ResizedCrop};

/// Random changes to training images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// How Keras's options are understood: as its documentation says, or pixel for pixel as Keras
    /// 2.9 to 3.15 does it (docs/augmentation.md lists the differences).
    pub semantics: Semantics,
    /// Degrees, drawn uniformly from -x to x.
    pub rotation_range: f64,
    /// Sideways shift. 0.1: up to a tenth of the width either way; 3.0: up to 3 pixels; 3 (a whole
    /// number): -2, -1, 0, 1 or 2 pixels; a list: one of its values, shares where all are below 1.
    pub width_shift_range: Shift,
    /// Shift up or down, in the same forms, of the height.
    pub height_shift_range: Shift,
    /// Degrees, drawn uniformly from -x to x.
    pub shear_range: f64,
    /// A number z stands for [1 - z, 1 + z]; below 1 magnifies, above 1 shrinks. Width and height
    /// are drawn apart.
    pub zoom_range: Zoom,
    /// Mirror left and right with probability one half.
    pub horizontal_flip: bool,
    /// Mirror top and bottom with probability one half.
    pub vertical_flip: bool,
    /// Factor on all pixels, drawn uniformly from this pair; `[1, 1]` is off. Clipped to 0..255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brightness_range: Option<[f64; 2]>,
    /// Added to all channels alike, drawn uniformly from -x to x, in grey levels of 0..255; clipped
    /// to the image's own range.
    pub channel_shift_range: f64,
    /// What stands where the changed image has no pixels.
    pub fill_mode: FillMode,
    /// The grey level of 0..255 for `fill_mode = "constant"`; 0 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cval: Option<f32>,
    /// A part of the image at the whole size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<ResizedCrop>,
    /// Seen from aside: range 0 to 1, how far each corner may move towards the middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perspective: Option<Ranged>,
    /// Factor on the distance from the image's mean grey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<Ranged>,
    /// Exponent on levels of 0..1; above 1 darkens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<Ranged>,
    /// Factor on the distance from grey; 0 is grey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturation: Option<Ranged>,
    /// Degrees around the colour circle, -180 to 180.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hue: Option<Ranged>,
    /// Colour images without their colour.
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
    /// Standard deviation of Gaussian noise in grey levels, each pixel and channel on its own.
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
    /// `[augment.class.NAME]`: settings for the images of one class, each in place of the common
    /// one; `inherit = false` leaves all common ones out. Anything but `semantics`, `mixup` and
    /// `cutmix`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, OfClass>", extend("default" = {}))]
    pub class: BTreeMap<String, Table>,
}

/// Settings that hold for a whole batch, which has images of every class.
pub(in crate::config) const NOT_BY_CLASS: [&str; 4] = ["class", "semantics", "mixup", "cutmix"];

/// The settings of one class, for the schema: those of all classes without their defaults, and
/// `inherit`.
struct OfClass;

impl JsonSchema for OfClass {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClassAugment".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = Augment::json_schema(generator);
        if let Some(properties) = schema
            .get_mut("properties")
            .and_then(serde_json::Value::as_object_mut)
        {
            properties
                .values_mut()
                .filter_map(serde_json::Value::as_object_mut)
                .for_each(|property| _ = property.remove("default"));
            let about = "Whether the common settings hold as well.";
            let inherit = schemars::json_schema!({ "type": "boolean", "description": about });
            properties.insert("inherit".to_owned(), inherit.to_value());
        }
        schema
    }
}

impl Augment {
    /// Does any setting move pixels, other than by an exact flip?
    pub fn resamples(&self) -> bool {
        [self.rotation_range, self.shear_range]
            .iter()
            .any(|range| *range != 0.0)
            || [&self.width_shift_range, &self.height_shift_range]
                .iter()
                .any(|shift| shift.moves())
            || self.zoom_range.pair() != [1.0, 1.0]
            || self.random_resized_crop.is_some()
            || self.perspective.is_some()
            || self.policy.is_some()
    }

    /// Does any setting change anything at all, in any class?
    pub fn is_active(&self) -> bool {
        self.mixes()
            || self.changes_images()
            || self.class.keys().any(|class| self.changes_class(class))
    }

    /// Does any setting change the images of `class` by themselves?
    pub fn changes_class(&self, class: &str) -> bool {
        self.for_class(class).is_ok_and(|own| own.changes_images())
    }

    /// Are images of a batch mixed with one another?
    pub fn mixes(&self) -> bool {
        self.mixup.is_some() || self.cutmix.is_some()
    }

    fn changes_images(&self) -> bool {
        let others = [
            &self.contrast,
            &self.gamma,
            &self.saturation,
            &self.hue,
            &self.gaussian_blur,
            &self.sharpen,
            &self.gaussian_noise,
            &self.jpeg,
        ];
        self.resamples()
            || self.horizontal_flip
            || self.vertical_flip
            || self.brightness_range.is_some()
            || self.channel_shift_range != 0.0
            || others.iter().any(|family| family.is_some())
            || self.random_gray.is_some()
            || self.random_erasing.is_some()
    }

    /// The settings for images of `class`.
    ///
    /// # Errors
    /// A key or value under `[augment.class.NAME]` that isn't one; a configuration that was checked
    /// has none.
    pub fn for_class(&self, class: &str) -> Result<Self, toml::de::Error> {
        let common = Self {
            class: BTreeMap::new(),
            ..self.clone()
        };
        let Some(own) = self.class.get(class) else {
            return Ok(common);
        };
        let mut own = own.clone();
        let inherits = own.remove("inherit") != Some(Value::Boolean(false));
        let base = if inherits {
            common
        } else {
            Self {
                semantics: self.semantics,
                ..Self::default()
            }
        };
        let mut merged = Table::try_from(base).expect("settings are a table");
        merged.extend(own);
        Self::deserialize(merged)
    }
}

/// How Keras's options are understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Semantics {
    /// As its documentation says: a width shift goes sideways, everything turns about the image's
    /// centre, brightness keeps fractions of a level.
    #[default]
    Standard,
    /// As Keras 2.9 to 3.15 does it: shifts exchanged, the centre of an image that isn't square
    /// misplaced, brightness cut to whole levels.
    Keras,
}

/// A shift range: a number or a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Shift {
    /// n stands for the whole pixels between -n and n.
    Pixels(i64),
    /// Uniform, either way: below 1 a share of the side, from 1 on pixels.
    Range(f64),
    /// One of these: shares of the side where all are below 1, else pixels; positive is right or
    /// down.
    Among(Vec<f64>),
}

impl Shift {
    /// Can it be anything but no shift?
    pub fn moves(&self) -> bool {
        match self {
            Self::Pixels(pixels) => *pixels > 1,
            Self::Range(range) => *range != 0.0,
            Self::Among(values) => values.iter().any(|value| *value != 0.0),
        }
    }
}

impl Default for Shift {
    fn default() -> Self {
        Self::Range(0.0)
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

/// What stands where the changed image has no pixels (SciPy's modes, as Keras uses them).
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
    /// From the other side, as SciPy's `wrap` does it: the period is one pixel short, so that first
    /// and last pixel coincide.
    Wrap,
}
