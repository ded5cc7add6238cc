//! The rules of Keras's `EarlyStopping` and `ModelCheckpoint(save_best_only=True)`, as values
//! without a model, a clock or files.

use serde::{Deserialize, Serialize};

use crate::config::{EarlyStopping, Metric};

/// State of early stopping.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    best: Option<f64>,
    wait: usize,
    /// Whether the last epoch used up the patience.
    is_exhausted: bool,
}

impl Patience {
    /// Updates the state with the metric of an epoch, counted from 0. Returns whether training
    /// should stop.
    ///
    /// As in Keras, an improvement over the best value starts the patience anew only if it also
    /// beats `baseline`, and the first epoch never stops.
    pub fn update(&mut self, rule: &EarlyStopping, epoch: usize, value: f64) -> bool {
        self.is_exhausted = false;
        if epoch < rule.start_from_epoch {
            return false;
        }
        let improves = |on: Option<f64>| {
            !value.is_nan() && on.is_none_or(|on| rule.monitor.is_better(value, on, rule.min_delta))
        };
        self.wait += 1;
        if improves(self.best) {
            self.best = Some(value);
            if improves(rule.baseline) {
                self.wait = 0;
            }
            return false;
        }
        // Keras doesn't stop after epoch 0, not even with a patience of 0.
        self.is_exhausted = self.wait >= rule.patience && epoch > 0;
        self.is_exhausted
    }

    /// Whether a run that stopped early still stops under `rule`, whose patience a resume may have
    /// raised.
    pub fn still_stops(&self, rule: &EarlyStopping) -> bool {
        self.is_exhausted && self.wait >= rule.patience
    }
}

/// The best epoch so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Value of the metric, and the epoch, counted from 1.
    pub found: Option<(f64, usize)>,
}

impl Best {
    /// Updates the best epoch with the metric of an epoch, counted from 1. Returns whether the
    /// epoch is the new best: strictly better, and not NaN.
    pub fn update(&mut self, monitor: &Metric, epoch: usize, value: f64) -> bool {
        let is_better = !value.is_nan()
            && self
                .found
                .is_none_or(|(best, _)| monitor.is_better(value, best, 0.0));
        if is_better {
            self.found = Some((value, epoch));
        }
        is_better
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    fn rule(patience: usize) -> EarlyStopping {
        EarlyStopping {
            patience,
            ..EarlyStopping::default()
        }
    }

    /// Checks the epoch (from 0) at whose end Keras 3 stops, given the values of the metric.
    fn check(values: &[f64], rule: &EarlyStopping, stops: Option<usize>) {
        let mut patience = Patience::default();
        let stopped = values
            .iter()
            .enumerate()
            .position(|(epoch, value)| patience.update(rule, epoch, *value));
        assert_eq!(stopped, stops, "{values:?}");
    }

    #[test]
    fn stops_where_keras_stops() {
        // Two epochs without improvement.
        check(&[1.0, 0.9, 0.95, 0.96, 0.97], &rule(2), Some(3));
        // An improvement starts again.
        check(&[1.0, 0.9, 0.95, 0.8, 0.9], &rule(2), None);
        // No patience at all.
        check(&[1.0, 1.0], &rule(0), Some(1));
        // No patience needs no improvement missed.
        check(&[1.0, 0.9], &rule(0), None);
        // NaN is never an improvement; the first epoch never stops.
        check(&[NAN, NAN, NAN], &rule(1), Some(1));
    }

    #[test]
    fn less_than_min_delta_is_none_but_small_steps_add_up_against_the_best() {
        let rule = EarlyStopping {
            min_delta: 0.1,
            ..rule(2)
        };
        check(&[1.0, 0.95, 0.91], &rule, Some(2));
        check(&[1.0, 0.95, 0.89, 0.88], &rule, None);
    }

    #[test]
    fn patience_starts_anew_only_if_the_baseline_is_beaten_too() {
        let rule = EarlyStopping {
            baseline: Some(0.5),
            ..rule(2)
        };
        check(&[1.0, 0.9, 0.8, 0.85], &rule, Some(3));
        check(&[1.0, 0.4, 0.5], &rule, None);
    }

    #[test]
    fn the_first_epochs_may_be_passed_over() {
        let rule = EarlyStopping {
            start_from_epoch: 2,
            ..rule(2)
        };
        check(&[0.1, 0.2, 1.0, 0.9, 0.95, 0.95], &rule, Some(5));
    }

    #[test]
    fn accuracy_grows_and_an_equal_one_is_not_better() {
        let rule = EarlyStopping {
            monitor: "val_accuracy".parse().expect("a metric"),
            ..rule(2)
        };
        check(&[0.5, 0.6, 0.6, 0.6], &rule, Some(3));
    }

    #[test]
    fn more_patience_lets_a_stopped_run_go_on() {
        let mut patience = Patience::default();
        let stopped = [1.0, 2.0, 2.0]
            .iter()
            .enumerate()
            .any(|(epoch, loss)| patience.update(&rule(2), epoch, *loss));
        assert!(stopped && patience.still_stops(&rule(2)) && !patience.still_stops(&rule(3)));
    }

    #[test]
    fn best_is_only_ever_replaced_by_a_better_one() {
        let mut best = Best::default();
        let monitor = &Metric::default();
        let saved: Vec<_> = [NAN, 1.0, 1.0, NAN, 0.5, 0.7]
            .iter()
            .enumerate()
            .map(|(epoch, loss)| best.update(monitor, epoch + 1, *loss))
            .collect();
        assert_eq!(saved, [false, true, false, false, true, false]);
        assert_eq!(best.found, Some((0.5, 5)));
    }
}
