//! Changes of pixel values that work pixel by pixel, on planes `[channels, height, width]` of
//! values 0 to 255. Results are clipped to that range unless noted; `shape` is
//! `[height, width, channels]` throughout.

/// Adds `shift` and clips to the range that the image had, as Keras's `apply_channel_shift`.
pub(super) fn shift(levels: &mut [f32], shift: f32) {
    let (low, high) = range(levels);
    levels
        .iter_mut()
        .for_each(|level| *level = (*level + shift).clamp(low, high));
}

/// Multiplies all values by `factor`.
pub(super) fn brighten(levels: &mut [f32], factor: f32) {
    levels
        .iter_mut()
        .for_each(|level| *level = clip(*level * factor));
}

/// Multiplies by `factor` on bytes, as Keras calls Pillow's `ImageEnhance.Brightness`. An image
/// with values outside 0..=255 is scaled to that range first and back afterwards. Fractions are
/// truncated on the way in and on the way out.
pub(super) fn brighten_whole(levels: &mut [f32], factor: f32) {
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
        let bright = match factor {
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

/// Scales the distance from the mean luma, as torchvision does. The mean is not rounded to a whole
/// value, as Pillow rounds it.
pub(super) fn contrast(levels: &mut [f32], factor: f32, shape: [usize; 3]) {
    let plane = shape[0] * shape[1];
    let sum: f64 = (0..plane)
        .map(|index| f64::from(luma(levels, index, plane)))
        .sum();
    let mean = (sum / plane as f64) as f32;
    levels
        .iter_mut()
        .for_each(|level| *level = clip(mean + (*level - mean) * factor));
}

/// Raises the values, scaled to 0..=1, to a power.
pub(super) fn gamma(levels: &mut [f32], exponent: f32) {
    levels
        .iter_mut()
        .for_each(|level| *level = clip((*level / 255.0).max(0.0).powf(exponent) * 255.0));
}

/// Scales the distance from each pixel's luma. Does nothing to a gray image.
pub(super) fn saturate(levels: &mut [f32], factor: f32, shape: [usize; 3]) {
    let plane = shape[0] * shape[1];
    if levels.len() == plane {
        return;
    }
    for index in 0..plane {
        let grey = luma(levels, index, plane);
        for channel in 0..3 {
            let level = &mut levels[channel * plane + index];
            *level = clip(grey + (*level - grey) * factor);
        }
    }
}

/// Rotates the hue in the HSV color model. Does nothing to a gray image.
pub(super) fn turn_hue(levels: &mut [f32], degrees: f32, shape: [usize; 3]) {
    let plane = shape[0] * shape[1];
    if levels.len() == plane {
        return;
    }
    for index in 0..plane {
        let rgb = [0, 1, 2].map(|channel| levels[channel * plane + index]);
        let turned = turn_pixel(rgb, degrees);
        (0..3).for_each(|channel| levels[channel * plane + index] = turned[channel]);
    }
}

/// Rotates the hue of one pixel and keeps its saturation and value.
fn turn_pixel([red, green, blue]: [f32; 3], degrees: f32) -> [f32; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let chroma = most - least;
    if chroma <= 0.0 {
        return [red, green, blue];
    }
    let sextant = if most == red {
        (green - blue) / chroma
    } else if most == green {
        (blue - red) / chroma + 2.0
    } else {
        (red - green) / chroma + 4.0
    };
    let hue = (sextant + degrees / 60.0).rem_euclid(6.0);
    // The distance of each channel from its nearest peak on the circle.
    [5.0, 3.0, 1.0].map(|offset: f32| {
        let at = (offset + hue) % 6.0;
        most - chroma * at.min(4.0 - at).clamp(0.0, 1.0)
    })
}

/// Keeps the `bits` leading bits of each value.
pub(super) fn posterize(levels: &mut [f32], bits: u32) {
    let mask = !(0xFFu32 >> bits) as u8;
    levels
        .iter_mut()
        .for_each(|level| *level = f32::from(to_byte(*level) & mask));
}

/// Inverts the values that are at least `threshold`.
pub(super) fn solarize(levels: &mut [f32], threshold: f32) {
    levels.iter_mut().for_each(|level| {
        *level = if *level >= threshold {
            255.0 - *level
        } else {
            *level
        }
    });
}

/// Stretches each channel to 0..=255; a channel of a single value stays as it is.
pub(super) fn auto_contrast(levels: &mut [f32], shape: [usize; 3]) {
    for plane in levels.chunks_exact_mut(shape[0] * shape[1]) {
        let (low, high) = range(plane);
        if high > low {
            plane
                .iter_mut()
                .for_each(|level| *level = clip((*level - low) * (255.0 / (high - low))));
        }
    }
}

/// Equalizes each channel's histogram on whole values, as Pillow's `ImageOps.equalize`.
pub(super) fn equalize(levels: &mut [f32], shape: [usize; 3]) {
    for plane in levels.chunks_exact_mut(shape[0] * shape[1]) {
        let mut counts = [0u32; 256];
        plane
            .iter()
            .for_each(|level| counts[usize::from(to_byte(*level))] += 1);
        let last = counts
            .iter()
            .rev()
            .find(|count| **count > 0)
            .copied()
            .unwrap_or(0);
        let step = (plane.len() as u32 - last) / 255;
        // Pillow's integer arithmetic: a channel with fewer than 255 pixels outside its last bin
        // stays as it is.
        if step == 0 {
            continue;
        }
        let mut table = [0.0; 256];
        let mut below = step / 2;
        for (value, count) in table.iter_mut().zip(counts) {
            *value = (below / step).min(255) as f32;
            below += count;
        }
        plane
            .iter_mut()
            .for_each(|level| *level = table[usize::from(to_byte(*level))]);
    }
}

/// Rounds a value to the nearest byte.
pub(super) fn to_byte(level: f32) -> u8 {
    level.round().clamp(0.0, 255.0) as u8
}

/// Clips a value to 0..=255.
fn clip(level: f32) -> f32 {
    level.clamp(0.0, 255.0)
}

/// Returns the smallest and the largest value.
fn range(levels: &[f32]) -> (f32, f32) {
    levels
        .iter()
        .fold((f32::MAX, f32::MIN), |(low, high), level| {
            (low.min(*level), high.max(*level))
        })
}

/// Returns the luma (ITU-R BT.601) of the pixel at `index`; in a gray image, its value.
fn luma(levels: &[f32], index: usize, plane: usize) -> f32 {
    if levels.len() == plane {
        return levels[index];
    }
    0.299 * levels[index] + 0.587 * levels[plane + index] + 0.114 * levels[2 * plane + index]
}
