//! One block among the others of its group.

use crate::{
    frame::ZIGZAG,
    idct::{Group, LANES},
};

/// Where the coefficient of each place of a scan stands in a group. Beyond the last place, it is the last.
const PLACES: [u16; 256] = {
    let mut places = [63 * LANES as u16; 256];
    let mut at = 0;
    while at < 64 {
        places[at] = ZIGZAG[at] as u16 * LANES as u16;
        at += 1;
    }
    places
};

/// A block.
pub(crate) struct Block<'a> {
    pub(crate) group: &'a mut Group,
    pub(crate) lane: usize,
}

impl Block<'_> {
    /// The coefficient of a place, counted in zigzag; of places behind the last, the last.
    #[inline(always)]
    pub(crate) fn at(&mut self, place: usize) -> &mut i16 {
        // The remainder only tells the compiler what is so anyway.
        &mut self.group[(usize::from(PLACES[place & 0xFF]) + self.lane) % (64 * LANES)]
    }
}
