//! Access to the coefficients of one block of a group.

use crate::{
    frame::ZIGZAG,
    idct::{Group, LANES},
};

/// Offset in a group of the coefficient at each zigzag index. Indices beyond the last coefficient,
/// which damaged runs reach, stand for the last.
const PLACES: [u16; 256] = {
    let mut places = [63 * LANES as u16; 256];
    let mut at = 0;
    while at < 64 {
        places[at] = ZIGZAG[at] as u16 * LANES as u16;
        at += 1;
    }
    places
};

/// A block of a group.
pub(crate) struct Block<'a> {
    pub(crate) group: &'a mut Group,
    pub(crate) lane: usize,
}

impl Block<'_> {
    /// Returns the coefficient at a zigzag index, or the last one for an index beyond it.
    #[inline(always)]
    pub(crate) fn at(&mut self, place: usize) -> &mut i16 {
        // The remainder never changes the index; it saves the bounds check.
        &mut self.group[(usize::from(PLACES[place & 0xFF]) + self.lane) % (64 * LANES)]
    }
}
