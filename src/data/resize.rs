//! A decoded picture at the network's size: stretched, padded or cropped, bilinear with antialiasing (Pillow's `BILINEAR`).

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::Image, images::ImageRef};

use super::decode::Pixels;
use crate::config::Resize;

/// Resizes `pixels` to `[height, width]`.
///
/// # Shapes
/// `[h, w, c]` in, `height * width * c` bytes out.
///
/// # Errors
/// In words; only a picture without pixels can fail.
pub fn resize(pixels: &Pixels, [height, width]: [usize; 2], how: Resize) -> Result<Vec<u8>, String> {
    if [pixels.height, pixels.width] == [height, width] {
        return Ok(pixels.bytes.clone());
    }
    let (source_height, source_width) = (pixels.height as f64, pixels.width as f64);
    match how {
        Resize::Stretch => scale(pixels, [0.0, 0.0, source_height, source_width], [height, width]),
        Resize::Crop => {
            let scale_down = (source_height / height as f64).min(source_width / width as f64);
            let (part_height, part_width) = (height as f64 * scale_down, width as f64 * scale_down);
            let (top, left) = ((source_height - part_height) / 2.0, (source_width - part_width) / 2.0);
            scale(pixels, [top.max(0.0), left.max(0.0), part_height, part_width], [height, width])
        }
        Resize::Pad => {
            let scale_down = (source_height / height as f64).max(source_width / width as f64);
            let fit = |side: f64, limit: usize| ((side / scale_down).round() as usize).clamp(1, limit);
            let (inner_height, inner_width) = (fit(source_height, height), fit(source_width, width));
            let inner = scale(pixels, [0.0, 0.0, source_height, source_width], [inner_height, inner_width])?;
            Ok(pad(&inner, [inner_height, inner_width, pixels.channels], [height, width]))
        }
    }
}

/// The part `[top, left, height, width]` of `pixels` at another size.
fn scale(pixels: &Pixels, [top, left, part_height, part_width]: [f64; 4], [height, width]: [usize; 2]) -> Result<Vec<u8>, String> {
    let kind = if pixels.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let side = |length: usize| u32::try_from(length).map_err(|error| error.to_string());
    let source = ImageRef::new(side(pixels.width)?, side(pixels.height)?, &pixels.bytes, kind).map_err(|error| error.to_string())?;
    let mut target = Image::new(side(width)?, side(height)?, kind);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .crop(left, top, part_width, part_height)
        .use_alpha(false);
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| error.to_string())?;
    Ok(target.into_vec())
}

/// `inner` in the middle of black.
fn pad(inner: &[u8], [inner_height, inner_width, channels]: [usize; 3], [height, width]: [usize; 2]) -> Vec<u8> {
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

    /// 4 rows, 8 columns, one channel: the left half 0, the right half 200.
    fn halves() -> Pixels {
        let bytes = (0..32).map(|index| if index % 8 < 4 { 0 } else { 200 }).collect();
        Pixels { height: 4, width: 8, channels: 1, bytes }
    }

    #[test]
    fn each_way_puts_the_pixels_where_it_says() {
        let cases = [
            (Resize::Stretch, [2, 4], vec![0, 0, 200, 200, 0, 0, 200, 200]),
            (Resize::Crop, [2, 2], vec![0, 200, 0, 200]),
            (Resize::Pad, [4, 4], vec![0, 0, 0, 0, 0, 0, 200, 200, 0, 0, 200, 200, 0, 0, 0, 0]),
        ];
        for (how, size, expected) in cases {
            let got = resize(&halves(), size, how).expect("resized");
            let close = got.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= 26);
            assert!(got.len() == expected.len() && close, "{how:?}: {got:?}");
        }
    }

    #[test]
    fn extreme_shapes_survive() {
        let line = Pixels { height: 1, width: 5000, channels: 3, bytes: vec![7; 15_000] };
        for how in [Resize::Stretch, Resize::Crop, Resize::Pad] {
            assert_eq!(resize(&line, [20, 30], how).expect("resized").len(), 20 * 30 * 3, "{how:?}");
        }
    }
}
