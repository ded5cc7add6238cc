//! The headers before the compressed data: size, components and tables.

use crate::{
    Error,
    block::{Group, LANES, ZIGZAG},
    codes::{huffman::Huffman, standard_tables},
};

/// A frame (T.81, B.2.2).
pub(crate) struct Frame {
    pub(crate) is_progressive: bool,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) components: Vec<Component>,
    /// Largest vertical and horizontal sampling factor of the components.
    pub(crate) most: [usize; 2],
    /// Rows and columns of units (MCUs) in scans of several components.
    pub(crate) units: [usize; 2],
    /// Number of scans begun.
    pub(crate) num_scans: usize,
    /// Last row of units for which the last scan of a damaged file had data.
    pub(crate) last_good: usize,
}

/// A component.
pub(crate) struct Component {
    pub(crate) id: u8,
    /// Sampling factors: the vertical and horizontal number of blocks in a unit.
    pub(crate) sampling: [usize; 2],
    /// Index of the quantization table.
    table: usize,
    /// Quantization factors, `[row][column]`, from the component's first scan on.
    pub(crate) factors: Option<[i16; 64]>,
    /// Rows and columns of samples inside the image.
    pub(crate) size: [usize; 2],
    /// Rows and columns of blocks, in whole units.
    pub(crate) blocks: [usize; 2],
    /// Known bits of each coefficient in a progressive frame.
    pub(crate) known: Known,
    /// Coefficients of one row of units, or of the whole component.
    pub(crate) coefficients: Vec<Group>,
    /// DC coefficient of the previous block.
    pub(crate) prediction: i32,
    /// Samples, [`Self::stride`] per row; empty while all of them would be 128.
    pub(crate) plane: Vec<u8>,
}

/// For each coefficient in zigzag order, the number of low bits that are not known yet; -1 if no
/// scan had the coefficient.
#[derive(Clone)]
pub(crate) struct Known {
    /// After the scans begun so far.
    pub(crate) now: [i8; 64],
    /// Before the last scan of the component; zeros if that was the first scan of the file.
    pub(crate) before: [i8; 64],
}

impl Known {
    /// Records that a scan of the coefficients `places` begins, which leaves `shift` low bits to
    /// later scans. `is_first` says that it is the first scan of the file.
    pub(crate) fn begin(&mut self, places: [usize; 2], shift: u32, is_first: bool) {
        self.before = if is_first { [0; 64] } else { self.now };
        self.now[places[0]..=places[1]].fill(shift as i8);
    }
}

impl Component {
    /// Describes a component before any scan, without a size yet.
    fn new(id: u8, sampling: [usize; 2], table: usize) -> Self {
        Self {
            id,
            sampling,
            table,
            factors: None,
            size: [0; 2],
            blocks: [0; 2],
            known: Known {
                now: [-1; 64],
                before: [0; 64],
            },
            coefficients: Vec::new(),
            prediction: 0,
            plane: Vec::new(),
        }
    }

    /// Returns the number of groups of blocks in a row.
    pub(crate) fn groups(&self) -> usize {
        self.blocks[1].div_ceil(LANES)
    }

    /// Returns the number of samples in a row of the plane.
    pub(crate) fn stride(&self) -> usize {
        self.groups() * LANES * 8
    }

    /// Whether all coefficients transformed so far are zero.
    pub(crate) fn is_blank(&self) -> bool {
        self.plane.is_empty()
    }

    /// Returns the samples of a row that are inside the image.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        &self.plane[row * self.stride()..][..self.size[1]]
    }

    /// Returns the rows and columns of blocks with samples inside the image.
    pub(crate) fn own_blocks(&self) -> [usize; 2] {
        self.size.map(|side| side.div_ceil(8))
    }

    /// Allocates zeroed coefficients for `rows` rows of blocks.
    pub(crate) fn make_room(&mut self, rows: usize) {
        self.coefficients = vec![[0; 64 * LANES]; rows * self.groups()];
    }
}

impl Frame {
    /// Reads a frame header from its marker and segment.
    pub(crate) fn new(marker: u8, segment: &[u8]) -> Result<Self, Error> {
        let is_progressive = is_progressive(marker)?;
        let [precision, h1, h0, w1, w0, count, components @ ..] = segment else {
            return Err(Error::Damaged("its frame header is too short"));
        };
        let [height, width] =
            [[*h1, *h0], [*w1, *w0]].map(|bytes| usize::from(u16::from_be_bytes(bytes)));
        if *precision != 8 {
            return Err(Error::Unsupported("JPEG with other than 8 bits per sample"));
        }
        if height == 0 {
            return Err(Error::Unsupported(
                "JPEG whose height is given after its data",
            ));
        }
        if width == 0 {
            return Err(Error::Damaged("it is zero pixels wide"));
        }
        if ![1, 3, 4].contains(count) {
            return Err(Error::Unsupported(
                "JPEG with other than one, three or four components",
            ));
        }
        let (listed, rest) = components.as_chunks::<3>();
        if listed.len() != usize::from(*count) || !rest.is_empty() {
            return Err(Error::Damaged(
                "the length of its frame header doesn't match its components",
            ));
        }
        let mut frame = Self {
            is_progressive,
            height,
            width,
            components: Vec::new(),
            most: [1; 2],
            units: [0; 2],
            num_scans: 0,
            last_good: 0,
        };
        for [id, sampling, table] in listed {
            // A single component has the size of the image, whatever its sampling factors.
            let sampling = if *count == 1 {
                [1, 1]
            } else {
                [usize::from(sampling & 15), usize::from(sampling >> 4)]
            };
            if sampling.iter().any(|factor| !(1..=4).contains(factor)) || *table > 3 {
                return Err(Error::Damaged(
                    "a component has a sampling factor or table that doesn't exist",
                ));
            }
            frame.most = [0, 1].map(|axis| frame.most[axis].max(sampling[axis]));
            let component = Component::new(*id, sampling, usize::from(*table));
            frame.components.push(component);
        }
        frame.lay_out()?;
        Ok(frame)
    }

    /// Gives the components their sizes, once all sampling factors are known.
    fn lay_out(&mut self) -> Result<(), Error> {
        let (size, most) = ([self.height, self.width], self.most);
        self.units = [0, 1].map(|axis| size[axis].div_ceil(8 * most[axis]));
        for component in &mut self.components {
            component.size =
                [0, 1].map(|axis| (size[axis] * component.sampling[axis]).div_ceil(most[axis]));
            component.blocks = [0, 1].map(|axis| self.units[axis] * component.sampling[axis]);
            if (0..2).any(|axis| most[axis] % component.sampling[axis] != 0) {
                return Err(Error::Unsupported("JPEG with fractional sampling ratios"));
            }
        }
        Ok(())
    }
}

/// Whether the frame with this marker is progressive rather than sequential; an error if it is of
/// another kind.
fn is_progressive(marker: u8) -> Result<bool, Error> {
    match marker {
        0xC0 | 0xC1 => Ok(false),
        0xC2 => Ok(true),
        0xC3 | 0xC7 | 0xCB | 0xCF => Err(Error::Unsupported("lossless JPEG")),
        0xC9 | 0xCA => Err(Error::Unsupported("JPEG with arithmetic codes")),
        _ => Err(Error::Unsupported("hierarchical JPEG")),
    }
}

/// Tables that may be redefined between scans.
#[derive(Default)]
pub(crate) struct Tables {
    factors: [Option<[i16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// Number of units between two restarts; 0 without restarts.
    pub(crate) restart_interval: usize,
}

impl Tables {
    /// Reads quantization tables (DQT, B.2.4.1).
    pub(crate) fn read_factors(&mut self, mut segment: &[u8]) -> Result<(), Error> {
        const SHORT: Error = Error::Damaged("a quantization table is cut off");
        while let [head, rest @ ..] = segment {
            let width = if head >> 4 == 0 { 1 } else { 2 };
            let Some((values, rest)) = rest.split_at_checked(64 * width) else {
                return Err(SHORT);
            };
            let slot = self
                .factors
                .get_mut(usize::from(head & 15))
                .ok_or(Error::Damaged("a quantization table has a number above 3"))?;
            let mut factors = [0; 64];
            for (value, place) in values.chunks_exact(width).zip(ZIGZAG) {
                let value = value
                    .iter()
                    .fold(0u16, |value, byte| value << 8 | u16::from(*byte));
                factors[usize::from(place)] = value as i16;
            }
            *slot = Some(factors);
            segment = rest;
        }
        Ok(())
    }

    /// Reads Huffman tables (DHT, B.2.4.2).
    pub(crate) fn read_codes(&mut self, mut segment: &[u8]) -> Result<(), Error> {
        while let [head, rest @ ..] = segment {
            let Some((counts, rest)) = rest.split_first_chunk::<16>() else {
                return Err(Error::Damaged("a Huffman table is cut off"));
            };
            let count = counts.iter().map(|count| usize::from(*count)).sum();
            if count > 256 {
                return Err(Error::Damaged("a Huffman table has more than 256 codes"));
            }
            let Some((symbols, rest)) = rest.split_at_checked(count) else {
                return Err(Error::Damaged("a Huffman table is cut off"));
            };
            let of_kind = match head >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(Error::Damaged("a Huffman table has an unknown class")),
            };
            let slot = of_kind
                .get_mut(usize::from(head & 15))
                .ok_or(Error::Damaged("a Huffman table has a number above 3"))?;
            *slot = Some(Huffman::new(counts, symbols)?);
            segment = rest;
        }
        Ok(())
    }

    /// Reads the restart interval (DRI, B.2.4.4).
    pub(crate) fn read_restart(&mut self, segment: &[u8]) -> Result<(), Error> {
        let bytes = segment
            .try_into()
            .map_err(|_| Error::Damaged("its restart interval isn't two bytes long"))?;
        self.restart_interval = usize::from(u16::from_be_bytes(bytes));
        Ok(())
    }

    /// Returns a Huffman table for DC coefficients.
    pub(crate) fn dc(&self, slot: u8) -> Result<&Huffman, Error> {
        codes(&self.dc, &*standard_tables::DC, slot)
    }

    /// Returns a Huffman table for AC coefficients.
    pub(crate) fn ac(&self, slot: u8) -> Result<&Huffman, Error> {
        codes(&self.ac, &*standard_tables::AC, slot)
    }

    /// Gives a component the current quantization table, unless an earlier scan has.
    pub(crate) fn settle(&self, component: &mut Component) -> Result<(), Error> {
        if component.factors.is_none() {
            component.factors = self.factors[component.table];
        }
        component
            .factors
            .map(|_| ())
            .ok_or(Error::Damaged("a quantization table is missing"))
    }
}

/// Returns the file's table of this number, or the standard one if the file has none.
fn codes<'a>(
    told: &'a [Option<Huffman>],
    standard: &'static [Option<Huffman>],
    slot: u8,
) -> Result<&'a Huffman, Error> {
    let of = |tables: &'a [Option<Huffman>]| tables.get(usize::from(slot)).and_then(Option::as_ref);
    of(told)
        .or_else(|| of(standard))
        .ok_or(Error::Damaged("a Huffman table is missing"))
}
