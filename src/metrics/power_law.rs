//! How an error rate falls with the number of training images: as a power of it (Hestness et al.
//! 2017, arXiv 1712.00409), fitted to a few sizes and continued beyond the largest.

use rayon::prelude::*;

use super::interval::{Estimate, middle, resample, resamples};

/// A power law of the error rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerLaw {
    /// Logarithm of the error rate at one training image.
    pub intercept: f64,
    /// Exponent of the number of images: below 0 if more of them help.
    pub slope: f64,
}

impl PowerLaw {
    /// Fits the law to the numbers of training images and the shares of errors by least squares of
    /// their logarithms.
    fn fit(sizes: &[f64], errors: &[f64]) -> Self {
        let count = sizes.len() as f64;
        let mean = |values: &[f64]| values.iter().map(|value| value.ln()).sum::<f64>() / count;
        let (x, y) = (mean(sizes), mean(errors));
        let products = sizes.iter().zip(errors);
        let products = products.map(|(size, error)| (size.ln() - x) * (error.ln() - y));
        let squares = sizes.iter().map(|size| (size.ln() - x).powi(2));
        let slope = products.sum::<f64>() / squares.sum::<f64>();
        Self {
            intercept: y - slope * x,
            slope,
        }
    }

    /// Returns the error rate with so many training images.
    pub fn error(&self, size: f64) -> f64 {
        (self.intercept + self.slope * size.ln()).exp()
    }
}

/// What more training images would bring.
#[derive(Clone, Copy, Debug)]
pub struct Forecast {
    /// The law through all sizes.
    pub law: PowerLaw,
    /// Accuracy with twice the largest size minus that with the largest, both by the law.
    pub gain: Estimate,
    /// Accuracy with twice the largest size.
    pub accuracy: Estimate,
}

/// Continues a learning curve to twice its largest size. `hits[i]` says which of the same images
/// the network of the size `sizes[i]` predicts correctly; `groups` and `seed` are as in
/// [`Report::new`](super::Report::new). The intervals are those of these images alone: how a
/// network varies with its seed isn't in them.
///
/// # Panics
/// Panics if there are fewer than two sizes.
pub fn forecast(sizes: &[f64], hits: &[Vec<bool>], groups: &[usize], seed: u64) -> Forecast {
    assert!(sizes.len() > 1, "a curve has two sizes or more");
    let largest = sizes.iter().copied().fold(0.0, f64::max);
    let fit = |counts: &[u32]| {
        let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        let errors: Vec<f64> = hits
            .iter()
            .map(|hits| {
                let wrong = hits.iter().zip(counts).filter(|(hit, _)| !**hit);
                let wrong: f64 = wrong.map(|(_, count)| f64::from(*count)).sum();
                // Half an error more, so that a network without one has a logarithm.
                (wrong + 0.5) / (total + 1.0)
            })
            .collect();
        PowerLaw::fit(sizes, &errors)
    };
    let gain = |law: &PowerLaw| law.error(largest) - law.error(2.0 * largest);
    let accuracy = |law: &PowerLaw| 1.0 - law.error(2.0 * largest);
    let law = fit(&vec![1; groups.len()]);
    let draw = |index: u64| fit(&resample(groups, seed, index));
    let drawn: Vec<PowerLaw> = resamples(groups).into_par_iter().map(draw).collect();
    Forecast {
        law,
        gain: middle(gain(&law), drawn.iter().map(gain)),
        accuracy: middle(accuracy(&law), drawn.iter().map(accuracy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NumPy's `polyfit(log(sizes), log(errors), 1)`.
    #[test]
    fn the_law_is_the_line_through_the_logarithms() {
        let law = PowerLaw::fit(&[50.0, 100.0, 200.0, 400.0], &[0.31, 0.22, 0.17, 0.11]);
        assert!((law.slope + 0.485_626_285_264).abs() < 1e-9, "{law:?}");
        assert!((law.intercept - 0.738_561_318_332).abs() < 1e-9, "{law:?}");
        assert!(
            (law.error(800.0) - 0.081_458_479_430).abs() < 1e-9,
            "{law:?}"
        );
    }

    #[test]
    fn a_falling_error_promises_a_gain_and_a_constant_one_none() {
        let groups: Vec<usize> = (0..400).collect();
        // Every `nth` image is wrong.
        let hits = |nth: usize| (0..400).map(|index| index % nth != 0).collect::<Vec<_>>();
        let sizes = [100.0, 200.0, 400.0];
        let found = forecast(&sizes, &[hits(4), hits(8), hits(16)], &groups, 0);
        assert!(found.gain.low > 0.0 && found.gain.value > 0.02, "{found:?}");
        assert!((found.accuracy.value - 0.968).abs() < 2e-3, "{found:?}");
        let found = forecast(&sizes, &[hits(8), hits(8), hits(8)], &groups, 0);
        assert_eq!((found.law.slope, found.gain.value), (0.0, 0.0));
        let found = forecast(
            &sizes,
            &[vec![true; 400], vec![true; 400], vec![true; 400]],
            &groups,
            0,
        );
        assert!(
            found.accuracy.value > 0.99 && found.gain.value == 0.0,
            "{found:?}"
        );
    }
}
