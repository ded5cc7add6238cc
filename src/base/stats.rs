//! Small statistics of numbers.

/// Returns the median of `values`: of an even number of them the mean of the middle two, as NumPy
/// has it.
///
/// # Panics
/// Panics if there are no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// Returns the index of the largest value, the first among equals, and 0 if there is none. NaN is
/// never the largest.
pub fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    let is_nan = |value: &T| value.partial_cmp(value).is_none();
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] || is_nan(&values[best]) {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::{argmax, median};

    #[test]
    fn argmax_takes_the_first_of_equals_and_never_a_nan() {
        for (values, expected) in [
            (&[][..], 0),
            (&[1.0, 3.0, 3.0], 1),
            (&[f32::NAN, 1.0], 1),
            (&[2.0, f32::NAN], 0),
            (&[f32::NAN, f32::NAN], 1),
        ] {
            assert_eq!(argmax(values), expected, "{values:?}");
        }
    }

    #[test]
    fn the_median_is_numpys() {
        for (values, expected) in [
            (&[3.0][..], 3.0),
            (&[4.0, 1.0], 2.5),
            (&[9.0, 1.0, 2.0], 2.0),
            (&[5.0, 1.0, 2.0, 4.0], 3.0),
        ] {
            assert_eq!(median(values), expected);
        }
    }
}
