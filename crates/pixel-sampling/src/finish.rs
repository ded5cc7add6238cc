//! What is done to a value after it is sampled.

/// What is done to a sampled value: a gain, then an affine normalization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finish {
    /// Factor on the value, which is then clipped to 0..=255.
    pub gain: f32,
    /// Normalization of each channel.
    pub channels: [Channel; 3],
}

/// The normalization of a channel, `value * scale + offset`, and its place in the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channel {
    /// Factor.
    pub scale: f32,
    /// Offset.
    pub offset: f32,
    /// Index of the output plane.
    pub plane: usize,
}

impl Finish {
    /// Leaves the values as they are.
    pub const LEVELS: Self = {
        let plain = Channel {
            scale: 1.0,
            offset: 0.0,
            plane: 0,
        };
        Self {
            gain: 1.0,
            channels: [
                plain,
                Channel { plane: 1, ..plain },
                Channel { plane: 2, ..plain },
            ],
        }
    };

    /// Normalizes planes that hold one channel each, in order. Exchanges the first and the last
    /// plane if the channels of the output are reversed. The gain is not applied.
    ///
    /// # Shapes
    /// `planes` is `[channels, height, width]`.
    pub fn normalize(&self, planes: &mut [f32], channels: usize) {
        let size = planes.len() / channels;
        for (values, channel) in planes.chunks_exact_mut(size).zip(self.channels) {
            values
                .iter_mut()
                .for_each(|value| *value = *value * channel.scale + channel.offset);
        }
        if self.channels[0].plane > 0 {
            let (first, rest) = planes.split_at_mut(size);
            let (_, last) = rest.split_at_mut(rest.len() - size);
            first.swap_with_slice(last);
        }
    }

    /// Applies gain and normalization to a value of a channel.
    #[inline(always)]
    pub(crate) fn apply(&self, level: f32, channel: usize) -> f32 {
        let Channel { scale, offset, .. } = self.channels[channel];
        clip(level * self.gain) * scale + offset
    }
}

/// Clips to 0..=255; NaN becomes 0.
#[inline(always)]
fn clip(level: f32) -> f32 {
    let level = if level > 0.0 { level } else { 0.0 };
    if level < 255.0 { level } else { 255.0 }
}
