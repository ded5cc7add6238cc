//! Turns samples of 8 or 16 bits into upright pixels with the wanted channels.

use image::{ColorType, metadata::Orientation};

use super::Pixels;
use crate::config::Color;

/// Returns the maximum number of bytes that an image takes from its samples to its pixels, both
/// included.
pub(super) fn memory(
    [height, width]: [usize; 2],
    bytes_a_pixel: usize,
    orientation: Orientation,
) -> u64 {
    let pixels = (height as u64).saturating_mul(width as u64);
    // The rotated copy beside the image, or the single channel of a gray one.
    let copy = if orientation == Orientation::NoTransforms {
        1
    } else {
        bytes_a_pixel.min(3)
    };
    pixels.saturating_mul((bytes_a_pixel + copy) as u64)
}

/// Turns the samples of a decoder of the `image` crate into pixels.
pub(super) fn of_image(
    kind: ColorType,
    [height, width]: [usize; 2],
    samples: Vec<u8>,
    orientation: Orientation,
    color: Color,
) -> Pixels {
    let channels = usize::from(kind.channel_count());
    let samples = if usize::from(kind.bytes_per_pixel()) > channels {
        upper(samples)
    } else {
        samples
    };
    upright([height, width, channels], samples, orientation, color)
}

/// Returns the upper bytes of 16-bit samples in the machine's byte order.
fn upper(mut samples: Vec<u8>) -> Vec<u8> {
    let count = samples.len() / 2;
    for at in 0..count {
        samples[at] = (u16::from_ne_bytes([samples[2 * at], samples[2 * at + 1]]) >> 8) as u8;
    }
    samples.truncate(count);
    samples
}

/// Turns interleaved 8-bit samples into pixels. One to four channels are gray, gray and alpha, RGB,
/// and RGB and alpha.
pub(super) fn upright(
    [height, width, channels]: [usize; 3],
    samples: Vec<u8>,
    orientation: Orientation,
    color: Color,
) -> Pixels {
    let (channels, levels) = match channels {
        2 => (1, over_white::<2>(samples)),
        4 => (3, over_white::<4>(samples)),
        _ => (channels, samples),
    };
    turned(
        reduced([height, width, channels], levels, color),
        orientation,
    )
}

/// Blends colors over white by the last channel, and removes that channel. The value is rounded to
/// the nearest.
fn over_white<const CHANNELS: usize>(mut samples: Vec<u8>) -> Vec<u8> {
    let count = samples.len() / CHANNELS;
    for at in 0..count {
        let alpha = u32::from(samples[at * CHANNELS + CHANNELS - 1]);
        for channel in 0..CHANNELS - 1 {
            let level = u32::from(samples[at * CHANNELS + channel]);
            samples[at * (CHANNELS - 1) + channel] =
                ((level * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
    }
    samples.truncate(count * (CHANNELS - 1));
    samples
}

/// Reduces images that are gray, or are wanted in gray, to one channel.
fn reduced([height, width, channels]: [usize; 3], bytes: Vec<u8>, color: Color) -> Pixels {
    if channels == 1 {
        return Pixels {
            height,
            width,
            channels,
            bytes,
        };
    }
    let pixels = bytes.as_chunks::<3>().0;
    // Row by row, so that a color image is recognized early.
    let is_gray = pixels.chunks(width).all(|row| {
        row.iter().fold(true, |all, [red, green, blue]| {
            all & (red == green) & (green == blue)
        })
    });
    let bytes = match color {
        _ if is_gray => pixels.iter().map(|pixel| pixel[0]).collect(),
        Color::Grayscale => pixels
            .iter()
            .map(|[red, green, blue]| luma(*red, *green, *blue))
            .collect(),
        Color::Rgb => {
            return Pixels {
                height,
                width,
                channels,
                bytes,
            };
        }
    };
    Pixels {
        height,
        width,
        channels: 1,
        bytes,
    }
}

/// Returns the ITU-R 601-2 luma in 16-bit fixed point, rounded as Pillow does.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16)
        as u8
}

/// Applies the orientation.
fn turned(pixels: Pixels, orientation: Orientation) -> Pixels {
    if orientation == Orientation::NoTransforms {
        return pixels;
    }
    let Pixels {
        height,
        width,
        channels,
        bytes,
    } = pixels;
    use Orientation::{
        FlipHorizontal, FlipVertical, NoTransforms, Rotate90, Rotate90FlipH, Rotate180, Rotate270,
        Rotate270FlipH,
    };
    let is_on_its_side = matches!(
        orientation,
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH
    );
    let [high, wide] = if is_on_its_side {
        [width, height]
    } else {
        [height, width]
    };
    // The source of each pixel of the result.
    let from = |row: usize, column: usize| match orientation {
        NoTransforms => [row, column],
        FlipHorizontal => [row, width - 1 - column],
        Rotate180 => [height - 1 - row, width - 1 - column],
        FlipVertical => [height - 1 - row, column],
        Rotate90FlipH => [column, row],
        Rotate90 => [height - 1 - column, row],
        Rotate270FlipH => [height - 1 - column, width - 1 - row],
        Rotate270 => [column, width - 1 - row],
    };
    let mut turned = vec![0; bytes.len()];
    for (row, line) in turned.chunks_exact_mut(wide * channels).enumerate() {
        for (column, pixel) in line.chunks_exact_mut(channels).enumerate() {
            let [row, column] = from(row, column);
            pixel.copy_from_slice(&bytes[(row * width + column) * channels..][..channels]);
        }
    }
    Pixels {
        height: high,
        width: wide,
        channels,
        bytes: turned,
    }
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;

    use super::*;

    #[test]
    fn all_eight_orientations_are_those_of_image() {
        let image = image::RgbImage::from_fn(5, 3, |x, y| {
            image::Rgb([(x * 50) as u8, (y * 100) as u8, (x * y * 20) as u8])
        });
        for number in 1..=8 {
            let orientation = Orientation::from_exif(number).expect("one of eight");
            let mut expected = DynamicImage::from(image.clone());
            expected.apply_orientation(orientation);
            let found = upright([3, 5, 3], image.as_raw().clone(), orientation, Color::Rgb);
            assert_eq!(
                [found.height, found.width],
                [expected.height(), expected.width()].map(|side| side as usize),
                "{number}"
            );
            assert_eq!(found.bytes, expected.into_rgb8().into_raw(), "{number}");
        }
    }

    #[test]
    fn of_sixteen_bits_the_upper_eight_stay() {
        let samples: Vec<u8> = [0x00FFu16, 0x0100, 0x7FFF, 0x80FF, 0xFFFF]
            .iter()
            .flat_map(|sample| sample.to_ne_bytes())
            .collect();
        let pixels = of_image(
            ColorType::L16,
            [1, 5],
            samples,
            Orientation::NoTransforms,
            Color::Grayscale,
        );
        assert_eq!(pixels.bytes, [0, 1, 0x7F, 0x80, 0xFF]);
    }
}
