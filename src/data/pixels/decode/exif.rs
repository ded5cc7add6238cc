//! Reads the orientation of an image from EXIF data. Data that can't be understood rotate nothing.

use image::metadata::Orientation;
use tiff_pixels::exif_orientation;

/// Returns the orientation in EXIF data, with or without the `Exif` prefix that JPEGs have, or
/// `NoTransforms` if there is none.
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    exif_orientation(exif).map_or(Orientation::NoTransforms, of_number)
}

/// Returns the orientation with this number, or `NoTransforms` if there is none.
pub(super) fn of_number(number: u64) -> Orientation {
    u8::try_from(number)
        .ok()
        .and_then(Orientation::from_exif)
        .unwrap_or(Orientation::NoTransforms)
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
