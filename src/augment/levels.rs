//! Pixel values as planes `[channels, height, width]` of 0 to 255.

/// Rounds pixel values to bytes and interleaves the channels.
///
/// # Shapes
/// `[channels, height, width]` to `[height, width, channels]`.
pub fn to_bytes(levels: &[f32], [height, width, channels]: [usize; 3]) -> Vec<u8> {
    let plane = height * width;
    (0..plane * channels)
        .map(|index| to_byte(levels[index % channels * plane + index / channels]))
        .collect()
}

/// Rounds a value to the nearest byte.
pub(super) fn to_byte(level: f32) -> u8 {
    level.round().clamp(0.0, 255.0) as u8
}

/// Clips a value to 0..=255.
pub(super) fn clip(level: f32) -> f32 {
    level.clamp(0.0, 255.0)
}

/// Returns the smallest and the largest value.
pub(super) fn range(levels: &[f32]) -> (f32, f32) {
    levels
        .iter()
        .fold((f32::MAX, f32::MIN), |(low, high), level| {
            (low.min(*level), high.max(*level))
        })
}

/// Returns the luma (ITU-R BT.601) of the pixel at `index`; in a gray image, its value.
pub(super) fn luma(levels: &[f32], index: usize, plane: usize) -> f32 {
    if levels.len() == plane {
        return levels[index];
    }
    0.299 * levels[index] + 0.587 * levels[plane + index] + 0.114 * levels[2 * plane + index]
}
