//! JPEG files in, the pixels out that libjpeg-turbo makes of them, level for level, which is what Pillow, OpenCV and so Keras read.
//!
//! | what (ITU-T T.81) | |
//! |---|---|
//! | baseline, extended and progressive frames with Huffman codes and 8 bits a level | read |
//! | one component (grey), three (colours) or four (inks), sampled in whole ratios; one scan or many; restarts | read |
//! | arithmetic codes, lossless and hierarchical frames, 12 bits | [`Error::Unsupported`] |
//! | data that end too early, codes and coefficients that can't be | an error, never a half-grey picture |
//!
//! Pictures without any colour in them come out with one channel, and as fast: their colour differences are never transformed. No
//! unsafe code: plain loops over sixteen blocks at a time, compiled once for each instruction set.

#![forbid(unsafe_code)]

mod bits;
mod block;
mod color;
mod frame;
mod huffman;
mod idct;
mod markers;
mod progressive;
mod scan;
mod sequential;
mod usual;

use std::fmt;

use color::{Colors, Row, Space};
use frame::{Frame, Tables};
use isa::Isa;
use markers::{END_OF_IMAGE, Markers, START_OF_IMAGE, START_OF_SCAN, Segment};

/// Why a file can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It ends before its end marker.
    CutOff,
    /// What is wrong with it.
    Damaged(&'static str),
    /// A valid file of a kind that isn't read here.
    Unsupported(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("the JPEG is cut off: it has no end-of-image marker"),
            Self::Damaged(what) => write!(f, "the JPEG is damaged: {what}"),
            Self::Unsupported(kind) => write!(f, "{kind} can't be read; save the picture again as a usual JPEG or as PNG"),
        }
    }
}

impl std::error::Error for Error {}

/// A picture, rows first, channels interleaved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 3: red, green and blue. 1: grey, of which red, green and blue are three copies.
    pub channels: usize,
    /// `height * width * channels` levels.
    pub bytes: Vec<u8>,
}

/// A file whose headers are read, up to the compressed data.
pub struct Jpeg<'a> {
    markers: Markers<'a>,
    frame: Frame,
    tables: Tables,
    /// The header of the first scan.
    scan: &'a [u8],
    has_jfif: bool,
    /// What Adobe's segment says of the colours: 0 for none, 1 for YCbCr.
    adobe: Option<u8>,
    exif: Option<&'a [u8]>,
}

impl fmt::Debug for Jpeg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jpeg").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl<'a> Jpeg<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    /// What is no JPEG, a damaged one, or of a kind that isn't read here.
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
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => frame = Some(Frame::new(marker, bytes)?),
                0xE0 => has_jfif |= bytes.starts_with(b"JFIF\0"),
                0xE1 => exif = exif.or(bytes.strip_prefix(b"Exif\0\0")),
                0xEE if bytes.starts_with(b"Adobe") => adobe = adobe.or(bytes.get(11).copied()),
                START_OF_SCAN => {
                    let frame = frame.ok_or(Error::Damaged("a scan comes before the frame header"))?;
                    return Ok(Self { markers, frame, tables, scan: bytes, has_jfif, adobe, exif });
                }
                END_OF_IMAGE => return Err(Error::Damaged("it ends before any picture")),
                _ => tables_of(&mut tables, marker, bytes)?,
            }
        }
    }

    /// Height and width of the picture as it is stored.
    pub fn size(&self) -> [usize; 2] {
        [self.frame.height, self.frame.width]
    }

    /// Of one component: grey; of three: colours; of four: inks.
    pub fn num_components(&self) -> usize {
        self.frame.components.len()
    }

    /// The EXIF data, from the byte order mark on.
    pub fn exif(&self) -> Option<&'a [u8]> {
        self.exif
    }

    /// Decodes the picture as it is stored, without what EXIF says of its orientation. Takes twice its pixels in memory, and a
    /// progressive one five times.
    ///
    /// # Errors
    /// A file that is damaged or cut off.
    pub fn decode(mut self) -> Result<Pixels, Error> {
        scan::read(&mut self.frame, &self.tables, self.scan, &mut self.markers)?;
        loop {
            let Segment { marker, bytes } = self.markers.next()?;
            match marker {
                START_OF_SCAN => scan::read(&mut self.frame, &self.tables, bytes, &mut self.markers)?,
                END_OF_IMAGE => break,
                0xDC => return Err(Error::Unsupported("JPEG whose height is told behind its data")),
                _ => tables_of(&mut self.tables, marker, bytes)?,
            }
        }
        scan::finish(&mut self.frame)?;
        let (height, width) = (self.frame.height, self.frame.width);
        if self.is_grey() {
            return Ok(Pixels { height, width, channels: 1, bytes: self.luma() });
        }
        let mut pixels = vec![0; height * width * 3];
        Isa::best().run(Colors { frame: &self.frame, space: self.space(), pixels: &mut pixels });
        Ok(Pixels { height, width, channels: 3, bytes: pixels })
    }

    /// One component, or no colour in the others.
    fn is_grey(&self) -> bool {
        let is_blank = self.frame.components[1..].iter().all(|component| component.is_blank());
        self.num_components() == 1 || is_blank && self.space() == Space::YCbCr
    }

    /// libjpeg's guess.
    fn space(&self) -> Space {
        let ids: Vec<u8> = self.frame.components.iter().map(|component| component.id).collect();
        match self.adobe {
            None | Some(0) if self.num_components() == 4 => Space::Cmyk,
            Some(_) if self.num_components() == 4 => Space::Ycck,
            _ if self.has_jfif => Space::YCbCr,
            Some(0) => Space::Rgb,
            None if ids == *b"RGB" => Space::Rgb,
            _ => Space::YCbCr,
        }
    }

    fn luma(&mut self) -> Vec<u8> {
        let (height, width) = (self.frame.height, self.frame.width);
        let is_exact = self.frame.components[0].sampling == self.frame.most && !self.frame.components[0].is_blank();
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

/// What may stand before each scan; what tells nothing of the pixels is passed over.
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
