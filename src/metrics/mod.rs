//! Metrics of a set of predictions: the confusion matrix, scores with intervals, calibration, and
//! decisions. In every matrix, rows are the true class and columns the predicted one.

mod compare;
mod confusion;
mod decision;
mod interval;
mod measures;
mod novelty;
mod power_law;
mod predictions;
mod ranking;
mod report;
mod significance;
mod temperature;

pub use crate::base::stats::argmax;
pub use compare::{Comparison, roc_auc, roc_auc_difference};
pub use confusion::{ClassScores, Confusion, Tally};
pub use decision::{
    Coverage, Rank, Reconstruction, Threshold, fit_coverage, fit_threshold, images_for,
    prediction_set,
};
pub use interval::{Estimate, FEW_GROUPS, mean, num_groups, share, wilson};
pub use measures::{ClassMeasures, RANKED_CLASSES};
pub use novelty::{Novelty, NoveltyModel};
pub use power_law::{Forecast, PowerLaw, forecast};
pub use predictions::{Bin, ScoredPredictions, calibration_error};
pub use report::{Calibration, ClassReport, Report};
pub use significance::{LEVEL, differs, holm, p_cell, p_words};
pub use temperature::{
    TEMPERATURES, fit_temperature, fit_weighted_temperature, softened, temperature_interval,
};

/// Returns the softmax of logits, shifted by their maximum so that none overflows.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut shares: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f64 = shares.iter().sum();
    for share in &mut shares {
        *share /= sum;
    }
    shares
}

/// Returns the indices of the `count` largest values, the largest first and the first among equals.
pub fn most(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let by_value = |a: &usize, b: &usize| values[*b].total_cmp(&values[*a]).then(a.cmp(b));
    if count < order.len() {
        order.select_nth_unstable_by(count, by_value);
        order.truncate(count);
    }
    order.sort_unstable_by(by_value);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many_are_those_of_the_sorted_list() {
        let values = [0.25, 0.5, 0.25, 0.0, 0.75, 0.5];
        for count in 0..8 {
            assert_eq!(
                most(&values, count),
                [4, 1, 5, 0, 2, 3][..count.min(6)],
                "{count}"
            );
        }
    }
}
