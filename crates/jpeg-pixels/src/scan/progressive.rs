//! Decodes a block of a progressive scan (T.81, annex G): a band of its coefficients, or one more
//! bit of them.

use crate::{
    Error,
    block::Block,
    codes::{bits::Bits, huffman::Huffman},
};

/// What a scan has of each block.
#[derive(Clone, Copy)]
pub(crate) struct Band {
    /// First and last coefficient, as zigzag indices.
    pub(crate) places: [usize; 2],
    /// Number of low bits left to later scans.
    pub(crate) shift: u32,
}

impl Band {
    /// Reads the DC coefficient without its low bits (G.1.2.1).
    #[inline(always)]
    pub(crate) fn first_dc(
        self,
        bits: &mut Bits<'_>,
        codes: &Huffman,
        prediction: &mut i32,
        block: &mut Block<'_>,
    ) -> Result<(), Error> {
        bits.fill();
        let size = u32::from(codes.symbol(bits)? & 15);
        *prediction = prediction.wrapping_add(bits.number(size));
        *block.at(0) = (*prediction << self.shift) as i16;
        Ok(())
    }

    /// Reads one more bit of the DC coefficient.
    #[inline(always)]
    pub(crate) fn more_dc(self, bits: &mut Bits<'_>, block: &mut Block<'_>) {
        bits.fill();
        *block.at(0) |= (bits.take(1) as i16) << self.shift;
    }

    /// Reads a band of AC coefficients without their low bits (G.1.2.2). `blocks_to_skip` is the
    /// number of blocks that follow without further codes.
    #[inline(always)]
    pub(crate) fn first_ac(
        self,
        bits: &mut Bits<'_>,
        codes: &Huffman,
        blocks_to_skip: &mut u32,
        block: &mut Block<'_>,
    ) -> Result<(), Error> {
        if *blocks_to_skip > 0 {
            *blocks_to_skip -= 1;
            return Ok(());
        }
        let [mut place, last] = self.places;
        while place <= last {
            bits.fill();
            let symbol = codes.symbol(bits)?;
            let (run, size) = (symbol >> 4, u32::from(symbol & 15));
            match (run, size) {
                (15, 0) => place += 16,
                (_, 0) => {
                    *blocks_to_skip = (1 << run) - 1 + bits.take(u32::from(run));
                    break;
                }
                _ => {
                    place += usize::from(run);
                    if place > last {
                        return Err(Error::Damaged(
                            "its compressed data contain more coefficients than a block has",
                        ));
                    }
                    *block.at(place) = (bits.number(size) << self.shift) as i16;
                    place += 1;
                }
            }
        }
        Ok(())
    }

    /// Reads one more bit of the AC coefficients that aren't zero, and those that become so with it
    /// (G.1.2.3).
    #[inline(always)]
    pub(crate) fn more_ac(
        self,
        bits: &mut Bits<'_>,
        codes: &Huffman,
        blocks_to_skip: &mut u32,
        block: &mut Block<'_>,
    ) -> Result<(), Error> {
        let [mut place, last] = self.places;
        while *blocks_to_skip == 0 && place <= last {
            bits.fill();
            let symbol = codes.symbol(bits)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            let mut fresh = 0;
            match (zeros, size) {
                (15, 0) => {}
                (_, 0) => {
                    // The count includes this block, whose remaining coefficients are only refined.
                    *blocks_to_skip = (1 << zeros) + bits.take(u32::from(zeros));
                    break;
                }
                (_, 1) => {
                    fresh = if bits.take(1) == 1 {
                        1 << self.shift
                    } else {
                        -1 << self.shift
                    }
                }
                _ => {
                    return Err(Error::Damaged(
                        "its compressed data contain a coefficient of two bits instead of one",
                    ));
                }
            }
            // Skip `zeros` coefficients that are zero, and refine the others on the way.
            while place <= last {
                let coefficient = block.at(place);
                place += 1;
                if *coefficient != 0 {
                    self.refine(bits, coefficient);
                } else if zeros > 0 {
                    zeros -= 1;
                } else {
                    *coefficient = fresh;
                    fresh = 0;
                    break;
                }
            }
            if fresh != 0 {
                return Err(Error::Damaged(
                    "its compressed data contain more coefficients than a block has",
                ));
            }
        }
        if *blocks_to_skip > 0 {
            (place..=last).for_each(|place| self.refine(bits, block.at(place)));
            *blocks_to_skip -= 1;
        }
        Ok(())
    }

    /// Reads one more bit of a coefficient, unless it is zero.
    #[inline(always)]
    fn refine(self, bits: &mut Bits<'_>, coefficient: &mut i16) {
        if *coefficient == 0 {
            return;
        }
        if bits.ready() < 32 {
            bits.fill();
        }
        let bit = 1 << self.shift;
        if bits.take(1) == 1 && *coefficient & bit == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient >= 0 { bit } else { -bit });
        }
    }
}
