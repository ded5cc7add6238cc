//! Reads the bits of one stretch of compressed data, without stuffed bytes, through a 64-bit
//! buffer, so that several codes are read per load.

/// Number of zero bytes that must follow the data.
pub(crate) const PADDING: usize = 8;

/// Least number of bits that are ready after [`Bits::fill`].
pub(crate) const READY: u32 = 56;

/// A reader of bits, the highest of a byte first. After the end it reads zeros, which
/// [`Self::is_beyond`] detects.
#[derive(Clone, Copy)]
pub(crate) struct Bits<'a> {
    /// The data, followed by [`PADDING`] zeros.
    bytes: &'a [u8],
    at: Position,
}

/// A position of a reader.
#[derive(Clone, Copy, Default)]
pub(crate) struct Position {
    /// Index of the next byte to load.
    next: usize,
    /// Bits that have been loaded and not yet read, the first one at the top.
    waiting: u64,
    num_waiting: u32,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(padded: &'a [u8], at: Position) -> Self {
        Self { bytes: padded, at }
    }

    pub(crate) fn position(&self) -> Position {
        self.at
    }

    /// Whether more bits have been read than there are.
    pub(crate) fn is_beyond(&self) -> bool {
        let taken = self.at.next as u64 * 8;
        taken - u64::from(self.at.num_waiting) > (self.bytes.len() - PADDING) as u64 * 8
    }

    /// Loads bytes until at least [`READY`] bits are ready.
    #[inline(always)]
    pub(crate) fn fill(&mut self) {
        let at = &mut self.at;
        let word = self
            .bytes
            .get(at.next..at.next + 8)
            .and_then(|bytes| bytes.first_chunk())
            .map_or(0, |bytes| u64::from_be_bytes(*bytes));
        at.waiting |= word >> at.num_waiting;
        let taken = (63 - at.num_waiting) >> 3;
        at.next += taken as usize;
        at.num_waiting += taken * 8;
    }

    /// Returns the number of bits that are ready.
    #[inline(always)]
    pub(crate) fn ready(&self) -> u32 {
        self.at.num_waiting
    }

    /// Returns the next `count` bits, 1 to 32, without consuming them.
    #[inline(always)]
    pub(crate) fn peek(&self, count: u32) -> u32 {
        (self.at.waiting >> (64 - count)) as u32
    }

    /// Consumes `count` bits, which must be ready.
    #[inline(always)]
    pub(crate) fn skip(&mut self, count: u32) {
        self.at.waiting <<= count;
        self.at.num_waiting -= count;
    }

    /// Reads `count` bits, 0 to 16, which must be ready.
    #[inline(always)]
    pub(crate) fn take(&mut self, count: u32) -> u32 {
        // Two shifts, because a single one by 64 would overflow for no bits.
        let value = (self.at.waiting >> 1 >> (63 - count)) as u32;
        self.skip(count);
        value
    }

    /// Reads a signed number of `size` bits, 0 to 15: values below half of the range stand for
    /// negative ones (F.2.2.1, EXTEND).
    #[inline(always)]
    pub(crate) fn number(&mut self, size: u32) -> i32 {
        extend(self.take(size), size)
    }
}

/// Converts bits to the number that [`Bits::number`] reads from them.
#[inline(always)]
pub(crate) fn extend(bits: u32, size: u32) -> i32 {
    let half = (1 << size) >> 1;
    let value = bits as i32;
    if value < half {
        value - (1 << size) + 1
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_zeros_behind_them() {
        let data: Vec<u8> = (0..29u8)
            .map(|index| index.wrapping_mul(151) ^ 0x5A)
            .collect();
        let padded = [&data[..], &[0; PADDING]].concat();
        let expected: Vec<u32> = data
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)))
            .collect();
        for step in 1..=16 {
            let mut bits = Bits::new(&padded, Position::default());
            let mut read = 0;
            while read < expected.len() {
                bits.fill();
                assert!(bits.ready() >= 56);
                let end = (read + step).min(expected.len());
                let wanted = expected[read..end]
                    .iter()
                    .fold(0, |value, bit| value << 1 | bit);
                assert_eq!(bits.peek((end - read) as u32), wanted);
                // Continue from a saved position.
                bits = Bits::new(&padded, bits.position());
                assert_eq!(
                    bits.take((end - read) as u32),
                    wanted,
                    "{step} bits at {read}"
                );
                assert!(!bits.is_beyond());
                read = end;
            }
            bits.fill();
            assert_eq!(bits.take(1), 0);
            assert!(bits.is_beyond());
            for _ in 0..40 {
                bits.fill();
                assert_eq!(bits.take(16), 0);
            }
        }
    }

    #[test]
    fn numbers_are_negative_below_half() {
        for (bits, size, expected) in [
            (0, 0, 0),
            (0, 1, -1),
            (1, 1, 1),
            (0, 3, -7),
            (3, 3, -4),
            (4, 3, 4),
            (7, 3, 7),
            (0, 15, -32767),
        ] {
            assert_eq!(extend(bits, size), expected, "{bits} of {size} bits");
        }
    }
}
