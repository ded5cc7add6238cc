//! Multinomial logistic regression on a few hundred features: small, exact enough, and the same on every run.

use rayon::prelude::*;

/// Strength of the penalty on weights of standardised features (scikit-learn's `C` is one over it). Wrong labels planted in the brain-tumour
/// set and in hymenoptera are found best with 30 to 500.
const PENALTY: f64 = 100.0;
/// Steps at most, and the change of a weight below which there is no need of more.
const STEPS: usize = 200;
const STILL: f64 = 1e-3;
/// Values that are summed side by side.
const LANES: usize = 8;

/// Rows of standardised features, the last of them always one.
#[derive(Debug)]
pub(super) struct Matrix {
    width: usize,
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
        let one = |row: &[f32]| {
            let features = row.iter().zip(means.iter().zip(&scales));
            features.map(|(value, (mean, scale))| ((f64::from(*value) - mean) * scale) as f32).chain([1.0]).collect::<Vec<_>>()
        };
        Self { width: width + 1, values: values.chunks_exact(width).flat_map(one).collect() }
    }

    pub(super) fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..(index + 1) * self.width]
    }
}

/// Weights of each class, `[class][feature]`.
#[derive(Clone, Debug)]
pub(super) struct Model(Vec<Vec<f64>>);

impl Model {
    /// Probabilities of the classes, of each of these rows.
    pub(super) fn probabilities(&self, matrix: &Matrix, rows: &[usize]) -> Vec<Vec<f64>> {
        let weights = narrow(&self.0);
        rows.iter().map(|index| softmax(&weights, matrix.row(*index))).collect()
    }
}

fn narrow(weights: &[Vec<f64>]) -> Vec<Vec<f32>> {
    weights.iter().map(|weights| weights.iter().map(|weight| *weight as f32).collect()).collect()
}

fn softmax(weights: &[Vec<f32>], row: &[f32]) -> Vec<f64> {
    let mut out: Vec<f64> = weights.iter().map(|weights| f64::from(dot(weights, row))).collect();
    let most = out.iter().copied().fold(f64::MIN, f64::max);
    out.iter_mut().for_each(|value| *value = (*value - most).exp());
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|value| *value /= sum);
    out
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    rest + sums.iter().sum::<f32>()
}

/// A bound on the curvature of the loss of any of these rows, factorised: half the sum of their squares plus the penalty (Böhning 1992).
pub(super) struct Bound {
    width: usize,
    /// Lower triangle, row by row.
    factor: Vec<f64>,
}

impl Bound {
    pub(super) fn of(matrix: &Matrix, rows: &[usize]) -> Self {
        let width = matrix.width;
        let line = |first: usize| {
            let mut line = vec![0.0f32; first + 1];
            for row in rows.iter().map(|index| matrix.row(*index)) {
                line.iter_mut().zip(row).for_each(|(sum, value)| *sum += row[first] * value);
            }
            let mut line: Vec<f64> = line.into_iter().map(|sum| 0.5 * f64::from(sum)).collect();
            // A little on the last one too, which has no penalty of its own, and against rounding.
            line[first] = line[first] * (1.0 + 1e-4) + PENALTY;
            line.resize(width, 0.0);
            line
        };
        let mut factor: Vec<f64> = (0..width).into_par_iter().flat_map_iter(line).collect();
        for row in 0..width {
            for column in 0..=row {
                let known: f64 = (0..column).map(|at| factor[row * width + at] * factor[column * width + at]).sum();
                let value = factor[row * width + column] - known;
                factor[row * width + column] =
                    if row == column { value.max(PENALTY * 1e-3).sqrt() } else { value / factor[column * width + column] };
            }
        }
        Self { width, factor }
    }

    /// What the bound times it gives `right`.
    fn solve(&self, mut right: Vec<f64>) -> Vec<f64> {
        let at = |row: usize, column: usize| self.factor[row * self.width + column];
        for row in 0..self.width {
            let known: f64 = (0..row).map(|column| at(row, column) * right[column]).sum();
            right[row] = (right[row] - known) / at(row, row);
        }
        for row in (0..self.width).rev() {
            right[row] /= at(row, row);
            let value = right[row];
            (0..row).for_each(|column| right[column] -= at(row, column) * value);
        }
        right
    }
}

/// The penalised maximum of the likelihood of `labels` on `rows`, by steps that the bound makes safe, with Nesterov's momentum. `bound` may be
/// that of more rows.
pub(super) fn fit(matrix: &Matrix, labels: &[usize], num_classes: usize, rows: &[usize], bound: &Bound) -> Model {
    let mut weights = vec![vec![0.0f64; matrix.width]; num_classes];
    let (mut ahead, mut momentum) = (weights.clone(), 1.0f64);
    for _ in 0..STEPS {
        let slopes = slopes(matrix, labels, rows, &ahead);
        let next_momentum = f64::midpoint(1.0, (1.0 + 4.0 * momentum * momentum).sqrt());
        let (mut largest, mut uphill) = (0.0f64, 0.0);
        for ((weights, ahead), slopes) in weights.iter_mut().zip(&mut ahead).zip(slopes) {
            let step = bound.solve(slopes.clone());
            for (((weight, ahead), step), slope) in weights.iter_mut().zip(ahead).zip(step).zip(slopes) {
                let next = *ahead - step;
                let change = next - *weight;
                (largest, uphill) = (largest.max(change.abs()), uphill + slope * change);
                *ahead = next + (momentum - 1.0) / next_momentum * change;
                *weight = next;
            }
        }
        momentum = next_momentum;
        if uphill > 0.0 {
            // The momentum led astray (O'Donoghue and Candes 2015).
            (momentum, ahead) = (1.0, weights.clone());
        }
        if largest < STILL {
            break;
        }
    }
    Model(weights)
}

/// The slopes of the penalised loss, `[class][feature]`.
fn slopes(matrix: &Matrix, labels: &[usize], rows: &[usize], weights: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let narrow = narrow(weights);
    let mut sums = vec![vec![0.0f32; matrix.width]; weights.len()];
    for index in rows {
        let row = matrix.row(*index);
        for (class, (sums, probability)) in sums.iter_mut().zip(softmax(&narrow, row)).enumerate() {
            let error = (probability - f64::from(u8::from(labels[*index] == class))) as f32;
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += error * value);
        }
    }
    let of_class = |(sums, weights): (Vec<f32>, &Vec<f64>)| {
        let last = matrix.width - 1;
        let penalty = |at: usize, weight: f64| if at < last { PENALTY * weight } else { 0.0 };
        sums.into_iter().zip(weights).enumerate().map(|(at, (sum, weight))| f64::from(sum) + penalty(at, *weight)).collect()
    };
    sums.into_iter().zip(weights).map(of_class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Purpose, RngExt, stream};

    #[test]
    fn a_fit_is_where_the_loss_has_no_slope() {
        let mut draw = stream(3, Purpose::Synthetic, [0, 9, 0]);
        // Three classes about three places, in 12 features of which one never changes and two are the same.
        let labels: Vec<usize> = (0..240).map(|index| index % 3).collect();
        let mut feature = |label: usize, at: usize| draw.random_range(-1.0..1.0f32) + if at % 3 == label { 1.2 } else { 0.0 };
        let mut values = Vec::new();
        for label in &labels {
            let row: Vec<f32> = (0..10).map(|at| feature(*label, at)).collect();
            values.extend(row.iter().copied().chain([row[0], 5.0]));
        }
        let matrix = Matrix::standardised(&values, 12);
        let all: Vec<usize> = (0..240).collect();
        let bound = Bound::of(&matrix, &all);
        let rows: Vec<usize> = (0..240).filter(|index| index % 5 != 0).collect();
        let model = fit(&matrix, &labels, 3, &rows, &bound);
        let steepest = slopes(&matrix, &labels, &rows, &model.0).into_iter().flatten().fold(0.0f64, |most, slope| most.max(slope.abs()));
        assert!(steepest < 0.5, "{steepest}");
        let held: Vec<usize> = all.into_iter().filter(|index| index % 5 == 0).collect();
        let found = model.probabilities(&matrix, &held);
        assert!(found.iter().all(|found| (found.iter().sum::<f64>() - 1.0).abs() < 1e-9));
        let is_right = |(index, found): &(&usize, &Vec<f64>)| (0..3).all(|class| found[class] <= found[labels[**index]]);
        let right = held.iter().zip(&found).filter(is_right).count();
        assert!(right * 10 > held.len() * 8, "{right} of {}", held.len());
    }
}
