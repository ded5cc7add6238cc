//! Decodes the first frame of a GIF on its canvas, as Pillow shows it: the rest of the canvas is
//! transparent, or has the palette's first color if the frame has no transparency.

use std::io::Cursor;

use gif::{ColorOutput, DecodeOptions, DecodingError};
use image::{ImageFormat, metadata::Orientation};

use super::{Decoded, Stored, Wanted, refuse_size, samples};
use crate::data::pixels::memory::Room;

/// A code of at most 12 bits stands for at most 4,096 pixels.
const MOST_PIXELS_A_BYTE: u64 = 2731;

/// Decodes the first frame.
///
/// # Errors
/// Returns the reason if the file can't be decoded.
pub(super) fn decode(bytes: &[u8], wanted: Wanted, room: &mut Room<'_>) -> Result<Decoded, String> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let mut decoder = options
        .read_info(Cursor::new(bytes))
        .map_err(|error| in_words(&error))?;
    let canvas = [decoder.height(), decoder.width()].map(usize::from);
    let frame = decoder
        .next_frame_info()
        .map_err(|error| in_words(&error))?
        .ok_or("the file has no frame")?;
    let [top, left, height, width] =
        [frame.top, frame.left, frame.height, frame.width].map(usize::from);
    let (transparent, has_local) = (frame.transparent, frame.palette.is_some());
    // A frame that exceeds its canvas enlarges it.
    let size = [canvas[0].max(top + height), canvas[1].max(left + width)];
    refuse_size(size.map(|side| side as u64), bytes, MOST_PIXELS_A_BYTE)?;
    let channels = if transparent.is_some() { 4 } else { 3 };
    room.need(
        (height * width) as u64 + samples::memory(size, channels, Orientation::NoTransforms),
    )?;
    let mut indices = vec![0; height * width];
    decoder
        .read_into_buffer(&mut indices)
        .map_err(|error| in_words(&error))?;
    let palette = if has_local {
        decoder.palette().ok()
    } else {
        decoder.global_palette()
    };
    let palette = palette.ok_or("the file has no palette")?.as_chunks::<3>().0;
    let colors = colors_of(palette, transparent);
    let around = &colors[usize::from(transparent.unwrap_or(0))][..channels];
    let mut levels = around.repeat(size[0] * size[1]);
    for (row, line) in indices.chunks_exact(width.max(1)).enumerate() {
        let target = &mut levels[((top + row) * size[1] + left) * channels..][..width * channels];
        target
            .chunks_exact_mut(channels)
            .zip(line)
            .for_each(|(pixel, index)| {
                pixel.copy_from_slice(&colors[usize::from(*index)][..channels])
            });
    }
    let stored = Stored::new(
        ImageFormat::Gif,
        "Rgba8".to_owned(),
        Orientation::NoTransforms,
    );
    let pixels = samples::upright(
        [size[0], size[1], channels],
        levels,
        Orientation::NoTransforms,
        wanted.color,
    );
    Ok(Decoded {
        pixels,
        stored,
        damage: None,
    })
}

/// Returns the color and opacity of each index.
fn colors_of(palette: &[[u8; 3]], transparent: Option<u8>) -> [[u8; 4]; 256] {
    std::array::from_fn(|index| {
        // Indices beyond the palette are black.
        let [red, green, blue] = palette.get(index).copied().unwrap_or_default();
        let is_clear = transparent == Some(index as u8);
        [red, green, blue, if is_clear { 0 } else { 255 }]
    })
}

/// Describes an error of the decoder.
fn in_words(error: &DecodingError) -> String {
    match error {
        DecodingError::Io(inner) if inner.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file is cut off: it ends before the image does".to_owned()
        }
        _ => format!("the file is damaged or not a valid Gif: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::{config::Color, data::pixels::decode::decode};

    /// A canvas of 6x5 pixels with a frame of 3x2 at column 2 and row 1.
    fn file(transparent: Option<u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder =
            gif::Encoder::new(&mut bytes, 6, 5, &[10, 20, 30, 200, 100, 50, 0, 0, 255])
                .expect("memory");
        let frame = gif::Frame {
            left: 2,
            top: 1,
            width: 3,
            height: 2,
            transparent,
            buffer: vec![1, 2, 1, 2, 1, 0].into(),
            ..gif::Frame::default()
        };
        encoder.write_frame(&frame).expect("memory");
        drop(encoder);
        bytes
    }

    #[test]
    fn a_frame_stands_in_its_place_on_the_first_color_or_on_nothing() {
        for (transparent, around, first) in [
            (None, [10, 20, 30], [200, 100, 50]),
            (Some(1), [255; 3], [255; 3]),
        ] {
            let pixels = decode(&file(transparent), Color::Rgb).expect("decoded");
            assert_eq!((pixels.height, pixels.width, pixels.channels), (5, 6, 3));
            let pixel = |row: usize, column: usize| &pixels.bytes[(row * 6 + column) * 3..][..3];
            assert_eq!(
                (pixel(0, 0), pixel(1, 2), pixel(1, 3), pixel(2, 4)),
                (&around[..], &first[..], &[0, 0, 255][..], &[10, 20, 30][..])
            );
        }
    }

    #[test]
    fn a_canvas_that_its_file_cannot_fill_is_refused() {
        let mut bytes = file(None);
        bytes[6..10].copy_from_slice(&[0x3A, 0x34, 0x3A, 0x34]);
        let reason = decode(&bytes, Color::Rgb).expect_err("a bomb");
        assert!(
            reason.contains("13370x13370 pixels don't fit into"),
            "{reason}"
        );
    }
}
