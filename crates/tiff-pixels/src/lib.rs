//! Decodes the first image of a TIFF file (TIFF 6.0 and BigTIFF) to 8-bit pixel values, those that
//! Pillow's `convert` gives.
//!
//! - Container: classic TIFF and BigTIFF, both byte orders and both bit orders; strips and tiles,
//!   with samples interleaved or in planes.
//! - Compression: none, PackBits, LZW, Deflate, JPEG, CCITT Group 3 (one-dimensional) and Group 4;
//!   predictors 2 and 3.
//! - Gray of 1, 2, 4, 8, 12 and 16 bits, palettes, RGB and CMYK of 8 and 16 bits, and YCbCr with or
//!   without subsampling; with alpha, except for CMYK and YCbCr. The upper 8 bits of samples of 12
//!   and 16 bits are taken.
//! - Gray of 32 bits, of 16 signed bits, and floats of 32 and 64 bits: values are clipped to 0 to
//!   255.
//! - RGB in 32-bit floats: values are clipped to 0 to 1 and scaled.
//! - CIELAB, old-style JPEG, Zstandard, LZMA, WebP and raw photographs are [`Error::Unsupported`].
//!
//! Nothing is allocated before it is known that the file can hold it.

#![forbid(unsafe_code)]

mod color;
mod directory;
mod error;
mod exif;
mod fax;
mod layout;
mod levels;
mod unpack;

use std::{borrow::Cow, fmt};

pub use error::Error;
pub use exif::exif_orientation;

use directory::{Directory, File};
use jpeg_pixels::Jpeg;
use layout::{Compression, Layout, Meaning};

/// A decoded image, row by row with interleaved channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Number of channels: 1 for gray, 2 for gray and alpha, 3 for red, green and blue, 4 for these
    /// and alpha.
    pub channels: usize,
    /// The `height * width * channels` values.
    pub bytes: Vec<u8>,
}

/// A TIFF file whose first directory has been read.
pub struct Tiff<'a> {
    file: File<'a>,
    directory: Directory<'a>,
    layout: Layout,
}

impl fmt::Debug for Tiff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiff")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl<'a> Tiff<'a> {
    /// Reads the first directory.
    ///
    /// # Errors
    /// Returns an error if the bytes are not a TIFF, the directory is damaged or cut off, or the
    /// image is of an unsupported kind.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let (file, at) = File::open(bytes)?;
        let directory = Directory::read(file, at)?;
        let layout = Layout::of(&file, &directory)?;
        Ok(Self {
            file,
            directory,
            layout,
        })
    }

    /// Returns the height and width of the image as it is stored, before any rotation.
    pub fn size(&self) -> [usize; 2] {
        [self.layout.height, self.layout.width]
    }

    /// Returns the orientation as EXIF numbers it; 1 if the file has none.
    pub fn orientation(&self) -> u64 {
        self.directory.number(274).unwrap_or(1)
    }

    /// Returns the color mode and the bits per sample, such as `Rgb8`; floats end in `F`.
    pub fn mode(&self) -> String {
        let name = match (self.layout.meaning, self.layout.kept()) {
            (Meaning::WhiteIsZero | Meaning::BlackIsZero, 1) => "L",
            (Meaning::WhiteIsZero | Meaning::BlackIsZero, _) => "La",
            (Meaning::Palette, _) => "Palette",
            (Meaning::Rgb, 3) => "Rgb",
            (Meaning::Rgb, _) => "Rgba",
            (Meaning::Cmyk, _) => "Cmyk",
            (Meaning::YCbCr, _) => "YCbCr",
        };
        let kind = if self.layout.kind == layout::Kind::Float {
            "F"
        } else {
            ""
        };
        format!("{name}{}{kind}", self.layout.bits)
    }

    /// Returns the maximum number of bytes that [`Self::decode`] takes.
    ///
    /// # Errors
    /// Returns an error if the file is too short to hold the image.
    pub fn memory(&self) -> Result<u64, Error> {
        let layout = &self.layout;
        let pixels = (layout.height as u64).saturating_mul(layout.width as u64);
        let planes = if layout.is_planar {
            layout.samples as u64
        } else {
            1
        };
        let [down, across] = layout.num_parts().map(|count| count as u64);
        // The last strip ends with the image, where tiles go on.
        let rows = if layout.parts.are_tiles {
            down * layout.parts.size[0] as u64
        } else {
            layout.height as u64
        };
        let unpacked = layout
            .bytes_of(rows as usize)
            .saturating_mul(across)
            .saturating_mul(planes);
        let row_bytes = layout.bytes_of(1);
        let most = match layout.compression {
            // At least one bit per block of 64 samples.
            Compression::Jpeg => 512 * layout.samples as u64,
            Compression::Other(packing) => packing.most_from_a_byte(row_bytes),
        };
        if unpacked > most.saturating_mul(self.file.bytes.len() as u64) {
            let [height, width] = self.size();
            return Err(Error::Damaged(
                format!(
                    "{width}x{height} pixels don't fit into {} bytes",
                    self.file.bytes.len()
                )
                .into(),
            ));
        }
        let part = layout.bytes_of(layout.parts.size[0]);
        // A JPEG takes six times its samples to decode. The four bytes per pixel below leave room
        // for the colors of a palette beside its indices.
        let part = if layout.compression == Compression::Jpeg {
            part.saturating_mul(6)
        } else {
            part.saturating_mul(2)
        };
        Ok(part.saturating_add(pixels.saturating_mul(layout.kept() as u64 + 4)))
    }

    /// Decodes the image as it is stored, without applying its orientation.
    ///
    /// # Errors
    /// Returns an error if the file is damaged or cut off.
    pub fn decode(&self) -> Result<Pixels, Error> {
        self.memory()?;
        let layout = &self.layout;
        let kept = layout.kept();
        let mut samples = vec![0; layout.height * layout.width * kept];
        let [down, across] = layout.num_parts();
        let planes = if layout.is_planar { kept } else { 1 };
        for plane in 0..planes {
            for index in 0..down * across {
                let span = layout.parts.spans[plane * down * across + index];
                let corner = [
                    index / across * layout.parts.size[0],
                    index % across * layout.parts.size[1],
                ];
                let part = self.part(span, corner[0])?;
                place(&part, layout, plane, corner, &mut samples);
            }
        }
        // The JPEG decoder has converted YCbCr already.
        let is_colored =
            layout.compression == Compression::Jpeg && layout.meaning == Meaning::YCbCr;
        let (channels, bytes) = if is_colored {
            (3, samples)
        } else {
            color::colored(samples, layout, &self.directory)?
        };
        Ok(Pixels { channels, bytes })
    }

    /// Returns the content of a strip or tile: unpacked rows, or 8-bit samples if it is a JPEG.
    fn part(&self, [at, length]: [u64; 2], first_row: usize) -> Result<Vec<u8>, Error> {
        let layout = &self.layout;
        let rows = layout.written_rows(first_row);
        let mut packed = Cow::Borrowed(self.file.span(
            at,
            length.min((self.file.bytes.len() as u64).saturating_sub(at)),
        )?);
        match layout.compression {
            Compression::Jpeg => self.jpeg(&packed, rows),
            Compression::Other(packing) => {
                if layout.is_reversed {
                    packed
                        .to_mut()
                        .iter_mut()
                        .for_each(|byte| *byte = byte.reverse_bits());
                }
                let mut bytes = packing.unpack(
                    &packed,
                    layout.bytes_of(rows) as usize,
                    layout.parts.size[1],
                )?;
                if layout.sampling == [1, 1] {
                    levels::settle(&mut bytes, layout, self.file.is_little_endian);
                }
                Ok(bytes)
            }
        }
    }

    /// Decodes a JPEG part, with the tables that all parts share.
    fn jpeg(&self, part: &[u8], rows: usize) -> Result<Vec<u8>, Error> {
        let damaged = |error: jpeg_pixels::Error| match error {
            jpeg_pixels::Error::Unsupported(kind) => {
                Error::Unsupported(format!("TIFF with {kind} inside").into())
            }
            error => Error::Damaged(error.to_string().into()),
        };
        let tables = self.directory.bytes(347).unwrap_or_default();
        let tables = tables.strip_suffix(&[0xFF, 0xD9]).unwrap_or(tables);
        let whole = if tables.is_empty() {
            part.to_vec()
        } else {
            [tables, part.get(2..).unwrap_or_default()].concat()
        };
        let jpeg = Jpeg::open(&whole).map_err(damaged)?;
        let [height, width] = jpeg.size();
        if width != self.layout.parts.size[1]
            || !(rows..=self.layout.parts.size[0]).contains(&height)
        {
            return Err(Error::Damaged(
                "the size of its JPEG data differs from that of their strip or tile".into(),
            ));
        }
        let samples = self.layout.samples_a_plane();
        if jpeg.num_components() != samples {
            return Err(Error::Damaged(
                "JPEG data have another number of components than the pixels".into(),
            ));
        }
        let is_converted = self.layout.meaning == Meaning::YCbCr && samples == 3;
        let decoded = if is_converted {
            jpeg.decode()
        } else {
            jpeg.decode_components()
        }
        .map_err(damaged)?
        .pixels;
        if decoded.channels == samples {
            return Ok(decoded.bytes);
        }
        // The decoder returns one channel for an image without color.
        Ok(decoded.bytes.iter().flat_map(|level| [*level; 3]).collect())
    }
}

/// Copies a strip or tile to its place among the samples of the image.
fn place(part: &[u8], layout: &Layout, plane: usize, [top, left]: [usize; 2], samples: &mut [u8]) {
    let (kept, from) = (layout.kept(), layout.samples_a_plane());
    let columns = layout.parts.size[1].min(layout.width - left);
    let rows = layout.written_rows(top).min(layout.height - top);
    let is_plain = layout.compression != Compression::Jpeg;
    let row_bytes = if is_plain {
        layout.bytes_of(1) as usize
    } else {
        layout.parts.size[1] * from
    };
    let mut line = Vec::new();
    for row in 0..rows {
        match () {
            () if layout.sampling != [1, 1] => levels::spread(part, layout, row, &mut line),
            () if is_plain => {
                levels::unpacked(&part[row * row_bytes..][..row_bytes], layout, &mut line)
            }
            () => {
                line.clear();
                line.extend_from_slice(&part[row * row_bytes..][..row_bytes]);
            }
        }
        let target = &mut samples[((top + row) * layout.width + left) * kept..][..columns * kept];
        if layout.is_planar {
            target
                .chunks_exact_mut(kept)
                .zip(&line)
                .for_each(|(pixel, sample)| pixel[plane] = *sample);
        } else {
            target
                .chunks_exact_mut(kept)
                .zip(line.chunks_exact(from))
                .for_each(|(pixel, found)| pixel.copy_from_slice(&found[..kept]));
        }
    }
}
