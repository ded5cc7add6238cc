//! Decodes PNG through the `image` crate, and files that lack only their end row by row.

use std::io::Cursor;

use image::{
    ColorType, ImageDecoder, ImageError, ImageFormat, Limits, codecs::png::PngDecoder,
    metadata::Orientation,
};

use png::InterlaceInfo;

use super::{Decoded, Stored, Wanted, all_samples, exif, in_words, refuse_size, samples};
use crate::data::pixels::memory::Room;

/// Deflate makes at most 1,032 bytes of one, each with at most eight pixels.
const MOST_PIXELS_A_BYTE: u64 = 8 * 1032;

/// Bytes that the decoder may take in addition to the pixels, for rows and the color profile. Text
/// chunks are bounded by the file.
const MOST_BESIDE: u64 = 16 << 20;

/// Decodes a file; one with all of its pixels and a missing end is reported as damaged.
///
/// # Errors
/// Returns the reason if the file can't be decoded.
pub(super) fn decode(bytes: &[u8], wanted: Wanted, room: &mut Room<'_>) -> Result<Decoded, String> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_BESIDE + bytes.len() as u64);
    let mut decoder =
        PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(|error| in_words(&error))?;
    let (width, height) = decoder.dimensions();
    refuse_size([height.into(), width.into()], bytes, MOST_PIXELS_A_BYTE)?;
    let (kind, size) = (decoder.color_type(), [height as usize, width as usize]);
    let exif = decoder.exif_metadata().map_err(|error| in_words(&error))?;
    let orientation = exif.map_or(Orientation::NoTransforms, |exif| exif::orientation(&exif));
    let stored = Stored::new(
        ImageFormat::Png,
        format!("{:?}", decoder.original_color_type()),
        orientation,
    );
    room.need(samples::memory(
        size,
        kind.bytes_per_pixel().into(),
        orientation,
    ))?;
    let (samples, damage) = match all_samples(decoder) {
        Ok(samples) => (samples, None),
        Err(error) => {
            let words = in_words(&error);
            // An I/O error is the end of the file; damaged data give other errors.
            let samples =
                without_end(bytes, kind).filter(|_| matches!(error, ImageError::IoError(_)));
            (
                samples.ok_or(words)?,
                Some("its end is missing; all of its pixels are there".to_owned()),
            )
        }
    };
    Ok(Decoded {
        pixels: samples::of_image(kind, size, samples, orientation, wanted.color),
        stored,
        damage,
    })
}

/// Returns the samples of a file that ends after them, or `None` if some are missing.
fn without_end(bytes: &[u8], kind: ColorType) -> Option<Vec<u8>> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().ok()?;
    let (height, width, is_interlaced) = (
        reader.info().height as usize,
        reader.info().width as usize,
        reader.info().interlaced,
    );
    let bits = 8 * kind.bytes_per_pixel();
    let stride = width * usize::from(kind.bytes_per_pixel());
    let mut samples = vec![0; height * stride];
    let num_rows = if is_interlaced {
        interlaced_rows([height, width])
    } else {
        height
    };
    for row in 0..num_rows {
        let line = reader.next_interlaced_row().ok()??;
        match line.interlace() {
            InterlaceInfo::Adam7(info) => {
                png::expand_interlaced_row(&mut samples, stride, line.data(), info, bits)
            }
            InterlaceInfo::Null(_) => {
                samples[row * stride..][..stride].copy_from_slice(line.data())
            }
        }
    }
    if usize::from(kind.bytes_per_pixel()) > usize::from(kind.channel_count()) {
        // The `png` crate gives 16-bit samples in the file's order, `image` in the machine's.
        samples
            .as_chunks_mut::<2>()
            .0
            .iter_mut()
            .for_each(|sample| *sample = u16::from_be_bytes(*sample).to_ne_bytes());
    }
    Some(samples)
}

/// Returns the number of rows of the seven passes of an interlaced image (Adam7). Passes without
/// columns have no rows.
fn interlaced_rows([height, width]: [usize; 2]) -> usize {
    // First row, step of rows, first column.
    let passes = [
        [0, 8, 0],
        [0, 8, 4],
        [4, 8, 0],
        [0, 4, 2],
        [2, 4, 0],
        [0, 2, 1],
        [1, 2, 0],
    ];
    passes
        .iter()
        .filter(|[.., column]| *column < width)
        .map(|[first, step, _]| height.saturating_sub(*first).div_ceil(*step))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Color,
        data::pixels::decode::{decode, decode_in},
    };

    fn file(color: png::ColorType, depth: png::BitDepth) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 13, 9);
        encoder.set_color(color);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().expect("memory");
        let length = (13 * color.samples() * depth as usize).div_ceil(8) * 9;
        writer
            .write_image_data(
                &(0..length)
                    .map(|at| (at * 37 % 251) as u8)
                    .collect::<Vec<_>>(),
            )
            .expect("memory");
        writer.finish().expect("memory");
        bytes
    }

    #[test]
    fn a_file_that_ends_behind_its_pixels_is_read_and_one_that_ends_among_them_is_not() {
        for (color, depth) in [
            (png::ColorType::Rgb, png::BitDepth::Eight),
            (png::ColorType::Grayscale, png::BitDepth::Sixteen),
        ] {
            let whole = file(color, depth);
            let expected = decode(&whole, Color::Rgb).expect("whole");
            let data_end = whole.len() - 12;
            // Without the end, without the checksum of the data, and cut off in the end chunk.
            for length in [data_end, data_end - 4, data_end - 2, data_end + 7] {
                let found = decode_in(
                    &whole[..length],
                    Wanted {
                        color: Color::Rgb,
                        repair: false,
                    },
                    &mut Room::open(),
                )
                .expect("all pixels");
                assert_eq!(found.pixels, expected, "{length}");
                assert!(
                    found
                        .damage
                        .is_some_and(|damage| damage.contains("its end is missing"))
                );
            }
            let reason = decode(&whole[..data_end - 40], Color::Rgb).expect_err("rows are missing");
            assert!(reason.contains("cut off"), "{reason}");
        }
    }

    #[test]
    fn rows_of_interlaced_images_are_counted_as_the_decoder_gives_them() {
        for (size, rows) in [
            ([1, 1], 1),
            ([8, 8], 15),
            ([9, 13], 19),
            ([5, 2], 8),
            ([3, 1], 3),
        ] {
            assert_eq!(interlaced_rows(size), rows, "{size:?}");
        }
    }
}
