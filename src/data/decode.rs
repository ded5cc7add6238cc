//! File bytes in, upright 8-bit pixels in the wanted colours out, or the reason why not. Never a panic.
//!
//! | found | becomes |
//! |---|---|
//! | EXIF orientation | applied |
//! | 16 bits a channel | the upper 8 (65535 is 255) |
//! | palette, 1, 2 and 4 bits | their colours at 8 bits |
//! | alpha | blended over white |
//! | CMYK and YCCK JPEG | RGB |
//! | grey where colour is wanted | three equal channels |
//! | colour where grey is wanted | ITU-R 601 luma, as Pillow's `convert("L")` |
//! | an animation | its first frame |

use std::{
    cell::Cell,
    fmt,
    io::{Cursor, ErrorKind},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, metadata::Orientation};
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use crate::config::Color;

/// More pixels than this are taken for a decompression bomb (Pillow's limit for an error).
const MAX_PIXELS: u64 = 178_956_970;

/// What a decoder may allocate beside the picture itself.
const MAX_DECODER_BYTES: u64 = 1 << 30;

/// An upright 8-bit picture, rows first, channels interleaved: `[height, width, channels]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 or 3.
    pub channels: usize,
    /// `height * width * channels` bytes.
    pub bytes: Vec<u8>,
}

impl Pixels {
    /// BLAKE3 over shape and bytes: equal pictures have equal digests whatever file format they came in.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new();
        for side in [self.height, self.width, self.channels] {
            hash.update(&(side as u64).to_le_bytes());
        }
        hash.update(&self.bytes);
        hash.finalize().into()
    }
}

/// How a picture is stored in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// `jpeg`, `png` and so on.
    pub format: String,
    /// Colours and bits, in the words of the decoder: `Rgb8`, `L16`.
    pub mode: String,
    /// Does EXIF say that it must be turned or mirrored?
    pub is_turned: bool,
}

impl Stored {
    fn new(format: ImageFormat, mode: &impl fmt::Debug, orientation: Orientation) -> Self {
        let format = format!("{format:?}").to_lowercase();
        Self { format, mode: format!("{mode:?}"), is_turned: orientation != Orientation::NoTransforms }
    }
}

/// Decodes the bytes of a picture file.
///
/// # Errors
/// The reason in words, without the path, which the caller knows.
pub fn decode(bytes: &[u8], color: Color) -> Result<Pixels, String> {
    decode_stored(bytes, color).map(|(pixels, _)| pixels)
}

/// Decodes the bytes of a picture file and says how it was stored.
///
/// # Errors
/// As [`decode`].
pub fn decode_stored(bytes: &[u8], color: Color) -> Result<(Pixels, Stored), String> {
    if bytes.is_empty() {
        return Err("the file is empty (0 bytes)".to_owned());
    }
    // The decoders are meant not to panic, but malformed JPEGs have made zune-jpeg 0.5 do it (etemesi254/zune-image#409).
    let decoded = silent(|| catch_unwind(AssertUnwindSafe(|| decode_inner(bytes, color))));
    decoded.unwrap_or_else(|_| Err("the decoder failed on damaged content".to_owned()))
}

fn decode_inner(bytes: &[u8], color: Color) -> Result<(Pixels, Stored), String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let format = reader.format().ok_or_else(|| format!("the content is no known picture format; it begins with {}", beginning(bytes)))?;
    if format == ImageFormat::Jpeg {
        if let Some(fault) = jpeg_fault(bytes) {
            return Err(fault.to_owned());
        }
        if let Some((picture, orientation)) = decode_jpeg(bytes)? {
            let stored = Stored::new(format, &picture.color(), orientation);
            return Ok((to_pixels(picture, color), stored));
        }
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| in_words(&error))?;
    let (width, height) = decoder.dimensions();
    refuse_bomb(width, height)?;
    let orientation = decoder.orientation().map_err(|error| in_words(&error))?;
    let stored = Stored::new(format, &decoder.original_color_type(), orientation);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| in_words(&error))?;
    picture.apply_orientation(orientation);
    Ok((to_pixels(picture, color), stored))
}

/// What a decoder says, for a person.
fn in_words(error: &ImageError) -> String {
    let text = error.to_string();
    match error {
        ImageError::IoError(inner) if inner.kind() == ErrorKind::UnexpectedEof => {
            "the file is cut off: it ends before the picture does".to_owned()
        }
        ImageError::Decoding(inner) => {
            let format = inner.format_hint().to_string();
            let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
            format!("the file is damaged or no valid {format}: {reason}")
        }
        _ => text,
    }
}

fn refuse_bomb(width: u32, height: u32) -> Result<(), String> {
    if u64::from(width) * u64::from(height) <= MAX_PIXELS {
        return Ok(());
    }
    Err(format!("{width}x{height} pixels are more than {MAX_PIXELS}, which looks like a decompression bomb"))
}

/// A JPEG in grey or colour, upright, and how it was turned for that; `None` for the rarer kinds, which `image` converts.
fn decode_jpeg(bytes: &[u8]) -> Result<Option<(DynamicImage, Orientation)>, String> {
    // As lenient as `image`, whose decoder this is.
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| format!("the JPEG is damaged: {error}"))?;
    let space = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        Some(ColorSpace::YCbCr | ColorSpace::RGB) => ColorSpace::RGB,
        _ => return Ok(None),
    };
    let Some((width, height)) = decoder.dimensions() else { return Ok(None) };
    let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height)) else { return Ok(None) };
    refuse_bomb(width, height)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif)).unwrap_or(Orientation::NoTransforms);
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let levels = decoder.decode().map_err(|error| format!("the JPEG is damaged: {error}"))?;
    let picture = match space {
        ColorSpace::Luma => image::GrayImage::from_raw(width, height, levels).map(DynamicImage::from),
        _ => image::RgbImage::from_raw(width, height, levels).map(DynamicImage::from),
    };
    let mut picture = picture.ok_or_else(|| format!("{width}x{height} pixels were announced and others decoded"))?;
    picture.apply_orientation(orientation);
    Ok(Some((picture, orientation)))
}

fn to_pixels(picture: DynamicImage, color: Color) -> Pixels {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let is_grey = !picture.color().has_color();
    let bytes = match (is_grey, picture.color().has_alpha()) {
        (true, false) => convert_grey(picture.into_luma8().into_raw(), color),
        (true, true) => {
            let blended = picture.into_luma_alpha8().into_raw().chunks_exact(2).map(|pixel| over_white(pixel[0], pixel[1])).collect();
            convert_grey(blended, color)
        }
        (false, false) => convert_rgb(picture.into_rgb8().into_raw(), color),
        (false, true) => {
            let rgba = picture.into_rgba8().into_raw();
            let blended = rgba.chunks_exact(4).flat_map(|pixel| [0, 1, 2].map(|channel| over_white(pixel[channel], pixel[3]))).collect();
            convert_rgb(blended, color)
        }
    };
    Pixels { height, width, channels: color.channels(), bytes }
}

fn convert_grey(grey: Vec<u8>, color: Color) -> Vec<u8> {
    match color {
        Color::Grayscale => grey,
        Color::Rgb => grey.into_iter().flat_map(|level| [level; 3]).collect(),
    }
}

fn convert_rgb(rgb: Vec<u8>, color: Color) -> Vec<u8> {
    match color {
        Color::Rgb => rgb,
        Color::Grayscale => rgb.chunks_exact(3).map(|pixel| luma(pixel[0], pixel[1], pixel[2])).collect(),
    }
}

/// ITU-R 601-2 luma in 16-bit fixed point, as Pillow rounds it.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

fn over_white(level: u8, alpha: u8) -> u8 {
    let (level, alpha) = (u32::from(level), u32::from(alpha));
    ((level * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// What the decoder would pass over without a word: a cut-off JPEG, whose missing rows it fills with grey, and the scans of a
/// baseline JPEG that come one component after the other, whose colours it gets wrong (zune-jpeg 0.5.15).
fn jpeg_fault(bytes: &[u8]) -> Option<&'static str> {
    const CUT_OFF: &str = "the JPEG is cut off: it has no end-of-image marker";
    let mut position = 2;
    let mut baseline_components = None;
    while let Some(offset) = bytes.get(position..).and_then(|rest| rest.iter().position(|byte| *byte == 0xFF)) {
        position += offset + 1;
        match bytes.get(position) {
            None => return Some(CUT_OFF),
            Some(0xD9) => return None,
            // Fill bytes, a stuffed zero, restart markers and others without a length: the scan goes on.
            Some(0xFF) => {}
            Some(0x00 | 0x01 | 0xD0..=0xD8) => position += 1,
            Some(marker) => {
                let Some([high, low]) = bytes.get(position + 1..position + 3) else { return Some(CUT_OFF) };
                match marker {
                    0xC0 | 0xC1 => baseline_components = bytes.get(position + 8),
                    0xDA if baseline_components > bytes.get(position + 3) => {
                        return Some("the JPEG has one scan a colour, which the decoder reads with wrong colours; save the picture again");
                    }
                    _ => {}
                }
                position += 1 + usize::from(u16::from_be_bytes([*high, *low]));
            }
        }
    }
    Some(CUT_OFF)
}

/// The first bytes as a person would read them.
fn beginning(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(16)]))
}

thread_local! {
    static IS_SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` without the message that a panic prints, which would read like a crash of the program.
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
    use super::*;

    /// A 5x3 picture, no two pixels alike, as a file of the format.
    fn file(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).expect("encoded");
        bytes.into_inner()
    }

    fn rgb() -> DynamicImage {
        image::RgbImage::from_fn(5, 3, |x, y| image::Rgb([(x * 50) as u8, (y * 100) as u8, (x * y * 20) as u8])).into()
    }

    #[test]
    fn pixels_keep_rows_columns_and_channels_in_every_lossless_format() {
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::Pnm, ImageFormat::WebP] {
            let pixels = decode(&file(&rgb(), format), Color::Rgb).expect("decoded");
            assert_eq!((pixels.height, pixels.width, pixels.channels), (3, 5, 3));
            assert_eq!(pixels.bytes[(2 * 5 + 4) * 3..][..3], [200, 200, 160], "bottom right, {format:?}");
            assert_eq!(pixels.bytes[4 * 3..][..3], [200, 0, 0], "top right, {format:?}");
        }
    }

    #[test]
    fn depth_alpha_and_colour_become_what_the_table_says() {
        let grey16: DynamicImage = image::ImageBuffer::from_fn(2, 1, |x, _| image::Luma([[0u16, 65535][x as usize]])).into();
        let grey_alpha: DynamicImage = image::ImageBuffer::from_fn(2, 1, |x, _| image::LumaA([100u8, [255, 0][x as usize]])).into();
        let rgba: DynamicImage = image::ImageBuffer::from_fn(2, 1, |x, _| image::Rgba([200u8, 100, 0, [255, 51][x as usize]])).into();
        let cases = [
            (&grey16, Color::Grayscale, vec![0, 255]),
            (&grey16, Color::Rgb, vec![0, 0, 0, 255, 255, 255]),
            (&grey_alpha, Color::Grayscale, vec![100, 255]),
            (&rgba, Color::Rgb, vec![200, 100, 0, 244, 224, 204]),
            (&rgba, Color::Grayscale, vec![118, 228]),
        ];
        for (picture, color, expected) in cases {
            assert_eq!(decode(&file(picture, ImageFormat::Png), color).expect("decoded").bytes, expected, "{:?}", picture.color());
        }
    }

    #[test]
    fn what_is_no_picture_is_an_error_with_a_reason() {
        let jpeg = file(&rgb(), ImageFormat::Jpeg);
        decode(&jpeg, Color::Rgb).expect("whole");
        let png = file(&rgb(), ImageFormat::Png);
        let mut bomb = png.clone();
        bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        for (bytes, expected) in [
            (&b""[..], "empty"),
            (b"a letter, not a picture", "no known picture format; it begins with \"a letter, not a \""),
            (&jpeg[..jpeg.len() - 2], "cut off"),
            (&png[..png.len() / 2], ""),
            (&bomb, ""),
        ] {
            let reason = decode(bytes, Color::Rgb).expect_err("broken");
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn every_prefix_of_a_file_is_an_error_and_never_a_panic() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::Gif] {
            let whole = file(&rgb(), format);
            for length in 0..whole.len() - 2 {
                // A GIF or PNG may be complete before its last chunk; what counts is that nothing panics.
                let result = decode(&whole[..length], Color::Rgb);
                assert!(format != ImageFormat::Jpeg || result.is_err(), "{format:?} cut at {length}");
            }
        }
    }

    #[test]
    fn equal_pixels_have_equal_digests_whatever_the_file() {
        let digest = |picture: &DynamicImage, format| decode(&file(picture, format), Color::Rgb).expect("decoded").digest();
        assert_eq!(digest(&rgb(), ImageFormat::Png), digest(&rgb(), ImageFormat::Bmp));
        assert_ne!(digest(&rgb(), ImageFormat::Png), digest(&rgb().rotate180(), ImageFormat::Png));
    }
}
