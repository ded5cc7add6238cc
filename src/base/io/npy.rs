//! NumPy's file format, version 1.0, for arrays of `f32`. Writes only; `numpy.load` reads it.

/// Returns an array in C order as the bytes of a `.npy` file.
///
/// # Panics
/// Panics if the number of values isn't the product of `shape`.
pub fn npy(shape: &[usize], values: &[f32]) -> Vec<u8> {
    assert_eq!(
        shape.iter().product::<usize>(),
        values.len(),
        "as many values as the shape says"
    );
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    // Python writes a tuple of one with a trailing comma, others without.
    let sides = if shape.len() == 1 {
        sides.trim_end()
    } else {
        sides.trim_end_matches(", ")
    };
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sides}), }}");
    // The format aligns values to 64 bytes and ends the header with a line break.
    const BEFORE: usize = 10;
    let padding = (BEFORE + header.len() + 1).next_multiple_of(64) - (BEFORE + header.len() + 1);
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.save` of `numpy.arange(6, dtype="<f4").reshape(2, 3) - 2.5` (NumPy 2), and of
    /// `numpy.zeros(3, dtype="<f4")`.
    #[test]
    fn files_are_numpys_to_the_byte() {
        let head = |shape: &str| {
            let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
            [
                &b"\x93NUMPY\x01\x00\x76\x00"[..],
                format!("{text:<117}\n").as_bytes(),
            ]
            .concat()
        };
        let values = [
            0x00, 0x00, 0x20, 0xc0, 0, 0, 0xc0, 0xbf, 0, 0, 0, 0xbf, 0, 0, 0, 0x3f, 0, 0, 0xc0,
            0x3f, 0, 0, 0x20, 0x40,
        ];
        assert_eq!(
            npy(&[2, 3], &[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]),
            [&head("(2, 3)")[..], &values].concat()
        );
        assert_eq!(npy(&[3], &[0.0; 3]), [&head("(3,)")[..], &[0; 12]].concat());
        assert_eq!(npy(&[0, 7, 7], &[]), head("(0, 7, 7)"));
        assert_eq!(
            npy(&[1000, 224, 1], &vec![1.0; 224_000]).len(),
            128 + 896_000
        );
    }
}
