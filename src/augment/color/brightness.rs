//! Brightness and channel shift, two options of Keras's ImageDataGenerator, which are drawn from
//! one stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    augment::{
        change::Change,
        family::{Effect, Example, Family, Faults, Section, Semantics},
        levels::{clip, range},
    },
    base::rng::uniform,
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Brightness> = Family {
    keys: &["channel_shift_range", "brightness_range"],
    stream: 4,
    section: Section::Keras,
    effect: |settings| match settings {
        Brightness {
            brightness_range: None,
            channel_shift_range: 0.0,
        } => Effect::Nothing,
        _ => Effect::Values,
    },
    check,
    draw: |settings, mut stream, drawing| {
        let most = settings.channel_shift_range;
        let shift = uniform(&mut stream, -most, most) as f32;
        if shift != 0.0 {
            drawing.plan.add(ChannelShift(shift));
        }
        if let Some([low, high]) = settings.brightness_range {
            let factor = uniform(&mut stream, low, high) as f32;
            match drawing.semantics {
                Semantics::Standard => drawing.plan.add(Brighten(factor)),
                Semantics::Keras => drawing.plan.add(BrightenWhole(factor)),
            }
        }
    },
    examples: &[
        Example {
            name: "channel shift",
            settings: "channel_shift_range = 80",
            about: "Added to all channels alike in spite of the name; clipped to the image's own \
                    range.",
        },
        Example {
            name: "brightness",
            settings: "brightness_range = [0.4, 1.6]",
            about: "A factor.",
        },
    ],
    neutral: &["brightness_range = [1.0, 1.0]"],
    ..Family::NEW
};

/// Options that shift or scale all pixel values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Brightness {
    /// Factor on all pixels, drawn uniformly from this pair; `[1, 1]` is off. Clipped to 0..255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brightness_range: Option<[f64; 2]>,
    /// Added to all channels alike, drawn uniformly from -x to x, in pixel values of 0..255;
    /// clipped to the image's own range.
    pub channel_shift_range: f64,
}

fn check(settings: &Brightness, faults: &mut Faults) {
    let shift = settings.channel_shift_range;
    faults.require(
        shift >= 0.0 && shift.is_finite(),
        "channel_shift_range",
        shift,
        "0 or more",
    );
    if let Some([low, high]) = settings.brightness_range {
        faults.require(
            low >= 0.0 && low <= high && high.is_finite(),
            "brightness_range",
            format!("[{low}, {high}]"),
            "factors from 0 on, low before high",
        );
    }
}

/// Adds a value to all channels and clips to the range that the image had, as Keras's
/// `apply_channel_shift`.
#[derive(Debug)]
pub(in crate::augment) struct ChannelShift(pub(in crate::augment) f32);

impl Change for ChannelShift {
    fn apply(&self, levels: &mut [f32], _: [usize; 3]) {
        let (low, high) = range(levels);
        levels
            .iter_mut()
            .for_each(|level| *level = (*level + self.0).clamp(low, high));
    }
}

/// Multiplies all values by a factor.
#[derive(Debug)]
pub(in crate::augment) struct Brighten(pub(in crate::augment) f32);

impl Change for Brighten {
    fn apply(&self, levels: &mut [f32], _: [usize; 3]) {
        levels
            .iter_mut()
            .for_each(|level| *level = clip(*level * self.0));
    }

    fn gain(&self) -> Option<f32> {
        Some(self.0)
    }
}

/// Multiplies by a factor on bytes, as Keras calls Pillow's `ImageEnhance.Brightness`. An image
/// with values outside 0..=255 is scaled to that range first and back afterwards. Fractions are
/// truncated on the way in and on the way out.
#[derive(Debug)]
pub(in crate::augment) struct BrightenWhole(pub(in crate::augment) f32);

impl Change for BrightenWhole {
    fn apply(&self, levels: &mut [f32], _: [usize; 3]) {
        let (low, high) = range(levels);
        let is_beyond = low < 0.0 || high > 255.0;
        let span = high - low;
        for level in levels {
            let mut value = *level;
            if is_beyond {
                value -= low;
                // Keras divides by the largest value after the subtraction, unless it is 0.
                value = if span == 0.0 { value } else { value / span } * 255.0;
            }
            let byte = value as u8;
            let bright = match self.0 {
                1.0 => f32::from(byte),
                factor => (f32::from(byte) * factor).clamp(0.0, 255.0).trunc(),
            };
            *level = if is_beyond {
                bright / 255.0 * span + low
            } else {
                bright
            };
        }
    }
}
