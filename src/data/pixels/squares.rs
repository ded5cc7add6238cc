//! Thumbnails summed over squares: 16 x 16 values, by which images are compared coarsely and their
//! labels judged.

use isa::{Isa, Work};

use super::thumbnail::{SIDE, Thumbnail};

/// Side of the squares that [`Thumbnail::sums`] adds up, in pixels.
const SQUARE: usize = 4;

/// Number of such squares per side.
pub const SQUARES: usize = SIDE / SQUARE;

impl Thumbnail {
    /// Returns the sums of the pixel values in squares of 4 x 4, row by row.
    pub fn sums(&self) -> [u16; SQUARES * SQUARES] {
        Isa::best().run(Sums(self.bytes()))
    }
}

/// Work of [`Thumbnail::sums`].
struct Sums<'a>(&'a [u8]);

impl Work for Sums<'_> {
    type Output = [u16; SQUARES * SQUARES];

    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut sums = [0; SQUARES * SQUARES];
        let rows = self.0.as_chunks::<SIDE>().0.as_chunks::<SQUARE>().0;
        for (sums, rows) in sums.as_chunks_mut::<SQUARES>().0.iter_mut().zip(rows) {
            let mut columns = [0u16; SIDE];
            for row in rows {
                columns
                    .iter_mut()
                    .zip(row)
                    .for_each(|(column, level)| *column += u16::from(*level));
            }
            for (sum, columns) in sums.iter_mut().zip(columns.as_chunks::<SQUARE>().0) {
                *sum = columns.iter().sum();
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::pixels::thumbnail::THUMBNAIL_BYTES;

    #[test]
    fn sums_are_of_squares_of_four_by_four() {
        let levels: Vec<u8> = (0..THUMBNAIL_BYTES)
            .map(|at| (at * 7 % 256) as u8)
            .collect();
        let look = Thumbnail::from_bytes(&levels).expect("as many as a thumbnail has");
        let of_square = |square: usize| -> u16 {
            let [row, column] = [square / SQUARES * 4, square % SQUARES * 4];
            let places =
                (row..row + 4).flat_map(|row| (column..column + 4).map(move |at| (row, at)));
            places
                .map(|(row, at)| u16::from(levels[row * SIDE + at]))
                .sum()
        };
        assert_eq!(
            look.sums().to_vec(),
            (0..256).map(of_square).collect::<Vec<_>>()
        );
    }
}
