//! Resizes a decoded image to the network's input size: stretched, padded or cropped, through one
//! of Pillow's filters, with exactly Pillow's pixel values.

use resampling::{Filter, Image};

use super::decode::Pixels;
use crate::config::{Interpolation, Resize};

/// Resizes `pixels` to `[height, width]`.
///
/// # Shapes
/// Takes `[h, w, channels]` and returns `height * width * channels` bytes.
pub fn resize(
    pixels: &Pixels,
    [height, width]: [usize; 2],
    how: Resize,
    filter: Interpolation,
) -> Vec<u8> {
    let (source_height, source_width) = (pixels.height as f64, pixels.width as f64);
    match how {
        Resize::Stretch => scale(
            pixels,
            [0.0, 0.0, source_height, source_width],
            [height, width],
            filter,
        ),
        Resize::Crop => {
            let scale_down = (source_height / height as f64).min(source_width / width as f64);
            // Rounding can leave the product a bit above the side that it was computed from.
            let part = |side: usize, limit: f64| (side as f64 * scale_down).min(limit);
            let (part_height, part_width) =
                (part(height, source_height), part(width, source_width));
            let (top, left) = (
                (source_height - part_height) / 2.0,
                (source_width - part_width) / 2.0,
            );
            scale(
                pixels,
                [top, left, top + part_height, left + part_width],
                [height, width],
                filter,
            )
        }
        Resize::Pad => {
            let scale_down = (source_height / height as f64).max(source_width / width as f64);
            let fit =
                |side: f64, limit: usize| ((side / scale_down).round() as usize).clamp(1, limit);
            let inner_size = [fit(source_height, height), fit(source_width, width)];
            let inner = scale(
                pixels,
                [0.0, 0.0, source_height, source_width],
                inner_size,
                filter,
            );
            pad(
                &inner,
                [inner_size[0], inner_size[1], pixels.channels],
                [height, width],
            )
        }
    }
}

/// Resizes the part `[top, left, bottom, right]` of `pixels`, in pixels.
fn scale(pixels: &Pixels, part: [f64; 4], size: [usize; 2], filter: Interpolation) -> Vec<u8> {
    let Pixels {
        height,
        width,
        channels,
        bytes,
    } = pixels;
    let image = Image {
        bytes,
        height: *height,
        width: *width,
        channels: *channels,
    };
    let filter = match filter {
        Interpolation::Nearest => Filter::Nearest,
        Interpolation::Bilinear => Filter::Bilinear,
        Interpolation::Bicubic => Filter::Bicubic,
        Interpolation::Lanczos => Filter::Lanczos,
        Interpolation::Box => Filter::Box,
        Interpolation::Hamming => Filter::Hamming,
    };
    // Pillow takes the box in single precision, on which pixel values depend.
    resampling::resize(image, part.map(|edge| edge as f32), size, filter)
}

/// Centers `inner` on black.
fn pad(
    inner: &[u8],
    [inner_height, inner_width, channels]: [usize; 3],
    [height, width]: [usize; 2],
) -> Vec<u8> {
    let mut out = vec![0; height * width * channels];
    let (top, left) = ((height - inner_height) / 2, (width - inner_width) / 2);
    for (row, line) in inner.chunks_exact(inner_width * channels).enumerate() {
        let start = ((top + row) * width + left) * channels;
        out[start..start + line.len()].copy_from_slice(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_of_any_size_is_inside_the_image() {
        for (height, width) in (1..1200)
            .step_by(3)
            .flat_map(|side| [(side, 500), (375, side), (side, side + 1)])
        {
            let pixels = Pixels {
                height,
                width,
                channels: 1,
                bytes: vec![7; height * width],
            };
            for size in [[224, 224], [150, 90]] {
                let found = resize(&pixels, size, Resize::Crop, Interpolation::Nearest);
                assert_eq!(found.len(), size[0] * size[1], "{height}x{width}");
            }
        }
    }

    /// 4 rows, 8 columns, one channel: 0 on the left, 200 on the right.
    fn halves() -> Pixels {
        let bytes = (0..32)
            .map(|index| if index % 8 < 4 { 0 } else { 200 })
            .collect();
        Pixels {
            height: 4,
            width: 8,
            channels: 1,
            bytes,
        }
    }

    #[test]
    fn each_way_puts_the_pixels_where_it_says() {
        let cases = [
            (
                Resize::Stretch,
                [2, 4],
                vec![0, 0, 200, 200, 0, 0, 200, 200],
            ),
            (Resize::Crop, [2, 2], vec![0, 200, 0, 200]),
            (
                Resize::Pad,
                [4, 4],
                vec![0, 0, 0, 0, 0, 0, 200, 200, 0, 0, 200, 200, 0, 0, 0, 0],
            ),
        ];
        for (how, size, expected) in cases {
            let got = resize(&halves(), size, how, Interpolation::Bilinear);
            let close = got.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= 26);
            assert!(got.len() == expected.len() && close, "{how:?}: {got:?}");
        }
    }

    #[test]
    fn extreme_shapes_survive() {
        let line = Pixels {
            height: 1,
            width: 5000,
            channels: 3,
            bytes: vec![7; 15_000],
        };
        for how in [Resize::Stretch, Resize::Crop, Resize::Pad] {
            assert_eq!(
                resize(&line, [20, 30], how, Interpolation::Lanczos).len(),
                20 * 30 * 3,
                "{how:?}"
            );
        }
    }
}
