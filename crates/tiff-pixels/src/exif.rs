//! The orientation in EXIF data, which have the form of a TIFF file. Unlike those of a file, their
//! directory may have entries of any length, and damage only means that there is no orientation.

/// The tag of the orientation.
const ORIENTATION: u64 = 0x0112;

/// Returns the number of the orientation in EXIF data, with or without the `Exif` prefix that JPEGs
/// have; `None` if there is none or the data can't be understood.
pub fn exif_orientation(mut exif: &[u8]) -> Option<u64> {
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
