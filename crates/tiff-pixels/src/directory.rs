//! Reads a directory of a file (TIFF 6.0, section 2, and BigTIFF): values by their tags. Every
//! offset and count is checked against the length of the file.

use std::borrow::Cow;

use crate::Error;

/// The bytes of a file, and how numbers are written in it.
#[derive(Clone, Copy)]
pub(crate) struct File<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) is_little_endian: bool,
    /// Whether the file is a BigTIFF, whose offsets have eight bytes.
    is_big: bool,
}

/// An entry of a directory: tag, type, and the bytes of its values.
struct Entry<'a> {
    tag: u16,
    kind: u16,
    values: &'a [u8],
}

/// The entries of a directory.
pub(crate) struct Directory<'a> {
    file: File<'a>,
    entries: Vec<Entry<'a>>,
}

const CUT_OFF: Error = Error::Damaged(Cow::Borrowed("the file ends before the image does"));

impl<'a> File<'a> {
    /// Reads the header. Returns the file and the offset of its first directory.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<(Self, u64), Error> {
        let (is_little_endian, version) = match bytes.first_chunk::<4>() {
            Some(b"II\x2A\0") => (true, 42),
            Some(b"MM\0\x2A") => (false, 42),
            Some(b"II\x2B\0") => (true, 43),
            Some(b"MM\0\x2B") => (false, 43),
            _ => return Err(Error::Damaged("it doesn't begin as a TIFF does".into())),
        };
        let file = Self {
            bytes,
            is_little_endian,
            is_big: version == 43,
        };
        let at = if file.is_big {
            file.number(8, 8)?
        } else {
            file.number(4, 4)?
        };
        Ok((file, at))
    }

    /// Returns the `length` bytes from the offset `at` on.
    pub(crate) fn span(&self, at: u64, length: u64) -> Result<&'a [u8], Error> {
        let span = || {
            self.bytes
                .get(usize::try_from(at).ok()?..usize::try_from(at.checked_add(length)?).ok()?)
        };
        span().ok_or(CUT_OFF)
    }

    /// Returns the unsigned integer in the `length` bytes from the offset `at` on.
    pub(crate) fn number(&self, at: u64, length: u64) -> Result<u64, Error> {
        Ok(self.value(self.span(at, length)?))
    }

    /// Converts bytes to an unsigned integer in the file's byte order.
    fn value(&self, bytes: &[u8]) -> u64 {
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.is_little_endian {
            bytes.iter().rev().fold(0, add)
        } else {
            bytes.iter().fold(0, add)
        }
    }
}

impl<'a> Directory<'a> {
    /// Reads the directory at an offset. Entries of unknown types are skipped.
    pub(crate) fn read(file: File<'a>, at: u64) -> Result<Self, Error> {
        let (of_count, of_entry, of_value) = if file.is_big { (8, 20, 8) } else { (2, 12, 4) };
        let count = file.number(at, of_count)?;
        // The count may be damaged, so the entries must be in the file before memory is allocated
        // for them.
        let table = file.span(at.saturating_add(of_count), count.saturating_mul(of_entry))?;
        let mut entries = Vec::new();
        for entry in table.chunks_exact(of_entry as usize) {
            let (head, value) = entry.split_at((of_entry - of_value) as usize);
            let (tag, kind, count) = (
                file.value(&head[..2]) as u16,
                file.value(&head[2..4]) as u16,
                file.value(&head[4..]),
            );
            let Some(width) = width(kind) else { continue };
            let length = count.saturating_mul(width);
            let values = if length <= of_value {
                &value[..length as usize]
            } else {
                file.span(file.value(value), length)?
            };
            entries.push(Entry { tag, kind, values });
        }
        Ok(Self { file, entries })
    }

    /// Returns the bytes of a tag's values.
    pub(crate) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.entries
            .iter()
            .find(|entry| entry.tag == tag)
            .map(|entry| entry.values)
    }

    /// Returns the integers of a tag; `None` if it is missing or has fractions or floats.
    pub(crate) fn numbers(&self, tag: u16) -> Option<Vec<u64>> {
        let entry = self.entries.iter().find(|entry| entry.tag == tag)?;
        // Fractions and floats.
        let width = width(entry.kind).filter(|_| !matches!(entry.kind, 5 | 10 | 11 | 12))? as usize;
        Some(
            entry
                .values
                .chunks_exact(width)
                .map(|value| self.file.value(value))
                .collect(),
        )
    }

    /// Returns the first integer of a tag.
    pub(crate) fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag)?.first().copied()
    }

    /// Returns the numbers of a tag as floats, whatever their type.
    pub(crate) fn fractions(&self, tag: u16) -> Option<Vec<f32>> {
        let entry = self.entries.iter().find(|entry| entry.tag == tag)?;
        let value = |bytes: &[u8]| self.file.value(bytes);
        let fraction = |value: &[u8]| {
            let [above, below] =
                [&value[..4], &value[4..]].map(|bytes| self.file.value(bytes) as u32);
            if entry.kind == 10 {
                above as i32 as f32 / below as i32 as f32
            } else {
                above as f32 / below as f32
            }
        };
        Some(match entry.kind {
            5 | 10 => entry.values.chunks_exact(8).map(fraction).collect(),
            11 => entry
                .values
                .chunks_exact(4)
                .map(|bytes| f32::from_bits(value(bytes) as u32))
                .collect(),
            12 => entry
                .values
                .chunks_exact(8)
                .map(|bytes| f64::from_bits(value(bytes)) as f32)
                .collect(),
            _ => self
                .numbers(tag)?
                .into_iter()
                .map(|number| number as f32)
                .collect(),
        })
    }
}

/// Returns the number of bytes of a value; `None` for an unknown type.
fn width(kind: u16) -> Option<u64> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16..=18 => Some(8),
        _ => None,
    }
}
