//! What is done to one image: a map of its pixels, then changes of their values in a fixed order.

use pixel_sampling::{IDENTITY, Map};
use rand::RngExt as _;

use super::{color, filters};
use crate::base::rng::Stream;

/// Drawn changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where an output pixel comes from.
    pub map: Map,
    /// In order.
    pub changes: Vec<Change>,
}

impl Plan {
    /// No change.
    pub const NONE: Self = Self { map: IDENTITY, changes: Vec::new() };
}

/// A change of levels, which are 0 to 255.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Added to all channels, clipped to the picture's own range (Keras's `apply_channel_shift`).
    ChannelShift(f32),
    /// Factor, clipped to 0..255.
    Brightness(f32),
    /// Factor, cut to whole levels as Keras and Pillow do.
    WholeBrightness(f32),
    /// Factor on the distance from the mean grey.
    Contrast(f32),
    /// Exponent on levels of 0..1.
    Gamma(f32),
    /// Factor on the distance from grey.
    Saturation(f32),
    /// Degrees around the colour circle.
    Hue(f32),
    /// Each pixel its luma.
    Grey,
    /// So many bits a level are kept.
    Posterize(u32),
    /// Levels from this one on are inverted.
    Solarize(f32),
    /// Each channel stretched to 0..255.
    AutoContrast,
    /// Each channel's histogram made even.
    Equalize,
    /// Deviation in pixels.
    Blur(f32),
    /// Factor on what smoothing takes away.
    Sharpen(f32),
    /// Deviation in levels, and the noise's own stream.
    Noise(f32, Box<Stream>),
    /// Quality.
    Jpeg(u8),
    /// Top, left, height and width of a rectangle, and its level.
    Erase([usize; 4], f32),
    /// As before, of noise.
    EraseToNoise([usize; 4], Box<Stream>),
}

impl Change {
    /// Changes levels `[channels, height, width]` in place.
    pub(super) fn apply(&self, levels: &mut [f32], shape: [usize; 3]) {
        match self {
            Self::ChannelShift(shift) => color::shift(levels, *shift),
            Self::Brightness(factor) => color::brighten(levels, *factor),
            Self::WholeBrightness(factor) => color::brighten_whole(levels, *factor),
            Self::Contrast(factor) => color::contrast(levels, *factor, shape),
            Self::Gamma(exponent) => color::gamma(levels, *exponent),
            Self::Saturation(factor) => color::saturate(levels, *factor, shape),
            Self::Hue(degrees) => color::turn_hue(levels, *degrees, shape),
            Self::Grey => color::saturate(levels, 0.0, shape),
            Self::Posterize(bits) => color::posterize(levels, *bits),
            Self::Solarize(threshold) => color::solarize(levels, *threshold),
            Self::AutoContrast => color::auto_contrast(levels, shape),
            Self::Equalize => color::equalize(levels, shape),
            Self::Blur(deviation) => filters::blur(levels, *deviation, shape),
            Self::Sharpen(factor) => filters::sharpen(levels, *factor, shape),
            Self::Noise(deviation, stream) => filters::noise(levels, *deviation, stream.as_ref().clone()),
            Self::Jpeg(quality) => filters::jpeg(levels, *quality, shape),
            Self::Erase(area, level) => filters::erase(levels, *area, shape, || *level),
            Self::EraseToNoise(area, stream) => {
                let mut stream = stream.as_ref().clone();
                filters::erase(levels, *area, shape, || stream.random::<f32>() * 255.0);
            }
        }
    }
}
