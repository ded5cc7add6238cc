//! File bytes in, upright 8-bit pixels in the wanted colours out, or the reason why not. Never a panic.
//!
//! | found | becomes |
//! |---|---|
//! | EXIF orientation | applied |
//! | 16 bits a channel | the upper 8 (65535 is 255) |
//! | palette, 1, 2 and 4 bits | their colours at 8 bits |
//! | alpha | blended over white |
//! | CMYK and YCCK JPEG | RGB, as Pillow's `convert("RGB")` |
//! | three equal channels | one |
//! | colour where grey is wanted | ITU-R 601 luma, as Pillow's `convert("L")` |
//! | an animation | its first frame |
//!
//! JPEGs have libjpeg-turbo's levels, and so Pillow's and Keras's, to the last one (`crates/jpeg-pixels`).

use std::{
    cell::Cell,
    fmt,
    io::{Cursor, ErrorKind},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, metadata::Orientation};
use jpeg_pixels::Jpeg;

use crate::config::Color;

/// More pixels than this are taken for a decompression bomb (Pillow's limit for an error).
const MAX_PIXELS: u64 = 178_956_970;

/// What a decoder may allocate beside the picture itself.
const MAX_DECODER_BYTES: u64 = 1 << 30;

/// An upright 8-bit picture, rows first, channels interleaved: `[height, width, channels]`. Grey has one channel, whatever its file had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1, or 3 where colour is wanted and there is some.
    pub channels: usize,
    /// `height * width * channels` bytes.
    pub bytes: Vec<u8>,
}

impl Pixels {
    /// BLAKE3 over shape and bytes: equal pictures have equal digests whatever file format they came in, and grey ones whatever colours are
    /// wanted.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new();
        for side in [self.height, self.width, self.channels] {
            hash.update(&(side as u64).to_le_bytes());
        }
        hash.update(&self.bytes);
        hash.finalize().into()
    }

    /// As bytes with the channels of these colours.
    pub fn into_color(self, color: Color) -> Vec<u8> {
        if self.channels == color.channels() {
            return self.bytes;
        }
        let mut copies = vec![0; self.bytes.len() * 3];
        copies.as_chunks_mut::<3>().0.iter_mut().zip(self.bytes).for_each(|(copies, level)| *copies = [level; 3]);
        copies
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
    // The decoders are meant not to panic; where one does all the same, it costs one picture.
    let decoded = silent(|| catch_unwind(AssertUnwindSafe(|| decode_inner(bytes, color))));
    let decoded = decoded.unwrap_or_else(|_| Err("the decoder failed on damaged content".to_owned()))?;
    if decoded.0.bytes.is_empty() { Err("the picture has no pixels".to_owned()) } else { Ok(decoded) }
}

fn decode_inner(bytes: &[u8], color: Color) -> Result<(Pixels, Stored), String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let format = reader.format().ok_or_else(|| format!("the content is no known picture format; it begins with {}", beginning(bytes)))?;
    if format == ImageFormat::Jpeg {
        return decode_jpeg(bytes, color);
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
    Ok((of_picture(picture, color), stored))
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

fn decode_jpeg(bytes: &[u8], color: Color) -> Result<(Pixels, Stored), String> {
    let jpeg = Jpeg::open(bytes).map_err(|error| error.to_string())?;
    // Sixteen bits each.
    let [height, width] = jpeg.size().map(|side| side as u32);
    refuse_bomb(width, height)?;
    let orientation = jpeg.exif().and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    let mode = match jpeg.num_components() {
        1 => "L8",
        3 => "Rgb8",
        _ => "Cmyk8",
    };
    let stored = Stored { format: "jpeg".to_owned(), mode: mode.to_owned(), is_turned: orientation != Orientation::NoTransforms };
    let jpeg_pixels::Pixels { height, width, channels, bytes } = jpeg.decode().map_err(|error| error.to_string())?;
    if orientation == Orientation::NoTransforms {
        return Ok((to_pixels([height, width, channels], bytes, color), stored));
    }
    let [high, wide] = [height, width].map(|side| side as u32);
    let picture = match channels {
        1 => image::GrayImage::from_raw(wide, high, bytes).map(DynamicImage::from),
        _ => image::RgbImage::from_raw(wide, high, bytes).map(DynamicImage::from),
    };
    let mut picture = picture.ok_or_else(|| format!("{width}x{height} pixels were announced and others decoded"))?;
    picture.apply_orientation(orientation);
    Ok((of_picture(picture, color), stored))
}

fn of_picture(picture: DynamicImage, color: Color) -> Pixels {
    let [height, width] = [picture.height() as usize, picture.width() as usize];
    let (channels, bytes) = match (picture.color().has_color(), picture.color().has_alpha()) {
        (false, false) => (1, picture.into_luma8().into_raw()),
        (false, true) => {
            let levels = picture.into_luma_alpha8().into_raw();
            (1, levels.chunks_exact(2).map(|pixel| over_white(pixel[0], pixel[1])).collect())
        }
        (true, false) => (3, picture.into_rgb8().into_raw()),
        (true, true) => {
            let levels = picture.into_rgba8().into_raw();
            let blended = levels.chunks_exact(4).flat_map(|pixel| [0, 1, 2].map(|channel| over_white(pixel[channel], pixel[3])));
            (3, blended.collect())
        }
    };
    to_pixels([height, width, channels], bytes, color)
}

/// Grey pictures and those that are wanted in grey with one channel.
fn to_pixels([height, width, channels]: [usize; 3], bytes: Vec<u8>, color: Color) -> Pixels {
    if channels == 1 {
        return Pixels { height, width, channels, bytes };
    }
    let pixels = bytes.as_chunks::<3>().0;
    // A row at a time, so that what has colour is soon known to.
    let is_grey = pixels.chunks(width).all(|row| row.iter().fold(true, |all, [red, green, blue]| all & (red == green) & (green == blue)));
    let bytes = match color {
        _ if is_grey => pixels.iter().map(|pixel| pixel[0]).collect(),
        Color::Grayscale => pixels.iter().map(|[red, green, blue]| luma(*red, *green, *blue)).collect(),
        Color::Rgb => return Pixels { height, width, channels, bytes },
    };
    Pixels { height, width, channels: 1, bytes }
}

/// ITU-R 601-2 luma in 16-bit fixed point, as Pillow rounds it.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

fn over_white(level: u8, alpha: u8) -> u8 {
    let (level, alpha) = (u32::from(level), u32::from(alpha));
    ((level * alpha + 255 * (255 - alpha) + 127) / 255) as u8
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
            let pixels = decode(&file(picture, ImageFormat::Png), color).expect("decoded");
            assert_eq!(pixels.into_color(color), expected, "{:?}", picture.color());
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

    #[test]
    fn grey_is_one_channel_whatever_the_file_and_the_wanted_colours() {
        let grey = rgb().to_luma8();
        let in_three: DynamicImage = DynamicImage::from(grey.clone()).to_rgb8().into();
        let mut all = Vec::new();
        for (picture, format) in
            [(&DynamicImage::from(grey.clone()), ImageFormat::Png), (&in_three, ImageFormat::Png), (&in_three, ImageFormat::Bmp)]
        {
            all.extend([Color::Rgb, Color::Grayscale].map(|color| decode(&file(picture, format), color).expect("decoded")));
        }
        assert!(all.iter().all(|pixels| pixels.channels == 1 && pixels.bytes == *grey.as_raw()), "{all:?}");
        assert_eq!(all[0].clone().into_color(Color::Rgb)[6..9], [grey.as_raw()[2]; 3]);
        // One pixel with a colour, in the last row.
        let mut spotted = in_three.to_rgb8();
        spotted.put_pixel(4, 2, image::Rgb([1, 1, 2]));
        assert_eq!(decode(&file(&spotted.into(), ImageFormat::Png), Color::Rgb).expect("decoded").channels, 3);
    }
}
