//! The coefficients of blocks, sixteen blocks side by side, and access to those of one.

/// Number of blocks side by side.
pub(crate) const LANES: usize = 16;

/// Coefficients of [`LANES`] blocks, `[row][column][block]`.
pub(crate) type Group = [i16; 64 * LANES];

/// Position `row * 8 + column` of each coefficient in zigzag order (T.81, figure A.6).
#[rustfmt::skip]
pub(crate) const ZIGZAG: [u8; 64] = [
    0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
   12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
   35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
   58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

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
