//! Decodes the formats that browsers don't decode to the same levels, or not at all.

use std::io::Cursor;

use jpeg_pixels::Jpeg;
use tiff_pixels::Tiff;

use crate::upright::{Pixels, orientation, upright};

/// Bytes of memory that an image may take: WebAssembly has four gigabytes in all.
const MOST_MEMORY: u64 = 2 << 30;

/// Decodes a file to upright pixels with 1 or 3 channels, `wanted` at most.
///
/// # Errors
/// Returns the reason if the file is damaged, of another format, or too large.
pub(crate) fn decode(file: &[u8], wanted: usize) -> Result<Pixels, String> {
    match file {
        [0xFF, 0xD8, ..] => jpeg(file, wanted),
        [0x89, b'P', b'N', b'G', ..] => png(file, wanted),
        [b'I', b'I', ..] | [b'M', b'M', ..] => tiff(file, wanted),
        _ => Err("the content isn't an image of a known format".to_owned()),
    }
}

fn jpeg(file: &[u8], wanted: usize) -> Result<Pixels, String> {
    let jpeg = Jpeg::open(file).map_err(|error| error.to_string())?;
    let size = jpeg.size();
    refuse_large(size, jpeg.memory(false))?;
    let pixels = size.map(|side| side as u64).iter().product::<u64>();
    if pixels > jpeg_pixels::MOST_PIXELS_A_BYTE.saturating_mul(file.len() as u64) {
        return Err("the file is cut off: it is too short for its size in pixels".to_owned());
    }
    let orientation = jpeg.exif().map_or(1, orientation);
    let found = jpeg.decode().map_err(|error| error.to_string())?.pixels;
    let shape = [found.height, found.width, found.channels];
    Ok(upright(shape, found.bytes, orientation, wanted))
}

fn png(file: &[u8], wanted: usize) -> Result<Pixels, String> {
    let mut decoder = png::Decoder::new(Cursor::new(file));
    // Palettes as their colors, and of 16 bits the upper 8.
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let size = [reader.info().height, reader.info().width].map(|side| side as usize);
    let channels = reader.output_color_type().0.samples();
    let length = reader.output_buffer_size().unwrap_or(usize::MAX);
    refuse_large(size, 2 * length as u64)?;
    let orientation = reader
        .info()
        .exif_metadata
        .as_deref()
        .map_or(1, orientation);
    let mut samples = vec![0; length];
    reader
        .next_frame(&mut samples)
        .map_err(|error| error.to_string())?;
    Ok(upright(
        [size[0], size[1], channels],
        samples,
        orientation,
        wanted,
    ))
}

fn tiff(file: &[u8], wanted: usize) -> Result<Pixels, String> {
    let tiff = Tiff::open(file).map_err(|error| error.to_string())?;
    let [height, width] = tiff.size();
    refuse_large(
        [height, width],
        tiff.memory().map_err(|error| error.to_string())?,
    )?;
    let found = tiff.decode().map_err(|error| error.to_string())?;
    let orientation = u8::try_from(tiff.orientation()).unwrap_or(1);
    Ok(upright(
        [height, width, found.channels],
        found.bytes,
        orientation,
        wanted,
    ))
}

fn refuse_large([height, width]: [usize; 2], memory: u64) -> Result<(), String> {
    if height == 0 || width == 0 {
        return Err("the image has no pixels".to_owned());
    }
    if memory > MOST_MEMORY {
        return Err(format!(
            "{width}x{height} pixels take {} MB to decode, and a page has {} MB for it",
            memory >> 20,
            MOST_MEMORY >> 20
        ));
    }
    Ok(())
}
