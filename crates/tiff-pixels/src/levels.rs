//! Converts unpacked strips and tiles to 8-bit samples.

use crate::layout::{Kind, Layout, Meaning};

/// Undoes the prediction, and converts samples to little endian.
pub(crate) fn settle(bytes: &mut [u8], layout: &Layout, is_little_endian: bool) {
    let (width, samples) = (layout.parts.size[1], layout.samples_a_plane());
    let row_bytes = (width * samples * layout.bits).div_ceil(8).max(1);
    let size = layout.bits / 8;
    for row in bytes.chunks_exact_mut(row_bytes) {
        if layout.predictor == 3 {
            // Differences of bytes, in which the highest bytes of all samples come first, then the
            // second highest, and so on.
            (samples..row.len()).for_each(|at| row[at] = row[at].wrapping_add(row[at - samples]));
            let planes = row.to_vec();
            let count = width * samples;
            (0..count * size)
                .for_each(|at| row[at] = planes[(size - 1 - at % size) * count + at / size]);
            continue;
        }
        if size > 1 && !is_little_endian {
            row.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        if layout.predictor == 2 {
            add_up(row, samples * size, size);
        }
    }
}

/// Adds to each sample of `size` bytes the one `step` bytes before it.
fn add_up(row: &mut [u8], step: usize, size: usize) {
    for at in (step..row.len()).step_by(size) {
        let mut carry = 0;
        for byte in at..(at + size).min(row.len()) {
            let sum = u16::from(row[byte]) + u16::from(row[byte - step]) + carry;
            (row[byte], carry) = (sum as u8, sum >> 8);
        }
    }
}

/// Converts a row of a strip or tile to 8-bit samples.
pub(crate) fn unpacked(row: &[u8], layout: &Layout, into: &mut Vec<u8>) {
    into.clear();
    let count = layout.parts.size[1] * layout.samples_a_plane();
    match (layout.kind, layout.bits) {
        (Kind::Unsigned, 8) => into.extend_from_slice(&row[..count]),
        (Kind::Unsigned, 16) => into.extend(row.as_chunks::<2>().0.iter().map(|[_, high]| *high)),
        (Kind::Unsigned, bits @ (1 | 2 | 4)) => {
            let most = (1u8 << bits) - 1;
            // Indices of a palette are not scaled.
            let scale = if layout.meaning == Meaning::Palette {
                1
            } else {
                255 / most
            };
            let sample =
                |at: usize| (row[at * bits / 8] >> (8 - bits - at * bits % 8) & most) * scale;
            into.extend((0..count).map(sample));
        }
        (Kind::Unsigned, 12) => {
            // Two samples lie in three bytes; the upper eight bits of each are taken.
            let sample = |at: usize| {
                if at.is_multiple_of(2) {
                    row[at / 2 * 3]
                } else {
                    row[at / 2 * 3 + 1] << 4 | row[at / 2 * 3 + 2] >> 4
                }
            };
            into.extend((0..count).map(sample));
        }
        // Clipped, as Pillow converts integers and floats to gray. It takes unsigned values from
        // 2^31 on for negative ones.
        (Kind::Unsigned | Kind::Signed, 32) => into.extend(
            row.as_chunks()
                .0
                .iter()
                .map(|bytes| i32::from_le_bytes(*bytes).clamp(0, 255) as u8),
        ),
        (Kind::Signed, 16) => into.extend(
            row.as_chunks()
                .0
                .iter()
                .map(|bytes| i16::from_le_bytes(*bytes).clamp(0, 255) as u8),
        ),
        (Kind::Float, 32) if layout.meaning == Meaning::Rgb => {
            // Floats from 0 to 1.
            into.extend(
                row.as_chunks().0.iter().map(|bytes| {
                    (f32::from_le_bytes(*bytes).clamp(0.0, 1.0) * 255.0).round() as u8
                }),
            );
        }
        (Kind::Float, 32) => into.extend(
            row.as_chunks()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes) as u8),
        ),
        (Kind::Float, _) => into.extend(
            row.as_chunks()
                .0
                .iter()
                .map(|bytes| f64::from_le_bytes(*bytes) as u8),
        ),
        // Signed 8-bit samples, which Pillow takes for unsigned ones.
        _ => into.extend_from_slice(&row[..count]),
    }
}

/// Converts a row of a strip or tile with subsampled chroma to three samples per pixel.
pub(crate) fn spread(bytes: &[u8], layout: &Layout, row: usize, into: &mut Vec<u8>) {
    into.clear();
    let [down, across] = layout.sampling;
    let unit = down * across + 2;
    let units = layout.parts.size[1].div_ceil(across);
    let line = &bytes[row / down * units * unit..][..units * unit];
    for unit in line.chunks_exact(unit) {
        let [luma, differences] = [
            &unit[row % down * across..][..across],
            &unit[down * across..],
        ];
        luma.iter()
            .for_each(|luma| into.extend_from_slice(&[*luma, differences[0], differences[1]]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_carried_from_byte_to_byte() {
        // 0x01F0 and a difference of 0x0020, with two samples per pixel.
        let mut row = [0xF0, 0x01, 0x05, 0x00, 0x20, 0x00, 0x01, 0x00];
        add_up(&mut row, 4, 2);
        assert_eq!(row, [0xF0, 0x01, 0x05, 0x00, 0x10, 0x02, 0x06, 0x00]);
    }
}
