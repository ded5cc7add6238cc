//! Reads the layout of the image from its directory: size, samples, and where they are. Refuses
//! what isn't supported before memory is taken.

use crate::{
    Error,
    directory::{Directory, File},
    fax::Coding,
    unpack::Packing,
};

/// Photometric interpretation of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

impl Meaning {
    /// Reads the value of the tag.
    fn of(value: u64) -> Result<Self, Error> {
        Ok(match value {
            0 => Self::WhiteIsZero,
            1 | 4 => Self::BlackIsZero,
            2 => Self::Rgb,
            3 => Self::Palette,
            5 => Self::Cmyk,
            6 => Self::YCbCr,
            8 => return Err(Error::Unsupported("TIFF in CIE L*a*b* colors".into())),
            other => {
                return Err(Error::Unsupported(
                    format!("TIFF of photometric interpretation {other}").into(),
                ));
            }
        })
    }

    /// Returns the number of samples per pixel, without extra ones such as alpha.
    pub(crate) fn samples(self) -> usize {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero | Self::Palette => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk => 4,
        }
    }
}

/// Number format of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// Meaning of the first extra sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpha {
    /// The extra sample isn't alpha, or there is none.
    None,
    /// Alpha; the color isn't multiplied by it.
    Straight,
    /// Alpha by which the color is multiplied.
    Multiplied,
}

/// Compression of strips and tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Jpeg,
    Other(Packing),
}

/// Strips or tiles: rectangles of equal size that may go beyond the edges of the image.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// Rows and columns of a strip or tile.
    pub(crate) size: [usize; 2],
    /// Whether these are tiles, which have all their rows at the lower edge too; the last strip
    /// doesn't.
    pub(crate) are_tiles: bool,
    /// Offset and length of each, in bytes.
    pub(crate) spans: Vec<[u64; 2]>,
}

/// Layout of an image.
pub(crate) struct Layout {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) meaning: Meaning,
    pub(crate) kind: Kind,
    /// Bits per sample.
    pub(crate) bits: usize,
    /// Number of samples per pixel, extra ones included.
    pub(crate) samples: usize,
    pub(crate) alpha: Alpha,
    pub(crate) compression: Compression,
    /// Whether each sample has a plane of its own.
    pub(crate) is_planar: bool,
    /// Whether the bits of each byte are in reverse order.
    pub(crate) is_reversed: bool,
    /// Predictor: 1 for none, 2 for differences of samples, 3 for differences of the bytes of
    /// floats.
    pub(crate) predictor: u64,
    /// Rows and columns of luma samples per chroma sample.
    pub(crate) sampling: [usize; 2],
    pub(crate) parts: Parts,
}

impl Layout {
    /// Reads the layout, with TIFF's defaults for missing tags.
    pub(crate) fn of(file: &File<'_>, directory: &Directory<'_>) -> Result<Self, Error> {
        let number = |tag, usual| directory.number(tag).unwrap_or(usual);
        // The first image of a raw photograph is only a preview.
        let is_preview = number(254, 0) & 1 == 1 && directory.bytes(330).is_some();
        if is_preview || directory.bytes(50706).is_some() || file.bytes.get(8..10) == Some(b"CR") {
            return Err(Error::Unsupported(
                "a raw photograph (DNG, CR2, NEF, ARW)".into(),
            ));
        }
        let side = |tag| {
            directory
                .number(tag)
                .filter(|side| (1..=u64::from(u32::MAX)).contains(side))
                .map(|side| side as usize)
        };
        let (Some(width), Some(height)) = (side(256), side(257)) else {
            return Err(Error::Damaged("its size is missing".into()));
        };
        let meaning = Meaning::of(number(262, 0))?;
        let samples = number(277, 1) as usize;
        let bits = directory.numbers(258).unwrap_or_else(|| vec![1]);
        let [first, ..] = bits[..] else {
            return Err(Error::Damaged("its bits per sample are missing".into()));
        };
        if !bits.iter().all(|bits| *bits == first)
            || !matches!(first, 1 | 2 | 4 | 8 | 12 | 16 | 32 | 64)
        {
            return Err(Error::Unsupported(
                format!("TIFF of {bits:?} bits per sample").into(),
            ));
        }
        let compression = compression(number(259, 1), number(292, 0))?;
        let extra = directory.numbers(338).unwrap_or_default();
        let kind = kind(number(339, 1))?;
        let sampling = match directory.numbers(530).as_deref() {
            _ if meaning != Meaning::YCbCr || compression == Compression::Jpeg => [1, 1],
            Some([across, down, ..]) => [*down as usize, *across as usize],
            _ => [2, 2],
        };
        let layout = Self {
            height,
            width,
            meaning,
            kind,
            bits: first as usize,
            samples,
            alpha: alpha(samples, meaning, &extra),
            compression,
            is_planar: number(284, 1) == 2 && samples > 1,
            is_reversed: number(266, 1) == 2 && compression != Compression::Jpeg,
            predictor: number(317, 1),
            sampling,
            parts: parts(file, directory, [height, width])?,
        };
        layout.check()?;
        Ok(layout)
    }

    /// Checks that the image is of a supported kind and that the values agree with each other.
    fn check(&self) -> Result<(), Error> {
        if !self.has_known_samples() {
            let (kind, bits, meaning) = (self.kind, self.bits, self.meaning);
            return Err(Error::Unsupported(
                format!("TIFF of {bits} bits per sample ({kind:?}, {meaning:?})").into(),
            ));
        }
        let most = self.meaning.samples() + 3;
        if self.samples < self.meaning.samples() || self.samples > most {
            let samples = self.samples;
            return Err(Error::Unsupported(
                format!("TIFF of {samples} samples per pixel ({:?})", self.meaning).into(),
            ));
        }
        let is_subsampled = self.sampling != [1, 1];
        if self
            .sampling
            .iter()
            .any(|factor| ![1, 2, 4].contains(factor))
            || is_subsampled && (self.is_planar || self.samples != 3)
        {
            return Err(Error::Unsupported(
                "TIFF with chroma subsampling by other factors than one, two or four".into(),
            ));
        }
        let is_predicted = match self.predictor {
            1 => true,
            2 => matches!(self.bits, 8 | 16 | 32) && !is_subsampled,
            3 => self.kind == Kind::Float,
            _ => false,
        };
        if !is_predicted {
            return Err(Error::Unsupported(
                format!(
                    "TIFF with predictor {} of {} bits",
                    self.predictor, self.bits
                )
                .into(),
            ));
        }
        if self.compression == Compression::Jpeg && (self.bits != 8 || self.predictor != 1) {
            return Err(Error::Unsupported(
                "TIFF with JPEG data of other than 8 bits".into(),
            ));
        }
        if matches!(self.compression, Compression::Other(Packing::Fax(_)))
            && (self.bits != 1 || self.samples != 1)
        {
            return Err(Error::Damaged(
                "a facsimile has more than one bit per pixel".into(),
            ));
        }
        let planes = if self.is_planar { self.samples } else { 1 };
        if self.parts.spans.len() < self.num_parts().iter().product::<usize>() * planes {
            return Err(Error::Damaged(
                "it has fewer strips or tiles than its size needs".into(),
            ));
        }
        Ok(())
    }

    /// Whether samples of this number format and length are read for this meaning.
    fn has_known_samples(&self) -> bool {
        let is_gray = matches!(self.meaning, Meaning::WhiteIsZero | Meaning::BlackIsZero);
        match (self.kind, self.bits) {
            (Kind::Unsigned, 8) => true,
            (Kind::Unsigned, 16) => !matches!(self.meaning, Meaning::Palette | Meaning::YCbCr),
            (Kind::Unsigned, 1 | 2 | 4) => is_gray || self.meaning == Meaning::Palette,
            (Kind::Unsigned, 12 | 32) | (Kind::Signed, 8 | 16 | 32) | (Kind::Float, 64) => is_gray,
            (Kind::Float, 32) => is_gray || self.meaning == Meaning::Rgb,
            _ => false,
        }
    }

    /// Returns the number of rows and columns of strips or tiles.
    pub(crate) fn num_parts(&self) -> [usize; 2] {
        [
            self.height.div_ceil(self.parts.size[0]),
            self.width.div_ceil(self.parts.size[1]),
        ]
    }

    /// Returns the number of samples per pixel in one plane.
    pub(crate) fn samples_a_plane(&self) -> usize {
        if self.is_planar { 1 } else { self.samples }
    }

    /// Returns the number of samples per pixel that are decoded: color, and alpha if there is one.
    pub(crate) fn kept(&self) -> usize {
        self.meaning.samples() + usize::from(self.alpha != Alpha::None)
    }

    /// Returns the number of stored rows of the strip or tile that begins with row `first`. The
    /// last rows of a tile may be beyond the image.
    pub(crate) fn written_rows(&self, first: usize) -> usize {
        if self.parts.are_tiles {
            self.parts.size[0]
        } else {
            self.parts.size[0].min(self.height - first)
        }
    }

    /// Returns the number of bytes of `rows` unpacked rows of a strip or tile.
    pub(crate) fn bytes_of(&self, rows: usize) -> u64 {
        let (rows, width) = (rows as u64, self.parts.size[1] as u64);
        if self.sampling != [1, 1] {
            let [down, across] = self.sampling.map(|factor| factor as u64);
            return rows
                .div_ceil(down)
                .saturating_mul(width.div_ceil(across))
                .saturating_mul(down * across + 2);
        }
        rows.saturating_mul(
            width
                .saturating_mul((self.samples_a_plane() * self.bits) as u64)
                .div_ceil(8),
        )
    }
}

/// Returns the compression of a number. `options` are those of Group 3.
fn compression(number: u64, options: u64) -> Result<Compression, Error> {
    Ok(match number {
        1 => Compression::Other(Packing::Plain),
        2 => Compression::Other(Packing::Fax(Coding::Rows)),
        3 if options & 1 == 0 => Compression::Other(Packing::Fax(Coding::Group3)),
        4 => Compression::Other(Packing::Fax(Coding::Group4)),
        5 => Compression::Other(Packing::Lzw),
        7 => Compression::Jpeg,
        8 | 32946 => Compression::Other(Packing::Deflate),
        32773 => Compression::Other(Packing::PackBits),
        3 => {
            return Err(Error::Unsupported(
                "TIFF with two-dimensional Group 3 facsimile data".into(),
            ));
        }
        6 => {
            return Err(Error::Unsupported("TIFF with old-style JPEG data".into()));
        }
        34925 => return Err(Error::Unsupported("TIFF with LZMA data".into())),
        50000 => return Err(Error::Unsupported("TIFF with Zstandard data".into())),
        50001 => return Err(Error::Unsupported("TIFF with WebP data".into())),
        other => {
            return Err(Error::Unsupported(
                format!("TIFF with compression {other}").into(),
            ));
        }
    })
}

/// Returns the number format of a tag's value; undefined ones count as unsigned.
fn kind(number: u64) -> Result<Kind, Error> {
    match number {
        1 | 4 => Ok(Kind::Unsigned),
        2 => Ok(Kind::Signed),
        3 => Ok(Kind::Float),
        other => Err(Error::Unsupported(
            format!("TIFF of sample format {other}").into(),
        )),
    }
}

/// Returns the meaning of the first extra sample. A file that doesn't say what it is has alpha.
fn alpha(samples: usize, meaning: Meaning, extra: &[u64]) -> Alpha {
    match extra.first() {
        _ if samples <= meaning.samples() || matches!(meaning, Meaning::Cmyk | Meaning::YCbCr) => {
            Alpha::None
        }
        Some(1) => Alpha::Multiplied,
        Some(2 | 999) | None => Alpha::Straight,
        Some(_) => Alpha::None,
    }
}

/// Reads size and places of the strips or tiles.
fn parts(
    file: &File<'_>,
    directory: &Directory<'_>,
    [height, width]: [usize; 2],
) -> Result<Parts, Error> {
    let side = |tag| {
        directory
            .number(tag)
            .filter(|side| (1..=u64::from(u32::MAX)).contains(side))
            .map(|side| side as usize)
    };
    let are_tiles = directory.bytes(324).is_some();
    let (size, offsets, counts) = if are_tiles {
        let (Some(width), Some(height)) = (side(322), side(323)) else {
            return Err(Error::Damaged("the size of its tiles is missing".into()));
        };
        (
            [height, width],
            directory.numbers(324),
            directory.numbers(325),
        )
    } else {
        (
            [side(278).unwrap_or(height).min(height), width],
            directory.numbers(273),
            directory.numbers(279),
        )
    };
    let offsets = offsets.ok_or(Error::Damaged(
        "the positions of its pixels are missing".into(),
    ))?;
    // If lengths are missing, each ends with the file at the latest.
    let spans = offsets.iter().enumerate().map(|(index, offset)| {
        let rest = (file.bytes.len() as u64).saturating_sub(*offset);
        [
            *offset,
            counts
                .as_ref()
                .map_or(Some(&rest), |counts| counts.get(index))
                .copied()
                .unwrap_or(0),
        ]
    });
    Ok(Parts {
        size,
        are_tiles,
        spans: spans.collect(),
    })
}
