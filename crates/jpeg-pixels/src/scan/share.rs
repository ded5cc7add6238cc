//! The share of the coefficients that a scan has, and how its blocks are decoded for that.

use crate::{
    Error,
    codes::huffman::{Huffman, Meanings},
    frame::{Frame, Tables},
};

/// What a scan has of each block, with the Huffman tables for it.
#[derive(Clone, Copy)]
pub(crate) enum Pass<'a> {
    /// All coefficients.
    Sequential { dc: Meanings<'a>, ac: Meanings<'a> },
    /// The DC coefficient without its low bits.
    FirstDc(&'a Huffman),
    /// One more bit of the DC coefficient.
    MoreDc,
    /// A band of AC coefficients without their low bits.
    FirstAc(&'a Huffman),
    /// One more bit of a band of AC coefficients.
    MoreAc(&'a Huffman),
}

/// The coefficients that a scan has and which of their bits: spectral selection and successive
/// approximation (T.81, B.2.3).
pub(crate) struct Share {
    /// First and last coefficient, as zigzag indices.
    pub(crate) band: [usize; 2],
    /// Number of low bits that the scan before left; 0 if there was none.
    before: u8,
    /// Number of low bits left to later scans.
    pub(crate) shift: u32,
}

impl Share {
    /// What a sequential scan has.
    pub(crate) const WHOLE: Self = Self {
        band: [0, 63],
        before: 0,
        shift: 0,
    };

    pub(crate) fn new(band: [u8; 2], shifts: u8) -> Self {
        Self {
            band: band.map(usize::from),
            before: shifts >> 4,
            shift: u32::from(shifts & 15),
        }
    }

    /// Whether a scan of `count` components can have it.
    pub(crate) fn can_be(&self, frame: &Frame, count: u8) -> bool {
        let [first, last] = self.band;
        let is_band = !frame.is_progressive
            || self.band == [0, 0]
            || 0 < first && first <= last && last < 64 && count == 1;
        is_band && self.shift <= 13
    }

    /// Returns the pass over a component with the Huffman tables `slots`.
    pub(crate) fn pass<'a>(
        &self,
        frame: &Frame,
        tables: &'a Tables,
        slots: u8,
    ) -> Result<Pass<'a>, Error> {
        let (dc, ac) = (|| tables.dc(slots >> 4), || tables.ac(slots & 15));
        Ok(match (frame.is_progressive, self.band[0], self.before) {
            (false, ..) => Pass::Sequential {
                dc: Meanings::of(dc()?),
                ac: Meanings::of(ac()?),
            },
            (true, 0, 0) => Pass::FirstDc(dc()?),
            (true, 0, _) => Pass::MoreDc,
            (true, _, 0) => Pass::FirstAc(ac()?),
            (true, ..) => Pass::MoreAc(ac()?),
        })
    }
}
