//! Decodes BMP, PNM and WebP through the `image` crate.

use std::io::Cursor;

use image::{
    ImageDecoder, ImageFormat,
    codecs::{bmp::BmpDecoder, pnm::PnmDecoder, webp::WebPDecoder},
    metadata::Orientation,
};

use super::{Decoded, Stored, Wanted, all_samples, exif, in_words, refuse_size, samples};
use crate::data::pixels::memory::Room;

/// Decodes a file of one of the three formats. PNM and BMP are bounded by the size of the file: a
/// byte of a PNM holds eight pixels at most.
///
/// # Errors
/// Returns the reason if the file can't be decoded.
pub(super) fn decode(
    bytes: &[u8],
    format: ImageFormat,
    wanted: Wanted,
    room: &mut Room<'_>,
) -> Result<Decoded, String> {
    let file = Cursor::new(bytes);
    match format {
        ImageFormat::WebP => {
            // A WebP of one color takes next to no bits per pixel, so only the budget bounds it.
            // The decoder holds a frame and its canvas, four bytes per pixel each.
            let decoder = WebPDecoder::new(file).map_err(|error| in_words(&error))?;
            finish(decoder, [u64::MAX, 8], bytes, format, wanted, room)
        }
        ImageFormat::Pnm => finish(
            PnmDecoder::new(file).map_err(|error| in_words(&error))?,
            [8, 0],
            bytes,
            format,
            wanted,
            room,
        ),
        _ => {
            let decoder = if is_headerless(bytes) {
                BmpDecoder::new_without_file_header(file)
            } else {
                BmpDecoder::new(file)
            };
            // In a run-length encoded bitmap, two bytes end a row of any length: this allows empty
            // rows of 8,192 pixels.
            finish(
                decoder.map_err(|error| in_words(&error))?,
                [4096, 0],
                bytes,
                format,
                wanted,
                room,
            )
        }
    }
}

/// Decodes with a decoder whose files hold at most `most` pixels per byte, and which takes `inner`
/// bytes per pixel in addition to its samples.
fn finish(
    decoder: impl ImageDecoder,
    [most, inner]: [u64; 2],
    bytes: &[u8],
    format: ImageFormat,
    wanted: Wanted,
    room: &mut Room<'_>,
) -> Result<Decoded, String> {
    let (width, height) = decoder.dimensions();
    refuse_size([height.into(), width.into()], bytes, most)?;
    let orientation = if format == ImageFormat::WebP {
        in_riff(bytes).map(exif::orientation)
    } else {
        None
    };
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let (kind, size) = (decoder.color_type(), [height as usize, width as usize]);
    let beside = (u64::from(width) * u64::from(height)).saturating_mul(inner);
    room.need(
        samples::memory(size, kind.bytes_per_pixel().into(), orientation).saturating_add(beside),
    )?;
    let stored = Stored::new(
        format,
        format!("{:?}", decoder.original_color_type()),
        orientation,
    );
    let samples = all_samples(decoder).map_err(|error| in_words(&error))?;
    Ok(Decoded {
        pixels: samples::of_image(kind, size, samples, orientation, wanted.color),
        stored,
        damage: None,
    })
}

/// Returns whether the bytes are a bitmap without the file header, as Windows keeps them in memory:
/// a known header length, one plane, and a known number of bits.
pub(super) fn is_headerless(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk::<16>() else {
        return false;
    };
    let number = |at: usize, length: usize| {
        head[at..at + length]
            .iter()
            .rev()
            .fold(0u32, |value, byte| value << 8 | u32::from(*byte))
    };
    match number(0, 4) {
        12 => number(8, 2) == 1 && matches!(number(10, 2), 1 | 4 | 8 | 24),
        40 | 52 | 56 | 64 | 108 | 124 => {
            number(12, 2) == 1 && matches!(number(14, 2), 1 | 2 | 4 | 8 | 16 | 24 | 32)
        }
        _ => false,
    }
}

/// Returns the EXIF data of a WebP file.
fn in_riff(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(12..)?;
    loop {
        let (head, data) = rest.split_first_chunk::<8>()?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if &head[..4] == b"EXIF" {
            return Some(&data[..length.min(data.len())]);
        }
        // RIFF pads chunks to an even length.
        rest = data.get(length.checked_next_multiple_of(2)?..)?;
    }
}
