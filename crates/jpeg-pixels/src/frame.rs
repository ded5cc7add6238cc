//! What a file says of its image before the compressed data: size, components, tables.

use crate::{
    Error,
    huffman::Huffman,
    idct::{Group, LANES},
    usual,
};

/// Where the coefficient of each place of a scan stands: `row * 8 + column` (T.81, figure A.6).
#[rustfmt::skip]
pub(crate) const ZIGZAG: [u8; 64] = [
    0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
   12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
   35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
   58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The frame (T.81, B.2.2).
pub(crate) struct Frame {
    pub(crate) is_progressive: bool,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) components: Vec<Component>,
    /// The most samples down and across that a component has.
    pub(crate) most: [usize; 2],
    /// Rows and columns of the units that scans of several components are made of.
    pub(crate) units: [usize; 2],
    /// Scans that were begun.
    pub(crate) num_scans: usize,
    /// The last row of units that a scan of a damaged file had data for.
    pub(crate) last_good: usize,
}

/// One component.
pub(crate) struct Component {
    pub(crate) id: u8,
    /// Blocks of a unit, down and across.
    pub(crate) sampling: [usize; 2],
    /// Which table of factors.
    table: usize,
    /// Its factors, once a scan has told.
    pub(crate) factors: Option<[i16; 64]>,
    /// Rows and columns of samples that belong to the image.
    pub(crate) size: [usize; 2],
    /// Rows and columns of blocks, whole units of them.
    pub(crate) blocks: [usize; 2],
    /// Of a progressive image, what the scans told.
    pub(crate) known: Known,
    /// Of some rows of blocks, or of all.
    pub(crate) coefficients: Vec<Group>,
    /// The last block's first coefficient.
    pub(crate) prediction: i32,
    /// Levels, [`Self::stride`] a row; none as long as they would all be 128.
    pub(crate) plane: Vec<u8>,
}

/// Of each coefficient in zigzag, how many of its last bits later scans have yet to tell; -1 where no scan told anything.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) now: [i8; 64],
    /// Before the last scan of the component; zeros where that was the first of all.
    pub(crate) before: [i8; 64],
}

impl Known {
    /// A scan of these places begins, the first of the file or a later one, and leaves so many bits to others.
    pub(crate) fn begin(&mut self, places: [usize; 2], shift: u32, is_first: bool) {
        self.before = if is_first { [0; 64] } else { self.now };
        self.now[places[0]..=places[1]].fill(shift as i8);
    }
}

impl Component {
    /// Groups of blocks in a row.
    pub(crate) fn groups(&self) -> usize {
        self.blocks[1].div_ceil(LANES)
    }

    /// Levels in a row of the plane.
    pub(crate) fn stride(&self) -> usize {
        self.groups() * LANES * 8
    }

    /// Are all coefficients that were transformed zero?
    pub(crate) fn is_blank(&self) -> bool {
        self.plane.is_empty()
    }

    /// A row of levels, as many as belong to the image.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        &self.plane[row * self.stride()..][..self.size[1]]
    }

    /// Rows and columns of blocks that belong to the image.
    pub(crate) fn own_blocks(&self) -> [usize; 2] {
        self.size.map(|side| side.div_ceil(8))
    }

    /// Room for the coefficients of so many rows of blocks, all zero.
    pub(crate) fn make_room(&mut self, rows: usize) {
        self.coefficients = vec![[0; 64 * LANES]; rows * self.groups()];
    }
}

impl Frame {
    /// From the marker and its segment.
    pub(crate) fn new(marker: u8, segment: &[u8]) -> Result<Self, Error> {
        let is_progressive = match marker {
            0xC0 | 0xC1 => false,
            0xC2 => true,
            0xC3 | 0xC7 | 0xCB | 0xCF => return Err(Error::Unsupported("lossless JPEG")),
            0xC9 | 0xCA => return Err(Error::Unsupported("JPEG with arithmetic codes")),
            _ => return Err(Error::Unsupported("hierarchical JPEG")),
        };
        let [precision, h1, h0, w1, w0, count, components @ ..] = segment else {
            return Err(Error::Damaged("its frame header is too short"));
        };
        let [height, width] = [[*h1, *h0], [*w1, *w0]].map(|bytes| usize::from(u16::from_be_bytes(bytes)));
        if *precision != 8 {
            return Err(Error::Unsupported("JPEG with other than 8 bits a level"));
        }
        if height == 0 {
            return Err(Error::Unsupported("JPEG whose height is told behind its data"));
        }
        if width == 0 {
            return Err(Error::Damaged("it is zero pixels wide"));
        }
        if ![1, 3, 4].contains(count) {
            return Err(Error::Unsupported("JPEG with other than one, three or four components"));
        }
        let (listed, rest) = components.as_chunks::<3>();
        if listed.len() != usize::from(*count) || !rest.is_empty() {
            return Err(Error::Damaged("its frame header has another length than its components have"));
        }
        let mut frame =
            Self { is_progressive, height, width, components: Vec::new(), most: [1; 2], units: [0; 2], num_scans: 0, last_good: 0 };
        for [id, sampling, table] in listed {
            // One component alone is never sampled otherwise than the image.
            let sampling = if *count == 1 { [1, 1] } else { [usize::from(sampling & 15), usize::from(sampling >> 4)] };
            if sampling.iter().any(|factor| !(1..=4).contains(factor)) || *table > 3 {
                return Err(Error::Damaged("a component has a sampling factor or table that doesn't exist"));
            }
            frame.most = [0, 1].map(|axis| frame.most[axis].max(sampling[axis]));
            frame.components.push(Component {
                id: *id,
                sampling,
                table: usize::from(*table),
                factors: None,
                size: [0; 2],
                blocks: [0; 2],
                known: Known { now: [-1; 64], before: [0; 64] },
                coefficients: Vec::new(),
                prediction: 0,
                plane: Vec::new(),
            });
        }
        let (size, most) = ([height, width], frame.most);
        frame.units = [0, 1].map(|axis| size[axis].div_ceil(8 * most[axis]));
        for component in &mut frame.components {
            component.size = [0, 1].map(|axis| (size[axis] * component.sampling[axis]).div_ceil(most[axis]));
            component.blocks = [0, 1].map(|axis| frame.units[axis] * component.sampling[axis]);
            if (0..2).any(|axis| most[axis] % component.sampling[axis] != 0) {
                return Err(Error::Unsupported("JPEG whose components are sampled in broken ratios"));
            }
        }
        Ok(frame)
    }
}

/// What may be told anew between scans.
#[derive(Default)]
pub(crate) struct Tables {
    factors: [Option<[i16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// Units between two restarts, if there are any.
    pub(crate) restart_interval: usize,
}

impl Tables {
    /// DQT (B.2.4.1).
    pub(crate) fn read_factors(&mut self, mut segment: &[u8]) -> Result<(), Error> {
        const SHORT: Error = Error::Damaged("a quantisation table is cut off");
        while let [head, rest @ ..] = segment {
            let width = if head >> 4 == 0 { 1 } else { 2 };
            let Some((values, rest)) = rest.split_at_checked(64 * width) else { return Err(SHORT) };
            let slot = self.factors.get_mut(usize::from(head & 15)).ok_or(Error::Damaged("a quantisation table has a number above 3"))?;
            let mut factors = [0; 64];
            for (value, place) in values.chunks_exact(width).zip(ZIGZAG) {
                let value = value.iter().fold(0u16, |value, byte| value << 8 | u16::from(*byte));
                factors[usize::from(place)] = value as i16;
            }
            *slot = Some(factors);
            segment = rest;
        }
        Ok(())
    }

    /// DHT (B.2.4.2).
    pub(crate) fn read_codes(&mut self, mut segment: &[u8]) -> Result<(), Error> {
        while let [head, rest @ ..] = segment {
            let Some((counts, rest)) = rest.split_first_chunk::<16>() else { return Err(Error::Damaged("a Huffman table is cut off")) };
            let count = counts.iter().map(|count| usize::from(*count)).sum();
            if count > 256 {
                return Err(Error::Damaged("a Huffman table has more than 256 codes"));
            }
            let Some((symbols, rest)) = rest.split_at_checked(count) else { return Err(Error::Damaged("a Huffman table is cut off")) };
            let of_kind = match head >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(Error::Damaged("a Huffman table is of no known kind")),
            };
            let slot = of_kind.get_mut(usize::from(head & 15)).ok_or(Error::Damaged("a Huffman table has a number above 3"))?;
            *slot = Some(Huffman::new(counts, symbols)?);
            segment = rest;
        }
        Ok(())
    }

    /// DRI (B.2.4.4).
    pub(crate) fn read_restart(&mut self, segment: &[u8]) -> Result<(), Error> {
        let bytes = segment.try_into().map_err(|_| Error::Damaged("its restart interval has no two bytes"))?;
        self.restart_interval = usize::from(u16::from_be_bytes(bytes));
        Ok(())
    }

    /// The codes of first coefficients.
    pub(crate) fn dc(&self, slot: u8) -> Result<&Huffman, Error> {
        codes(&self.dc, &*usual::DC, slot)
    }

    /// The codes of the others.
    pub(crate) fn ac(&self, slot: u8) -> Result<&Huffman, Error> {
        codes(&self.ac, &*usual::AC, slot)
    }

    /// Gives a component the factors that stand now, unless it has some.
    pub(crate) fn settle(&self, component: &mut Component) -> Result<(), Error> {
        if component.factors.is_none() {
            component.factors = self.factors[component.table];
        }
        component.factors.map(|_| ()).ok_or(Error::Damaged("a quantisation table is missing"))
    }
}

fn codes<'a>(told: &'a [Option<Huffman>], usual: &'static [Option<Huffman>], slot: u8) -> Result<&'a Huffman, Error> {
    let of = |tables: &'a [Option<Huffman>]| tables.get(usize::from(slot)).and_then(Option::as_ref);
    of(told).or_else(|| of(usual)).ok_or(Error::Damaged("a Huffman table is missing"))
}
