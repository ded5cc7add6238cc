//! What there is to say of one picture file before anybody trains on it.

use serde::{Deserialize, Serialize};

use super::{
    decode::{Pixels, Stored, decode_stored},
    look::{Look, REDUCED, reduced},
    resize::resize,
};
use crate::config::{Color, Interpolation, Resize};

/// Rows and columns at which sharpness is measured, whatever the picture's own.
const SHARP_SIDE: usize = REDUCED;

/// A picture file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Length of the file.
    pub file_bytes: u64,
    /// BLAKE3 of the file.
    pub file: [u8; 32],
    /// BLAKE3 of the decoded pixels at full size, in the wanted colours.
    pub pixels: [u8; 32],
    /// At a glance, at full size.
    #[serde(skip, default = "Look::black")]
    pub look: Look,
    /// Rows, upright.
    pub height: usize,
    /// Columns, upright.
    pub width: usize,
    /// `jpeg`, `png` and so on.
    pub format: String,
    /// Colours and bits as stored, in the words of the decoder: `Rgb8`, `L16`.
    pub mode: String,
    /// Does EXIF say that it must be turned or mirrored?
    pub is_turned: bool,
    /// Mean grey level, 0 to 255.
    pub brightness: f32,
    /// Standard deviation of the grey levels.
    pub contrast: f32,
    /// Mean grey level of the outermost sixteenth.
    pub border: f32,
    /// Variance of the Laplacian at 128 x 128, as a share of the variance of the levels.
    pub sharpness: f32,
}

/// Looks at the bytes of a picture file; its decoded pixels come along.
///
/// # Errors
/// Why it can't be decoded, in words, without the path.
pub fn look_at(bytes: &[u8], color: Color) -> Result<(Facts, Pixels), String> {
    let (pixels, Stored { format, mode, is_turned }) = decode_stored(bytes, color)?;
    let grey = reduced(&pixels);
    let look = Look::of_reduced(&grey);
    let [brightness, contrast] = moments(&look.bytes().iter().map(|level| f32::from(*level)).collect::<Vec<_>>());
    let [border, _] = moments(&look.border().map(f32::from).collect::<Vec<_>>());
    let square = resize(&grey, [SHARP_SIDE, SHARP_SIDE], Resize::Stretch, Interpolation::Bilinear);
    let levels: Vec<f32> = square.into_iter().map(f32::from).collect();
    let facts = Facts {
        file_bytes: bytes.len() as u64,
        file: blake3::hash(bytes).into(),
        pixels: pixels.digest(),
        look,
        height: pixels.height,
        width: pixels.width,
        format,
        mode,
        is_turned,
        brightness,
        contrast,
        border,
        sharpness: sharpness(&levels),
    };
    Ok((facts, pixels))
}

/// Mean and standard deviation.
fn moments(values: &[f32]) -> [f32; 2] {
    let count = values.len() as f32;
    let mean = sum(values, |value| value) / count;
    [mean, (sum(values, |value| (value - mean) * (value - mean)) / count).sqrt()]
}

/// Several sums side by side, as a single one waits for each of its additions.
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += of(*value));
    }
    sums.into_iter().sum::<f32>() + rest.iter().map(|value| of(*value)).sum::<f32>()
}

fn sharpness(levels: &[f32]) -> f32 {
    let side = SHARP_SIDE;
    let mut edges = Vec::with_capacity((side - 2) * (side - 2));
    for rows in levels.windows(3 * side).step_by(side) {
        let (above, here, below) = (&rows[1..side - 1], &rows[side..2 * side], &rows[2 * side + 1..3 * side - 1]);
        let beside = here[..side - 2].iter().zip(&here[2..]).zip(above.iter().zip(below));
        edges.extend(
            here[1..].iter().zip(beside).map(|(level, ((left, right), (above, below)))| 4.0 * level - left - right - above - below),
        );
    }
    let [_, edges] = moments(&edges);
    let [_, contrast] = moments(levels);
    (edges / contrast.max(1.0)).powi(2)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn png(picture: &image::DynamicImage) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, image::ImageFormat::Png).expect("memory");
        out.into_inner()
    }

    #[test]
    fn facts_of_a_picture() {
        let picture = image::GrayImage::from_fn(60, 40, |x, y| image::Luma([if x < 30 && (8..32).contains(&y) { 200 } else { 20 }]));
        let (facts, _) = look_at(&png(&picture.clone().into()), Color::Rgb).expect("a picture");
        assert_eq!((facts.height, facts.width, facts.format.as_str(), facts.mode.as_str(), facts.is_turned), (40, 60, "png", "L8", false));
        assert!((facts.brightness - (20.0 + 180.0 * 0.3)).abs() < 2.0, "{}", facts.brightness);
        assert!(facts.border > 20.0 && facts.border < facts.brightness, "{}", facts.border);
        let blurred = image::imageops::blur(&picture, 6.0);
        let (other, _) = look_at(&png(&blurred.into()), Color::Rgb).expect("a picture");
        assert!(facts.sharpness > 10.0 * other.sharpness, "{} {}", facts.sharpness, other.sharpness);
        assert!(look_at(b"", Color::Rgb).is_err() && look_at(b"text", Color::Rgb).is_err());
    }
}
