//! Decodes JPEG files (ITU-T T.81) to exactly the pixel values of libjpeg-turbo, with which Pillow,
//! OpenCV and thus Keras read.
//!
//! - Baseline, extended and progressive frames with Huffman codes and 8 bits per sample are read:
//!   one component (gray), three (color) or four (CMYK), subsampled in whole ratios, in one scan or
//!   many, with restarts.
//! - Arithmetic codes, lossless and hierarchical frames and 12 bits are [`Error::Unsupported`].
//! - Data that end too early and impossible codes or coefficients are an error, never a half-gray
//!   image. [`Jpeg::repair`] decodes what libjpeg does.
//! - A missing end-of-image marker after a whole image is reported with the image.
//! - What a progressive image lacks because its later scans are missing is estimated from the
//!   blocks around, as libjpeg does.
//!
//! An image without color is decoded to one channel, and its chroma is never transformed. No unsafe
//! code: plain loops over sixteen blocks at a time, compiled once per instruction set (`isa`).

#![forbid(unsafe_code)]

mod block;
mod codes;
mod color;
mod error;
mod frame;
mod markers;
mod repair;
mod scan;
mod smooth;
mod transform;

use std::fmt;

pub use error::Error;
pub use scan::MOST_SCANS;

use color::{Colors, Row, Space};
use frame::{Frame, Tables};
use isa::Isa;
use markers::{END_OF_IMAGE, Markers, START_OF_IMAGE, START_OF_SCAN, Segment};
use repair::Stream;

/// Maximum number of pixels per byte of a file: each block of 64 pixels takes at least one bit.
pub const MOST_PIXELS_A_BYTE: u64 = 512;

/// An image, row by row with interleaved channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// 3 for red, green and blue; 1 for gray, which is the value of all three. From
    /// [`Jpeg::decode_components`], the number of components.
    pub channels: usize,
    /// The `height * width * channels` values.
    pub bytes: Vec<u8>,
}

/// A decoded image, and whether its file was complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The whole image.
    pub pixels: Pixels,
    /// Whether there is an end-of-image marker. The image is whole without it as well.
    pub has_end: bool,
}

/// A JPEG file whose headers have been read, up to the compressed data.
pub struct Jpeg<'a> {
    markers: Markers<'a>,
    frame: Frame,
    tables: Tables,
    /// Header of the first scan.
    scan: &'a [u8],
    has_jfif: bool,
    /// Color transform in Adobe's segment: 0 for none, 1 for YCbCr, 2 for YCCK.
    adobe: Option<u8>,
    exif: Option<&'a [u8]>,
}

impl fmt::Debug for Jpeg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jpeg")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl<'a> Jpeg<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    /// Returns an error if the bytes are not a JPEG, the headers are damaged or cut off, or the
    /// file is of an unsupported kind.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut markers = Markers::new(bytes);
        if bytes.get(..2) != Some(&[0xFF, START_OF_IMAGE]) {
            return Err(Error::Damaged("it doesn't begin as a JPEG does"));
        }
        let mut tables = Tables::default();
        let (mut frame, mut has_jfif, mut adobe, mut exif) = (None, false, None, None);
        loop {
            let Segment { marker, bytes } = markers.next()?;
            match marker {
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF if frame.is_some() => {
                    return Err(Error::Damaged("it has two frame headers"));
                }
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                    frame = Some(Frame::new(marker, bytes)?)
                }
                // As in libjpeg: shorter segments of these names are ignored, and the last Adobe
                // segment counts.
                0xE0 => has_jfif |= bytes.starts_with(b"JFIF\0") && bytes.len() >= 14,
                0xE1 => exif = exif.or(bytes.strip_prefix(b"Exif\0\0")),
                0xEE if bytes.starts_with(b"Adobe") => adobe = bytes.get(11).copied().or(adobe),
                START_OF_SCAN => {
                    let frame =
                        frame.ok_or(Error::Damaged("a scan comes before the frame header"))?;
                    return Ok(Self {
                        markers,
                        frame,
                        tables,
                        scan: bytes,
                        has_jfif,
                        adobe,
                        exif,
                    });
                }
                END_OF_IMAGE => return Err(Error::Damaged("it ends before any image")),
                _ => tables_of(&mut tables, marker, bytes)?,
            }
        }
    }

    /// Returns the height and width of the image as it is stored, before any rotation by EXIF.
    pub fn size(&self) -> [usize; 2] {
        [self.frame.height, self.frame.width]
    }

    /// Returns the number of components: 1 for gray, 3 for color, 4 for CMYK or YCCK.
    pub fn num_components(&self) -> usize {
        self.frame.components.len()
    }

    /// Returns the EXIF data, starting with the byte order mark.
    pub fn exif(&self) -> Option<&'a [u8]> {
        self.exif
    }

    /// Decodes the image as it is stored, without applying the orientation in EXIF. Takes at most
    /// [`Self::memory`] bytes.
    ///
    /// # Errors
    /// Returns an error if the file is damaged, cut off or of an unsupported kind.
    pub fn decode(mut self) -> Result<Decoded, Error> {
        let has_end = self.read_scans()?;
        Ok(Decoded {
            pixels: self.colored(),
            has_end,
        })
    }

    /// Decodes the components without color conversion, one channel each.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_components(mut self) -> Result<Decoded, Error> {
        let has_end = self.read_scans()?;
        let (height, width, channels) =
            (self.frame.height, self.frame.width, self.num_components());
        let mut bytes = vec![0; height * width * channels];
        let mut rows: Vec<Row<'_>> = self
            .frame
            .components
            .iter()
            .map(|component| Row::new(component, &self.frame))
            .collect();
        for (row, line) in bytes.chunks_exact_mut(width * channels).enumerate() {
            for (channel, rows) in rows.iter_mut().enumerate() {
                line[channel..]
                    .iter_mut()
                    .step_by(channels)
                    .zip(rows.levels(row))
                    .for_each(|(to, level)| *to = *level);
            }
        }
        Ok(Decoded {
            pixels: Pixels {
                height,
                width,
                channels,
                bytes,
            },
            has_end,
        })
    }

    /// Decodes all scans into the planes. Returns false if the end-of-image marker is missing.
    fn read_scans(&mut self) -> Result<bool, Error> {
        scan::read(&mut self.frame, &self.tables, self.scan, &mut self.markers)?;
        let has_end = loop {
            match self.markers.next() {
                Ok(Segment {
                    marker: START_OF_SCAN,
                    bytes,
                }) => scan::read(&mut self.frame, &self.tables, bytes, &mut self.markers)?,
                Ok(Segment {
                    marker: END_OF_IMAGE,
                    ..
                }) => break true,
                Ok(Segment { marker: 0xDC, .. }) => {
                    return Err(Error::Unsupported(
                        "JPEG whose height is given after its data",
                    ));
                }
                Ok(Segment { marker, bytes }) => tables_of(&mut self.tables, marker, bytes)?,
                Err(Error::CutOff) if scan::are_whole(&self.frame) => break false,
                Err(error) => return Err(error),
            }
        };
        scan::finish(&mut self.frame)?;
        Ok(has_end)
    }

    /// Returns the maximum number of bytes that decoding takes, the pixels included:
    /// [`Self::repair`] if `is_damaged`, which takes more, else [`Self::decode`].
    pub fn memory(&self, is_damaged: bool) -> u64 {
        let plane =
            |component: &frame::Component| (component.blocks[0] * 8 * component.stride()) as u64;
        let planes: u64 = self.frame.components.iter().map(plane).sum();
        let pixels = (self.frame.height * self.frame.width * self.num_components().min(3)) as u64;
        let in_scan = self.scan.first().map_or(0, |count| usize::from(*count));
        let waits = is_damaged || self.frame.is_progressive || in_scan < self.num_components();
        // Coefficients take two bytes each and are kept until the planes are complete. They are
        // freed before the pixels are allocated.
        planes
            + if waits {
                (2 * planes).max(pixels)
            } else {
                pixels
            }
    }

    /// Decodes a file that [`Self::decode`] finds damaged as far as possible, and leaves the rest
    /// gray. The pixel values are exactly those of libjpeg-turbo.
    ///
    /// # Errors
    /// Returns an error if libjpeg doesn't read the file either.
    pub fn repair(mut self) -> Result<Pixels, Error> {
        let mut segment = self.scan;
        // What follows a sequential scan of all components doesn't change the image.
        let is_single = !self.frame.is_progressive
            && segment.first().map(|count| usize::from(*count)) == Some(self.num_components());
        loop {
            let mut stream = Stream::new(self.markers.bytes(), self.markers.position());
            repair::read(&mut self.frame, &self.tables, segment, &mut stream)?;
            self.markers = Markers::from(self.markers.bytes(), stream.position());
            match if is_single { None } else { self.next_scan()? } {
                Some(next) => segment = next,
                None => break,
            }
        }
        repair::finish(&mut self.frame);
        Ok(self.colored())
    }

    /// Returns the header of the next scan of a damaged file, if there is one.
    fn next_scan(&mut self) -> Result<Option<&'a [u8]>, Error> {
        while let Ok(marker) = self.markers.next_marker() {
            let is_known =
                matches!(marker, 0xC4 | 0xDB..=0xDD | 0xE0..=0xEF | 0xFE | START_OF_SCAN);
            match self.markers.segment_of(marker) {
                Ok(Segment {
                    marker: END_OF_IMAGE,
                    ..
                }) => break,
                _ if !is_known => return Err(Error::Damaged("it has a marker that doesn't exist")),
                Ok(Segment {
                    marker: START_OF_SCAN,
                    bytes,
                }) => return Ok(Some(bytes)),
                Ok(Segment { marker, bytes }) => tables_of(&mut self.tables, marker, bytes)?,
                Err(Error::CutOff) if marker >= 0xE0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Converts the planes to pixels.
    fn colored(mut self) -> Pixels {
        let (height, width) = (self.frame.height, self.frame.width);
        if self.is_gray() {
            return Pixels {
                height,
                width,
                channels: 1,
                bytes: self.luma(),
            };
        }
        let mut pixels = vec![0; height * width * 3];
        Isa::best().run(Colors {
            frame: &self.frame,
            space: self.space(),
            pixels: &mut pixels,
        });
        Pixels {
            height,
            width,
            channels: 3,
            bytes: pixels,
        }
    }

    /// Whether the image has one component, or chroma that is zero everywhere.
    fn is_gray(&self) -> bool {
        let is_blank = self.frame.components[1..]
            .iter()
            .all(|component| component.is_blank());
        self.num_components() == 1 || is_blank && self.space() == Space::YCbCr
    }

    /// Returns the color space, by libjpeg's rules: from the JFIF segment, Adobe's segment or the
    /// names of the components.
    fn space(&self) -> Space {
        let ids: Vec<u8> = self
            .frame
            .components
            .iter()
            .map(|component| component.id)
            .collect();
        match self.adobe {
            None | Some(0) if self.num_components() == 4 => Space::Cmyk,
            Some(_) if self.num_components() == 4 => Space::Ycck,
            _ if self.has_jfif => Space::YCbCr,
            Some(0) => Space::Rgb,
            None if ids == *b"RGB" => Space::Rgb,
            _ => Space::YCbCr,
        }
    }

    /// Returns the first component at the size of the image.
    fn luma(&mut self) -> Vec<u8> {
        let (height, width) = (self.frame.height, self.frame.width);
        let is_exact = self.frame.components[0].sampling == self.frame.most
            && !self.frame.components[0].is_blank();
        // Rows without padding: the plane is the image and needn't be copied.
        if is_exact && self.frame.components[0].stride() == width {
            let mut plane = std::mem::take(&mut self.frame.components[0].plane);
            plane.truncate(height * width);
            return plane;
        }
        let mut luma = Vec::with_capacity(height * width);
        let mut rows = Row::new(&self.frame.components[0], &self.frame);
        (0..height).for_each(|row| luma.extend_from_slice(rows.levels(row)));
        luma
    }
}

/// Reads a segment that may come before a scan. Segments without effect on the pixels are skipped.
fn tables_of(tables: &mut Tables, marker: u8, bytes: &[u8]) -> Result<(), Error> {
    match marker {
        0xC4 => tables.read_codes(bytes),
        0xCC => Err(Error::Unsupported("JPEG with arithmetic codes")),
        0xDB => tables.read_factors(bytes),
        0xDD => tables.read_restart(bytes),
        0xDE | 0xDF => Err(Error::Unsupported("hierarchical JPEG")),
        _ => Ok(()),
    }
}
