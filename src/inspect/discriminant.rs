//! Linear discriminant analysis with a ridge: classes as Gaussians of one covariance, found from sums alone. A model of some parts of the
//! images takes no second look at them, and many classes cost little more than few.

use std::ops::Range;

use isa::{Isa, Work};
use rayon::prelude::*;

/// What is added to the squares of each standardised feature within the classes. Wrong labels planted in the brain-tumour set, in hands and in
/// digits are found best with 100 to 1000.
const RIDGE: f64 = 300.0;
/// Values that are summed side by side; the same number everywhere, so that sums are too.
const LANES: usize = 32;
/// Rows that are summed up at a time.
const ROWS: usize = 4;
/// Lines of the squares that stay near while all rows pass by.
const LINES: usize = 16;

/// Rows of standardised features.
#[derive(Debug)]
pub(super) struct Matrix {
    width: usize,
    /// From one row to the next: what is beyond the width is zero.
    stride: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// Each of `width` features with mean zero and deviation one; features that never change are zero.
    pub(super) fn standardised(values: &[f32], width: usize) -> Self {
        let count = (values.len() / width).max(1) as f64;
        let (mut means, mut squares) = (vec![0.0f64; width], vec![0.0f64; width]);
        for row in values.chunks_exact(width) {
            for ((mean, square), value) in means.iter_mut().zip(&mut squares).zip(row) {
                *mean += f64::from(*value) / count;
                *square += f64::from(*value).powi(2) / count;
            }
        }
        let scale = |(mean, square): (&f64, &f64)| {
            let variance = square - mean * mean;
            if variance > 1e-9 * square { 1.0 / variance.sqrt() } else { 0.0 }
        };
        let scales: Vec<f64> = means.iter().zip(&squares).map(scale).collect();
        let stride = width.next_multiple_of(LANES);
        let mut out = vec![0.0; values.len() / width * stride];
        out.par_chunks_exact_mut(stride).zip(values.par_chunks_exact(width)).for_each(|(out, row)| {
            for ((out, value), (mean, scale)) in out.iter_mut().zip(row).zip(means.iter().zip(&scales)) {
                *out = ((f64::from(*value) - mean) * scale) as f32;
            }
        });
        Self { width, stride, values: out }
    }

    fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride..(index + 1) * self.stride]
    }

    /// Numbers as long as a row is.
    pub(super) fn padded(&self, mut values: Vec<f32>) -> Vec<f32> {
        values.resize(self.stride, 0.0);
        values
    }

    /// Products of a row with each of some [`Self::padded`] weights, which stand one after the other.
    pub(super) fn products(&self, index: usize, weights: &[f32]) -> Vec<f32> {
        Isa::best().run(Products { row: self.row(index), weights })
    }
}

/// Of one row with all weights.
struct Products<'a> {
    row: &'a [f32],
    weights: &'a [f32],
}

impl Work for Products<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run(self) -> Vec<f32> {
        let product = |weights: &[f32]| {
            let mut sums = [0.0f32; LANES];
            for (a, b) in weights.as_chunks::<LANES>().0.iter().zip(self.row.as_chunks::<LANES>().0) {
                for lane in 0..LANES {
                    sums[lane] += a[lane] * b[lane];
                }
            }
            sums.iter().sum()
        };
        self.weights.chunks_exact(self.row.len()).map(product).collect()
    }
}

/// All that a model is made of, of some rows.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// Of products of two features, the lower triangle, row by row.
    squares: Vec<f64>,
    /// Of features, `[class][feature]`.
    features: Vec<Vec<f64>>,
    /// Rows of each class.
    counts: Vec<f64>,
}

impl Sums {
    pub(super) fn of(matrix: &Matrix, labels: &[usize], num_classes: usize, rows: &[usize]) -> Self {
        let (width, stride) = (matrix.width, matrix.stride);
        // One after the other, as they are read again and again.
        let packed: Vec<f32> = rows.iter().flat_map(|index| matrix.row(*index)).copied().collect();
        let lines: Vec<usize> = (0..width).step_by(LINES).collect();
        let of_lines = |first: usize| {
            let lines = first..(first + LINES).min(width);
            let sums = Isa::best().run(Squares { packed: &packed, stride, lines: lines.clone() });
            let line = |(at, line): (usize, usize)| {
                let mut out: Vec<f64> = sums[at * stride..].iter().take(line + 1).map(|sum| f64::from(*sum)).collect();
                out.resize(width, 0.0);
                out
            };
            lines.enumerate().flat_map(line).collect::<Vec<_>>()
        };
        let squares = lines.into_par_iter().flat_map_iter(of_lines).collect();
        let (mut features, mut counts) = (vec![vec![0.0; width]; num_classes], vec![0.0; num_classes]);
        for (row, index) in packed.chunks_exact(stride).zip(rows) {
            counts[labels[*index]] += 1.0;
            features[labels[*index]].iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        Self { squares, features, counts }
    }

    /// Of all these rows together.
    pub(super) fn add(&mut self, other: &Self) {
        let add = |(sum, value): (&mut f64, &f64)| *sum += value;
        self.squares.iter_mut().zip(&other.squares).for_each(add);
        self.counts.iter_mut().zip(&other.counts).for_each(add);
        self.features.iter_mut().zip(&other.features).for_each(|(sums, values)| sums.iter_mut().zip(values).for_each(add));
    }
}

/// Some lines of the sums of products.
struct Squares<'a> {
    packed: &'a [f32],
    stride: usize,
    lines: Range<usize>,
}

impl Work for Squares<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run(self) -> Vec<f32> {
        let stride = self.stride;
        let mut sums = vec![0.0; self.lines.len() * stride];
        // The triangle: nothing beyond the last of these lines is asked for.
        let length = self.lines.end.next_multiple_of(LANES);
        for rows in self.packed.chunks(ROWS * stride) {
            // Several rows in one pass over the sums; where there are fewer left, the others are nothing.
            let row = |at: usize| rows.get(at * stride..(at + 1) * stride);
            let first = row(0).unwrap_or(&[]);
            let [a, b, c, d] = [0, 1, 2, 3].map(|at| &row(at).unwrap_or(first)[..length]);
            for (sums, line) in sums.chunks_exact_mut(stride).zip(self.lines.clone()) {
                let [wa, wb, wc, wd] = [0, 1, 2, 3].map(|at| row(at).map_or(0.0, |row| row[line]));
                let all = sums[..length].iter_mut().zip(a.iter().zip(b)).zip(c.iter().zip(d));
                all.for_each(|((sum, (a, b)), (c, d))| *sum += (wa * a + wb * b) + (wc * c + wd * d));
            }
        }
        sums
    }
}

/// What tells the classes apart.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// One class after the other.
    weights: Vec<f32>,
    /// Of each class.
    offsets: Vec<f32>,
}

impl Model {
    /// From sums over the rows that it is fitted to.
    pub(super) fn of(sums: &Sums, matrix: &Matrix) -> Self {
        let count: f64 = sums.counts.iter().sum();
        let means: Vec<Vec<f64>> =
            sums.features.iter().zip(&sums.counts).map(|(features, count)| scaled(features, 1.0 / count.max(1.0))).collect();
        let factor = factorised(covariance(sums, &means), matrix.width);
        let of_class = |(mean, class): (&Vec<f64>, &f64)| {
            let weights = solved(&factor, mean.clone());
            let offset = (class.max(0.5) / count).ln() - 0.5 * weights.iter().zip(mean).map(|(weight, mean)| weight * mean).sum::<f64>();
            (matrix.padded(weights.into_iter().map(|weight| weight as f32).collect()), offset as f32)
        };
        let (weights, offsets): (Vec<_>, Vec<_>) = means.par_iter().zip(&sums.counts).map(of_class).unzip();
        Self { weights: weights.concat(), offsets }
    }

    /// Logarithms of the probabilities of the classes but for what all have in common, of each of these rows.
    pub(super) fn logits(&self, matrix: &Matrix, rows: &[usize]) -> Vec<Vec<f32>> {
        let of_row = |index: &usize| {
            let products = matrix.products(*index, &self.weights);
            products.iter().zip(&self.offsets).map(|(product, offset)| product + offset).collect()
        };
        rows.par_iter().map(of_row).collect()
    }
}

fn scaled(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

/// Within the classes, with the ridge; the lower triangle.
fn covariance(sums: &Sums, means: &[Vec<f64>]) -> Vec<f64> {
    let width = means[0].len();
    let count: f64 = sums.counts.iter().sum();
    let freedom = (count - means.len() as f64).max(1.0);
    let mut squares = sums.squares.clone();
    squares.par_chunks_exact_mut(width).enumerate().for_each(|(line, squares)| {
        for (mean, features) in means.iter().zip(&sums.features) {
            squares[..=line].iter_mut().zip(features).for_each(|(square, sum)| *square -= mean[line] * sum);
        }
        squares.iter_mut().for_each(|square| *square /= freedom);
        squares[line] += RIDGE / count;
    });
    squares
}

/// Cholesky's factor.
fn factorised(mut matrix: Vec<f64>, width: usize) -> Vec<Vec<f64>> {
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(width);
    for (row, line) in matrix.chunks_exact_mut(width).enumerate() {
        for (column, above) in factor.iter().enumerate() {
            let known: f64 = line[..column].iter().zip(above).map(|(a, b)| a * b).sum();
            line[column] = (line[column] - known) / above[column];
        }
        let known: f64 = line[..row].iter().map(|value| value * value).sum();
        // The ridge keeps it positive, but for rounding.
        line[row] = (line[row] - known).max(1e-9).sqrt();
        factor.push(line[..=row].to_vec());
    }
    factor
}

/// What the factor's square times it gives `right`.
fn solved(factor: &[Vec<f64>], mut right: Vec<f64>) -> Vec<f64> {
    for (row, line) in factor.iter().enumerate() {
        let known: f64 = line[..row].iter().zip(&right).map(|(a, b)| a * b).sum();
        right[row] = (right[row] - known) / line[row];
    }
    for (row, line) in factor.iter().enumerate().rev() {
        right[row] /= line[row];
        let value = right[row];
        right.iter_mut().zip(&line[..row]).for_each(|(right, factor)| *right -= factor * value);
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NumPy's numbers, by the textbook's formulas: means, the covariance within the classes, the ridge, and `log p + w x - w m / 2`.
    #[test]
    fn logits_are_those_of_gaussians_with_one_covariance() {
        let labels: Vec<usize> = (0..60).map(|index| index % 3).collect();
        let row = |index: usize| {
            let is = |class: usize| f32::from(u8::from(labels[index] == class));
            let share = |factor: usize, of: usize| (index * factor % of) as f32 / of as f32;
            [share(7, 11) + is(0), share(5, 13) + 0.8 * is(1), share(3, 17) + 0.6 * is(2), share(index, 19), 5.0]
        };
        let matrix = Matrix::standardised(&(0..60).flat_map(row).collect::<Vec<_>>(), 5);
        // Of two parts, put together: what was summed up is never looked at again.
        let part = |keep: fn(usize) -> bool| (0..60).filter(|index| index % 5 != 0 && keep(*index)).collect::<Vec<_>>();
        let mut sums = Sums::of(&matrix, &labels, 3, &part(|index| index < 23));
        sums.add(&Sums::of(&matrix, &labels, 3, &part(|index| index >= 23)));
        let found = Model::of(&sums, &matrix).logits(&matrix, &[0, 5, 10, 15]);
        let expected = [
            [-0.929_149, -1.408_479, -1.349_975],
            [-1.675_669, -1.211_272, -0.884_801],
            [-1.595_287, -0.864_197, -1.292_543],
            [-1.030_693, -1.352_631, -1.330_604f32],
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-5), "{found:?} {expected:?}");
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_model_to_the_bit() {
        let values: Vec<f32> = (0..90 * 41u32).map(|index| (index * index % 127) as f32 / 9.0).collect();
        let (matrix, labels) = (Matrix::standardised(&values, 41), (0..90).map(|index| index % 4).collect::<Vec<_>>());
        let rows: Vec<usize> = (0..90).collect();
        let found = |isa: Isa| {
            isa.as_best(|| {
                let squares = Isa::best().run(Squares { packed: &matrix.values, stride: matrix.stride, lines: 3..19 });
                (squares, matrix.products(7, &matrix.values))
            })
        };
        let best = found(Isa::best());
        assert!(Isa::available().into_iter().all(|isa| found(isa) == best));
        assert!(
            Model::of(&Sums::of(&matrix, &labels, 4, &rows), &matrix)
                .logits(&matrix, &rows)
                .iter()
                .flatten()
                .all(|value| value.is_finite())
        );
    }
}
