//! Channel shift and brightness, on grey levels 0 to 255, with Keras's clipping but without its rounding to whole levels.

use crate::{
    base::rng::{Stream, uniform},
    config::Augment,
};

/// Drawn colour changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shift {
    /// Added to every channel.
    channel: f32,
    /// Factor.
    brightness: f32,
}

impl Shift {
    pub(super) fn draw(settings: &Augment, stream: &mut Stream) -> Self {
        let channel = uniform(stream, -settings.channel_shift_range, settings.channel_shift_range) as f32;
        let [low, high] = settings.brightness_range.unwrap_or([1.0, 1.0]);
        Self { channel, brightness: uniform(stream, low, high) as f32 }
    }

    /// The shift is clipped to the range that the picture had, the brightness to 0..255.
    #[expect(clippy::float_cmp, reason = "exactly 0 and 1 are what an option that is off draws")]
    pub(super) fn apply(self, levels: &mut [f32]) {
        if self.channel != 0.0 {
            let (low, high) = levels.iter().fold((f32::MAX, f32::MIN), |(low, high), level| (low.min(*level), high.max(*level)));
            levels.iter_mut().for_each(|level| *level = (*level + self.channel).clamp(low, high));
        }
        if self.brightness != 1.0 {
            levels.iter_mut().for_each(|level| *level = (*level * self.brightness).clamp(0.0, 255.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shift_and_brightness_clip_as_they_say() {
        for (shift, expected) in [
            (Shift { channel: 50.0, brightness: 1.0 }, [60.0, 200.0, 200.0]),
            (Shift { channel: -50.0, brightness: 1.0 }, [10.0, 110.0, 150.0]),
            (Shift { channel: 0.0, brightness: 2.0 }, [20.0, 255.0, 255.0]),
            (Shift { channel: 0.0, brightness: 0.0 }, [0.0; 3]),
            (Shift { channel: 10.0, brightness: 0.5 }, [10.0, 85.0, 100.0]),
        ] {
            let mut levels = [10.0, 160.0, 200.0];
            shift.apply(&mut levels);
            assert_eq!(levels, expected, "{shift:?}");
        }
    }
}
