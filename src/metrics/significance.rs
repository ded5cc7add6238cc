//! Tells a difference between some images and the others from chance, and corrects for having
//! looked more than once.

use super::interval::{DRAWS, num_groups, resample};

/// Significance level below which a difference is reported as one.
pub const LEVEL: f64 = 0.05;

/// Relative difference up to which two probabilities count as equal, as in SciPy.
const EQUAL: f64 = 1e-7;

/// Returns the two-sided p-value of the hypothesis that hits are as frequent among the images
/// `inside` as among the others: by Fisher's exact test if each image is a group of its own, else
/// by the bootstrap over `groups`, which returns no less than 2 in 1001. Returns 1 if there are no
/// others.
pub fn differs(hits: &[bool], inside: &[bool], groups: &[usize], seed: u64) -> f64 {
    let counts = |weights: &[u32]| {
        let mut counts = [[0u64; 2]; 2];
        for ((hit, inside), weight) in hits.iter().zip(inside).zip(weights) {
            counts[usize::from(!*inside)][usize::from(!*hit)] += u64::from(*weight);
        }
        counts
    };
    if num_groups(groups).is_none() {
        return fisher(counts(&vec![1; hits.len()]));
    }
    let share = |[hits, misses]: [u64; 2]| hits as f64 / (hits + misses) as f64;
    let drawn: Vec<f64> = (0..DRAWS)
        .map(|index| counts(&resample(groups, seed, index)).map(share))
        .map(|[inside, others]| inside - others)
        .filter(|difference| !difference.is_nan())
        .collect();
    two_sided(drawn.into_iter())
}

/// Returns the two-sided p-value of the hypothesis that a difference is 0, from its values in
/// resamples: twice the smaller fraction of them on one side of 0, where 0 is on both and one more
/// resample is counted there. NaN without resamples.
pub(super) fn two_sided(drawn: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut below, mut above) = (0.0, 1.0, 1.0);
    for value in drawn {
        count += 1.0;
        below += if value <= 0.0 { 1.0 } else { 0.0 };
        above += if value >= 0.0 { 1.0 } else { 0.0 };
    }
    if count == 0.0 {
        f64::NAN
    } else {
        (2.0 * f64::min(below, above) / (count + 1.0)).min(1.0)
    }
}

/// Formats a p-value in a sentence: `p = 0.0312`, or `p < 0.0001`.
pub fn p_words(p: f64) -> String {
    if p < 0.0001 {
        "p < 0.0001".to_owned()
    } else {
        format!("p = {p:.4}")
    }
}

/// Formats a p-value as a cell of a table.
pub fn p_cell(p: f64) -> String {
    match (p.is_nan(), p < 0.0001) {
        (true, _) => "-".to_owned(),
        (_, true) => "< 0.0001".to_owned(),
        _ => format!("{p:.4}"),
    }
}

/// Returns the two-sided p-value of Fisher's exact test (Fisher 1922): the probability of all
/// tables with the same sums that aren't more probable than this one.
fn fisher([[a, b], [c, d]]: [[u64; 2]; 2]) -> f64 {
    let (row, column, total) = (a + b, a + c, a + b + c + d);
    // Logarithms, which never overflow.
    let mut sum = 0.0;
    let factorials: Vec<f64> = std::iter::once(0.0)
        .chain((1..=total).map(|number| {
            sum += (number as f64).ln();
            sum
        }))
        .collect();
    let choose = |of: u64, count: u64| {
        factorials[of as usize] - factorials[count as usize] - factorials[(of - count) as usize]
    };
    let log_share = |a: u64| choose(row, a) + choose(total - row, column - a);
    let all = choose(total, column);
    let own = log_share(a);
    let first = column.saturating_sub(total - row);
    let p: f64 = (first..=row.min(column))
        .map(log_share)
        .filter(|share| *share <= own + EQUAL)
        .map(|share| (share - all).exp())
        .sum();
    p.min(1.0)
}

/// Returns p-values corrected for their number (Holm 1979), in the same order.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut largest = 0.0f64;
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max((p[index] * (p.len() - rank) as f64).min(1.0));
        corrected[index] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn golden(name: &str) -> Vec<Value> {
        let golden: Value =
            serde_json::from_str(include_str!("../../tests/golden/slices.json")).expect("JSON");
        golden[name].as_array().expect("a list").clone()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        serde_json::from_value(value.clone()).expect("numbers")
    }

    /// p-values from SciPy's `fisher_exact` (`scripts/reference/slices.py`).
    #[test]
    fn fishers_test_is_scipys() {
        let rows = golden("fisher");
        assert!(rows.len() > 20, "{}", rows.len());
        for row in rows {
            let [a, b, c, d, expected] = numbers(&row).try_into().expect("five numbers");
            let found = fisher([[a, b], [c, d]].map(|row| row.map(|count| count as u64)));
            assert!((found - expected).abs() < 1e-9, "{row}: {found}");
        }
    }

    /// From statsmodels' `multipletests(method="holm")` (`scripts/reference/slices.py`).
    #[test]
    fn holms_correction_is_that_of_statsmodels() {
        for row in golden("holm") {
            let found = holm(&numbers(&row[0]));
            for (found, expected) in found.iter().zip(numbers(&row[1])) {
                assert!((found - expected).abs() < 1e-12, "{row}: {found}");
            }
        }
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn images_of_groups_count_as_their_groups() {
        // Two of three images are hits, inside and outside in turn, but for a group at the start.
        let hits: Vec<bool> = (0..240)
            .map(|index| index % 3 != 0 && index >= 24)
            .collect();
        let inside: Vec<bool> = (0..240).map(|index| index / 24 % 2 == 0).collect();
        let alone: Vec<usize> = (0..240).collect();
        let grouped: Vec<usize> = alone.iter().map(|index| index / 24).collect();
        let by_image = differs(&hits, &inside, &alone, 0);
        let by_group = differs(&hits, &inside, &grouped, 0);
        assert!(by_image < 0.05 && by_group > 0.05, "{by_image} {by_group}");
        let better: Vec<bool> = inside
            .iter()
            .zip(&alone)
            .map(|(a, b)| *a || b % 3 == 0)
            .collect();
        let clear = differs(&better, &inside, &grouped, 0);
        // But for draws without an image on one of the sides.
        assert!((2.0 / 1001.0..2.0 / 950.0).contains(&clear), "{clear}");
        assert_eq!(differs(&hits, &[true; 240], &alone, 0), 1.0);
        assert_eq!(differs(&[true; 240], &inside, &grouped, 0), 1.0);
    }
}
