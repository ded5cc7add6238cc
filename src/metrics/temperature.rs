//! Temperature scaling (Guo et al. 2017, arXiv 1706.04599): divides all logits by one number, which
//! corrects the confidence of the probabilities and changes no prediction.

/// The lowest and highest temperature that is fitted; outside them the images carry no information.
pub const TEMPERATURES: [f64; 2] = [0.05, 20.0];

/// Returns the temperature that minimizes the log loss of these images, or 1 if the loss doesn't
/// depend on it.
///
/// # Shapes
/// `logits` has a row of `[classes]` per image, and `labels` one class index.
pub fn fit_temperature(logits: &[Vec<f32>], labels: &[usize]) -> f64 {
    // More halvings than a double has bits.
    fit_weighted_temperature(logits, labels, &vec![1.0; labels.len()], 200)
}

/// Returns [`fit_temperature`] with a weight on the loss of each image, found by `halvings`
/// bisections of the interval of [`TEMPERATURES`].
pub fn fit_weighted_temperature(
    logits: &[Vec<f32>],
    labels: &[usize],
    weights: &[f64],
    halvings: usize,
) -> f64 {
    // The loss is convex in the inverse temperature, so the zero of its slope is found by
    // bisection.
    let slope = |inverse: f64| -> f64 {
        let images = logits.iter().zip(labels).zip(weights);
        images
            .map(|((row, label), weight)| {
                weight * (expected(row, inverse) - f64::from(row[*label]))
            })
            .sum()
    };
    // The temperature is optimal already, or has no effect on equal logits.
    if slope(1.0) == 0.0 {
        return 1.0;
    }
    let (mut low, mut high) = (1.0 / TEMPERATURES[1], 1.0 / TEMPERATURES[0]);
    for _ in 0..halvings {
        let middle = f64::midpoint(low, high);
        if slope(middle) < 0.0 {
            low = middle
        } else {
            high = middle
        }
    }
    1.0 / f64::midpoint(low, high)
}

/// Returns the 95 % interval of a fitted temperature.
///
/// The inverse temperature minimizes a sum over images, so its estimate is asymptotically normal
/// with the sandwich variance (Huber 1967; White 1982): the sum of the squared slopes over the
/// squared curvature. The result is clamped to [`TEMPERATURES`].
pub fn temperature_interval(logits: &[Vec<f32>], labels: &[usize], temperature: f64) -> [f64; 2] {
    let inverse = 1.0 / temperature;
    let (mut squares, mut curvature) = (0.0, 0.0);
    for (row, label) in logits.iter().zip(labels) {
        let mean = expected(row, inverse);
        squares += (mean - f64::from(row[*label])).powi(2);
        curvature += expected_of(row, inverse, |value| (value - mean).powi(2));
    }
    let reach = 1.96 * squares.sqrt() / curvature;
    let [coldest, hottest] = TEMPERATURES;
    [inverse + reach, inverse - reach]
        .map(|inverse| 1.0 / inverse.clamp(1.0 / hottest, 1.0 / coldest))
}

/// Computes the probabilities of these logits at a temperature.
pub fn softened(logits: &[Vec<f32>], temperature: f64) -> Vec<Vec<f32>> {
    let row = |row: &Vec<f32>| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = row
            .iter()
            .map(|value| (f64::from(value - largest) / temperature).exp())
            .collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| (weight / sum) as f32).collect()
    };
    logits.iter().map(row).collect()
}

/// Returns the mean logit under the softmax of the logits times `inverse`.
fn expected(row: &[f32], inverse: f64) -> f64 {
    expected_of(row, inverse, |value| value)
}

/// Returns the mean of a function of the logit under that softmax.
fn expected_of(row: &[f32], inverse: f64, of: impl Fn(f64) -> f64) -> f64 {
    let largest = row
        .iter()
        .fold(f64::NEG_INFINITY, |most, value| most.max(f64::from(*value)));
    let (mut sum, mut weighted) = (0.0, 0.0);
    for value in row {
        let weight = (inverse * (f64::from(*value) - largest)).exp();
        sum += weight;
        weighted += weight * of(f64::from(*value));
    }
    weighted / sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Temperatures from SciPy's `minimize_scalar` on the same loss
    /// (`scripts/reference/metrics.py`).
    #[test]
    fn the_temperature_is_the_one_of_the_smallest_loss() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/metrics.json")).expect("JSON");
        for case in golden["temperature"].as_array().expect("a list") {
            let logits: Vec<Vec<f32>> =
                serde_json::from_value(case["logits"].clone()).expect("logits");
            let labels: Vec<usize> =
                serde_json::from_value(case["labels"].clone()).expect("labels");
            let (found, expected) = (
                fit_temperature(&logits, &labels),
                case["temperature"].as_f64().expect("a number"),
            );
            assert!(
                (found / expected - 1.0).abs() < 1e-5,
                "{found}, SciPy has {expected}"
            );
        }
    }

    /// Logits drawn for a known temperature: the interval holds it in about 95 of 100 sets, and is
    /// as wide as the estimates scatter.
    #[test]
    fn the_interval_holds_the_true_temperature_as_often_as_it_says() {
        use crate::base::rng::{Purpose, RngExt, stream};
        let (truth, sets) = (1.7, 400);
        let (mut held, mut found, mut widths) = (0, Vec::new(), 0.0);
        for set in 0..sets {
            let mut draw = stream(3, Purpose::Synthetic, [set, 5, 0]);
            let logits: Vec<Vec<f32>> = (0..150)
                .map(|_| (0..3).map(|_| draw.random_range(-4.0..4.0)).collect())
                .collect();
            let label = |row: &Vec<f32>, at: f32| {
                let mut sum = 0.0;
                row.iter()
                    .position(|share| {
                        sum += share;
                        at < sum
                    })
                    .unwrap_or(2)
            };
            let labels: Vec<usize> = softened(&logits, truth)
                .iter()
                .map(|row| label(row, draw.random()))
                .collect();
            let temperature = fit_temperature(&logits, &labels);
            let [low, high] = temperature_interval(&logits, &labels, temperature);
            assert!(
                low < temperature && temperature < high,
                "{low} {temperature} {high}"
            );
            held += usize::from((low..=high).contains(&truth));
            widths += (high - low) / sets as f64;
            found.push(temperature);
        }
        let mean = found.iter().sum::<f64>() / sets as f64;
        let spread = (found
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / sets as f64)
            .sqrt();
        let share = held as f64 / sets as f64;
        // Three standard deviations of a fraction of 400; the width within a fifth of the scatter.
        assert!((share - 0.95).abs() < 0.033, "{share}");
        assert!(
            (widths / (2.0 * 1.96 * spread) - 1.0).abs() < 0.2,
            "{widths} {spread}"
        );
    }

    #[test]
    fn images_that_do_not_say_lead_to_a_limit_and_never_to_nan() {
        let sure = vec![vec![5.0, -5.0], vec![-3.0, 3.0]];
        // Below that, all probabilities are 0 or 1 already.
        assert!((TEMPERATURES[0]..0.3).contains(&fit_temperature(&sure, &[0, 1])));
        assert!((fit_temperature(&sure, &[1, 0]) - TEMPERATURES[1]).abs() < 1e-9);
        assert_eq!(fit_temperature(&[vec![1.0, 1.0]], &[0]), 1.0);
    }
}
