//! Splits a file into segments, each with a marker (T.81, annex B), and the compressed data between
//! them.

use memchr::memchr;

use crate::{Error, codes::bits::PADDING};

pub(crate) const START_OF_IMAGE: u8 = 0xD8;
pub(crate) const END_OF_IMAGE: u8 = 0xD9;
pub(crate) const START_OF_SCAN: u8 = 0xDA;

/// A position in the file, between segments.
#[derive(Clone, Copy)]
pub(crate) struct Markers<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What ends a stretch of compressed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The restart marker that was due, which has been read.
    Restart,
    /// Another marker, which has not been read.
    Marker,
    /// The end of the file.
    End,
}

/// A marker and the content of its segment.
pub(crate) struct Segment<'a> {
    pub(crate) marker: u8,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Markers<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Continues at the offset `at`.
    pub(crate) fn from(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Returns the next segment. Bytes between segments are skipped, as in libjpeg.
    pub(crate) fn next(&mut self) -> Result<Segment<'a>, Error> {
        let marker = self.next_marker()?;
        self.segment_of(marker)
    }

    /// Returns the next marker that isn't a restart or TEM.
    pub(crate) fn next_marker(&mut self) -> Result<u8, Error> {
        loop {
            match self.skip_to_marker()? {
                // These have no segment, and libjpeg skips them here as well.
                0x01 | 0xD0..=0xD7 => {}
                marker => return Ok(marker),
            }
        }
    }

    /// Returns the segment of the marker that was just read.
    pub(crate) fn segment_of(&mut self, marker: u8) -> Result<Segment<'a>, Error> {
        if matches!(marker, START_OF_IMAGE | END_OF_IMAGE) {
            return Ok(Segment { marker, bytes: &[] });
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest
            .first_chunk()
            .map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
            .ok_or(Error::CutOff)?;
        if length < 2 {
            return Err(Error::Damaged(
                "a segment is shorter than its own length field",
            ));
        }
        let bytes = rest.get(2..length).ok_or(Error::CutOff)?;
        self.at += length;
        Ok(Segment { marker, bytes })
    }

    /// Moves behind the next marker and returns it.
    fn skip_to_marker(&mut self) -> Result<u8, Error> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let start = memchr(0xFF, rest).ok_or(Error::CutOff)?;
            let marker = rest[start..]
                .iter()
                .position(|byte| *byte != 0xFF)
                .ok_or(Error::CutOff)?
                + start;
            self.at += marker + 1;
            if rest[marker] != 0 {
                return Ok(rest[marker]);
            }
        }
    }

    /// Copies the compressed data up to the next marker, without stuffed zeros and with [`PADDING`]
    /// zeros behind them. The restart marker that is due has the number `restart`, modulo 8.
    pub(crate) fn read_data(&mut self, restart: u8, into: &mut Vec<u8>) -> Stop {
        into.clear();
        let stop = loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let start = memchr(0xFF, rest).unwrap_or(rest.len());
            into.extend_from_slice(&rest[..start]);
            let Some(marker) = rest[start..]
                .iter()
                .position(|byte| *byte != 0xFF)
                .map(|length| start + length)
            else {
                self.at = self.bytes.len();
                break Stop::End;
            };
            if rest[marker] == 0 {
                into.push(0xFF);
                self.at += marker + 1;
                continue;
            }
            let is_restart = rest[marker] == 0xD0 + restart % 8;
            self.at += if is_restart { marker + 1 } else { start };
            break if is_restart {
                Stop::Restart
            } else {
                Stop::Marker
            };
        };
        into.extend_from_slice(&[0; PADDING]);
        stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_freed_of_stuffing_and_end_at_a_marker() {
        let bytes = [
            1, 0xFF, 0, 2, 0xFF, 0xFF, 0, 0xFF, 0xD1, 3, 0xFF, 0xFF, 0xD9,
        ];
        let mut markers = Markers::new(&bytes);
        let mut data = Vec::new();
        assert_eq!(markers.read_data(1, &mut data), Stop::Restart);
        assert_eq!(data, [1, 0xFF, 2, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(markers.read_data(2, &mut data), Stop::Marker);
        assert_eq!(data, [3, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            markers.next().map(|segment| segment.marker),
            Ok(END_OF_IMAGE)
        );
        assert_eq!(
            markers.next().map(|segment| segment.marker),
            Err(Error::CutOff)
        );
        // An incomplete marker doesn't count.
        let mut markers = Markers::new(&[4, 5, 0xFF]);
        assert_eq!(markers.read_data(0, &mut data), Stop::End);
        assert_eq!(data, [4, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn segments_follow_one_another_over_whatever_is_between() {
        let bytes = [
            0xFF, 0xD8, 7, 0xFF, 0, 0xFF, 0xD3, 0xFF, 0xFF, 0xE1, 0, 4, 5, 6, 0xFF, 0xDB, 0, 9, 1,
        ];
        let mut markers = Markers::new(&bytes);
        let found = markers.next().expect("a start");
        assert_eq!((found.marker, found.bytes), (START_OF_IMAGE, &[][..]));
        let found = markers.next().expect("a segment");
        assert_eq!((found.marker, found.bytes), (0xE1, &[5, 6][..]));
        assert!(matches!(markers.next(), Err(Error::CutOff)));
        assert!(matches!(
            Markers::new(&[0xFF, 0xE1, 0, 1, 0]).next(),
            Err(Error::Damaged(_))
        ));
    }
}
