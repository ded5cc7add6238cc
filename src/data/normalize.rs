//! Grey levels 0 to 255 to the network's input, channel by channel: divided by 255, mean subtracted, divided by the deviation.

use serde::{Deserialize, Serialize};

use crate::config::{Color, Normalize};

/// Mean and standard deviation a channel, in the range 0 to 1. It belongs to the weights and lives in the checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalizer {
    /// One number a channel.
    pub mean: Vec<f32>,
    /// One number a channel.
    pub std: Vec<f32>,
}

impl Normalizer {
    /// What the configuration asks for.
    pub fn of(normalize: &Normalize, color: Color) -> Self {
        match normalize {
            Normalize::Unit => Self { mean: vec![0.0; color.channels()], std: vec![1.0; color.channels()] },
            Normalize::Imagenet => Self { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] },
            Normalize::Custom { mean, std } => Self { mean: mean.clone(), std: std.clone() },
        }
    }

    /// Changes grey levels `[channels, height, width]` in place.
    pub fn apply(&self, levels: &mut [f32]) {
        let plane = levels.len() / self.mean.len();
        for ((values, mean), std) in levels.chunks_exact_mut(plane).zip(&self.mean).zip(&self.std) {
            let (scale, offset) = (1.0 / (255.0 * std), mean / std);
            values.iter_mut().for_each(|value| *value = *value * scale - offset);
        }
    }

    /// Bytes as they are in the cache.
    ///
    /// # Shapes
    /// `[height, width, channels]` in, `[channels, height, width]` out.
    pub fn from_bytes(&self, bytes: &[u8]) -> Vec<f32> {
        let channels = self.mean.len();
        let plane = bytes.len() / channels;
        let mut out = vec![0.0; bytes.len()];
        for (channel, values) in out.chunks_exact_mut(plane).enumerate() {
            for (value, pixel) in values.iter_mut().zip(bytes.chunks_exact(channels)) {
                *value = f32::from(pixel[channel]);
            }
        }
        self.apply(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_own_mean_and_deviation() {
        let custom = Normalize::Custom { mean: vec![0.5, 0.0, 1.0], std: vec![0.5, 1.0, 2.0] };
        let got = Normalizer::of(&custom, Color::Rgb).from_bytes(&[0, 51, 255, 255, 102, 0]);
        for (got, expected) in got.iter().zip([-1.0, 1.0, 0.2, 0.4, 0.0, -0.5]) {
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
        assert_eq!(Normalizer::of(&Normalize::Unit, Color::Grayscale).from_bytes(&[255, 0]), [1.0, 0.0]);
    }
}
