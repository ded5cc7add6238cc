//! Measures how far a map can be trusted: evidence on the border, deletion and insertion curves,
//! and rank correlation of maps.

use serde::Serialize;

use super::{
    Map,
    member::{Member, mean},
};
use crate::{
    augment::blur,
    base::rng::{Purpose, permutation, stream},
    nn::NnError,
};

/// Divisor of a side that gives the width of the border: a tenth at each end.
const FRAME: usize = 10;

/// Number of steps of a deletion or insertion curve.
const STEPS: usize = 20;

/// Evidence on the border of an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Border {
    /// Fraction of the map on the border; NaN without evidence.
    pub share: f64,
    /// Fraction of the pixels on the border, the value for a uniform map.
    pub area: f64,
}

/// Measures the evidence on the border.
///
/// # Shapes
/// `values` is `[height, width]`, flattened.
pub fn border(values: &[f32], [height, width]: [usize; 2]) -> Border {
    let [rows, columns] =
        [height, width].map(|side| (side as f64 / FRAME as f64).round().max(1.0) as usize);
    let is_frame = |at: usize| {
        let (row, column) = (at / width, at % width);
        row < rows || row >= height - rows || column < columns || column >= width - columns
    };
    let sum = |on_frame: &dyn Fn(usize) -> bool| {
        values
            .iter()
            .enumerate()
            .filter(|(at, _)| on_frame(*at))
            .map(|(_, value)| f64::from(*value))
            .sum::<f64>()
    };
    let area = (0..values.len()).filter(|at| is_frame(*at)).count() as f64 / values.len() as f64;
    Border {
        share: sum(&is_frame) / sum(&|_| true),
        area,
    }
}

/// Probability of a class while pixels are replaced step by step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Probability after none, a twentieth, and so on up to all of the pixels.
    pub probabilities: Vec<f64>,
    /// Area under the curve by the trapezoidal rule, as a fraction from 0 to 1.
    pub area: f64,
}

/// Deletion and insertion curves (Petsiuk et al. 2018, arXiv 1806.07421), and their areas for the
/// same map with its values shuffled. A map that shows what matters has a smaller area than the
/// shuffled one in deletion and a larger one in insertion.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curves {
    /// Pixels are replaced by the mean of the image, those with the most evidence first.
    pub deletion: Curve,
    /// Pixels are restored in a blurred image, those with the most evidence first.
    pub insertion: Curve,
    /// Area under the deletion curve of the shuffled map.
    pub deletion_shuffled: f64,
    /// Area under the insertion curve of the shuffled map.
    pub insertion_shuffled: f64,
}

impl Member {
    /// Computes the curves of one image. `index` seeds the shuffling of its map.
    ///
    /// # Shapes
    /// `image` is `[channels, height, width]`, flattened and normalized.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub(super) fn curves(
        &self,
        image: &[f32],
        class: usize,
        map: &Map,
        index: usize,
    ) -> Result<Curves, NnError> {
        let [channels, height, width] = self.design.input;
        let mut mean = Vec::with_capacity(image.len());
        self.channel_means(image)
            .iter()
            .for_each(|value| mean.extend(std::iter::repeat_n(*value, height * width)));
        let mut blurred = image.to_vec();
        // RISE blurs images of 224 pixels with a standard deviation of 5 pixels.
        blur(
            &mut blurred,
            5.0 * height.min(width) as f32 / 224.0,
            [height, width, channels],
        );
        let shuffled = map.shuffled(index);
        let curve = |map: &Map, from: &[f32], to: &[f32]| {
            self.curve(from, to, class, &order(&map.at_size([height, width])))
        };
        Ok(Curves {
            deletion: curve(map, image, &mean)?,
            insertion: curve(map, &blurred, image)?,
            deletion_shuffled: curve(&shuffled, image, &mean)?.area,
            insertion_shuffled: curve(&shuffled, &blurred, image)?.area,
        })
    }

    /// Computes the curve while `from` becomes `to`, pixel by pixel in `order`.
    fn curve(
        &self,
        from: &[f32],
        to: &[f32],
        class: usize,
        order: &[usize],
    ) -> Result<Curve, NnError> {
        let pixels = order.len();
        let mut image = from.to_vec();
        let mut images = image.clone();
        for step in 0..STEPS {
            for at in &order[step * pixels / STEPS..(step + 1) * pixels / STEPS] {
                (0..image.len() / pixels)
                    .for_each(|channel| image[channel * pixels + at] = to[channel * pixels + at]);
            }
            images.extend_from_slice(&image);
        }
        let probabilities: Vec<f64> = self
            .probabilities(&images)?
            .iter()
            .map(|row| row[class])
            .collect();
        let ends = (probabilities[0] + probabilities[STEPS]) / 2.0;
        let area = (probabilities.iter().sum::<f64>() - ends) / STEPS as f64;
        Ok(Curve {
            probabilities,
            area,
        })
    }
}

impl Curves {
    /// Returns the mean of the curves that several networks have for a map.
    pub(super) fn mean(each: &[Self]) -> Self {
        let of = |value: &dyn Fn(&Self) -> f64| mean(each.iter().map(value));
        let curve = |curve: fn(&Self) -> &Curve| Curve {
            probabilities: (0..=STEPS)
                .map(|step| of(&|curves| curve(curves).probabilities[step]))
                .collect(),
            area: of(&|curves| curve(curves).area),
        };
        Self {
            deletion: curve(|curves| &curves.deletion),
            insertion: curve(|curves| &curves.insertion),
            deletion_shuffled: of(&|curves| curves.deletion_shuffled),
            insertion_shuffled: of(&|curves| curves.insertion_shuffled),
        }
    }
}

impl Map {
    /// Returns the map with its values in random places.
    fn shuffled(&self, index: usize) -> Self {
        let order = permutation(
            &mut stream(0, Purpose::Shuffled, [index as u64, 0, 0]),
            self.values.len(),
        );
        Self {
            size: self.size,
            values: order.iter().map(|at| self.values[*at]).collect(),
        }
    }
}

/// Returns positions by decreasing value; equal values keep their order.
fn order(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    order
}

/// Returns Spearman's rank correlation, with mean ranks for equal values as SciPy has it; 0 if
/// either argument is constant.
pub fn spearman(a: &[f32], b: &[f32]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - mean) * (b - mean))
            .sum::<f64>()
    };
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    if scale == 0.0 {
        0.0
    } else {
        product(&a, &b) / scale
    }
}

/// Returns ranks, counted from 1; equal values have their mean rank.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equals in order.chunk_by(|a, b| values[*a] == values[*b]) {
        equals
            .iter()
            .for_each(|at| ranks[*at] = before as f64 + (equals.len() as f64 + 1.0) / 2.0);
        before += equals.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_is_a_tenth_of_each_side() {
        let at = |row: usize, column: usize| {
            let mut values = vec![0.0; 20 * 30];
            values[row * 30 + column] = 2.0;
            border(&values, [20, 30])
        };
        for (row, column, share) in [
            (1, 15, 1.0),
            (2, 15, 0.0),
            (18, 15, 1.0),
            (10, 2, 1.0),
            (10, 3, 0.0),
            (10, 27, 1.0),
            (10, 26, 0.0),
        ] {
            assert_eq!(at(row, column).share, share, "{row}, {column}");
        }
        let even = border(&[1.0; 600], [20, 30]);
        assert!(
            (even.area - (1.0 - 16.0 * 24.0 / 600.0)).abs() < 1e-12
                && (even.share - even.area).abs() < 1e-6,
            "{even:?}"
        );
        assert!(border(&[0.0; 600], [20, 30]).share.is_nan());
    }

    /// From SciPy: `scipy.stats.spearmanr([1, 2, 2, 5, 3], [4, 1, 3, 9, 1])` and the like.
    #[test]
    fn rank_correlation_is_scipys() {
        for (a, b, expected) in [
            (
                vec![1.0, 2.0, 2.0, 5.0, 3.0],
                vec![4.0, 1.0, 3.0, 9.0, 1.0],
                0.131_578_947_368_421_07,
            ),
            (vec![1.0, 2.0, 3.0], vec![10.0, 20.0, 40.0], 1.0),
            (vec![1.0, 2.0, 3.0], vec![3.0, 2.0, 1.0], -1.0),
            (vec![1.0, 1.0, 1.0], vec![3.0, 2.0, 1.0], 0.0),
        ] {
            assert!(
                (spearman(&a, &b) - expected).abs() < 1e-12,
                "{a:?} {b:?}: {}",
                spearman(&a, &b)
            );
        }
    }
}
