//! Measures an image file for the findings before training: size, format, digests, brightness,
//! sharpness and a thumbnail, all computed while it is decoded once.

use isa::{Isa, Work};
use serde::{Deserialize, Serialize};

use super::{
    decode::{Decoded, Pixels, Stored, Wanted, decode_in},
    memory::Room,
    resize::resize,
    thumbnail::{REDUCED, Thumbnail, reduced},
};
use crate::config::{Color, Interpolation, Resize};

/// Side that images are resized to before sharpness is measured, so that it can be compared between
/// images of any size.
const SHARP_SIDE: usize = REDUCED;

/// What is known of an image file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageStats {
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// BLAKE3 digest of the file.
    pub file: [u8; 32],
    /// BLAKE3 digest of the decoded pixels at their original size, with the wanted channels.
    pub pixels: [u8; 32],
    /// Thumbnail of the decoded pixels. The cache keeps it in a file of its own.
    #[serde(skip, default = "Thumbnail::black")]
    pub look: Thumbnail,
    /// Number of rows, upright.
    pub height: usize,
    /// Number of columns, upright.
    pub width: usize,
    /// Number of channels of the decoded pixels: 1 if all of them are gray.
    pub channels: usize,
    /// Name of the format, such as `jpeg` or `png`.
    pub format: String,
    /// Channels and bits as stored, as the decoder names them, such as `Rgb8` or `L16`.
    pub mode: String,
    /// Whether the EXIF data ask for a rotation or reflection.
    pub is_turned: bool,
    /// What is wrong with the file, if it is damaged and could be decoded nevertheless.
    #[serde(default)]
    pub damage: Option<String>,
    /// Mean gray value of the thumbnail, 0 to 255.
    pub brightness: f32,
    /// Standard deviation of the gray values of the thumbnail.
    pub contrast: f32,
    /// Mean gray value of the outermost sixteenth of the thumbnail on each side.
    pub border: f32,
    /// Sharpness: the variance of the Laplacian at 128 x 128 pixels, divided by the variance of the
    /// values, so that contrast doesn't count.
    pub sharpness: f32,
}

/// Decodes an image file and measures it. Also returns the decoded pixels.
///
/// # Errors
/// Returns the reason, without the path, if it can't be decoded.
pub fn measure_image(bytes: &[u8], color: Color) -> Result<(ImageStats, Pixels), String> {
    measure_within(
        bytes,
        Wanted {
            color,
            repair: false,
        },
        &mut Room::open(),
    )
}

/// As [`measure_image`], within the memory budget; `room` takes what is needed.
///
/// # Errors
/// As [`measure_image`].
pub fn measure_within(
    bytes: &[u8],
    wanted: Wanted,
    room: &mut Room<'_>,
) -> Result<(ImageStats, Pixels), String> {
    let Decoded {
        pixels,
        stored: Stored {
            format,
            mode,
            is_turned,
        },
        damage,
    } = decode_in(bytes, wanted, room)?;
    // One pass over the full image serves the thumbnail and the sharpness.
    let gray = reduced(&pixels);
    let look = Thumbnail::of_reduced(&gray);
    let [brightness, contrast] = moments(look.bytes().iter().copied().map(i32::from));
    let [border, _] = moments(look.border().map(i32::from));
    let square = resize(
        &gray,
        [SHARP_SIDE, SHARP_SIDE],
        Resize::Stretch,
        Interpolation::Bilinear,
    );
    let facts = ImageStats {
        file_bytes: bytes.len() as u64,
        file: blake3::hash(bytes).into(),
        pixels: pixels.digest(),
        look,
        height: pixels.height,
        width: pixels.width,
        channels: pixels.channels,
        format,
        mode,
        is_turned,
        damage,
        brightness,
        contrast,
        border,
        sharpness: Isa::best().run(Sharpness(&square)),
    };
    Ok((facts, pixels))
}

/// Returns the mean and the standard deviation. Sums are whole numbers, so that every instruction
/// set gives the same bits.
#[inline(always)]
fn moments(values: impl Iterator<Item = i32>) -> [f32; 2] {
    let (mut count, mut sum, mut squares) = (0i64, 0i64, 0i64);
    for value in values {
        count += 1;
        sum += i64::from(value);
        squares += i64::from(value * value);
    }
    let mean = sum as f64 / count as f64;
    [
        mean as f32,
        (squares as f64 / count as f64 - mean * mean)
            .max(0.0)
            .sqrt() as f32,
    ]
}

/// Computes [`ImageStats::sharpness`] of a gray square with sides of [`SHARP_SIDE`].
struct Sharpness<'a>(&'a [u8]);

impl Work for Sharpness<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let rows = self.0.as_chunks::<SHARP_SIDE>().0;
        let (mut sum, mut squares) = (0i64, 0i64);
        for [above, here, below] in rows.array_windows() {
            let (mut of_row, mut squares_of_row) = (0i32, 0i32);
            for column in 1..SHARP_SIDE - 1 {
                let level = |row: &[u8; SHARP_SIDE], column: usize| i32::from(row[column]);
                let beside = level(here, column - 1)
                    + level(here, column + 1)
                    + level(above, column)
                    + level(below, column);
                let edge = 4 * level(here, column) - beside;
                of_row += edge;
                squares_of_row += edge * edge;
            }
            sum += i64::from(of_row);
            squares += i64::from(squares_of_row);
        }
        let count = ((SHARP_SIDE - 2) * (SHARP_SIDE - 2)) as f64;
        let edges = squares as f64 / count - (sum as f64 / count).powi(2);
        let [_, contrast] = moments(self.0.iter().copied().map(i32::from));
        // Noise in an image of one color must not look sharp.
        (edges / f64::from(contrast.max(1.0)).powi(2)) as f32
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use isa::Isa;

    use super::*;
    use crate::{
        config::{Interpolation, Resize},
        data::{duplicates::align::likeness, pixels::resize::resize},
    };

    fn png(image: &image::DynamicImage) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        image
            .write_to(&mut out, image::ImageFormat::Png)
            .expect("memory");
        out.into_inner()
    }

    #[test]
    fn facts_of_an_image() {
        let image = image::GrayImage::from_fn(60, 40, |x, y| {
            image::Luma([if x < 30 && (8..32).contains(&y) {
                200
            } else {
                20
            }])
        });
        let (facts, _) = measure_image(&png(&image.clone().into()), Color::Rgb).expect("an image");
        assert_eq!(
            (
                facts.height,
                facts.width,
                facts.format.as_str(),
                facts.mode.as_str(),
                facts.is_turned
            ),
            (40, 60, "png", "L8", false)
        );
        assert!(
            (facts.brightness - (20.0 + 180.0 * 0.3)).abs() < 2.0,
            "{}",
            facts.brightness
        );
        assert!(
            facts.border > 20.0 && facts.border < facts.brightness,
            "{}",
            facts.border
        );
        let blurred = image::imageops::blur(&image, 6.0);
        let (other, _) = measure_image(&png(&blurred.into()), Color::Rgb).expect("an image");
        assert!(
            facts.sharpness > 10.0 * other.sharpness,
            "{} {}",
            facts.sharpness,
            other.sharpness
        );
        assert!(
            measure_image(b"", Color::Rgb).is_err() && measure_image(b"text", Color::Rgb).is_err()
        );
    }

    #[test]
    fn every_instruction_set_finds_the_same_of_an_image_and_of_a_pair_to_the_bit() {
        let scene = |moved: f32, gain: f32| {
            image::RgbImage::from_fn(230, 170, |x, y| {
                let (x, y) = (x as f32 + moved, y as f32 - moved / 2.0);
                let level = 110.0
                    + 60.0 * (x / 17.0).sin() * (y / 23.0 + x / 90.0).cos()
                    + 30.0 * (x * y / 900.0).sin();
                image::Rgb(
                    [level, 0.8 * level + y / 9.0, 200.0 - x / 2.0]
                        .map(|level| (gain * level) as u8),
                )
            })
        };
        let files = [scene(0.0, 1.0), scene(4.0, 0.9)].map(|image| png(&image.into()));
        let found = |isa: Isa| {
            isa.as_best(|| {
                let [one, other] = files
                    .each_ref()
                    .map(|file| measure_image(file, Color::Rgb).expect("an image"));
                let sketches = [one.0.look.sketch(), other.0.look.sketch()];
                let likeness = likeness(&one.0.look, 0, &other.0.look).to_bits();
                let resized = resize(&one.1, [61, 47], Resize::Stretch, Interpolation::Lanczos);
                (one, other, sketches, likeness, resized)
            })
        };
        let best = found(Isa::best());
        assert!(f32::from_bits(best.3) > 0.99, "{}", f32::from_bits(best.3));
        for isa in Isa::available() {
            assert!(found(isa) == best, "{isa:?}");
        }
    }
}
