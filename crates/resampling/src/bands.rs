//! The horizontal pass. Bands of 64 rows are transposed, so that each column is a vector that is
//! weighted as in the vertical pass, and the result is transposed back.

use isa::Work;

use crate::{
    image::Image,
    rows::{HALF, add, clipped},
    weights::{TAPS, Weights},
};

/// Number of rows in a band.
const LANES: usize = 64;

/// A column of a band: one byte of each row.
type Column = [u8; LANES];

/// Eight bytes of each row of a band, as `[row % 8][row / 8]`, or eight columns in the same form.
type Words = [[u64; LANES / 8]; 8];

/// The horizontal pass over all rows.
pub(crate) struct Across<'a> {
    pub(crate) image: Image<'a>,
    pub(crate) weights: &'a Weights,
}

impl Work for Across<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn run(self) -> Vec<u8> {
        let Image {
            bytes,
            width,
            channels,
            ..
        } = self.image;
        let (length, new_length) = (width * channels, self.weights.len() * channels);
        // Rounded up to whole words of eight columns.
        let mut columns = vec![[0; LANES]; length.next_multiple_of(8)];
        let mut new_columns = vec![[0; LANES]; new_length.next_multiple_of(8)];
        let mut out = vec![0; bytes.len() / length * new_length];
        for (band, out) in bytes
            .chunks(LANES * length)
            .zip(out.chunks_mut(LANES * new_length))
        {
            turn(band, length, &mut columns);
            for (column, (first, weights)) in self.weights.iter().enumerate() {
                for channel in 0..channels {
                    let mut sums = [HALF; LANES];
                    for (index, weights) in weights.iter().enumerate() {
                        let column = |tap: usize| {
                            let column = (first + index * TAPS + tap).min(width - 1);
                            &columns[column * channels + channel][..]
                        };
                        add(
                            [column(0), column(1), column(2), column(3)],
                            *weights,
                            &mut sums,
                        );
                    }
                    new_columns[column * channels + channel] = clipped(&sums);
                }
            }
            turn_back(&new_columns, new_length, out);
        }
        out
    }
}

/// Transposes a band to columns.
#[inline(always)]
fn turn(rows: &[u8], length: usize, columns: &mut [Column]) {
    let mut lines: [&[[u8; 8]]; LANES] = [&[]; LANES];
    // The bytes of each row after its last whole word, padded with zeros.
    let mut ends = [[[0; 8]]; LANES];
    for ((line, end), row) in lines
        .iter_mut()
        .zip(&mut ends)
        .zip(rows.chunks_exact(length))
    {
        let (whole, rest) = row.as_chunks();
        *line = whole;
        end[0][..rest.len()].copy_from_slice(rest);
    }
    let (whole, last) = columns.split_at_mut(length / 8 * 8);
    for (index, columns) in whole.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        turn_words(&lines, index, columns);
    }
    if let Some(columns) = last.first_chunk_mut() {
        turn_words(&ends.each_ref().map(<[_; 1]>::as_slice), 0, columns);
    }
}

/// Transposes eight bytes of each row to eight columns. Missing rows count as zeros.
#[inline(always)]
fn turn_words(lines: &[&[[u8; 8]]; LANES], index: usize, columns: &mut [Column; 8]) {
    let mut words = Words::default();
    for group in 0..LANES / 8 {
        for row in 0..8 {
            words[row][group] = lines[group * 8 + row]
                .get(index)
                .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        }
    }
    let words = exchanged(words);
    for (column, words) in columns.iter_mut().zip(words) {
        for (bytes, word) in column.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
    }
}

/// Transposes columns back to rows.
#[inline(always)]
fn turn_back(columns: &[Column], length: usize, rows: &mut [u8]) {
    for (index, columns) in columns.as_chunks::<8>().0.iter().enumerate() {
        let mut words = Words::default();
        for (words, column) in words.iter_mut().zip(columns) {
            for (word, bytes) in words.iter_mut().zip(column.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*bytes);
            }
        }
        let words = exchanged(words);
        for (row, line) in rows.chunks_exact_mut(length).enumerate() {
            let bytes = words[row % 8][row / 8].to_le_bytes();
            let line = &mut line[index * 8..];
            match line.first_chunk_mut() {
                Some(whole) => *whole = bytes,
                None => line.copy_from_slice(&bytes[..line.len()]),
            }
        }
    }
}

/// Exchanges byte `b` of word `w` with byte `w` of word `b` in all lanes: halves first, then
/// quarters, then bytes.
#[expect(
    clippy::needless_range_loop,
    reason = "the loop over lanes is the outer one, so that it is what becomes vectors"
)]
#[inline(always)]
fn exchanged(mut words: Words) -> Words {
    for lane in 0..LANES / 8 {
        let mut of_lane = [0; 8];
        for word in 0..8 {
            of_lane[word] = words[word][lane];
        }
        exchange::<4>(&mut of_lane, 0xFFFF_FFFF);
        exchange::<2>(&mut of_lane, 0xFFFF_0000_FFFF);
        exchange::<1>(&mut of_lane, 0x00FF_00FF_00FF_00FF);
        for word in 0..8 {
            words[word][lane] = of_lane[word];
        }
    }
    words
}

/// Exchanges the bytes `APART` positions up in a word with those that `mask` selects in the word
/// `APART` further on.
#[inline(always)]
fn exchange<const APART: usize>(words: &mut [u64; 8], mask: u64) {
    for pair in 0..4 {
        let upper = pair / APART * 2 * APART + pair % APART;
        let (a, b) = (words[upper], words[upper + APART]);
        let difference = (a >> (8 * APART) ^ b) & mask;
        words[upper] = a ^ difference << (8 * APART);
        words[upper + APART] = b ^ difference;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_turned_is_its_columns_and_back_again() {
        for (height, length) in [(64usize, 8usize), (64, 37), (1, 3), (50, 16), (9, 100)] {
            let rows: Vec<u8> = (0..height * length)
                .map(|at| (at * 31 + at / 7) as u8)
                .collect();
            let mut columns = vec![[0; LANES]; length.next_multiple_of(8)];
            turn(&rows, length, &mut columns);
            for at in 0..height * length {
                assert_eq!(
                    columns[at % length][at / length],
                    rows[at],
                    "{height}x{length}"
                );
            }
            let mut back = vec![7; rows.len()];
            turn_back(&columns, length, &mut back);
            assert_eq!(back, rows, "{height}x{length}");
        }
    }
}
