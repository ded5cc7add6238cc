//! A decoded picture at the network's size: stretched, padded or cropped, through one of Pillow's filters.

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::Image, images::ImageRef};

use super::decode::Pixels;
use crate::config::{Interpolation, Resize};

/// Resizes `pixels` to `[height, width]`.
///
/// # Shapes
/// `[h, w, c]` in, `height * width * c` bytes out.
///
/// # Errors
/// In words; only a picture without pixels can fail.
pub fn resize(pixels: &Pixels, [height, width]: [usize; 2], how: Resize, filter: Interpolation) -> Result<Vec<u8>, String> {
    if [pixels.height, pixels.width] == [height, width] {
        return Ok(pixels.bytes.clone());
    }
    let (source_height, source_width) = (pixels.height as f64, pixels.width as f64);
    match how {
        Resize::Stretch => scale(pixels, [0.0, 0.0, source_height, source_width], [height, width], filter),
        Resize::Crop => {
            let scale_down = (source_height / height as f64).min(source_width / width as f64);
            // The product can be a last bit above the side that it came from.
            let part = |side: usize, limit: f64| (side as f64 * scale_down).min(limit);
            let (part_height, part_width) = (part(height, source_height), part(width, source_width));
            let (top, left) = ((source_height - part_height) / 2.0, (source_width - part_width) / 2.0);
            scale(pixels, [top, left, part_height, part_width], [height, width], filter)
        }
        Resize::Pad => {
            let scale_down = (source_height / height as f64).max(source_width / width as f64);
            let fit = |side: f64, limit: usize| ((side / scale_down).round() as usize).clamp(1, limit);
            let (inner_height, inner_width) = (fit(source_height, height), fit(source_width, width));
            let inner = scale(pixels, [0.0, 0.0, source_height, source_width], [inner_height, inner_width], filter)?;
            Ok(pad(&inner, [inner_height, inner_width, pixels.channels], [height, width]))
        }
    }
}

/// The part `[top, left, height, width]` of `pixels` at another size.
fn scale(pixels: &Pixels, part: [f64; 4], [height, width]: [usize; 2], filter: Interpolation) -> Result<Vec<u8>, String> {
    let [top, left, part_height, part_width] = part;
    if !matches!(filter, Interpolation::Bicubic | Interpolation::Lanczos) {
        return convolve(pixels, part, [height, width], filter);
    }
    // These go beyond 0..255 and are clipped after each direction, so that the order shows: Pillow 13's, rows first where that
    // leaves less to do.
    let scales = [height as f64 / part_height, width as f64 / part_width];
    let (first, size, second) = if scales[0] < 1.0 && scales[0] < scales[1] {
        ([top, 0.0, part_height, pixels.width as f64], [height, pixels.width], [0.0, left, height as f64, part_width])
    } else {
        ([0.0, left, pixels.height as f64, part_width], [pixels.height, width], [top, 0.0, part_height, width as f64])
    };
    let bytes = convolve(pixels, first, size, filter)?;
    let between = Pixels { height: size[0], width: size[1], channels: pixels.channels, bytes };
    convolve(&between, second, [height, width], filter)
}

fn convolve(
    pixels: &Pixels,
    [top, left, part_height, part_width]: [f64; 4],
    [height, width]: [usize; 2],
    filter: Interpolation,
) -> Result<Vec<u8>, String> {
    let kind = if pixels.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let side = |length: usize| u32::try_from(length).map_err(|error| error.to_string());
    let source = ImageRef::new(side(pixels.width)?, side(pixels.height)?, &pixels.bytes, kind).map_err(|error| error.to_string())?;
    let mut target = Image::new(side(width)?, side(height)?, kind);
    let options = ResizeOptions::new().resize_alg(algorithm(filter)).crop(left, top, part_width, part_height).use_alpha(false);
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| error.to_string())?;
    Ok(target.into_vec())
}

fn algorithm(filter: Interpolation) -> ResizeAlg {
    ResizeAlg::Convolution(match filter {
        Interpolation::Nearest => return ResizeAlg::Nearest,
        Interpolation::Bilinear => FilterType::Bilinear,
        Interpolation::Bicubic => FilterType::CatmullRom,
        Interpolation::Lanczos => FilterType::Lanczos3,
        Interpolation::Box => FilterType::Box,
        Interpolation::Hamming => FilterType::Hamming,
    })
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

    #[test]
    fn a_crop_of_any_size_is_inside_the_picture() {
        for (height, width) in (1..1200).step_by(3).flat_map(|side| [(side, 500), (375, side), (side, side + 1)]) {
            let pixels = Pixels { height, width, channels: 1, bytes: vec![7; height * width] };
            for size in [[224, 224], [150, 90]] {
                let found = resize(&pixels, size, Resize::Crop, Interpolation::Nearest);
                assert_eq!(found.map(|bytes| bytes.len()), Ok(size[0] * size[1]), "{height}x{width}");
            }
        }
    }

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
            let got = resize(&halves(), size, how, Interpolation::Bilinear).expect("resized");
            let close = got.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= 26);
            assert!(got.len() == expected.len() && close, "{how:?}: {got:?}");
        }
    }

    /// `scripts/reference/resize.py`, Pillow 13.0.
    #[test]
    fn the_filters_are_pillows_to_a_level_or_two() {
        const GOLDEN: &[u8] = include_bytes!("../../tests/golden/resize.safetensors");
        let file = safetensors::SafeTensors::deserialize(GOLDEN).expect("whole");
        let filters = [
            ("nearest", Interpolation::Nearest),
            ("bilinear", Interpolation::Bilinear),
            ("bicubic", Interpolation::Bicubic),
            ("lanczos", Interpolation::Lanczos),
            ("box", Interpolation::Box),
            ("hamming", Interpolation::Hamming),
        ];
        let mut seen = 0;
        for (name, view) in file.iter() {
            let words: Vec<_> = name.split(' ').collect();
            let filter = filters.iter().find(|(name, _)| *name == words[0]).expect("a filter").1;
            let size = [words[2], words[3]].map(|side| side.parse().expect("a number"));
            let channels: Vec<usize> = if words[1] == "rgb" { vec![0, 1, 2] } else { vec![1] };
            let bytes = (0..23 * 37).flat_map(|index: usize| {
                let (row, column) = (index / 37, index % 37);
                let level =
                    move |channel: &usize| ((row * 37 + column * 91 + channel * 53 + row * column * 7) % 256 / (1 + row / 6 % 3)) as u8;
                channels.iter().map(level).collect::<Vec<_>>()
            });
            let pixels = Pixels { height: 23, width: 37, channels: channels.len(), bytes: bytes.collect() };
            let got = resize(&pixels, size, Resize::Stretch, filter).expect("resized");
            // Those that are clipped in between hand a level of difference on to the second direction.
            let limit = if matches!(filter, Interpolation::Bicubic | Interpolation::Lanczos) { 2 } else { 1 };
            let most = got.iter().zip(view.data()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(255);
            assert!(got.len() == view.data().len() && most <= limit, "{name}: {most} levels off");
            seen += 1;
        }
        assert_eq!(seen, 36);
    }

    #[test]
    fn extreme_shapes_survive() {
        let line = Pixels { height: 1, width: 5000, channels: 3, bytes: vec![7; 15_000] };
        for how in [Resize::Stretch, Resize::Crop, Resize::Pad] {
            assert_eq!(resize(&line, [20, 30], how, Interpolation::Lanczos).expect("resized").len(), 20 * 30 * 3, "{how:?}");
        }
    }
}
