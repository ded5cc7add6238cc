//! Images for a page: from bytes, magnified, beside each other, as JPEG.

use std::{io::Cursor, path::Path};

use anyhow::Context;
use image::{Rgb, RgbImage, codecs::jpeg::JpegEncoder, imageops};

use crate::base::{files::write_atomic, names};

/// Rows or columns of the smaller side that an image is magnified to, by a whole factor.
const LEAST_SIDE: u32 = 160;
const GAP: u32 = 6;
const JPEG_QUALITY: u8 = 88;

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

/// Pictures of one size in a row.
pub fn in_a_row(pictures: &[RgbImage]) -> RgbImage {
    let (first, others) = pictures.split_first().expect("one picture or more");
    others.iter().fold(first.clone(), |row, picture| side_by_side(&row, picture))
}

/// A picture as JPEG, no wider than that.
pub fn jpeg(picture: &RgbImage, width: u32) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY);
    if picture.width() <= width {
        picture.write_with_encoder(encoder)?;
    } else {
        let height = (u64::from(picture.height()) * u64::from(width) / u64::from(picture.width())).max(1) as u32;
        imageops::resize(picture, width, height, imageops::FilterType::Triangle).write_with_encoder(encoder)?;
    }
    Ok(out)
}

/// Writes a picture as PNG.
///
/// # Errors
/// The system's.
pub fn write_png(picture: &RgbImage, path: &Path) -> anyhow::Result<()> {
    let mut png = Vec::new();
    picture.write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png)?;
    write_atomic(path, &png).with_context(|| format!("can't write the picture: {}", names::of_path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grey_picture_and_its_neighbour_keep_their_places() {
        let left = magnified(&colored(&[1, 2, 3, 4, 5, 6], [2, 3, 1]));
        assert_eq!((left.width(), left.height(), left.get_pixel(239, 0)), (240, 160, &Rgb([3; 3])));
        let both = side_by_side(&left, &left);
        assert_eq!((both.width(), both.get_pixel(240, 0), both.get_pixel(246, 159)), (486, &Rgb([255; 3]), &Rgb([4; 3])));
    }
}
