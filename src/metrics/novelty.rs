//! Tells images that are unlike the training images, by the Mahalanobis distance of a network's
//! features from their mean. Conformal p-values turn distances into a promised rate of false
//! alarms.

use std::sync::Arc;

use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::images_for;
use crate::base::io::bytes::{from_f32, to_f32};

/// Number of products that are summed side by side, the same on every machine.
const LANES: usize = 8;
/// Number of lines of a covariance that are summed in one pass over the rows.
const LINES: usize = 16;
/// Least variance in any direction. Features have a length of about one; without it, those that are
/// equal in all training images would be divided by zero.
const LEAST: f64 = 1e-12;

/// The p-value from which down an image is unlike the training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    /// Fraction of new images of the same kind that are taken for others.
    pub rate: f64,
    /// Number of training images that images are compared with.
    pub compared_with: usize,
    /// Number of validation images that it was fitted on.
    pub fitted_on: usize,
    /// What distances are measured by; lies in a file of its own.
    #[serde(skip)]
    pub model: Arc<NoveltyModel>,
}

impl Novelty {
    /// Fits a rate of false alarms to the features of training images and of validation images,
    /// which must not be among them. With fewer of these than [`Self::images_for`], no image is
    /// unlike the training images.
    ///
    /// # Shapes
    /// Rows are `[features]`.
    ///
    /// # Panics
    /// Panics if there is no training image.
    pub fn fit(rate: f64, training: &[Vec<f32>], validation: &[Vec<f32>]) -> Self {
        Self {
            rate,
            compared_with: training.len(),
            fitted_on: validation.len(),
            model: Arc::new(NoveltyModel::fit(training, validation)),
        }
    }

    /// Returns the least number of validation images that a rate can be promised with.
    pub fn images_for(rate: f64) -> usize {
        images_for(1.0 - rate)
    }

    /// Whether an image with this p-value is unlike the training images. Among new images of their
    /// kind, that happens with a probability of at most the rate.
    pub fn is_unlike(&self, p_value: f64) -> bool {
        p_value <= self.rate
    }
}

/// The distribution of the training images' features, and how far validation images lie from its
/// mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NoveltyModel {
    /// Mean of each feature over the training images.
    mean: Vec<f32>,
    /// Inverse of the Cholesky factor of their covariance, `[features, features]`, zero above the
    /// diagonal.
    whitening: Vec<f32>,
    /// Distances of the validation images, ascending.
    distances: Vec<f32>,
}

impl NoveltyModel {
    /// Fits a distribution to training images, with the covariance of Ledoit and Wolf (2004), and
    /// measures how far validation images lie from its mean.
    fn fit(training: &[Vec<f32>], validation: &[Vec<f32>]) -> Self {
        let (count, width) = (training.len() as f64, training[0].len());
        let mut mean = vec![0.0f64; width];
        for row in training {
            let sums = mean.iter_mut().zip(row);
            sums.for_each(|(sum, value)| *sum += f64::from(*value) / count);
        }
        let centered = |row: &Vec<f32>| -> Vec<f64> {
            let values = row.iter().zip(&mean);
            values
                .map(|(value, mean)| f64::from(*value) - mean)
                .collect()
        };
        let rows: Vec<Vec<f64>> = training.par_iter().map(centered).collect();
        let mut lines = covariance(&rows);
        shrink(&mut lines, &rows);
        factorize(&mut lines);
        let mut model = Self {
            mean: mean.into_iter().map(|value| value as f32).collect(),
            whitening: inverse(&lines),
            distances: Vec::new(),
        };
        let distances = validation.par_iter().map(|row| model.distance(row));
        model.distances = distances.collect();
        model.distances.sort_by(f32::total_cmp);
        model
    }

    /// Returns the number of features of an image, and of validation images.
    pub fn sizes(&self) -> [usize; 2] {
        [self.mean.len(), self.distances.len()]
    }

    /// Returns the p-value of an image: the fraction of the validation images, this one counted
    /// among them, that lie as far from the mean (Bates et al. 2023, arXiv 2104.08279).
    ///
    /// # Panics
    /// Panics if the image has another number of features.
    pub fn p_value(&self, features: &[f32]) -> f64 {
        let distance = self.distance(features);
        let nearer = self.distances.partition_point(|other| *other < distance);
        let count = self.distances.len();
        (1 + count - nearer) as f64 / (1 + count) as f64
    }

    /// Returns the square of the Mahalanobis distance of an image from the mean.
    fn distance(&self, features: &[f32]) -> f32 {
        assert_eq!(
            features.len(),
            self.mean.len(),
            "features of the same network"
        );
        let values = features.iter().zip(&self.mean);
        let centered: Vec<f32> = values.map(|(value, mean)| value - mean).collect();
        let lines = self.whitening.chunks_exact(centered.len());
        let white = lines.enumerate().map(|(at, line)| {
            // The rest of the line is zero.
            product(&line[..=at], &centered[..=at])
        });
        white.map(|value| value * value).sum()
    }

    /// Returns the content as a safetensors file with the tensors `mean`, `whitening` and
    /// `distances`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let width = self.mean.len();
        let tensors = [
            ("mean", vec![width], &self.mean),
            ("whitening", vec![width, width], &self.whitening),
            ("distances", vec![self.distances.len()], &self.distances),
        ];
        let bytes = tensors.each_ref().map(|(_, _, values)| from_f32(values));
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (*name, view.expect("a value for each place"))
        });
        safetensors::serialize(views, None).expect("memory takes every byte")
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// Returns the reason if the bytes are no such file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let found = Self {
            mean: tensor(&file, "mean")?,
            whitening: tensor(&file, "whitening")?,
            distances: tensor(&file, "distances")?,
        };
        let [width, values] = [found.mean.len(), found.whitening.len()];
        if values != width * width {
            return Err(format!(
                "`whitening`: found {values} numbers, expected {width} times {width}"
            ));
        }
        if !found.distances.is_sorted() {
            return Err("`distances`: found another order, expected an ascending one".to_owned());
        }
        Ok(found)
    }
}

/// Returns the values of a tensor.
fn tensor(file: &SafeTensors<'_>, name: &str) -> Result<Vec<f32>, String> {
    let view = file.tensor(name).map_err(|error| error.to_string())?;
    if view.dtype() != Dtype::F32 {
        return Err(format!("`{name}`: found {:?}, expected F32", view.dtype()));
    }
    let values: Vec<f32> = to_f32(view.data()).collect();
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("`{name}`: found {value}, expected finite numbers")),
        None => Ok(values),
    }
}

/// Computes the covariance of centered rows: line `i` has the columns from 0 to `i`.
fn covariance(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let (count, width) = (rows.len() as f64, rows[0].len());
    let starts: Vec<usize> = (0..width).step_by(LINES).collect();
    let of_lines = |first: usize| {
        let lines = first..(first + LINES).min(width);
        let mut sums: Vec<Vec<f64>> = lines.clone().map(|line| vec![0.0; line + 1]).collect();
        for row in rows {
            for (sums, line) in sums.iter_mut().zip(lines.clone()) {
                let value = row[line] / count;
                let sums = sums.iter_mut().zip(row);
                sums.for_each(|(sum, other)| *sum += value * other);
            }
        }
        sums
    };
    starts.into_par_iter().flat_map_iter(of_lines).collect()
}

/// Moves the covariance of centered rows toward a multiple of the identity, by as much as brings it
/// closest to that of the distribution, judging by how much the rows differ.
fn shrink(lines: &mut [Vec<f64>], rows: &[Vec<f64>]) {
    let (count, width) = (rows.len() as f64, lines.len() as f64);
    let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
    let (mut trace, mut squares) = (0.0, 0.0);
    for line in &*lines {
        let (diagonal, others) = line.split_last().expect("a line ends on the diagonal");
        trace += diagonal;
        squares += 2.0 * square(others) + diagonal * diagonal;
    }
    let mean_variance = trace / width;
    let fourth = rows.iter().map(|row| square(row).powi(2)).sum::<f64>() / count;
    let error = (fourth - squares) / (count * width);
    let spread = squares / width - mean_variance * mean_variance;
    let share = if error > 0.0 {
        (error / spread).min(1.0)
    } else {
        0.0
    };
    for line in lines {
        line.iter_mut().for_each(|value| *value *= 1.0 - share);
        if let Some(diagonal) = line.last_mut() {
            *diagonal += share * mean_variance + LEAST;
        }
    }
}

/// Replaces the lower triangle of a covariance by its Cholesky factor.
fn factorize(lines: &mut [Vec<f64>]) {
    for at in 0..lines.len() {
        let (above, line) = lines.split_at_mut(at);
        let line = &mut line[0];
        for (column, above) in above.iter().enumerate() {
            let known = product(&line[..column], &above[..column]);
            line[column] = (line[column] - known) / above[column];
        }
        let known = product(&line[..at], &line[..at]);
        line[at] = (line[at] - known).max(LEAST).sqrt();
    }
}

/// Computes the inverse of a lower triangle, as whole lines one after the other.
fn inverse(lines: &[Vec<f64>]) -> Vec<f32> {
    let width = lines.len();
    // Column by column, each from its diagonal down.
    let of_column = |column: usize| {
        let mut found: Vec<f64> = Vec::with_capacity(width - column);
        for (at, line) in lines.iter().enumerate().skip(column) {
            let known = product(&line[column..at], &found);
            let one = if at == column { 1.0 } else { 0.0 };
            found.push((one - known) / line[at]);
        }
        found
    };
    let columns: Vec<Vec<f64>> = (0..width).into_par_iter().map(of_column).collect();
    let mut whole = vec![0.0; width * width];
    for (column, values) in columns.iter().enumerate() {
        for (at, value) in (column..).zip(values) {
            whole[at * width + column] = *value as f32;
        }
    }
    whole
}

/// Returns the sum of the products of two rows.
fn product<T>(a: &[T], b: &[T]) -> T
where
    T: Copy + Default + std::ops::Add<Output = T> + std::ops::Mul<Output = T>,
{
    let mut sums = [T::default(); LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] = sums[lane] + a[lane] * b[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| *a * *b);
    sums.into_iter()
        .chain(rest)
        .fold(T::default(), |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Purpose, RngExt, normal, stream};

    /// Rows of the script `scripts/reference/novelty.py`.
    fn rows(indices: std::ops::Range<usize>) -> Vec<Vec<f32>> {
        let value = |index: usize, at: usize| {
            let common = index * 5 % 13 * (at % 3) + index * 3 % 7 * (at % 5);
            let own = (index * index * 7 + index * at * 3 + at * 11) % 23;
            ((common as f64 + own as f64 / 8.0) / 16.0) as f32
        };
        indices
            .map(|index| (0..19).map(|at| value(index, at)).collect())
            .collect()
    }

    /// Expected distances are those of scikit-learn 1.9.1's `LedoitWolf`, by that script, for fewer
    /// rows than features.
    #[test]
    fn distances_are_scikit_learns_and_p_values_count_images_that_are_as_far() {
        let (training, validation) = (rows(0..12), rows(40..46));
        let found = Novelty::fit(0.25, &training, &validation);
        assert_eq!((found.compared_with, found.fitted_on), (12, 6));
        let expected = [
            2.597_505_6,
            3.319_477_9,
            5.835_289,
            2.070_443_2,
            7.534_334,
            2.105_794_4f32,
        ];
        // From the farthest to the nearest.
        let p_values = [4, 3, 2, 6, 1, 5].map(|rank| f64::from(1 + rank) / 7.0);
        for ((row, expected), p_value) in validation.iter().zip(expected).zip(p_values) {
            let distance = found.model.distance(row);
            assert!(
                (distance / expected - 1.0).abs() < 1e-4,
                "{distance} {expected}"
            );
            assert_eq!(found.model.p_value(row), p_value);
            assert!(!found.is_unlike(p_value));
        }
        let far = found.model.p_value(&[9.0; 19]);
        assert!(far == 1.0 / 7.0 && found.is_unlike(far));
        for (rate, least) in [(0.2, 4), (0.19, 5), (0.05, 19), (0.01, 99)] {
            assert_eq!(Novelty::images_for(rate), least, "{rate}");
        }
    }

    /// Features that are equal in all training images, and fewer images than features, leave
    /// numbers.
    #[test]
    fn what_never_varies_is_no_division_by_zero() {
        let still = Novelty::fit(0.2, &vec![vec![0.5; 3]; 4], &vec![vec![0.5; 3]; 4]);
        assert_eq!(still.model.p_value(&[0.5; 3]), 1.0);
        assert_eq!(still.model.p_value(&[0.5, 0.5, 0.6]), 0.2);
        let one = Novelty::fit(0.2, &[vec![0.0, 1.0]], &vec![vec![1.0, 0.0]; 4]);
        assert!(one.model.whitening.iter().all(|value| value.is_finite()));
    }

    /// The promise itself, in 1,000 draws of everything: new images of the same kind are taken for
    /// others no more often than promised, and not much less, though the distances of the training
    /// images say nothing of theirs.
    #[test]
    fn false_alarms_are_no_more_than_promised() {
        for (rate, count) in [(0.05, 59), (0.1, 24)] {
            let alarms = |round: u64| {
                let mut draws = stream(3, Purpose::Synthetic, [round, count, 0]);
                let mut rows = |count: u64, spread: f64| -> Vec<Vec<f32>> {
                    let mut draw = || (spread * normal(&mut draws)) as f32 + 0.5;
                    (0..count)
                        .map(|_| (0..5).map(|_| draw()).collect())
                        .collect()
                };
                // Training images lie closer together, as those that a network was trained on do.
                let (training, validation, new) = (rows(20, 0.3), rows(count, 1.0), rows(20, 1.0));
                let novelty = Novelty::fit(rate, &training, &validation);
                let p_values = new.iter().map(|row| novelty.model.p_value(row));
                p_values
                    .filter(|p_value| novelty.is_unlike(*p_value))
                    .count()
            };
            let share = (0..1000).map(alarms).sum::<usize>() as f64 / 20_000.0;
            let least = rate - 1.0 / (count + 1) as f64;
            // Four standard deviations of the mean of 1,000 draws, most of which comes from the
            // validation images: that of a draw is about the root of rate / (count + 1).
            let chance = 4.0 * (rate / (count + 1) as f64 / 1000.0).sqrt() + 0.004;
            assert!(
                share > least - chance && share < rate + chance,
                "{rate}: {share}"
            );
        }
    }

    #[test]
    fn a_file_gives_back_what_was_written_and_names_what_is_wrong() {
        let mut draws = stream(4, Purpose::Synthetic, [0, 0, 0]);
        let mut row = |_| (0..11).map(|_| draws.random()).collect();
        let (training, validation): (Vec<_>, Vec<_>) = (
            (0..7).map(&mut row).collect(),
            (0..9).map(&mut row).collect(),
        );
        let found = Novelty::fit(0.1, &training, &validation);
        let bytes = found.model.to_bytes();
        let read = NoveltyModel::from_bytes(&bytes).expect("whole");
        assert_eq!(*found.model, read);
        assert_eq!(read.sizes(), [11, 9]);
        let fault = |change: fn(&mut NoveltyModel)| {
            let mut other = read.clone();
            change(&mut other);
            NoveltyModel::from_bytes(&other.to_bytes()).expect_err("wrong")
        };
        let order = fault(|other| other.distances.reverse());
        assert!(
            order.starts_with("`distances`: found another order"),
            "{order}"
        );
        let infinite = fault(|other| other.whitening[3] = f32::NAN);
        assert!(infinite.starts_with("`whitening`: found NaN"), "{infinite}");
        assert!(NoveltyModel::from_bytes(&bytes[..40]).is_err());
    }
}
