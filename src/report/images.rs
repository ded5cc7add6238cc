//! Images for a page: magnified, side by side, as JPEG and PNG.

use std::{io::Cursor, path::Path};

use anyhow::Context;
use image::{Rgb, RgbImage, codecs::jpeg::JpegEncoder, imageops};

use crate::base::{io::files::write_atomic, names};

/// Length in pixels to which the shorter side of an image is magnified, by a whole factor.
const LEAST_SIDE: u32 = 160;
/// Pixels between two images.
const GAP: u32 = 6;
/// Quality of JPEG files, from 1 to 100.
const JPEG_QUALITY: u8 = 88;

/// Returns an image as RGB.
///
/// # Shapes
/// `bytes` is `[height, width, channels]`, flattened; one channel becomes gray.
///
/// # Panics
/// Panics if `bytes` has fewer values than the shape requires.
pub fn colored(bytes: &[u8], [height, width, channels]: [usize; 3]) -> RgbImage {
    let pixel = |x: u32, y: u32| {
        let at = (y as usize * width + x as usize) * channels;
        Rgb(if channels == 1 {
            [bytes[at]; 3]
        } else {
            [bytes[at], bytes[at + 1], bytes[at + 2]]
        })
    };
    RgbImage::from_fn(width as u32, height as u32, pixel)
}

/// Magnifies a small image by a whole factor, so that its pixels stay visible.
pub fn magnified(image: &RgbImage) -> RgbImage {
    // Nearest neighbor at a whole factor: every pixel becomes a square and no value changes.
    let factor = LEAST_SIDE.div_ceil(image.width().min(image.height()).max(1));
    imageops::resize(
        image,
        image.width() * factor,
        image.height() * factor,
        imageops::FilterType::Nearest,
    )
}

/// Returns two images of one size side by side on white.
pub fn side_by_side(left: &RgbImage, right: &RgbImage) -> RgbImage {
    let mut out = RgbImage::from_pixel(
        left.width() + GAP + right.width(),
        left.height().max(right.height()),
        Rgb([255; 3]),
    );
    imageops::replace(&mut out, left, 0, 0);
    imageops::replace(&mut out, right, i64::from(left.width() + GAP), 0);
    out
}

/// Returns images of one size in a row.
///
/// # Panics
/// Panics if there is no image.
pub fn in_a_row(images: &[RgbImage]) -> RgbImage {
    let (first, others) = images.split_first().expect("one image or more");
    others
        .iter()
        .fold(first.clone(), |row, image| side_by_side(&row, image))
}

/// Encodes an image as JPEG, reduced to at most `width` pixels.
///
/// # Errors
/// Returns an error if the image can't be encoded.
pub fn jpeg(image: &RgbImage, width: u32) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY);
    if image.width() <= width {
        image.write_with_encoder(encoder)?;
    } else {
        let height =
            (u64::from(image.height()) * u64::from(width) / u64::from(image.width())).max(1) as u32;
        imageops::resize(image, width, height, imageops::FilterType::Triangle)
            .write_with_encoder(encoder)?;
    }
    Ok(out)
}

/// Encodes an image as PNG.
///
/// # Errors
/// Returns an error if the image can't be encoded.
pub fn png(image: &RgbImage) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    image.write_to(&mut Cursor::new(&mut out), image::ImageFormat::Png)?;
    Ok(out)
}

/// Writes an image as PNG.
///
/// # Errors
/// Returns an error if the file can't be written.
pub fn write_png(image: &RgbImage, path: &Path) -> anyhow::Result<()> {
    write_atomic(path, &png(image)?)
        .with_context(|| format!("can't write the image: {}", names::of_path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gray_image_and_its_neighbor_keep_their_places() {
        let left = magnified(&colored(&[1, 2, 3, 4, 5, 6], [2, 3, 1]));
        assert_eq!(
            (left.width(), left.height(), left.get_pixel(239, 0)),
            (240, 160, &Rgb([3; 3]))
        );
        let both = side_by_side(&left, &left);
        assert_eq!(
            (
                both.width(),
                both.get_pixel(240, 0),
                both.get_pixel(246, 159)
            ),
            (486, &Rgb([255; 3]), &Rgb([4; 3]))
        );
    }
}
