//! Decodes the bytes of an image file into upright 8-bit pixels with the wanted channels. Never
//! panics, and takes memory only when the amount is known: a header that claims more than the file
//! can hold is refused, and what an image needs comes from one budget ([`super::memory`]).
//!
//! | found | becomes |
//! |---|---|
//! | EXIF orientation | applied |
//! | 16 bits per channel, unsigned | the upper 8 |
//! | gray of 32 bits, signed 16 bits or floats (TIFF) | clipped to 0..=255, as Pillow's `convert` |
//! | palette, 1, 2 and 4 bits | their colors at 8 bits |
//! | alpha | blended over white |
//! | CMYK and YCCK JPEG, CMYK TIFF | RGB, as Pillow's `convert("RGB")` |
//! | three equal channels | one |
//! | color where gray is wanted | ITU-R 601 luma, as Pillow's `convert("L")` |
//! | an animation | its first frame |
//! | a JPEG or PNG with all of its pixels and no end | read, with [`Decoded::damage`] |
//! | a damaged JPEG | an error; with `repair`, what libjpeg makes of it, with [`Decoded::damage`] |
//!
//! JPEGs have exactly the pixel values of libjpeg-turbo, and so of Pillow and Keras
//! (`crates/jpeg-pixels`); TIFFs have those of Pillow (`crates/tiff-pixels`).

mod bitmap;
mod exif;
mod foreign;
mod gif;
mod png;
mod samples;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use image::{ImageDecoder, ImageError, ImageFormat, metadata::Orientation};
use jpeg_pixels::Jpeg;
use tiff_pixels::Tiff;

use super::memory::Room;
use crate::config::Color;

pub use foreign::foreign_format;

/// Number of pixels above which an image counts as a decompression bomb: Pillow's limit for an
/// error.
const MAX_PIXELS: u64 = 178_956_970;

/// An upright 8-bit image, row by row with interleaved channels, `[height, width, channels]`. A
/// gray image has one channel, whatever its file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// Number of channels: 3 if color is wanted and the image has some, else 1.
    pub channels: usize,
    /// The `height * width * channels` values.
    pub bytes: Vec<u8>,
}

impl Pixels {
    /// Returns decoded RGB levels as the pixels of a file that holds them.
    ///
    /// # Shapes
    /// `levels` is `[height, width, 3]`, flattened.
    pub fn of_rgb([height, width]: [usize; 2], levels: Vec<u8>, color: Color) -> Self {
        samples::upright([height, width, 3], levels, Orientation::NoTransforms, color)
    }

    /// Returns the BLAKE3 digest of shape and bytes. Equal images have equal digests, whatever
    /// their file format; equal gray images also across color modes.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new();
        for side in [self.height, self.width, self.channels] {
            hash.update(&(side as u64).to_le_bytes());
        }
        hash.update(&self.bytes);
        hash.finalize().into()
    }

    /// Returns the bytes with the number of channels of `color`, where one channel may become
    /// three.
    pub fn into_color(self, color: Color) -> Vec<u8> {
        if self.channels == color.channels() {
            return self.bytes;
        }
        let mut copies = vec![0; self.bytes.len() * 3];
        // Only a gray image where RGB is wanted has another number of channels: `reduced` sees to
        // that.
        copies
            .as_chunks_mut::<3>()
            .0
            .iter_mut()
            .zip(self.bytes)
            .for_each(|(copies, level)| *copies = [level; 3]);
        copies
    }
}

/// How an image is stored in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Name of the format, such as `jpeg` or `png`.
    pub format: String,
    /// Channels and bits as the decoder names them, such as `Rgb8` or `L16`.
    pub mode: String,
    /// Whether the EXIF data ask for a rotation or reflection.
    pub is_turned: bool,
}

impl Stored {
    fn new(format: ImageFormat, mode: String, orientation: Orientation) -> Self {
        let format = format!("{format:?}").to_lowercase();
        Self {
            format,
            mode,
            is_turned: orientation != Orientation::NoTransforms,
        }
    }
}

/// What to make of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Wanted channels.
    pub color: Color,
    /// Whether to decode a damaged JPEG as far as libjpeg would.
    pub repair: bool,
}

/// A decoded image, and how its file stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The pixels.
    pub pixels: Pixels,
    /// How the file stores them.
    pub stored: Stored,
    /// What is wrong with the file, if it is damaged and could be decoded nevertheless.
    pub damage: Option<String>,
}

/// Decodes the bytes of an image file, without repairing damaged ones.
///
/// # Errors
/// Returns the reason, without the path, if the bytes can't be decoded.
pub fn decode(bytes: &[u8], color: Color) -> Result<Pixels, String> {
    decode_in(
        bytes,
        Wanted {
            color,
            repair: false,
        },
        &mut Room::open(),
    )
    .map(|decoded| decoded.pixels)
}

/// Decodes the bytes of an image file within the memory budget; `room` takes what is needed.
///
/// # Errors
/// As [`decode`].
pub fn decode_in(bytes: &[u8], wanted: Wanted, room: &mut Room<'_>) -> Result<Decoded, String> {
    if bytes.is_empty() {
        return Err("the file is empty (0 bytes)".to_owned());
    }
    // A panic is a bug in a decoder; it should cost one image and not the run.
    let decoded = silent(|| catch_unwind(AssertUnwindSafe(|| decode_inner(bytes, wanted, room))));
    decoded.unwrap_or_else(|_| Err("the decoder failed on damaged content".to_owned()))
}

/// Returns whether the first bytes of a file are those of a format that can be decoded.
pub fn is_known_format(bytes: &[u8]) -> bool {
    known_format(bytes).is_some()
}

/// Returns the format that the first bytes tell, if it can be decoded.
fn known_format(bytes: &[u8]) -> Option<ImageFormat> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    match image::guess_format(bytes) {
        Ok(format @ (Bmp | Gif | Jpeg | Png | Pnm | Tiff | WebP)) => Some(format),
        // BigTIFF, which `guess_format` doesn't know.
        _ if bytes.starts_with(b"MM\0\x2B") || bytes.starts_with(b"II\x2B\0") => Some(Tiff),
        _ => bitmap::is_headerless(bytes).then_some(Bmp),
    }
}

/// Decodes a file in the format that its first bytes tell, whatever its name.
fn decode_inner(bytes: &[u8], wanted: Wanted, room: &mut Room<'_>) -> Result<Decoded, String> {
    match known_format(bytes) {
        Some(ImageFormat::Jpeg) => decode_jpeg(bytes, wanted, room),
        Some(ImageFormat::Tiff) => decode_tiff(bytes, wanted, room),
        Some(ImageFormat::Gif) => gif::decode(bytes, wanted, room),
        Some(ImageFormat::Png) => png::decode(bytes, wanted, room),
        Some(format) => bitmap::decode(bytes, format, wanted, room),
        None => Err(match foreign_format(bytes) {
            Some((name, advice)) => format!("it is {name}, which can't be read; {advice}"),
            None => format!(
                "the content isn't a known image format; it begins with {}",
                beginning(bytes)
            ),
        }),
    }
}

/// Refuses an image without pixels, which decoders aren't made for, one above [`MAX_PIXELS`], and
/// one with more than `most` pixels per byte of the file.
fn refuse_size([height, width]: [u64; 2], bytes: &[u8], most: u64) -> Result<(), String> {
    let pixels = height.saturating_mul(width);
    if pixels == 0 {
        return Err("the image has no pixels".to_owned());
    }
    if pixels > MAX_PIXELS {
        return Err(format!(
            "{width}x{height} pixels are more than {MAX_PIXELS}, which looks like a decompression \
             bomb"
        ));
    }
    if pixels > most.saturating_mul(bytes.len() as u64) {
        return Err(format!(
            "{width}x{height} pixels don't fit into {} bytes: the file is cut off or a \
             decompression bomb",
            bytes.len()
        ));
    }
    Ok(())
}

/// Decodes a JPEG, or what libjpeg would show of a damaged one.
fn decode_jpeg(bytes: &[u8], wanted: Wanted, room: &mut Room<'_>) -> Result<Decoded, String> {
    let jpeg = Jpeg::open(bytes).map_err(|error| error.to_string())?;
    let size = jpeg.size();
    refuse_size(
        size.map(|side| side as u64),
        bytes,
        jpeg_pixels::MOST_PIXELS_A_BYTE,
    )?;
    let orientation = jpeg
        .exif()
        .map_or(Orientation::NoTransforms, exif::orientation);
    let mode = match jpeg.num_components() {
        1 => "L8",
        3 => "Rgb8",
        _ => "Cmyk8",
    };
    let stored = Stored::new(ImageFormat::Jpeg, mode.to_owned(), orientation);
    let turning = samples::memory(size, jpeg.num_components().min(3), orientation);
    room.need(jpeg.memory(false).max(turning))?;
    let (pixels, damage) = match jpeg.decode() {
        Ok(decoded) => (
            decoded.pixels,
            (!decoded.has_end).then(|| {
                "its end-of-image marker is missing; all of its pixels are there".to_owned()
            }),
        ),
        Err(error @ jpeg_pixels::Error::Unsupported(_)) => return Err(error.to_string()),
        Err(error) if wanted.repair => {
            // `decode` has consumed the first decoder.
            let jpeg = Jpeg::open(bytes).map_err(|error| error.to_string())?;
            room.need(jpeg.memory(true).max(turning))?;
            (
                jpeg.repair().map_err(|error| error.to_string())?,
                Some(error.to_string()),
            )
        }
        Err(error) => {
            return Err(format!(
                "{error} (other programs show what there is and gray for the rest, as \
                 data.on_bad_image = \"repair\" does)"
            ));
        }
    };
    let jpeg_pixels::Pixels {
        height,
        width,
        channels,
        bytes,
    } = pixels;
    Ok(Decoded {
        pixels: samples::upright([height, width, channels], bytes, orientation, wanted.color),
        stored,
        damage,
    })
}

/// Decodes a TIFF.
fn decode_tiff(bytes: &[u8], wanted: Wanted, room: &mut Room<'_>) -> Result<Decoded, String> {
    let tiff = Tiff::open(bytes).map_err(|error| error.to_string())?;
    let [height, width] = tiff.size();
    // How many pixels a byte can hold depends on the compression; `Tiff::memory` checks it.
    refuse_size([height as u64, width as u64], bytes, u64::MAX)?;
    let orientation = exif::of_number(tiff.orientation());
    let memory = tiff.memory().map_err(|error| error.to_string())?;
    room.need(memory.max(samples::memory([height, width], 4, orientation)))?;
    let tiff_pixels::Pixels { channels, bytes } =
        tiff.decode().map_err(|error| error.to_string())?;
    let stored = Stored::new(ImageFormat::Tiff, tiff.mode(), orientation);
    Ok(Decoded {
        pixels: samples::upright([height, width, channels], bytes, orientation, wanted.color),
        stored,
        damage: None,
    })
}

/// Describes an error of the `image` crate.
fn in_words(error: &ImageError) -> String {
    let text = error.to_string();
    match error {
        ImageError::IoError(inner) if inner.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file is cut off: it ends before the image does".to_owned()
        }
        ImageError::Limits(_) => {
            "its header asks for more memory than an image takes, which looks like a decompression \
             bomb"
                .to_owned()
        }
        ImageError::Decoding(inner) => {
            let format = inner.format_hint().to_string();
            let reason = text
                .split_once(": ")
                .map_or(text.as_str(), |(_, reason)| reason);
            format!("the file is damaged or not a valid {format}: {reason}")
        }
        _ => text,
    }
}

/// Returns the samples of an image as the `image` crate decodes them.
fn all_samples(decoder: impl ImageDecoder) -> Result<Vec<u8>, ImageError> {
    let mut samples = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut samples)?;
    Ok(samples)
}

/// Returns the first bytes as a quoted string, with escapes.
fn beginning(bytes: &[u8]) -> String {
    format!(
        "{:?}",
        String::from_utf8_lossy(&bytes[..bytes.len().min(16)])
    )
}

thread_local! {
    static IS_SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` without printing the message of a panic, which would read like a crash of the
/// program. The hook is installed once and passes on the panics of all other code.
fn silent<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_SILENT.get() {
                usual(info);
            }
        }));
    });
    IS_SILENT.set(true);
    let out = work();
    IS_SILENT.set(false);
    out
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::DynamicImage;

    use super::*;

    /// Encodes an image in a format.
    fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).expect("encoded");
        bytes.into_inner()
    }

    fn rgb() -> DynamicImage {
        image::RgbImage::from_fn(5, 3, |x, y| {
            image::Rgb([(x * 50) as u8, (y * 100) as u8, (x * y * 20) as u8])
        })
        .into()
    }

    #[test]
    fn pixels_keep_rows_columns_and_channels_in_every_lossless_format() {
        for format in [
            ImageFormat::Png,
            ImageFormat::Bmp,
            ImageFormat::Tiff,
            ImageFormat::Pnm,
            ImageFormat::WebP,
        ] {
            let pixels = decode(&file(&rgb(), format), Color::Rgb).expect("decoded");
            assert_eq!((pixels.height, pixels.width, pixels.channels), (3, 5, 3));
            assert_eq!(
                pixels.bytes[(2 * 5 + 4) * 3..][..3],
                [200, 200, 160],
                "bottom right, {format:?}"
            );
            assert_eq!(
                pixels.bytes[4 * 3..][..3],
                [200, 0, 0],
                "top right, {format:?}"
            );
        }
    }

    #[test]
    fn depth_alpha_and_color_become_what_the_table_says() {
        let gray16: DynamicImage =
            image::ImageBuffer::from_fn(2, 1, |x, _| image::Luma([[0u16, 65535][x as usize]]))
                .into();
        let gray_alpha: DynamicImage =
            image::ImageBuffer::from_fn(2, 1, |x, _| image::LumaA([100u8, [255, 0][x as usize]]))
                .into();
        let rgba: DynamicImage = image::ImageBuffer::from_fn(2, 1, |x, _| {
            image::Rgba([200u8, 100, 0, [255, 51][x as usize]])
        })
        .into();
        let cases = [
            (&gray16, Color::Grayscale, vec![0, 255]),
            (&gray16, Color::Rgb, vec![0, 0, 0, 255, 255, 255]),
            (&gray_alpha, Color::Grayscale, vec![100, 255]),
            (&rgba, Color::Rgb, vec![200, 100, 0, 244, 224, 204]),
            (&rgba, Color::Grayscale, vec![118, 228]),
        ];
        for (image, color, expected) in cases {
            let pixels = decode(&file(image, ImageFormat::Png), color).expect("decoded");
            assert_eq!(pixels.into_color(color), expected, "{:?}", image.color());
        }
    }

    #[test]
    fn what_is_no_image_is_an_error_with_a_reason() {
        let jpeg = file(&rgb(), ImageFormat::Jpeg);
        decode(&jpeg, Color::Rgb).expect("whole");
        let png = file(&rgb(), ImageFormat::Png);
        let mut bomb = png.clone();
        bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        for (bytes, expected) in [
            (&b""[..], "empty"),
            (
                b"a letter, not an image",
                "isn't a known image format; it begins with \"a letter, not an\"",
            ),
            (&jpeg[..jpeg.len() - 3], "cut off"),
            (&png[..png.len() / 2], ""),
            (&bomb, ""),
        ] {
            let reason = decode(bytes, Color::Rgb).expect_err("broken");
            assert!(reason.contains(expected), "{reason}");
        }
    }

    /// Decodes a file, repairing it if it is damaged.
    fn repaired(bytes: &[u8]) -> Result<Decoded, String> {
        decode_in(
            bytes,
            Wanted {
                color: Color::Rgb,
                repair: true,
            },
            &mut Room::open(),
        )
    }

    #[test]
    fn an_image_is_turned_by_numbers_of_any_length_behind_any_head() {
        let upright = rgb();
        let mut turned = upright.clone();
        turned.apply_orientation(Orientation::Rotate90);
        let expected = turned.to_rgb8().into_raw();
        for (is_little_endian, kind) in [(true, 3), (false, 3), (true, 4), (false, 4)] {
            for head in [&b""[..], b"Exif\0\0"] {
                let exif = [head, &exif::tests::exif(is_little_endian, kind, 6)].concat();
                // WebP has the EXIF data in a chunk, after the header with the size of the canvas.
                let simple = file(&upright, ImageFormat::WebP);
                let canvas = [&b"VP8X\x0A\0\0\0\x08\0\0\0"[..], &[4, 0, 0, 2, 0, 0]].concat();
                let length = (exif.len() as u32).to_le_bytes();
                let padding = vec![0; exif.len() % 2];
                let body = [
                    b"WEBP",
                    &canvas[..],
                    &simple[12..],
                    b"EXIF",
                    &length,
                    &exif,
                    &padding,
                ]
                .concat();
                let webp = [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat();
                // PNG has it in a chunk before the pixels.
                let simple = file(&upright, ImageFormat::Png);
                let mut sum = crc(b"eXIf");
                exif.iter().for_each(|byte| sum = crc_of(sum, *byte));
                let chunk = [
                    &(exif.len() as u32).to_be_bytes()[..],
                    b"eXIf",
                    &exif,
                    &(!sum).to_be_bytes(),
                ]
                .concat();
                let png = [&simple[..33], &chunk, &simple[33..]].concat();
                for (name, bytes) in [("webp", webp), ("png", png)] {
                    let found = repaired(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(
                        (
                            found.pixels.height,
                            found.pixels.width,
                            found.stored.is_turned
                        ),
                        (5, 3, true),
                        "{name} {kind} {head:?}"
                    );
                    assert_eq!(found.pixels.bytes, expected, "{name} {kind} {head:?}");
                }
            }
        }
    }

    #[test]
    fn an_image_without_pixels_is_refused_before_a_decoder_fails_on_it() {
        for kind in 1..=6 {
            for size in ["0 3", "3 0", "0 0"] {
                let most = if [1, 4].contains(&kind) { "" } else { " 255" };
                let bytes = format!("P{kind} {size}{most}\n0 0 0 0 0 0 0 0 0 0");
                let error = repaired(bytes.as_bytes()).expect_err(&bytes);
                assert!(
                    error.contains("the image has no pixels") || error.contains("damaged"),
                    "{bytes}: {error}"
                );
                assert!(!error.contains("the decoder failed"), "{bytes}: {error}");
            }
        }
    }

    /// Returns the CRC of a PNG chunk, before its last inversion.
    fn crc(bytes: &[u8]) -> u32 {
        bytes.iter().fold(u32::MAX, |sum, byte| crc_of(sum, *byte))
    }

    fn crc_of(sum: u32, byte: u8) -> u32 {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 1 {
                sum >> 1 ^ 0xEDB8_8320
            } else {
                sum >> 1
            }
        })
    }

    #[test]
    fn a_jpeg_without_its_end_is_read_and_a_damaged_one_only_where_that_is_wanted() {
        let image: DynamicImage = image::RgbImage::from_fn(40, 24, |x, y| {
            image::Rgb([(x * 6) as u8, (y * 10) as u8, ((x + y) * 4) as u8])
        })
        .into();
        let whole = file(&image, ImageFormat::Jpeg);
        let expected = decode(&whole, Color::Rgb).expect("whole");
        for bytes in [&whole[..whole.len() - 2], &whole[..whole.len() - 1]] {
            let found = decode_in(
                bytes,
                Wanted {
                    color: Color::Rgb,
                    repair: false,
                },
                &mut Room::open(),
            )
            .expect("all rows are there");
            assert_eq!(found.pixels, expected);
            assert!(
                found
                    .damage
                    .is_some_and(|damage| damage.contains("end-of-image marker is missing"))
            );
        }
        // Part of the data, after the header of the scan.
        let scan = whole
            .windows(2)
            .position(|marker| marker == [0xFF, 0xDA])
            .expect("a scan");
        let half = &whole[..scan + (whole.len() - scan) * 4 / 5];
        let reason = decode(half, Color::Rgb).expect_err("rows are missing");
        assert!(
            reason.contains("cut off") && reason.contains("data.on_bad_image = \"repair\""),
            "{reason}"
        );
        let found = repaired(half).expect("some rows are there");
        assert_eq!((found.pixels.height, found.pixels.width), (24, 40));
        assert_eq!(
            found.pixels.bytes[..40 * 3],
            expected.bytes[..40 * 3],
            "the first row"
        );
        assert_eq!(
            found.pixels.bytes[(23 * 40 + 39) * 3..],
            [128; 3],
            "the last pixel"
        );
        assert!(
            found
                .damage
                .is_some_and(|damage| damage.contains("cut off"))
        );
        assert_eq!(repaired(&whole).expect("whole").damage, None);
        // A header alone can't be repaired.
        assert!(repaired(&whole[..100]).is_err());
    }

    #[test]
    fn sizes_that_a_file_cannot_hold_are_refused_before_memory_is_taken() {
        // A frame of 13370x13370 pixels in a file of a few hundred bytes.
        let mut jpeg = file(&rgb(), ImageFormat::Jpeg);
        let frame = jpeg
            .windows(2)
            .position(|marker| marker == [0xFF, 0xC0])
            .expect("a frame");
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0x34, 0x3A, 0x34, 0x3A]);
        let mut png = file(&rgb(), ImageFormat::Png);
        png[16..24].copy_from_slice(&[0, 0, 0x34, 0x3A, 0, 0, 0x34, 0x3A]);
        let sum = !png[12..29]
            .iter()
            .fold(u32::MAX, |sum, byte| crc_of(sum, *byte));
        png[29..33].copy_from_slice(&sum.to_be_bytes());
        let mut bmp = file(&rgb(), ImageFormat::Bmp);
        bmp[18..26].copy_from_slice(&[0x3A, 0x34, 0, 0, 0x3A, 0x34, 0, 0]);
        let pnm = b"P5 13370 13370 255\n0123456789";
        for bytes in [&jpeg[..], &png, &bmp, pnm] {
            let reason = repaired(bytes).expect_err("a bomb");
            assert!(
                reason.contains("13370x13370 pixels don't fit into"),
                "{reason}"
            );
        }
        // The honest images that compress best are white pages.
        let page: DynamicImage =
            image::GrayImage::from_pixel(2480, 3508, image::Luma([255])).into();
        for format in [
            ImageFormat::Png,
            ImageFormat::Jpeg,
            ImageFormat::WebP,
            ImageFormat::Pnm,
            ImageFormat::Bmp,
        ] {
            let page = if format == ImageFormat::WebP {
                page.to_rgb8().into()
            } else {
                page.clone()
            };
            let found = decode(&file(&page, format), Color::Rgb)
                .unwrap_or_else(|error| panic!("{format:?}: {error}"));
            assert_eq!(
                (found.height, found.width, found.channels),
                (3508, 2480, 1),
                "{format:?}"
            );
        }
    }

    #[test]
    fn a_bitmap_without_the_head_of_a_file_and_a_foreign_format_are_told_by_their_content() {
        let bitmap = file(&rgb(), ImageFormat::Bmp);
        assert_eq!(
            decode(&bitmap[14..], Color::Rgb),
            decode(&bitmap, Color::Rgb)
        );
        let reason = decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1", Color::Rgb).expect_err("not read");
        assert_eq!(
            reason,
            "it is a HEIC image, which can't be read; save it as JPEG or PNG"
        );
    }

    #[test]
    fn every_prefix_of_a_file_is_an_error_and_never_a_panic() {
        for format in [
            ImageFormat::Png,
            ImageFormat::Jpeg,
            ImageFormat::Bmp,
            ImageFormat::Gif,
        ] {
            let whole = file(&rgb(), format);
            for length in 0..whole.len() - 2 {
                // A GIF or PNG may be complete before its last chunk; it must not panic.
                let result = decode(&whole[..length], Color::Rgb);
                assert!(
                    format != ImageFormat::Jpeg || result.is_err(),
                    "{format:?} cut at {length}"
                );
            }
        }
    }

    #[test]
    fn equal_pixels_have_equal_digests_whatever_the_file() {
        let digest = |image: &DynamicImage, format| {
            decode(&file(image, format), Color::Rgb)
                .expect("decoded")
                .digest()
        };
        assert_eq!(
            digest(&rgb(), ImageFormat::Png),
            digest(&rgb(), ImageFormat::Bmp)
        );
        assert_ne!(
            digest(&rgb(), ImageFormat::Png),
            digest(&rgb().rotate180(), ImageFormat::Png)
        );
    }

    #[test]
    fn gray_is_one_channel_whatever_the_file_and_the_wanted_colors() {
        let gray = rgb().to_luma8();
        let in_three: DynamicImage = DynamicImage::from(gray.clone()).to_rgb8().into();
        let mut all = Vec::new();
        for (image, format) in [
            (&DynamicImage::from(gray.clone()), ImageFormat::Png),
            (&in_three, ImageFormat::Png),
            (&in_three, ImageFormat::Bmp),
        ] {
            all.extend(
                [Color::Rgb, Color::Grayscale]
                    .map(|color| decode(&file(image, format), color).expect("decoded")),
            );
        }
        assert!(
            all.iter()
                .all(|pixels| pixels.channels == 1 && pixels.bytes == *gray.as_raw()),
            "{all:?}"
        );
        assert_eq!(
            all[0].clone().into_color(Color::Rgb)[6..9],
            [gray.as_raw()[2]; 3]
        );
        // One colored pixel, in the last row.
        let mut spotted = in_three.to_rgb8();
        spotted.put_pixel(4, 2, image::Rgb([1, 1, 2]));
        assert_eq!(
            decode(&file(&spotted.into(), ImageFormat::Png), Color::Rgb)
                .expect("decoded")
                .channels,
            3
        );
    }
}
