//! The changes to one image: a map of its pixels, then changes of their values in a fixed order.

use pixel_sampling::{IDENTITY, Map};
use rand::RngExt as _;

use super::{color, filters};
use crate::base::rng::Stream;

/// The changes drawn for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Map from the pixels of the result to those of the source.
    pub map: Map,
    /// Changes of the pixel values, in order.
    pub changes: Vec<Change>,
}

impl Plan {
    /// A plan that changes nothing.
    pub const NONE: Self = Self {
        map: IDENTITY,
        changes: Vec::new(),
    };
}

/// A change of pixel values between 0 and 255.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Adds a value to all channels and clips to the image's own range (Keras's
    /// `apply_channel_shift`).
    ChannelShift(f32),
    /// Multiplies by a factor and clips to 0..=255.
    Brightness(f32),
    /// Multiplies by a factor and truncates to whole values, as Keras and Pillow do.
    WholeBrightness(f32),
    /// Scales the distance from the mean luma.
    Contrast(f32),
    /// Raises values, scaled to 0..=1, to a power.
    Gamma(f32),
    /// Scales the distance from each pixel's luma.
    Saturation(f32),
    /// Rotates the hue by an angle in degrees.
    Hue(f32),
    /// Replaces each pixel by its luma.
    Grey,
    /// Keeps this number of leading bits of each value.
    Posterize(u32),
    /// Inverts values at or above a threshold.
    Solarize(f32),
    /// Stretches each channel to 0..=255.
    AutoContrast,
    /// Equalizes each channel's histogram.
    Equalize,
    /// Blurs with a Gaussian of this standard deviation, in pixels.
    Blur(f32),
    /// Scales the difference between the image and a smoothed copy.
    Sharpen(f32),
    /// Adds Gaussian noise of this standard deviation, in pixel values, from its own stream.
    Noise(f32, Box<Stream>),
    /// Compresses as a JPEG of this quality and decodes it.
    Jpeg(u8),
    /// Fills a rectangle, given by top, left, height and width, with a value.
    Erase([usize; 4], f32),
    /// Fills a rectangle, given by top, left, height and width, with uniform noise.
    EraseToNoise([usize; 4], Box<Stream>),
}

impl Change {
    /// Changes the pixel values in place.
    ///
    /// # Shapes
    /// `levels` is `[channels, height, width]`, while `shape` is `[height, width, channels]`.
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
            Self::Noise(deviation, stream) => {
                filters::noise(levels, *deviation, stream.as_ref().clone())
            }
            Self::Jpeg(quality) => filters::jpeg(levels, *quality, shape),
            Self::Erase(area, level) => filters::erase(levels, *area, shape, || *level),
            Self::EraseToNoise(area, stream) => {
                // A clone, so that applying a plan again gives the same noise.
                let mut stream = stream.as_ref().clone();
                filters::erase(levels, *area, shape, || stream.random::<f32>() * 255.0);
            }
        }
    }
}
