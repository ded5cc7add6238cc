//! From levels of 0 to 255 to the network's input.

use crate::{
    Maps, Model,
    model::{Normalize, Own},
};

/// Normalizes levels.
///
/// # Shapes
/// `levels` is `[height, width, channels]`; returns `[channels, height, width]`.
pub(crate) fn normalized(levels: &[u8], model: &Model) -> Maps {
    let [height, width] = model.size;
    let Normalize { own, channels } = &model.normalize;
    let values: Vec<f32> = levels.iter().copied().map(f32::from).collect();
    let values = own.map_or_else(|| values.clone(), |own| own.standardized(&values));
    let plane = |channel: &crate::Channel| {
        let (scale, offset) = (channel.scale, channel.offset);
        let levels = values.iter().skip(channel.plane).step_by(model.channels);
        levels.map(move |level| level * scale + offset)
    };
    Maps {
        shape: [channels.len(), height, width],
        values: channels.iter().flat_map(plane).collect(),
    }
}

impl Own {
    /// Subtracts the mean of all values and, if wanted, divides by their deviation.
    fn standardized(&self, levels: &[f32]) -> Vec<f32> {
        let values: Vec<f32> = levels.iter().map(|level| level * self.rescale).collect();
        let mean_of = |of: &dyn Fn(f64) -> f64| {
            values
                .iter()
                .map(|value| of(f64::from(*value)))
                .sum::<f64>()
                / values.len() as f64
        };
        let mean = mean_of(&|value| value);
        let variance = mean_of(&|value| (value - mean).powi(2));
        let divisor = self
            .deviation
            .map_or(1.0, |epsilon| variance.sqrt() + epsilon);
        let (mean, divisor) = (mean as f32, divisor as f32);
        values
            .iter()
            .map(|value| (value - mean) / divisor)
            .collect()
    }
}
