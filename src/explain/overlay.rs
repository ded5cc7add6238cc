//! Maps as pictures: colours over grey levels.

use image::{Rgb, RgbImage, imageops};

/// Rows or columns of the smaller side that a picture is magnified to, by a whole factor.
const LEAST_SIDE: u32 = 160;
const GAP: u32 = 6;
/// How much of the picture the strongest colour covers.
const COVER: f32 = 0.7;

/// matplotlib's `inferno` at eighths.
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

fn color(value: f32) -> [f32; 3] {
    let at = value.clamp(0.0, 1.0) * (COLORS.len() - 1) as f32;
    let (below, share) = ((at as usize).min(COLORS.len() - 2), at - at.floor().min((COLORS.len() - 2) as f32));
    std::array::from_fn(|channel| COLORS[below][channel] + (COLORS[below + 1][channel] - COLORS[below][channel]) * share)
}

/// A picture of `[height, width, channels]` bytes in colour.
///
/// # Panics
/// Other than one or three channels.
pub fn colored(bytes: &[u8], [height, width, channels]: [usize; 3]) -> RgbImage {
    let pixel = |x: u32, y: u32| {
        let at = (y as usize * width + x as usize) * channels;
        Rgb(if channels == 1 { [bytes[at]; 3] } else { [bytes[at], bytes[at + 1], bytes[at + 2]] })
    };
    RgbImage::from_fn(width as u32, height as u32, pixel)
}

/// A picture under a map of its size, values 0 (the picture) to 1.
pub fn overlay(picture: &RgbImage, map: &[f32]) -> RgbImage {
    let mut out = picture.clone();
    for (pixel, value) in out.pixels_mut().zip(map) {
        let (color, cover) = (color(*value), COVER * value.clamp(0.0, 1.0));
        for (level, color) in pixel.0.iter_mut().zip(color) {
            *level = (f32::from(*level) * (1.0 - cover) + color * cover).round() as u8;
        }
    }
    out
}

/// By a whole factor to a size that a person can look at.
pub fn magnified(picture: &RgbImage) -> RgbImage {
    let factor = LEAST_SIDE.div_ceil(picture.width().min(picture.height()).max(1));
    imageops::resize(picture, picture.width() * factor, picture.height() * factor, imageops::FilterType::Nearest)
}

/// Two pictures of one size beside each other on white.
pub fn side_by_side(left: &RgbImage, right: &RgbImage) -> RgbImage {
    let mut out = RgbImage::from_pixel(left.width() + GAP + right.width(), left.height().max(right.height()), Rgb([255; 3]));
    imageops::replace(&mut out, left, 0, 0);
    imageops::replace(&mut out, right, i64::from(left.width() + GAP), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_run_from_nothing_to_the_brightest() {
        let picture = colored(&[10, 20, 30, 40, 50, 60], [2, 1, 3]);
        assert_eq!(overlay(&picture, &[0.0, 0.0]), picture);
        assert_eq!(overlay(&picture, &[0.0, 1.0]).get_pixel(0, 1), &Rgb([188, 194, 133]));
        assert_eq!(color(0.5), [165.0, 44.0, 96.0]);
        assert_eq!(color(1.0), [252.0, 255.0, 164.0]);
        assert_eq!(color(f32::from_bits(1.0f32.to_bits() - 1)).map(f32::round), [252.0, 255.0, 164.0]);
    }

    #[test]
    fn a_grey_picture_and_its_neighbour_keep_their_places() {
        let left = magnified(&colored(&[1, 2, 3, 4, 5, 6], [2, 3, 1]));
        assert_eq!((left.width(), left.height(), left.get_pixel(239, 0)), (240, 160, &Rgb([3; 3])));
        let both = side_by_side(&left, &left);
        assert_eq!((both.width(), both.get_pixel(240, 0), both.get_pixel(246, 159)), (486, &Rgb([255; 3]), &Rgb([4; 3])));
    }
}
