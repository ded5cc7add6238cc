//! Reads compressed data that may be damaged, bit by bit, with libjpeg's rules for what is missing:
//! zeros after the data of a stretch, the restart marker nearest to the one that is due, and
//! end-of-image markers after the end of the file.

use crate::{
    codes::{bits::extend, huffman::Huffman},
    markers::END_OF_IMAGE,
};

/// Number of bits in libjpeg's buffer after it has filled it up with zeros.
const MADE_UP: u32 = 57;

/// A position in compressed data.
pub(crate) struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits that have been loaded and not yet read, at the low end.
    waiting: u64,
    num_waiting: u32,
    /// Marker that ended the data and has not been processed, with its offset.
    marker: Option<(u8, usize)>,
    /// Whether more bits were read than the stretch up to the next restart has.
    pub(crate) is_out: bool,
    /// Number of the restart marker that is due, 0 to 7.
    restart: u8,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            waiting: 0,
            num_waiting: 0,
            marker: None,
            is_out: false,
            restart: 0,
        }
    }

    /// Returns the offset from which to look for the next marker.
    pub(crate) fn position(&self) -> usize {
        self.marker.map_or(self.at, |(_, start)| start)
    }

    /// Reads `count` bits, 0 to 16.
    pub(crate) fn take(&mut self, count: u32) -> u32 {
        while self.num_waiting < count && self.marker.is_none() {
            self.fetch();
        }
        if self.num_waiting < count {
            self.is_out = true;
            self.waiting <<= MADE_UP - self.num_waiting;
            self.num_waiting = MADE_UP;
        }
        self.num_waiting -= count;
        (self.waiting >> self.num_waiting) as u32 & ((1 << count) - 1)
    }

    /// Reads a symbol; 0 for a code that isn't in the table, as in libjpeg.
    pub(crate) fn symbol(&mut self, codes: &Huffman) -> u8 {
        codes.bitwise_symbol(|| self.take(1)).unwrap_or(0)
    }

    /// Reads a signed number of `size` bits ([`crate::codes::bits::Bits::number`]).
    pub(crate) fn number(&mut self, size: u32) -> i32 {
        extend(self.take(size), size)
    }

    /// Loads a byte of data, or stops at a marker.
    fn fetch(&mut self) {
        let start = self.at;
        let mut byte = self.next_byte();
        if byte == 0xFF {
            while byte == 0xFF {
                byte = self.next_byte();
            }
            if byte != 0 {
                self.marker = Some((byte, start));
                return;
            }
            byte = 0xFF;
        }
        self.waiting = self.waiting << 8 | u64::from(byte);
        self.num_waiting += 8;
    }

    /// Reads a byte. The file is followed by endless end-of-image markers.
    fn next_byte(&mut self) -> u8 {
        let behind = self.at.checked_sub(self.bytes.len());
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte.unwrap_or(if behind.is_some_and(|behind| behind % 2 == 1) {
            END_OF_IMAGE
        } else {
            0xFF
        })
    }

    /// Skips to the next marker and returns it with its offset.
    fn next_marker(&mut self) -> (u8, usize) {
        loop {
            while self.next_byte() != 0xFF {}
            let start = self.at - 1;
            let mut byte = 0xFF;
            while byte == 0xFF {
                byte = self.next_byte();
            }
            if byte != 0 {
                return (byte, start);
            }
        }
    }

    /// Continues behind the restart marker that is due. If another marker is found, continues
    /// before or behind it, whichever loses less of the image (libjpeg's `jpeg_resync_to_restart`).
    pub(crate) fn start_again(&mut self) {
        self.num_waiting = 0;
        let mut met = self.marker.take().unwrap_or_else(|| self.next_marker());
        loop {
            // How many restarts the marker is ahead of the one that is due, modulo 8.
            let ahead = met.0.wrapping_sub(0xD0 + self.restart) & 7;
            match met.0 {
                // Not a valid marker, or one of the last two restarts.
                ..0xC0 => met = self.next_marker(),
                0xD0..=0xD7 if ahead >= 6 => met = self.next_marker(),
                // One of the next two restarts: the stretches up to it are lost, and it stays for
                // its turn.
                0xD0..=0xD7 if ahead == 1 || ahead == 2 => break self.marker = Some(met),
                0xD0..=0xD7 => break,
                _ => break self.marker = Some(met),
            }
        }
        self.restart = (self.restart + 1) % 8;
        if self.marker.is_none() {
            self.is_out = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_go_on_as_zeros_behind_the_data() {
        let mut stream = Stream::new(&[0xA5, 0xFF, 0x00, 0xFF, 0xC4], 0);
        assert_eq!((stream.take(4), stream.take(12)), (0xA, 0x5FF));
        assert!(!stream.is_out);
        assert_eq!((stream.take(16), stream.take(16)), (0, 0));
        assert!(stream.is_out);
        assert_eq!(stream.position(), 3, "before the marker");
        let mut stream = Stream::new(&[0x80], 0);
        assert_eq!((stream.take(1), stream.take(8)), (1, 0));
        assert!(stream.is_out);
    }

    #[test]
    fn the_restart_that_loses_least_is_taken() {
        // Restart 2 is due; the number of the restart that is found, and whether the data behind it
        // are read.
        for (found, is_read) in [
            (2, true),
            (3, false),
            (4, false),
            (0, true),
            (1, true),
            (5, true),
            (6, true),
            (7, true),
        ] {
            let bytes = [0x11, 0xFF, 0xD0 + found, 0x77, 0xFF, 0xD2, 0x77, 0xFF, 0xD9];
            let mut stream = Stream::new(&bytes, 0);
            stream.restart = 2;
            stream.start_again();
            assert_eq!(
                (stream.take(8) == 0x77, stream.is_out),
                (is_read, !is_read),
                "{found}"
            );
            let at = if found == 0 || found == 1 {
                7
            } else if is_read {
                4
            } else {
                1
            };
            assert_eq!(stream.position(), at, "{found}");
        }
    }
}
