//! Blur, sharpening, noise, JPEG artifacts and erased rectangles, on planes
//! `[channels, height, width]` of values 0 to 255. The shape is given as
//! `[height, width, channels]` throughout.

use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use jpeg_pixels::Jpeg;
use rand::RngExt as _;

use super::to_bytes;
use crate::base::rng::Stream;

/// Blurs with a Gaussian of the given standard deviation in pixels, cut off at three standard
/// deviations. The image is mirrored at its edges.
pub fn blur(levels: &mut [f32], deviation: f32, [height, width, _]: [usize; 3]) {
    let reach = (3.0 * deviation).ceil() as usize;
    if reach == 0 {
        return;
    }
    let weights: Vec<f32> = (0..=reach)
        .map(|offset| (-0.5 * (offset as f32 / deviation).powi(2)).exp())
        .collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
    let weights: Vec<f32> = weights.iter().map(|weight| weight / sum).collect();
    let mut source = vec![0.0; height * width];
    for plane in levels.chunks_exact_mut(height * width) {
        source.copy_from_slice(plane);
        for (line, out) in source
            .chunks_exact(width)
            .zip(plane.chunks_exact_mut(width))
        {
            for (column, out) in out.iter_mut().enumerate() {
                *out = weighted(&weights, column, width, |at| line[at]);
            }
        }
        source.copy_from_slice(plane);
        for (row, out) in plane.chunks_exact_mut(width).enumerate() {
            out.fill(0.0);
            for offset in -(reach as isize)..=reach as isize {
                let line = mirrored(row as isize + offset, height) * width;
                let weight = weights[offset.unsigned_abs()];
                out.iter_mut()
                    .zip(&source[line..line + width])
                    .for_each(|(out, level)| *out += weight * level);
            }
        }
    }
}

/// Returns the weighted sum around position `at` of a line of `length` values.
fn weighted(weights: &[f32], at: usize, length: usize, level: impl Fn(usize) -> f32) -> f32 {
    let reach = weights.len() as isize - 1;
    (-reach..=reach)
        .map(|offset| {
            weights[offset.unsigned_abs()] * level(mirrored(at as isize + offset, length))
        })
        .sum()
}

/// Mirrors a position about the outer edges of the outermost pixels, as often as needed.
fn mirrored(at: isize, length: usize) -> usize {
    let at = at.rem_euclid(2 * length as isize) as usize;
    at.min(2 * length - 1 - at)
}

/// Scales the difference from a smoothed image, as Pillow's `ImageEnhance.Sharpness`. The outermost
/// pixels stay as they are.
pub(super) fn sharpen(levels: &mut [f32], factor: f32, [height, width, _]: [usize; 3]) {
    let mut source = vec![0.0; height * width];
    for plane in levels.chunks_exact_mut(height * width) {
        source.copy_from_slice(plane);
        for row in 1..height - 1 {
            for column in 1..width - 1 {
                let at = row * width + column;
                let around: f32 = [at - width, at, at + width]
                    .iter()
                    .map(|at| source[at - 1] + source[*at] + source[at + 1])
                    .sum();
                let smooth = (around + 4.0 * source[at]) / 13.0;
                plane[at] = (smooth + (source[at] - smooth) * factor).clamp(0.0, 255.0);
            }
        }
    }
}

/// Adds independent Gaussian noise of the given standard deviation to each value, and clips.
pub(super) fn noise(levels: &mut [f32], deviation: f32, mut stream: Stream) {
    for pair in levels.chunks_mut(2) {
        // Box-Muller gives two values at a time.
        let radius = deviation * (-2.0 * (1.0 - stream.random::<f32>()).ln()).sqrt();
        let (sine, cosine) = (std::f32::consts::TAU * stream.random::<f32>()).sin_cos();
        for (level, share) in pair.iter_mut().zip([cosine, sine]) {
            *level = (*level + radius * share).clamp(0.0, 255.0);
        }
    }
}

/// Encodes the image as a JPEG of the given quality and decodes it again.
pub(super) fn jpeg(levels: &mut [f32], quality: u8, [height, width, channels]: [usize; 3]) {
    let plane = height * width;
    let bytes = to_bytes(levels, [height, width, channels]);
    let kind = if channels == 3 {
        ExtendedColorType::Rgb8
    } else {
        ExtendedColorType::L8
    };
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, quality)
        .encode(&bytes, width as u32, height as u32, kind)
        .expect("memory takes every byte, and sides are below 65536");
    let decoded = Jpeg::open(&file)
        .and_then(Jpeg::decode)
        .expect("what was just written can be read")
        .pixels;
    for (at, pixel) in decoded.bytes.chunks_exact(decoded.channels).enumerate() {
        // A gray image comes back as one channel.
        (0..channels).for_each(|channel| {
            levels[channel * plane + at] = f32::from(pixel[channel.min(decoded.channels - 1)])
        });
    }
}

/// Fills the rectangle `[top, left, height, width]` of each channel with the values that `level`
/// returns, row by row.
pub(super) fn erase(
    levels: &mut [f32],
    [top, left, rows, columns]: [usize; 4],
    [height, width, _]: [usize; 3],
    mut level: impl FnMut() -> f32,
) {
    for plane in levels.chunks_exact_mut(height * width) {
        for line in plane.chunks_exact_mut(width).skip(top).take(rows) {
            line[left..left + columns]
                .iter_mut()
                .for_each(|value| *value = level());
        }
    }
}
