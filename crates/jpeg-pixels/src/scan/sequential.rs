//! Decodes a block of a sequential scan (T.81, F.2.2).

use crate::{
    Error,
    block::Block,
    codes::{
        bits::{Bits, READY},
        huffman::{END_OF_BLOCK, LOOK, Meanings},
    },
};

/// Reads a block, whose coefficients must be zero.
#[inline(always)]
pub(crate) fn read(
    bits: &mut Bits<'_>,
    [dc, ac]: [Meanings<'_>; 2],
    prediction: &mut i32,
    block: &mut Block<'_>,
) -> Result<(), Error> {
    // A local copy stays in registers.
    let mut ahead = *bits;
    ahead.fill();
    *prediction = prediction.wrapping_add(i32::from(dc.next(&mut ahead)?.0.value()));
    *block.at(0) = *prediction as i16;
    let mut place = 1;
    'block: while place < 64 {
        ahead.fill();
        // This many codes of at most [`LOOK`] bits are ready, so none of them is checked.
        for _ in 0..READY / LOOK {
            let (meaning, is_short) = ac.next(&mut ahead)?;
            place += meaning.skip();
            // An end of block and a run of sixteen zeros write a zero too, to a coefficient that is
            // still zero.
            *block.at(place) = meaning.value();
            place += 1;
            if place >= 64 {
                break 'block;
            }
            if !is_short {
                break;
            }
        }
    }
    *bits = ahead;
    // An end of block skips further than any run of zeros.
    if place > 64 && place <= usize::from(END_OF_BLOCK) {
        return Err(Error::Damaged(
            "its compressed data contain more coefficients than a block has",
        ));
    }
    Ok(())
}
