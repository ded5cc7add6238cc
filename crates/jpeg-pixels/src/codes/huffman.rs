//! Decodes Huffman codes (T.81, annex C and F.2.2.3) with tables that are looked up by several bits
//! at once.

use std::sync::OnceLock;

use super::bits::{Bits, extend};
use crate::Error;

/// Number of bits that tables are looked up by.
pub(crate) const LOOK: u32 = 10;

/// A Huffman table.
pub(crate) struct Huffman {
    /// Length and symbol of the code that the next [`LOOK`] bits begin with; length 0 if it is
    /// longer.
    short: [(u8, u8); 1 << LOOK],
    /// For each length, the first longer code, left-aligned in sixteen bits.
    limits: [u32; 17],
    /// For each length, the number to add to a code to get the index of its symbol.
    offsets: [i32; 17],
    symbols: [u8; 256],
    /// What the next [`LOOK`] bits mean in a sequential scan; computed on first use.
    meanings: OnceLock<Box<[Meaning; 1 << LOOK]>>,
}

impl Huffman {
    /// Builds a table from the number of codes of each length, 1 to 16, and the symbols in order.
    pub(crate) fn new(counts: &[u8; 16], listed: &[u8]) -> Result<Self, Error> {
        let (short, meanings) = ([(0, 0); 1 << LOOK], OnceLock::new());
        let mut table = Self {
            short,
            limits: [0; 17],
            offsets: [0; 17],
            symbols: [0; 256],
            meanings,
        };
        table.symbols[..listed.len()].copy_from_slice(listed);
        let (mut code, mut index) = (0u32, 0usize);
        for (length, count) in (1u32..).zip(counts) {
            let count = usize::from(*count);
            table.offsets[length as usize] = index as i32 - code as i32;
            if code + count as u32 > 1 << length {
                return Err(Error::Damaged("a Huffman table has more codes than fit"));
            }
            for symbol in &listed[index..index + count] {
                if length <= LOOK {
                    let (from, width) = ((code << (LOOK - length)) as usize, 1 << (LOOK - length));
                    table.short[from..from + width].fill((length as u8, *symbol));
                }
                code += 1;
            }
            index += count;
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    /// Reads a symbol; 16 bits must be ready.
    #[inline(always)]
    pub(crate) fn symbol(&self, bits: &mut Bits<'_>) -> Result<u8, Error> {
        let (length, symbol) = self.short[bits.peek(LOOK) as usize];
        if length > 0 {
            bits.skip(u32::from(length));
            return Ok(symbol);
        }
        // Counted rather than searched: a call would force the surrounding loop to spill its
        // registers.
        let ahead = bits.peek(16);
        let length = (LOOK + 1..16).fold(LOOK + 1, |length, shorter| {
            length + u32::from(ahead >= self.limits[shorter as usize])
        });
        if ahead >= self.limits[16] {
            return Err(Error::Damaged(
                "its compressed data contain a code that isn't in the table",
            ));
        }
        bits.skip(length);
        let index = (ahead >> (16 - length)) as i32 + self.offsets[length as usize];
        Ok(self.symbols[index as usize & 0xFF])
    }
}

impl Huffman {
    /// Reads a symbol bit by bit. Returns `None` after 17 bits that are no code, as many as libjpeg
    /// consumes.
    pub(crate) fn bitwise_symbol(&self, mut next_bit: impl FnMut() -> u32) -> Option<u8> {
        let mut code = 0;
        for length in 1..17usize {
            code = code << 1 | next_bit();
            if code << (16 - length) < self.limits[length] {
                return Some(self.symbols[(code as i32 + self.offsets[length]) as usize & 0xFF]);
            }
        }
        next_bit();
        None
    }

    /// Whether a symbol stands for a DC coefficient of more than 15 bits.
    pub(crate) fn is_long(&self) -> bool {
        self.symbols.iter().any(|symbol| *symbol > 15)
    }
}

/// What a code and the number behind it mean in a sequential scan, packed into a word.
#[derive(Clone, Copy)]
pub(crate) struct Meaning(u32);

/// Number of coefficients that an end of block skips: more than there are, and more than any run of
/// a damaged file skips.
pub(crate) const END_OF_BLOCK: u8 = 128;

impl Meaning {
    /// Set if code and number take more than [`LOOK`] bits.
    const INCOMPLETE: u32 = 0x80;

    /// Packs the length of code and number, the coefficients to skip, and the value.
    fn complete(length: u32, skip: u8, value: i32) -> Self {
        Self(length | u32::from(skip) << 8 | u32::from(value as i16 as u16) << 16)
    }

    /// Returns the number of bits of code and number.
    #[inline(always)]
    pub(crate) fn length(self) -> u32 {
        self.0 & 0x7F
    }

    /// Returns the number of zero coefficients before the value.
    #[inline(always)]
    pub(crate) fn skip(self) -> usize {
        (self.0 >> 8 & 0xFF) as usize
    }

    /// Returns the value of the coefficient.
    #[inline(always)]
    pub(crate) fn value(self) -> i16 {
        (self.0 >> 16) as i16
    }

    /// Whether the code has to be decoded without this table.
    #[inline(always)]
    pub(crate) fn is_incomplete(self) -> bool {
        self.0 & Self::INCOMPLETE != 0
    }
}

/// A Huffman table with the numbers behind the codes decoded as well, where both fit in [`LOOK`]
/// bits.
#[derive(Clone, Copy)]
pub(crate) struct Meanings<'a> {
    codes: &'a Huffman,
    short: &'a [Meaning; 1 << LOOK],
}

impl<'a> Meanings<'a> {
    pub(crate) fn of(codes: &'a Huffman) -> Self {
        Self {
            codes,
            short: codes.meanings.get_or_init(|| codes.short_meanings()),
        }
    }

    pub(crate) fn codes(self) -> &'a Huffman {
        self.codes
    }

    /// Reads a code and its number; [`LOOK`] bits must be ready. Returns true if it took no more
    /// than these.
    #[inline(always)]
    pub(crate) fn next(self, bits: &mut Bits<'_>) -> Result<(Meaning, bool), Error> {
        let meaning = self.short[bits.peek(LOOK) as usize];
        if meaning.is_incomplete() {
            bits.fill();
            let (skip, size) = split(self.codes.symbol(bits)?);
            return Ok((Meaning::complete(0, skip, bits.number(size)), false));
        }
        bits.skip(meaning.length());
        Ok((meaning, true))
    }
}

impl Huffman {
    /// Decodes every pattern of [`LOOK`] bits.
    fn short_meanings(&self) -> Box<[Meaning; 1 << LOOK]> {
        let mut meanings = Box::new([Meaning(Meaning::INCOMPLETE); 1 << LOOK]);
        let mut rest = &mut meanings[..];
        while let Some((length, symbol)) = self.short.get((1 << LOOK) - rest.len()) {
            let length = u32::from(*length);
            let (skip, size) = split(*symbol);
            // All patterns that begin with this code. Those of longer codes stand at the end.
            let (of_code, others) = rest.split_at_mut(if length > 0 {
                1 << (LOOK - length)
            } else {
                rest.len()
            });
            if length > 0 && length + size <= LOOK {
                for (number, meanings) in
                    (0..).zip(of_code.chunks_exact_mut(1 << (LOOK - length - size)))
                {
                    meanings.fill(Meaning::complete(length + size, skip, extend(number, size)));
                }
            }
            rest = others;
        }
        meanings
    }
}

/// Splits a symbol into the coefficients to skip and the size of the number in bits. Those to skip
/// have no meaning for DC coefficients.
#[inline(always)]
fn split(symbol: u8) -> (u8, u32) {
    let size = u32::from(symbol & 15);
    match symbol >> 4 {
        run if size > 0 || run == 15 => (run, size),
        _ => (END_OF_BLOCK, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::bits::{PADDING, Position};

    /// Returns a table with one code of each length from 1 to 16: 0, 10, 110 and so on.
    fn ladder() -> Huffman {
        Huffman::new(
            &[1; 16],
            &(0..16).map(|index| index * 17).collect::<Vec<_>>(),
        )
        .expect("fits")
    }

    #[test]
    fn codes_of_every_length_are_told_apart() {
        let table = ladder();
        for length in 1..=16u32 {
            // All ones but the last bit, then ones again.
            let word = !(1u64 << (64 - length));
            let padded = [&word.to_be_bytes()[..], &[0; PADDING]].concat();
            let mut bits = Bits::new(&padded, Position::default());
            bits.fill();
            assert_eq!(
                table.symbol(&mut bits),
                Ok((length as u8 - 1) * 17),
                "{length}"
            );
            assert_eq!(bits.ready(), 56 - length);
            let mut read = 0;
            let next_bit = || {
                read += 1;
                (word >> (64 - read)) as u32 & 1
            };
            assert_eq!(
                table.bitwise_symbol(next_bit),
                Some((length as u8 - 1) * 17)
            );
            assert_eq!(read, length);
        }
        let mut read = 0;
        assert_eq!(
            table.bitwise_symbol(|| {
                read += 1;
                1
            }),
            None
        );
        assert_eq!(read, 17);
        let padded = [0xFF; 16];
        let mut bits = Bits::new(&padded, Position::default());
        bits.fill();
        assert!(table.symbol(&mut bits).is_err(), "all ones is no code");
    }

    #[test]
    fn too_many_codes_are_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(Huffman::new(&counts, &[1, 2, 3]).is_err());
    }

    #[test]
    fn a_meaning_is_the_code_and_the_number_behind_it() {
        let table = ladder();
        let meanings = Meanings::of(&table);
        for pattern in 0..1u64 << 16 {
            let word = pattern << 48 | pattern.wrapping_mul(0x9E37_79B9) & 0xFFFF_FFFF;
            let padded = [&word.to_be_bytes()[..], &[0; PADDING]].concat();
            let mut bits = Bits::new(&padded, Position::default());
            bits.fill();
            let mut slow = bits;
            let found = meanings.next(&mut bits);
            let expected = table.symbol(&mut slow).map(|symbol| {
                let (skip, size) = split(symbol);
                (usize::from(skip), slow.number(size) as i16)
            });
            assert_eq!(
                found.map(|(meaning, _)| (meaning.skip(), meaning.value())),
                expected,
                "{pattern:#x}"
            );
            assert!(expected.is_err() || bits.ready() == slow.ready());
        }
    }
}
