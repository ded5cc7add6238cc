//! Which learning rate to take: the range test of Smith (2017) by the rules of fastai's `lr_find`.
//! The rate rises exponentially from step to step, until the smoothed loss is four times its
//! lowest.

/// Number of steps of a search that isn't stopped before.
pub const STEPS: usize = 100;
/// Learning rate of the first step, and the one that the last step stays just below.
pub const RANGE: [f64; 2] = [1e-7, 10.0];
/// Multiple of the lowest loss above which the search is over.
pub const DIVERGED: f64 = 4.0;
/// Weight of the losses before in the smoothed loss.
const SMOOTHING: f64 = 0.98;
/// Steps at the start and at the end that say nothing of good rates.
const LEFT_OUT: [usize; 2] = [STEPS / 10, 5];

/// The smoothed loss at each learning rate of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RateCurve {
    /// Learning rates.
    pub rates: Vec<f64>,
    /// The smoothed loss of the step with each rate.
    pub losses: Vec<f64>,
    /// The smoothed loss before the correction for its start at 0.
    average: f64,
    is_over: bool,
}

/// Learning rates that a search suggests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suggested {
    /// The rate halfway down the longest descent of the loss.
    pub valley: f64,
    /// The rate at which the loss falls fastest.
    pub steepest: f64,
    /// Whether that lies beyond the lowest loss, where it is noise of a loss that grows.
    pub steepest_is_noise: bool,
}

impl RateCurve {
    /// Returns the learning rate of the next step, or `None` if the search is over.
    pub fn next_rate(&self) -> Option<f64> {
        let step = self.rates.len();
        let share = step as f64 / STEPS as f64;
        (!self.is_over && step < STEPS).then(|| RANGE[0] * (RANGE[1] / RANGE[0]).powf(share))
    }

    /// Adds the loss of the step with [`Self::next_rate`]. One that isn't finite ends the search.
    pub fn add(&mut self, loss: f64) {
        let Some(rate) = self.next_rate() else {
            return;
        };
        if !loss.is_finite() {
            self.is_over = true;
            return;
        }
        self.average = loss + (self.average - loss) * SMOOTHING;
        self.rates.push(rate);
        // Adam's correction, as the average starts at 0.
        let count = i32::try_from(self.rates.len()).unwrap_or(i32::MAX);
        let smoothed = self.average / (1.0 - SMOOTHING.powi(count));
        self.losses.push(smoothed);
        let lowest = self.losses.iter().copied().fold(f64::INFINITY, f64::min);
        self.is_over = smoothed > DIVERGED * lowest;
    }

    /// Returns whether the loss had grown too large, or wasn't finite, before the last step.
    pub fn has_diverged(&self) -> bool {
        self.is_over
    }

    /// Returns the suggested rates, or `None` after too few steps.
    pub fn suggested(&self) -> Option<Suggested> {
        let [start, end] = [LEFT_OUT[0], self.rates.len().saturating_sub(LEFT_OUT[1])];
        let (rates, losses) = (self.rates.get(start..end)?, self.losses.get(start..end)?);
        if rates.len() < 2 {
            return None;
        }
        let lowest = |a: &usize, b: &usize| losses[*a].total_cmp(&losses[*b]);
        let steepest = steepest(rates, losses);
        Some(Suggested {
            valley: rates[valley(losses)],
            steepest: rates[steepest],
            steepest_is_noise: (0..losses.len()).min_by(lowest) < Some(steepest),
        })
    }
}

/// Returns the middle of the second third of the longest descent: of the longest subsequence of
/// falling losses, counted back from its end as if it had no gaps.
fn valley(losses: &[f64]) -> usize {
    // Length of the longest descent that ends at each loss.
    let mut lengths = vec![1usize; losses.len()];
    for at in 1..losses.len() {
        let before = (0..at).filter(|before| losses[at] < losses[*before]);
        lengths[at] = before.map(|before| lengths[before] + 1).max().unwrap_or(1);
    }
    let longest = lengths.iter().copied().max().unwrap_or(1);
    let end = lengths
        .iter()
        .position(|length| *length == longest)
        .unwrap_or(0);
    if longest == 1 {
        return 0;
    }
    let third = longest as f64 / 3.0;
    // A descent over all losses starts one before the first.
    (end + third as usize + (third / 2.0) as usize).saturating_sub(longest)
}

/// Returns where the loss falls fastest by the logarithm of the rate.
fn steepest(rates: &[f64], losses: &[f64]) -> usize {
    let slope =
        |at: &usize| (losses[at + 1] - losses[*at]) / (rates[at + 1].ln() - rates[*at].ln());
    (0..losses.len() - 1)
        .min_by(|a, b| slope(a).total_cmp(&slope(b)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn numbers(value: &Value) -> Vec<f64> {
        serde_json::from_value(value.clone()).expect("numbers")
    }

    fn searched(losses: &[f64]) -> RateCurve {
        let mut curve = RateCurve::default();
        losses.iter().for_each(|loss| curve.add(*loss));
        curve
    }

    /// Compares with `scripts/reference/rate_finder.py`.
    #[test]
    fn curves_and_suggestions_are_fastais() {
        let golden: Value =
            serde_json::from_str(include_str!("../../../tests/golden/rate_finder.json"))
                .expect("JSON");
        let cases = golden["cases"].as_array().expect("a list");
        assert!(cases.len() >= 6, "{}", cases.len());
        for case in cases {
            let name = &case["name"];
            let found = searched(&numbers(&case["losses"]));
            for (found, expected) in [
                (&found.rates, numbers(&case["rates"])),
                (&found.losses, numbers(&case["smoothed"])),
            ] {
                assert_eq!(found.len(), expected.len(), "{name}");
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found / expected - 1.0).abs() < 1e-5,
                        "{name}: {found} {expected}"
                    );
                }
            }
            let found = found.suggested().expect("enough steps");
            for (found, key) in [(found.valley, "valley"), (found.steepest, "steep")] {
                let expected = case[key].as_f64().expect("a number");
                assert!(
                    (found / expected - 1.0).abs() < 1e-5,
                    "{name}, {key}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_search_ends_where_the_loss_grows_or_is_no_number() {
        let curve = searched(&[1.0; 200]);
        assert_eq!(
            (curve.rates.len(), curve.next_rate(), curve.has_diverged()),
            (STEPS, None, false)
        );
        assert!((curve.rates[0] / 1e-7 - 1.0).abs() < 1e-12 && curve.rates[99] < 10.0);
        let curve = searched(&[1.0, 0.5, f64::NAN, 0.5]);
        assert_eq!((curve.rates.len(), curve.has_diverged()), (2, true));
        assert_eq!(curve.suggested(), None);
        let curve = searched(&[1.0, 1.0, 1000.0, 1.0]);
        assert_eq!((curve.rates.len(), curve.has_diverged()), (3, true));
    }
}
