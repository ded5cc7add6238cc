//! Draws maps over images.

use image::RgbImage;

/// Maximum opacity of a map's color.
const COVER: f32 = 0.7;

/// Colors of matplotlib's `inferno` at multiples of an eighth.
const COLORS: [[f32; 3]; 9] = [
    [0.0, 0.0, 4.0],
    [27.0, 12.0, 65.0],
    [74.0, 12.0, 107.0],
    [120.0, 28.0, 109.0],
    [165.0, 44.0, 96.0],
    [207.0, 68.0, 70.0],
    [237.0, 105.0, 37.0],
    [251.0, 155.0, 6.0],
    [252.0, 255.0, 164.0],
];

/// Returns the color of a value from 0 to 1, interpolated.
fn color(value: f32) -> [f32; 3] {
    let at = value.clamp(0.0, 1.0) * (COLORS.len() - 1) as f32;
    let (below, share) = (
        (at as usize).min(COLORS.len() - 2),
        at - at.floor().min((COLORS.len() - 2) as f32),
    );
    std::array::from_fn(|channel| {
        COLORS[below][channel] + (COLORS[below + 1][channel] - COLORS[below][channel]) * share
    })
}

/// Draws a map over an image of the same size. Values from 0, transparent, to 1.
pub fn overlay(image: &RgbImage, map: &[f32]) -> RgbImage {
    let mut out = image.clone();
    for (pixel, value) in out.pixels_mut().zip(map) {
        let (color, cover) = (color(*value), COVER * value.clamp(0.0, 1.0));
        for (level, color) in pixel.0.iter_mut().zip(color) {
            *level = (f32::from(*level) * (1.0 - cover) + color * cover).round() as u8;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::report::images::colored;

    #[test]
    fn colors_run_from_nothing_to_the_brightest() {
        let image = colored(&[10, 20, 30, 40, 50, 60], [2, 1, 3]);
        assert_eq!(overlay(&image, &[0.0, 0.0]), image);
        assert_eq!(
            overlay(&image, &[0.0, 1.0]).get_pixel(0, 1),
            &Rgb([188, 194, 133])
        );
        assert_eq!(color(0.5), [165.0, 44.0, 96.0]);
        assert_eq!(color(1.0), [252.0, 255.0, 164.0]);
        assert_eq!(
            color(f32::from_bits(1.0f32.to_bits() - 1)).map(f32::round),
            [252.0, 255.0, 164.0]
        );
    }
}
