//! Reads the orientation of an image from EXIF data. Data that can't be understood rotate nothing.

use image::metadata::Orientation;

/// The tag of the orientation.
const ORIENTATION: u64 = 0x0112;

/// Returns the orientation in EXIF data, with or without the `Exif` prefix that JPEGs have, or
/// `NoTransforms` if there is none.
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    number(exif).map_or(Orientation::NoTransforms, of_number)
}

/// Returns the orientation with this number, or `NoTransforms` if there is none.
pub(super) fn of_number(number: u64) -> Orientation {
    u8::try_from(number)
        .ok()
        .and_then(Orientation::from_exif)
        .unwrap_or(Orientation::NoTransforms)
}

/// Returns the number of the orientation in the first directory.
fn number(mut exif: &[u8]) -> Option<u64> {
    // The prefix belongs to JPEG; other files may have it too, even twice.
    while let Some(rest) = exif.strip_prefix(b"Exif\0\0") {
        exif = rest;
    }
    let is_little_endian = match exif.get(..4)? {
        b"II\x2A\0" => true,
        b"MM\0\x2A" => false,
        _ => return None,
    };
    let value = |at: usize, length: usize| {
        let bytes = exif.get(at..at.checked_add(length)?)?;
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if is_little_endian {
            bytes.iter().rev().fold(0, add)
        } else {
            bytes.iter().fold(0, add)
        })
    };
    let directory = value(4, 4)? as usize;
    let count = value(directory, 2)? as usize;
    let entries = (0..count).map(|index| directory + 2 + index * 12);
    let entry = entries
        .take_while(|entry| entry + 12 <= exif.len())
        .find(|entry| value(*entry, 2) == Some(ORIENTATION))?;
    // The standard says 16 bits; some programs write other lengths and signed numbers.
    let length = match (value(entry + 2, 2)?, value(entry + 4, 4)?) {
        (1 | 6, 1) => 1,
        (3 | 8, 1) => 2,
        (4 | 9, 1) => 4,
        _ => return None,
    };
    value(entry + 8, length)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns EXIF data with a single entry, of this type.
    pub(crate) fn exif(is_little_endian: bool, kind: u16, orientation: u32) -> Vec<u8> {
        let number = |value: u32, length: usize| {
            let bytes = if is_little_endian {
                value.to_le_bytes().to_vec()
            } else {
                value.to_be_bytes()[4 - length..].to_vec()
            };
            bytes[..length].to_vec()
        };
        let length = [1, 2, 4][[1, 3, 4]
            .iter()
            .position(|other| *other == kind)
            .unwrap_or(1)];
        let mut value = number(orientation, length);
        value.resize(4, 0);
        let head: &[u8] = if is_little_endian { b"II" } else { b"MM" };
        let parts = [
            number(42, 2),
            number(8, 4),
            number(1, 2),
            number(0x0112, 2),
            number(u32::from(kind), 2),
            number(1, 4),
            value,
        ];
        [head, &parts.concat(), &[0; 4]].concat()
    }

    #[test]
    fn numbers_of_any_length_and_order_are_read_behind_any_head() {
        for (is_little_endian, kind) in [
            (true, 1),
            (true, 3),
            (true, 4),
            (false, 1),
            (false, 3),
            (false, 4),
        ] {
            let plain = exif(is_little_endian, kind, 6);
            for head in [&b""[..], b"Exif\0\0", b"Exif\0\0Exif\0\0"] {
                assert_eq!(
                    orientation(&[head, &plain].concat()),
                    Orientation::Rotate90,
                    "{kind} {is_little_endian}"
                );
            }
            for length in 0..plain.len() - 4 {
                assert!(
                    length > 20 || orientation(&plain[..length]) == Orientation::NoTransforms,
                    "{length}"
                );
            }
        }
        assert_eq!(orientation(&exif(true, 3, 9)), Orientation::NoTransforms);
        assert_eq!(
            orientation(&exif(true, 7, 6)),
            Orientation::NoTransforms,
            "bytes without a meaning"
        );
        assert_eq!(of_number(262), Orientation::NoTransforms);
    }
}
