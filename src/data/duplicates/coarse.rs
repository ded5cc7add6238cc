//! The cheapest comparison of a pair, on 16 x 16 values: whether one image can be the other,
//! slightly moved and stretched. It rejects nearly all images that only resemble each other, before
//! they are aligned.

use isa::{Isa, Work};

use crate::data::pixels::{
    squares::SQUARES,
    thumbnail::{THUMBNAIL_BYTES, Thumbnail, turned},
};

/// Number of rows and columns.
const COARSE: usize = SQUARES;
/// Rows and columns that are compared; a crop brings other content to the outermost.
const INNER: std::ops::Range<usize> = 1..COARSE - 1;
/// Number of terms that an image and its small moves are combined from (a first-order expansion):
/// its values; its derivatives across and down, each for moving and for stretching; and a constant.
const TERMS: usize = 6;

/// An image of 16 x 16 values, with what is needed to fit its terms to another one.
#[derive(Clone, Debug)]
pub(in crate::data) struct Coarse {
    levels: [u8; COARSE * COARSE],
    /// Inverse of the terms' products, `[term][term]`.
    inverse: [[f32; TERMS]; TERMS],
}

impl Coarse {
    /// Reduces a thumbnail.
    pub(in crate::data) fn of(look: &Thumbnail) -> Self {
        const SQUARE: u16 = (THUMBNAIL_BYTES / (COARSE * COARSE)) as u16;
        let levels = look.sums().map(|sum| ((sum + SQUARE / 2) / SQUARE) as u8);
        let mut products = [[0.0f64; TERMS]; TERMS];
        let mut terms = [[0.0f32; COARSE]; TERMS];
        for row in INNER {
            of_row(&levels, row, &mut terms);
            for (one, line) in terms.iter().zip(&mut products) {
                for (other, product) in terms.iter().zip(line) {
                    *product += one
                        .iter()
                        .zip(other)
                        .map(|(one, other)| f64::from(one * other))
                        .sum::<f64>();
                }
            }
        }
        Self {
            levels,
            inverse: inverted(products).map(|line| line.map(|value| value as f32)),
        }
    }

    /// Returns the correlation of this image, turned, with another one, after the best small move
    /// and stretch of one of them, to first order.
    pub(in crate::data) fn likeness(&self, turn: usize, other: &Self) -> f32 {
        // Each turn is its own inverse, except for rotations by a quarter.
        const BACK: [usize; 8] = [0, 1, 2, 3, 4, 6, 5, 7];
        let explained = |own: &Self, levels: &[u8; COARSE * COARSE], turn: usize| {
            let levels = levels.map(f32::from);
            match turn {
                0 => Isa::best().run(Explained {
                    own,
                    levels: &levels,
                }),
                _ => Isa::best().run(Explained {
                    own,
                    levels: &turned(levels.to_vec(), turn),
                }),
            }
        };
        // The whole image explains a crop better than the crop explains the whole.
        explained(self, &other.levels, BACK[turn]).max(explained(other, &self.levels, turn))
    }
}

/// Computes the terms of a row.
#[inline(always)]
fn of_row(levels: &[u8; COARSE * COARSE], row: usize, terms: &mut [[f32; COARSE]; TERMS]) {
    let center = (COARSE as f32 - 1.0) / 2.0;
    let line = |row: usize| -> [f32; COARSE] {
        std::array::from_fn(|column| f32::from(levels[row * COARSE + column]))
    };
    let (above, here, below) = (line(row - 1), line(row), line(row + 1));
    let (before, after): ([f32; COARSE], [f32; COARSE]) =
        (shifted(&here, 1), shifted(&here, COARSE - 1));
    let y = row as f32 - center;
    for column in 0..COARSE {
        let counts = f32::from(u8::from(INNER.contains(&column)));
        let [across, down] = [
            counts * (after[column] - before[column]),
            counts * (below[column] - above[column]),
        ];
        let x = column as f32 - center;
        // Centered, since small numbers keep more digits in a sum.
        let found = [
            counts * (here[column] - 128.0),
            across,
            across * x,
            down,
            down * y,
            counts,
        ];
        for term in 0..TERMS {
            terms[term][column] = found[term];
        }
    }
}

/// Returns the neighbor of each column. The ends take the other end, where nothing is compared.
#[inline(always)]
fn shifted(line: &[f32; COARSE], by: usize) -> [f32; COARSE] {
    std::array::from_fn(|column| line[(column + COARSE - by) % COARSE])
}

/// Correlation of some values with their best fit by the terms of another image.
struct Explained<'a> {
    own: &'a Coarse,
    levels: &'a [f32],
}

impl Work for Explained<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let mut terms = [[0.0f32; COARSE]; TERMS];
        let mut sums = [[0.0f32; COARSE]; TERMS];
        let mut squares = [0.0f32; COARSE];
        for row in INNER {
            of_row(&self.own.levels, row, &mut terms);
            for column in 0..COARSE {
                let level = (self.levels[row * COARSE + column] - 128.0) * terms[TERMS - 1][column];
                for term in 0..TERMS {
                    sums[term][column] += terms[term][column] * level;
                }
                squares[column] += level * level;
            }
        }
        let sums = sums.map(|lanes| lanes.iter().sum::<f32>());
        let fitted: f32 = self
            .own
            .inverse
            .iter()
            .zip(sums)
            .map(|(line, sum)| sum * line.iter().zip(sums).map(|(a, b)| a * b).sum::<f32>())
            .sum();
        // What the constant explains is no likeness.
        let mean = sums[TERMS - 1] * sums[TERMS - 1] / (INNER.len() * INNER.len()) as f32;
        let spread = squares.iter().sum::<f32>() - mean;
        if spread > 1.0 {
            ((fitted - mean) / spread).max(0.0).sqrt()
        } else {
            0.0
        }
    }
}

/// Inverts a positive semidefinite matrix by Gauss-Jordan elimination. Terms that depend on the
/// others, as in an image without structure, are left out.
fn inverted(mut matrix: [[f64; TERMS]; TERMS]) -> [[f64; TERMS]; TERMS] {
    let mut inverse = [[0.0; TERMS]; TERMS];
    for (at, line) in inverse.iter_mut().enumerate() {
        line[at] = 1.0;
    }
    let scales: [f64; TERMS] = std::array::from_fn(|at| matrix[at][at]);
    let mut is_out = [false; TERMS];
    for pivot in 0..TERMS {
        if matrix[pivot][pivot] <= 1e-6 * scales[pivot] {
            is_out[pivot] = true;
            continue;
        }
        let factor = 1.0 / matrix[pivot][pivot];
        matrix[pivot]
            .iter_mut()
            .chain(&mut inverse[pivot])
            .for_each(|value| *value *= factor);
        let (line, own) = (matrix[pivot], inverse[pivot]);
        for row in (0..TERMS).filter(|row| *row != pivot) {
            let factor = matrix[row][pivot];
            matrix[row]
                .iter_mut()
                .zip(line)
                .chain(inverse[row].iter_mut().zip(own))
                .for_each(|(value, other)| *value -= factor * other);
        }
    }
    for at in (0..TERMS).filter(|at| is_out[*at]) {
        inverse[at] = [0.0; TERMS];
        inverse.iter_mut().for_each(|line| line[at] = 0.0);
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::pixels::thumbnail::SIDE;

    /// Waves in which nothing repeats or mirrors, moved and stretched by pixels of a thumbnail.
    fn look(moved: f32, stretched: f32) -> Thumbnail {
        let level = |at: usize| {
            let place = |at: usize| (at as f32 - 31.5) * stretched + moved + 31.5;
            let (x, y) = (place(at % SIDE), place(at / SIDE));
            (120.0
                + 60.0 * (x / 9.0).sin() * (y / 13.0 + x / 40.0).cos()
                + 30.0 * (x * y / 700.0).sin()) as u8
        };
        Thumbnail::from_bytes(&(0..THUMBNAIL_BYTES).map(level).collect::<Vec<_>>())
            .expect("all bytes")
    }

    #[test]
    fn a_moved_image_is_like_it_in_every_turn_and_another_one_is_not() {
        let image = Coarse::of(&look(0.0, 1.0));
        for (moved, stretched, least) in [
            (0.0, 1.0, 0.9999),
            (1.5, 1.0, 0.99),
            (-1.0, 1.03, 0.99),
            (0.5, 0.97, 0.99),
        ] {
            for turn in 0..8 {
                let other = look(moved, stretched);
                let other = turned(
                    other
                        .bytes()
                        .iter()
                        .map(|level| f32::from(*level))
                        .collect(),
                    turn,
                );
                let other = Coarse::of(
                    &Thumbnail::from_bytes(
                        &other.iter().map(|level| *level as u8).collect::<Vec<_>>(),
                    )
                    .expect("all bytes"),
                );
                let found: Vec<f32> = (0..8).map(|turn| image.likeness(turn, &other)).collect();
                assert!(found[turn] > least, "{moved} {stretched}: {found:?}");
                assert!(
                    found
                        .iter()
                        .enumerate()
                        .all(|(at, found)| at == turn || *found < 0.95),
                    "{moved} {stretched} {turn}: {found:?}"
                );
            }
        }
        assert!(image.likeness(0, &Coarse::of(&look(40.0, 1.4))) < 0.9);
    }

    #[test]
    fn one_level_is_like_nothing_and_brightness_changes_nothing() {
        let of = |level: &dyn Fn(u8) -> u8| {
            Coarse::of(
                &Thumbnail::from_bytes(
                    &look(0.0, 1.0)
                        .bytes()
                        .iter()
                        .map(|value| level(*value))
                        .collect::<Vec<_>>(),
                )
                .expect("all bytes"),
            )
        };
        let (image, dark, flat) = (of(&|level| level), of(&|level| level / 2 + 20), of(&|_| 77));
        assert!(image.likeness(0, &dark) > 0.999 && dark.likeness(0, &image) > 0.999);
        assert!(image.likeness(0, &flat) == 0.0 && flat.likeness(0, &flat) == 0.0);
    }

    #[test]
    fn every_instruction_set_finds_the_same_to_the_bit() {
        let [one, other] = [look(0.0, 1.0), look(2.0, 0.98)];
        let found =
            |isa: Isa| isa.as_best(|| Coarse::of(&one).likeness(5, &Coarse::of(&other)).to_bits());
        assert!(
            Isa::available()
                .into_iter()
                .all(|isa| found(isa) == found(Isa::best()))
        );
    }
}
