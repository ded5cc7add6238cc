//! What there is to say of one picture file before anybody trains on it.

use std::io::Cursor;

use image::{ImageDecoder, ImageReader, metadata::Orientation};

use super::{decode::decode, look::Look, resize::resize};
use crate::config::{Color, Interpolation, Resize};

/// Rows and columns at which sharpness is measured, whatever the picture's own.
const SHARP_SIDE: usize = 128;

/// A picture file.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Length of the file.
    pub file_bytes: u64,
    /// BLAKE3 of the file.
    pub file: [u8; 32],
    /// BLAKE3 of the decoded pixels.
    pub pixels: [u8; 32],
    /// At a glance.
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

/// Looks at the bytes of a picture file.
///
/// # Errors
/// Why it can't be decoded, in words, without the path.
pub fn look_at(bytes: &[u8]) -> Result<Facts, String> {
    let pixels = decode(bytes, Color::Rgb)?;
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let format = reader.format().map_or_else(String::new, |format| format!("{format:?}").to_lowercase());
    let (mode, orientation) = match reader.into_decoder() {
        Ok(mut decoder) => (format!("{:?}", decoder.original_color_type()), decoder.orientation().unwrap_or(Orientation::NoTransforms)),
        Err(_) => ("unknown".to_owned(), Orientation::NoTransforms),
    };
    let look = Look::of(&pixels)?;
    let [brightness, contrast] = moments(look.bytes().iter().map(|level| f32::from(*level)));
    let [border, _] = moments(look.border().map(f32::from));
    let large = resize(&pixels, [SHARP_SIDE, SHARP_SIDE], Resize::Stretch, Interpolation::Bilinear)?;
    let levels: Vec<f32> = large.chunks_exact(3).map(|pixel| pixel.iter().map(|level| f32::from(*level)).sum::<f32>() / 3.0).collect();
    Ok(Facts {
        file_bytes: bytes.len() as u64,
        file: blake3::hash(bytes).into(),
        pixels: pixels.digest(),
        look,
        height: pixels.height,
        width: pixels.width,
        format,
        mode,
        is_turned: orientation != Orientation::NoTransforms,
        brightness,
        contrast,
        border,
        sharpness: sharpness(&levels),
    })
}

/// Mean and standard deviation.
fn moments(values: impl Iterator<Item = f32> + Clone) -> [f32; 2] {
    let (count, sum) = values.clone().fold((0.0f32, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    let mean = sum / count;
    [mean, (values.map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt()]
}

fn sharpness(levels: &[f32]) -> f32 {
    let side = SHARP_SIDE;
    let mut edges = Vec::with_capacity((side - 2) * (side - 2));
    for row in 1..side - 1 {
        let line = |row: usize| &levels[row * side..(row + 1) * side];
        let (above, here, below) = (line(row - 1), line(row), line(row + 1));
        edges.extend((1..side - 1).map(|at| 4.0 * here[at] - here[at - 1] - here[at + 1] - above[at] - below[at]));
    }
    let [_, edges] = moments(edges.into_iter());
    let [_, contrast] = moments(levels.iter().copied());
    (edges / contrast.max(1.0)).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(picture: &image::DynamicImage) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, image::ImageFormat::Png).expect("memory");
        out.into_inner()
    }

    #[test]
    fn facts_of_a_picture() {
        let picture = image::GrayImage::from_fn(60, 40, |x, y| image::Luma([if x < 30 && (8..32).contains(&y) { 200 } else { 20 }]));
        let facts = look_at(&png(&picture.clone().into())).expect("a picture");
        assert_eq!((facts.height, facts.width, facts.format.as_str(), facts.mode.as_str(), facts.is_turned), (40, 60, "png", "L8", false));
        assert!((facts.brightness - (20.0 + 180.0 * 0.3)).abs() < 2.0, "{}", facts.brightness);
        assert!(facts.border > 20.0 && facts.border < facts.brightness, "{}", facts.border);
        let blurred = image::imageops::blur(&picture, 6.0);
        let other = look_at(&png(&blurred.into())).expect("a picture");
        assert!(facts.sharpness > 10.0 * other.sharpness, "{} {}", facts.sharpness, other.sharpness);
        assert!(look_at(b"").is_err() && look_at(b"text").is_err());
    }
}
