//! Temperature scaling (Guo et al. 2017, arXiv 1706.04599): one number that makes probabilities as sure as they may be, and changes no
//! prediction.

/// The hottest and coldest that is ever fitted: beyond them, the pictures don't say.
const LIMITS: [f64; 2] = [0.05, 20.0];

/// The temperature that logits are to be divided by for the smallest log loss on these pictures. The loss is convex in its inverse, so there
/// is one; it is found by halving.
pub fn fit_temperature(logits: &[Vec<f32>], labels: &[usize]) -> f64 {
    let slope =
        |inverse: f64| -> f64 { logits.iter().zip(labels).map(|(row, label)| expected(row, inverse) - f64::from(row[*label])).sum() };
    if slope(1.0) == 0.0 {
        return 1.0;
    }
    let (mut low, mut high) = (1.0 / LIMITS[1], 1.0 / LIMITS[0]);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    1.0 / f64::midpoint(low, high)
}

/// The mean logit under the probabilities that these logits give at this inverse temperature.
fn expected(row: &[f32], inverse: f64) -> f64 {
    let largest = row.iter().fold(f64::NEG_INFINITY, |most, value| most.max(f64::from(*value)));
    let (mut sum, mut weighted) = (0.0, 0.0);
    for value in row {
        let weight = (inverse * (f64::from(*value) - largest)).exp();
        sum += weight;
        weighted += weight * f64::from(*value);
    }
    weighted / sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SciPy's `minimize_scalar` of the same loss (`scripts/reference/metrics.py`).
    #[test]
    fn the_temperature_is_the_one_of_the_smallest_loss() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/metrics.json")).expect("JSON");
        for case in golden["temperature"].as_array().expect("a list") {
            let logits: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).expect("logits");
            let labels: Vec<usize> = serde_json::from_value(case["labels"].clone()).expect("labels");
            let (found, expected) = (fit_temperature(&logits, &labels), case["temperature"].as_f64().expect("a number"));
            assert!((found / expected - 1.0).abs() < 1e-5, "{found}, SciPy has {expected}");
        }
    }

    #[test]
    fn pictures_that_do_not_say_lead_to_a_limit_and_never_to_nan() {
        let sure = vec![vec![5.0, -5.0], vec![-3.0, 3.0]];
        // Colder than that, all probabilities are 0 or 1 already.
        assert!((LIMITS[0]..0.3).contains(&fit_temperature(&sure, &[0, 1])));
        assert!((fit_temperature(&sure, &[1, 0]) - LIMITS[1]).abs() < 1e-9);
        assert_eq!(fit_temperature(&[vec![1.0, 1.0]], &[0]), 1.0);
    }
}
