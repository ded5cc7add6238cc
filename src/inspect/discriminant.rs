//! Linear discriminant analysis with a ridge: models the classes as Gaussians with one covariance,
//! estimated from sums over the rows alone. The sums of the folds are added to give the model of
//! any of them, so that no row is read again, and many classes cost little more than few.

use std::ops::Range;

use isa::{Isa, Work};
use rayon::prelude::*;

/// Ridge: divided by the number of rows, it is added to the variance of each standardized feature
/// within the classes. Wrong labels planted in the brain-tumor set, in hand signs and in digits are
/// found best with 100 to 1000.
const RIDGE: f64 = 300.0;
/// Number of values summed side by side. It is the same for every instruction set, so that the sums
/// are the same to the bit.
const LANES: usize = 32;
/// Number of rows added in one pass over the sums.
const ROWS: usize = 4;
/// Number of lines of the triangle that a task sums, so that they stay in the cache while all rows
/// are added.
const LINES: usize = 16;

/// Standardized features, one row per image.
#[derive(Debug)]
pub(super) struct Matrix {
    /// Number of features.
    width: usize,
    /// Distance from one row to the next, a multiple of [`LANES`]; values beyond the width are
    /// zero.
    stride: usize,
    /// Features, `[rows, stride]`.
    values: Vec<f32>,
}

impl Matrix {
    /// Standardizes each of `width` features to mean zero and standard deviation one. A feature
    /// that is constant becomes zero.
    ///
    /// # Shapes
    /// `values` is `[rows, width]`.
    pub(super) fn standardized(values: &[f32], width: usize) -> Self {
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
            // The subtraction above leaves a rounding error in place of a variance of zero, and its
            // root would magnify a constant feature.
            if variance > 1e-9 * square {
                1.0 / variance.sqrt()
            } else {
                0.0
            }
        };
        let scales: Vec<f64> = means.iter().zip(&squares).map(scale).collect();
        let stride = width.next_multiple_of(LANES);
        let mut out = vec![0.0; values.len() / width * stride];
        out.par_chunks_exact_mut(stride)
            .zip(values.par_chunks_exact(width))
            .for_each(|(out, row)| {
                for ((out, value), (mean, scale)) in
                    out.iter_mut().zip(row).zip(means.iter().zip(&scales))
                {
                    *out = ((f64::from(*value) - mean) * scale) as f32;
                }
            });
        Self {
            width,
            stride,
            values: out,
        }
    }

    fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride..(index + 1) * self.stride]
    }

    /// Pads `values` with zeros to the length of a row.
    pub(super) fn padded(&self, mut values: Vec<f32>) -> Vec<f32> {
        values.resize(self.stride, 0.0);
        values
    }

    /// Computes the dot product of a row with each vector in `weights`.
    ///
    /// # Shapes
    /// `weights` is `[vectors, stride]`, each vector from [`Self::padded`]; the result is
    /// `[vectors]`.
    pub(super) fn products(&self, index: usize, weights: &[f32]) -> Vec<f32> {
        Isa::best().run(Products {
            row: self.row(index),
            weights,
        })
    }
}

/// The dot products of one row with all weights.
struct Products<'a> {
    row: &'a [f32],
    weights: &'a [f32],
}

impl Work for Products<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run(self) -> Vec<f32> {
        let mut products = vec![0.0; self.weights.len() / self.row.len()];
        // A loop: what an iterator collects is compiled foreign_names, for the baseline.
        for (product, weights) in products
            .iter_mut()
            .zip(self.weights.chunks_exact(self.row.len()))
        {
            let mut sums = [0.0f32; LANES];
            for (a, b) in weights
                .as_chunks::<LANES>()
                .0
                .iter()
                .zip(self.row.as_chunks::<LANES>().0)
            {
                for lane in 0..LANES {
                    sums[lane] += a[lane] * b[lane];
                }
            }
            *product = sums.iter().sum();
        }
        products
    }
}

/// The sums over some rows that a model is computed from.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// Sums of products of two features, `[feature, feature]`. The lower triangle is filled, the
    /// rest is zero.
    squares: Vec<f64>,
    /// Sums of the features, `[class][feature]`.
    features: Vec<Vec<f64>>,
    /// Number of rows of each class.
    counts: Vec<f64>,
}

impl Sums {
    /// Sums the given rows of the matrix. `labels` has the class of every row of the matrix.
    pub(super) fn of(
        matrix: &Matrix,
        labels: &[usize],
        num_classes: usize,
        rows: &[usize],
    ) -> Self {
        let (width, stride) = (matrix.width, matrix.stride);
        // Contiguous, because every task below reads all of these rows.
        let packed: Vec<f32> = rows
            .iter()
            .flat_map(|index| matrix.row(*index))
            .copied()
            .collect();
        let lines: Vec<usize> = (0..width).step_by(LINES).collect();
        let of_lines = |first: usize| {
            let lines = first..(first + LINES).min(width);
            let sums = Isa::best().run(Squares {
                packed: &packed,
                stride,
                lines: lines.clone(),
            });
            let line = |(at, line): (usize, usize)| {
                let mut out: Vec<f64> = sums[at * stride..]
                    .iter()
                    .take(line + 1)
                    .map(|sum| f64::from(*sum))
                    .collect();
                out.resize(width, 0.0);
                out
            };
            lines.enumerate().flat_map(line).collect::<Vec<_>>()
        };
        let squares = lines.into_par_iter().flat_map_iter(of_lines).collect();
        let (mut features, mut counts) =
            (vec![vec![0.0; width]; num_classes], vec![0.0; num_classes]);
        for (row, index) in packed.chunks_exact(stride).zip(rows) {
            counts[labels[*index]] += 1.0;
            features[labels[*index]]
                .iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += f64::from(*value));
        }
        Self {
            squares,
            features,
            counts,
        }
    }

    /// Adds the sums over other rows.
    pub(super) fn add(&mut self, other: &Self) {
        let add = |(sum, value): (&mut f64, &f64)| *sum += value;
        self.squares.iter_mut().zip(&other.squares).for_each(add);
        self.counts.iter_mut().zip(&other.counts).for_each(add);
        self.features
            .iter_mut()
            .zip(&other.features)
            .for_each(|(sums, values)| sums.iter_mut().zip(values).for_each(add));
    }
}

/// The sums of products for some lines of the triangle.
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
        // What lies beyond the last of these lines is in the upper triangle, which isn't needed.
        let length = self.lines.end.next_multiple_of(LANES);
        for rows in self.packed.chunks(ROWS * stride) {
            // The sums are loaded and stored once for four rows. Rows missing at the end get weight
            // zero.
            let row = |at: usize| rows.get(at * stride..(at + 1) * stride);
            let first = row(0).unwrap_or(&[]);
            let [a, b, c, d] = [0, 1, 2, 3].map(|at| &row(at).unwrap_or(first)[..length]);
            for (sums, line) in sums.chunks_exact_mut(stride).zip(self.lines.clone()) {
                let [wa, wb, wc, wd] = [0, 1, 2, 3].map(|at| row(at).map_or(0.0, |row| row[line]));
                let all = sums[..length]
                    .iter_mut()
                    .zip(a.iter().zip(b))
                    .zip(c.iter().zip(d));
                all.for_each(|((sum, (a, b)), (c, d))| {
                    *sum += (wa * a + wb * b) + (wc * c + wd * d)
                });
            }
        }
        sums
    }
}

/// A fitted discriminant: one linear function of the features per class.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// Weights, `[classes, stride]`.
    weights: Vec<f32>,
    /// Constant term of each class.
    offsets: Vec<f32>,
}

impl Model {
    /// Fits the model to the rows that `sums` was computed from. `matrix` gives the layout of the
    /// rows.
    pub(super) fn of(sums: &Sums, matrix: &Matrix) -> Self {
        let count: f64 = sums.counts.iter().sum();
        let means: Vec<Vec<f64>> = sums
            .features
            .iter()
            .zip(&sums.counts)
            .map(|(features, count)| scaled(features, 1.0 / count.max(1.0)))
            .collect();
        let factor = factorised(covariance(sums, &means), matrix.width);
        let of_class = |(mean, class): (&Vec<f64>, &f64)| {
            let weights = solved(&factor, mean.clone());
            // A class without rows counts as half a row: the logarithm of zero is infinite.
            let offset = (class.max(0.5) / count).ln()
                - 0.5
                    * weights
                        .iter()
                        .zip(mean)
                        .map(|(weight, mean)| weight * mean)
                        .sum::<f64>();
            (
                matrix.padded(weights.into_iter().map(|weight| weight as f32).collect()),
                offset as f32,
            )
        };
        let (weights, offsets): (Vec<_>, Vec<_>) =
            means.par_iter().zip(&sums.counts).map(of_class).unzip();
        Self {
            weights: weights.concat(),
            offsets,
        }
    }

    /// Computes the log probabilities of the classes, up to a constant in each row, for the given
    /// rows.
    ///
    /// # Shapes
    /// The result is `[rows][classes]`.
    pub(super) fn logits(&self, matrix: &Matrix, rows: &[usize]) -> Vec<Vec<f32>> {
        let of_row = |index: &usize| {
            let products = matrix.products(*index, &self.weights);
            products
                .iter()
                .zip(&self.offsets)
                .map(|(product, offset)| product + offset)
                .collect()
        };
        rows.par_iter().map(of_row).collect()
    }
}

/// Multiplies each value by `factor`.
fn scaled(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

/// Computes the covariance within the classes, with the ridge on its diagonal. Only the lower
/// triangle of the result is valid.
fn covariance(sums: &Sums, means: &[Vec<f64>]) -> Vec<f64> {
    let width = means[0].len();
    let count: f64 = sums.counts.iter().sum();
    let freedom = (count - means.len() as f64).max(1.0);
    let mut squares = sums.squares.clone();
    squares
        .par_chunks_exact_mut(width)
        .enumerate()
        .for_each(|(line, squares)| {
            for (mean, features) in means.iter().zip(&sums.features) {
                squares[..=line]
                    .iter_mut()
                    .zip(features)
                    .for_each(|(square, sum)| *square -= mean[line] * sum);
            }
            squares.iter_mut().for_each(|square| *square /= freedom);
            squares[line] += RIDGE / count;
        });
    squares
}

/// Computes the Cholesky factor of a matrix whose lower triangle is given. Each row of the factor
/// ends with its diagonal element.
fn factorised(mut matrix: Vec<f64>, width: usize) -> Vec<Vec<f64>> {
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(width);
    for (row, line) in matrix.chunks_exact_mut(width).enumerate() {
        for (column, above) in factor.iter().enumerate() {
            let known: f64 = line[..column].iter().zip(above).map(|(a, b)| a * b).sum();
            line[column] = (line[column] - known) / above[column];
        }
        let known: f64 = line[..row].iter().map(|value| value * value).sum();
        // The ridge makes this value positive; the bound guards against rounding.
        line[row] = (line[row] - known).max(1e-9).sqrt();
        factor.push(line[..=row].to_vec());
    }
    factor
}

/// Solves `factor * transpose(factor) * x = right` for `x`.
fn solved(factor: &[Vec<f64>], mut right: Vec<f64>) -> Vec<f64> {
    for (row, line) in factor.iter().enumerate() {
        let known: f64 = line[..row].iter().zip(&right).map(|(a, b)| a * b).sum();
        right[row] = (right[row] - known) / line[row];
    }
    for (row, line) in factor.iter().enumerate().rev() {
        right[row] /= line[row];
        let value = right[row];
        right
            .iter_mut()
            .zip(&line[..row])
            .for_each(|(right, factor)| *right -= factor * value);
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are NumPy's, from the textbook formulas: class means, the covariance within
    /// the classes, the ridge, and `log p + w x - w m / 2`.
    #[test]
    fn logits_are_those_of_gaussians_with_one_covariance() {
        let labels: Vec<usize> = (0..60).map(|index| index % 3).collect();
        let row = |index: usize| {
            let is = |class: usize| f32::from(u8::from(labels[index] == class));
            let share = |factor: usize, of: usize| (index * factor % of) as f32 / of as f32;
            [
                share(7, 11) + is(0),
                share(5, 13) + 0.8 * is(1),
                share(3, 17) + 0.6 * is(2),
                share(index, 19),
                5.0,
            ]
        };
        let matrix = Matrix::standardized(&(0..60).flat_map(row).collect::<Vec<_>>(), 5);
        // Summed in two parts, as the sums of folds are.
        let part = |keep: fn(usize) -> bool| {
            (0..60)
                .filter(|index| index % 5 != 0 && keep(*index))
                .collect::<Vec<_>>()
        };
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
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 2e-5),
                "{found:?} {expected:?}"
            );
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_model_to_the_bit() {
        let values: Vec<f32> = (0..90 * 41u32)
            .map(|index| (index * index % 127) as f32 / 9.0)
            .collect();
        let (matrix, labels) = (
            Matrix::standardized(&values, 41),
            (0..90).map(|index| index % 4).collect::<Vec<_>>(),
        );
        let rows: Vec<usize> = (0..90).collect();
        let found = |isa: Isa| {
            isa.as_best(|| {
                let squares = Isa::best().run(Squares {
                    packed: &matrix.values,
                    stride: matrix.stride,
                    lines: 3..19,
                });
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
