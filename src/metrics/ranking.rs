//! Ranks images by their probability of one class, for the area under the ROC curve and the average
//! precision with weighted images. The definitions are scikit-learn's.

/// The ranking of the images for one class.
///
/// The order of other classes' images matters only relative to the class's own probabilities. An
/// image is therefore assigned to one of a few buckets once, and each bootstrap resample is counted
/// in one pass, without sorting.
#[derive(Clone, Debug)]
pub(super) struct Ranking {
    /// Bucket of each image. For images of other classes: 0 above the first own probability, 1
    /// equal to it, 2 between it and the second, and so on, `2 * own` below the last. For the
    /// class's own images: `2 * own + 1` plus the rank of their probability.
    places: Vec<u32>,
    /// Number of different probabilities among the class's own images.
    own: usize,
}

/// The areas under a class's two curves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Areas {
    /// Area under the ROC curve; NaN unless there are images of the class and of others.
    pub(super) roc_auc: f64,
    /// Average precision; NaN without an image of the class.
    pub(super) average_precision: f64,
}

impl Areas {
    /// The areas where no ranking was made.
    pub(super) const NONE: Self = Self {
        roc_auc: f64::NAN,
        average_precision: f64::NAN,
    };
}

impl Ranking {
    /// Ranks the images for `class`; `values` are their probabilities of it.
    pub(super) fn new(values: &[f32], labels: &[usize], class: usize) -> Self {
        let mut own: Vec<f32> = values
            .iter()
            .zip(labels)
            .filter(|(_, label)| **label == class)
            .map(|(value, _)| *value)
            .collect();
        own.sort_by(|a, b| b.total_cmp(a));
        own.dedup();
        let place = |(value, label): (&f32, &usize)| {
            let above = own.partition_point(|other| other > value);
            let is_equal = own.get(above) == Some(value);
            (if *label == class {
                2 * own.len() + 1 + above
            } else {
                2 * above + usize::from(is_equal)
            }) as u32
        };
        Self {
            places: values.iter().zip(labels).map(place).collect(),
            own: own.len(),
        }
    }

    /// Computes the areas with image `i` counted `counts[i]` times. Equal probabilities form one
    /// threshold.
    pub(super) fn areas(&self, counts: &[u32]) -> Areas {
        let mut sums = vec![0u32; 3 * self.own + 1];
        self.places
            .iter()
            .zip(counts)
            .for_each(|(place, count)| sums[*place as usize] += count);
        let (others, own) = sums.split_at(2 * self.own + 1);
        let (mut hits, mut alarms, mut area, mut precision) = (0.0f64, 0.0f64, 0.0, 0.0);
        for (new_hits, others) in own.iter().zip(others.chunks_exact(2)) {
            let [new_hits, above, equal] = [*new_hits, others[0], others[1]].map(f64::from);
            // A pair of equal probabilities counts half, as under a diagonal step of the curve.
            area += above * hits + equal * (hits + new_hits / 2.0);
            (hits, alarms) = (hits + new_hits, alarms + above + equal);
            if hits + alarms > 0.0 {
                precision += new_hits * hits / (hits + alarms);
            }
        }
        let below = f64::from(others[2 * self.own]);
        Areas {
            roc_auc: (area + below * hits) / (hits * (alarms + below)),
            average_precision: precision / hits,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definitions, pair by pair and threshold by threshold, on a list in which each image is
    /// repeated.
    fn by_definition(values: &[u8], is_own: &[bool], counts: &[u32]) -> [f64; 2] {
        let list: Vec<(u8, bool)> = (0..values.len())
            .flat_map(|at| vec![(values[at], is_own[at]); counts[at] as usize])
            .collect();
        let of = |wanted: bool| {
            list.iter()
                .filter(move |(_, is_own)| *is_own == wanted)
                .map(|(value, _)| *value)
        };
        let pairs = of(true).flat_map(|own| {
            of(false).map(move |other| {
                if own > other {
                    1.0
                } else if own == other {
                    0.5
                } else {
                    0.0
                }
            })
        });
        let (own, others) = (of(true).count() as f64, of(false).count() as f64);
        let precision = of(true).map(|threshold| {
            let reached = |value: &u8| *value >= threshold;
            let (hits, alarms) = (
                of(true).filter(reached).count() as f64,
                of(false).filter(reached).count() as f64,
            );
            hits / (hits + alarms)
        });
        [
            pairs.sum::<f64>() / (own * others),
            precision.sum::<f64>() / own,
        ]
    }

    proptest! {
        #[test]
        fn areas_are_those_of_the_definitions(
            images in prop::collection::vec((0u8..12, any::<bool>(), 0u32..4), 1..40)
        ) {
            let values: Vec<u8> = images.iter().map(|image| image.0).collect();
            let is_own: Vec<bool> = images.iter().map(|image| image.1).collect();
            let counts: Vec<u32> = images.iter().map(|image| image.2).collect();
            let probabilities: Vec<f32> =
                values.iter().map(|value| f32::from(*value) / 12.0).collect();
            let labels: Vec<usize> =
                is_own.iter().map(|is_own| if *is_own { 3 } else { 1 }).collect();
            let found = Ranking::new(&probabilities, &labels, 3).areas(&counts);
            let [roc_auc, average_precision] = by_definition(&values, &is_own, &counts);
            for (found, expected) in [
                (found.roc_auc, roc_auc),
                (found.average_precision, average_precision),
            ] {
                let is_equal = (found - expected).abs() < 1e-12;
                let are_nan = found.is_nan() && expected.is_nan();
                prop_assert!(is_equal || are_nan, "{found}, expected {expected}");
            }
        }
    }
}
