//! A block of a sequential scan (T.81, F.2.2).

use crate::{
    Error,
    bits::{Bits, READY},
    block::Block,
    huffman::{END_OF_BLOCK, LOOK, Meanings},
};

/// Reads the block, which is zero before.
#[inline(always)]
pub(crate) fn read(bits: &mut Bits<'_>, [dc, ac]: [Meanings<'_>; 2], prediction: &mut i32, block: &mut Block<'_>) -> Result<(), Error> {
    // A copy of its own stays in registers.
    let mut ahead = *bits;
    ahead.fill();
    *prediction = prediction.wrapping_add(i32::from(dc.next(&mut ahead)?.0.value()));
    *block.at(0) = *prediction as i16;
    let mut place = 1;
    'block: while place < 64 {
        ahead.fill();
        // So many that are known at once are sure to be ready: nobody need ask in between.
        for _ in 0..READY / LOOK {
            let (meaning, is_short) = ac.next(&mut ahead)?;
            place += meaning.skip();
            // The end of a block and a run of sixteen zeros write a zero where one is: the last coefficient has none yet.
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
    // An end goes further than any run of zeros can.
    if place > 64 && place <= usize::from(END_OF_BLOCK) {
        return Err(Error::Damaged("its compressed data hold more coefficients than a block has"));
    }
    Ok(())
}
