//! The learning rate as a pure function of the step. Nothing to save, but for the plateau schedule, whose state is a value.

use serde::{Deserialize, Serialize};

use crate::config::{Metric, Schedule};

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Optimiser steps taken before this one.
    pub step: usize,
    /// Optimiser steps an epoch.
    pub steps_per_epoch: usize,
    /// Epochs that will be run.
    pub epochs: usize,
    /// Epochs that were asked for: more where `train.max_time` ends the run before.
    pub asked: usize,
}

/// Does the schedule come to an end with the last epoch?
pub fn has_end(schedule: &Schedule) -> bool {
    matches!(schedule, Schedule::Cosine { .. } | Schedule::OneCycle { .. })
}

/// The learning rate of one step. `base` is the optimiser's, or what a plateau has made of it.
pub fn learning_rate(schedule: &Schedule, base: f64, at: Progress) -> f64 {
    let step = at.step as f64;
    let per_epoch = at.steps_per_epoch.max(1) as f64;
    let total = per_epoch * at.epochs as f64;
    match schedule {
        Schedule::Constant | Schedule::Plateau { .. } => base,
        Schedule::Cosine { warmup_epochs, min_lr } => {
            // Of fewer epochs than were asked for, the same share is warm-up.
            let warmup = (warmup_epochs * per_epoch * (at.epochs as f64 / at.asked.max(1) as f64)).round();
            if step < warmup {
                return base * (step + 1.0) / (warmup + 1.0);
            }
            let share = ((step - warmup) / (total - warmup).max(1.0)).min(1.0);
            cosine(base, *min_lr, share)
        }
        Schedule::Step { every_epochs, factor } => {
            let falls = at.step / at.steps_per_epoch.max(1) / every_epochs;
            base * factor.powi(i32::try_from(falls).unwrap_or(i32::MAX))
        }
        Schedule::Exponential { factor } => base * factor.powf(step / per_epoch),
        Schedule::OneCycle { pct_start, div_factor, final_div_factor } => {
            // PyTorch's OneCycleLR with cosine annealing: the peak is at pct_start * total - 1, the end at total - 1.
            let (first, peak, last) = (base / div_factor, pct_start * total - 1.0, total - 1.0);
            if step <= peak {
                cosine(first, base, if peak > 0.0 { step / peak } else { 1.0 })
            } else {
                cosine(base, first / final_div_factor, ((step - peak) / (last - peak)).min(1.0))
            }
        }
    }
}

/// Half a cosine from `start` to `end`.
fn cosine(start: f64, end: f64, share: f64) -> f64 {
    end + (start - end) / 2.0 * (1.0 + (std::f64::consts::PI * share).cos())
}

/// Keras's `ReduceLROnPlateau` between two epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// What the optimiser's learning rate has become.
    pub learning_rate: f64,
    best: Option<f64>,
    wait: usize,
    cooldown: usize,
}

/// The knobs of `Schedule::Plateau`.
#[derive(Clone, Debug)]
pub struct PlateauRule {
    /// What is looked at, and which way is better.
    pub monitor: Metric,
    /// On the learning rate.
    pub factor: f64,
    /// Epochs without improvement.
    pub patience: usize,
    /// An improvement is larger.
    pub min_delta: f64,
    /// Epochs to wait after a fall.
    pub cooldown: usize,
    /// The learning rate never falls below.
    pub min_lr: f64,
}

impl PlateauRule {
    /// The rule of a schedule, if it is one.
    pub fn of(schedule: &Schedule) -> Option<Self> {
        match schedule.clone() {
            Schedule::Plateau { monitor, factor, patience, min_delta, cooldown, min_lr } => {
                Some(Self { monitor, factor, patience, min_delta, cooldown, min_lr })
            }
            _ => None,
        }
    }
}

impl Plateau {
    /// Before the first epoch.
    pub fn new(learning_rate: f64) -> Self {
        Self { learning_rate, best: None, wait: 0, cooldown: 0 }
    }

    /// Takes in the metric of an epoch. True if the learning rate fell.
    pub fn update(&mut self, rule: &PlateauRule, value: f64) -> bool {
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.wait = 0;
        }
        if self.best.is_none_or(|best| rule.monitor.is_better(value, best, rule.min_delta)) && !value.is_nan() {
            self.best = Some(value);
            self.wait = 0;
        } else if self.cooldown == 0 {
            self.wait += 1;
            if self.wait >= rule.patience && self.learning_rate > rule.min_lr {
                self.learning_rate = (self.learning_rate * rule.factor).max(rule.min_lr);
                self.cooldown = rule.cooldown;
                self.wait = 0;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates(schedule: &Schedule, base: f64, steps_per_epoch: usize, epochs: usize) -> Vec<f64> {
        (0..steps_per_epoch * epochs)
            .map(|step| learning_rate(schedule, base, Progress { step, steps_per_epoch, epochs, asked: epochs }))
            .collect()
    }

    fn assert_close(got: &[f64], expected: &[f64]) {
        let is_close = got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(is_close, "{got:?} {expected:?}");
    }

    #[test]
    fn each_schedule_is_its_formula() {
        assert_close(
            &rates(&Schedule::Step { every_epochs: 2, factor: 0.1 }, 1.0, 2, 5),
            &[1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01],
        );
        assert_close(&rates(&Schedule::Exponential { factor: 0.25 }, 1.0, 2, 2), &[1.0, 0.5, 0.25, 0.125]);
        assert_close(
            &rates(&Schedule::Cosine { warmup_epochs: 1.0, min_lr: 0.0 }, 3.0, 2, 3),
            &[1.0, 2.0, 3.0, 2.560_660_171_779_821, 1.5, 0.439_339_828_220_179],
        );
    }

    /// A run that `train.max_time` will end after two of eight epochs has the whole schedule in two.
    #[test]
    fn a_shortened_run_has_the_same_shape_in_fewer_epochs() {
        let rate = |warmup_epochs, step, epochs, asked| {
            learning_rate(&Schedule::Cosine { warmup_epochs, min_lr: 0.5 }, 1.0, Progress { step, steps_per_epoch: 4, epochs, asked })
        };
        for step in 0..8 {
            assert!((rate(4.0, step, 2, 8) - rate(1.0, step, 2, 2)).abs() < 1e-12, "{step}");
        }
        assert!((rate(4.0, 8, 2, 8) - 0.5).abs() < 1e-12, "at the end");
    }

    /// From PyTorch 2.15 (`scripts/reference/schedules.py`): `OneCycleLR(max_lr=1, total_steps=10)`.
    #[test]
    fn one_cycle_is_pytorchs() {
        let schedule = Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
        let expected =
            [0.04, 0.52, 1.0, 0.950484632013, 0.81174565395, 0.611262021936, 0.388741978064, 0.18825834605, 0.049519367987, 4e-06];
        assert_close(&rates(&schedule, 1.0, 5, 2), &expected);
    }

    #[test]
    fn plateau_follows_kerass_rules() {
        let monitor = Metric::default();
        let rule =
            |patience, cooldown, min_lr| PlateauRule { monitor: monitor.clone(), factor: 0.5, patience, min_delta: 0.01, cooldown, min_lr };
        for (losses, rule, expected, why) in [
            (&[1.0, 1.0, 1.0, 1.0][..], rule(2, 0, 0.0), &[8.0, 8.0, 4.0, 4.0][..], "two epochs without improvement"),
            (&[1.0, 0.995, 0.99], rule(2, 0, 0.0), &[8.0, 8.0, 4.0], "less than min_delta is none"),
            (&[1.0, 1.0, 0.5, 1.0, 1.0], rule(2, 0, 0.0), &[8.0, 8.0, 8.0, 8.0, 4.0], "an improvement starts again"),
            (&[1.0, 1.0, 1.0, 1.0, 1.0], rule(1, 2, 0.0), &[8.0, 4.0, 4.0, 2.0, 2.0], "a cooldown is waited for"),
            (&[1.0, 1.0, 1.0, 1.0], rule(1, 0, 3.0), &[8.0, 4.0, 3.0, 3.0], "never below min_lr"),
            (&[f64::NAN, 1.0, f64::NAN, f64::NAN], rule(2, 0, 0.0), &[8.0, 8.0, 8.0, 4.0], "NaN is no improvement"),
        ] {
            let mut plateau = Plateau::new(8.0);
            let got: Vec<_> = losses
                .iter()
                .map(|loss| {
                    plateau.update(&rule, *loss);
                    plateau.learning_rate
                })
                .collect();
            assert_eq!(got, expected, "{why}");
        }
    }

    proptest! {
        #[test]
        fn no_schedule_leaves_its_bounds(step in 0usize..2000, warmup in 0.0f64..3.0, min_lr in 0.0f64..0.5) {
            let at = Progress { step, steps_per_epoch: 37, epochs: 20, asked: 30 };
            for schedule in [
                Schedule::Constant,
                Schedule::Cosine { warmup_epochs: warmup, min_lr },
                Schedule::Step { every_epochs: 3, factor: 0.3 },
                Schedule::Exponential { factor: 0.9 },
                Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 },
            ] {
                let rate = learning_rate(&schedule, 1.0, at);
                prop_assert!(rate > -1e-12 && rate <= 1.0 + 1e-12, "{:?}: {}", schedule, rate);
            }
        }
    }
}
