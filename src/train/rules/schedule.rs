//! The learning rate as a pure function of the step, so that a resume has nothing to restore. Only
//! the plateau schedule has a state.

use serde::{Deserialize, Serialize};

use crate::config::{Metric, Schedule};

/// Position in a phase, and its length.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Number of optimizer steps of the phase before this one.
    pub step: usize,
    /// Number of optimizer steps per epoch.
    pub steps_per_epoch: usize,
    /// Number of epochs that will be run.
    pub epochs: usize,
    /// Number of epochs configured; more than `epochs` if `train.max_time` ends the run before.
    pub asked: usize,
}

/// Whether the schedule ends with the last epoch, so that its length matters.
pub fn has_end(schedule: &Schedule) -> bool {
    matches!(
        schedule,
        Schedule::Cosine { .. } | Schedule::OneCycle { .. }
    )
}

/// Returns the learning rate of one step.
///
/// `base` is the optimizer's learning rate, or the value that a plateau has reduced it to. Cosine
/// is half a period of SGDR (Loshchilov and Hutter, 2017) after a linear warm-up; step and
/// exponential are PyTorch's `StepLR` and `ExponentialLR`, the latter applied at each step;
/// one-cycle is PyTorch's `OneCycleLR`.
pub fn learning_rate(schedule: &Schedule, base: f64, at: Progress) -> f64 {
    let step = at.step as f64;
    let per_epoch = at.steps_per_epoch.max(1) as f64;
    let total = per_epoch * at.epochs as f64;
    match schedule {
        Schedule::Constant | Schedule::Plateau { .. } => base,
        Schedule::Cosine {
            warmup_epochs,
            min_lr,
        } => {
            // A shortened run keeps the proportion of warm-up: with the configured length, a run
            // cut to a few epochs might never leave it.
            let warmup =
                (warmup_epochs * per_epoch * (at.epochs as f64 / at.asked.max(1) as f64)).round();
            if step < warmup {
                return base * (step + 1.0) / (warmup + 1.0);
            }
            let share = ((step - warmup) / (total - warmup).max(1.0)).min(1.0);
            cosine(base, *min_lr, share)
        }
        Schedule::Step {
            every_epochs,
            factor,
        } => {
            let falls = at.step / at.steps_per_epoch.max(1) / every_epochs;
            base * factor.powi(i32::try_from(falls).unwrap_or(i32::MAX))
        }
        Schedule::Exponential { factor } => base * factor.powf(step / per_epoch),
        Schedule::OneCycle {
            pct_start,
            div_factor,
            final_div_factor,
        } => {
            // The peak is at pct_start * total - 1 and the end at total - 1, as in PyTorch.
            let (first, peak, last) = (base / div_factor, pct_start * total - 1.0, total - 1.0);
            if step <= peak {
                cosine(first, base, if peak > 0.0 { step / peak } else { 1.0 })
            } else {
                cosine(
                    base,
                    first / final_div_factor,
                    ((step - peak) / (last - peak)).min(1.0),
                )
            }
        }
    }
}

/// Returns the value of half a cosine from `start` to `end` at the fraction `share` of its length.
fn cosine(start: f64, end: f64, share: f64) -> f64 {
    end + (start - end) / 2.0 * (1.0 + (std::f64::consts::PI * share).cos())
}

/// State of Keras's `ReduceLROnPlateau`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// The current learning rate.
    pub learning_rate: f64,
    best: Option<f64>,
    wait: usize,
    cooldown: usize,
}

/// The parameters of `Schedule::Plateau`.
#[derive(Clone, Debug)]
pub struct PlateauRule {
    /// Metric to monitor; it defines which direction is better.
    pub monitor: Metric,
    /// Factor on the learning rate.
    pub factor: f64,
    /// Number of epochs without improvement before a reduction.
    pub patience: usize,
    /// Smallest change that counts as an improvement.
    pub min_delta: f64,
    /// Number of epochs after a reduction in which the patience isn't used up.
    pub cooldown: usize,
    /// Lower bound of the learning rate.
    pub min_lr: f64,
}

impl PlateauRule {
    /// Returns the rule of a plateau schedule, `None` for any other.
    pub fn of(schedule: &Schedule) -> Option<Self> {
        match schedule.clone() {
            Schedule::Plateau {
                monitor,
                factor,
                patience,
                min_delta,
                cooldown,
                min_lr,
            } => Some(Self {
                monitor,
                factor,
                patience,
                min_delta,
                cooldown,
                min_lr,
            }),
            _ => None,
        }
    }
}

impl Plateau {
    /// Returns the state before the first epoch.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            best: None,
            wait: 0,
            cooldown: 0,
        }
    }

    /// Updates the state with the metric of an epoch. Returns whether the learning rate was
    /// reduced.
    pub fn update(&mut self, rule: &PlateauRule, value: f64) -> bool {
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.wait = 0;
        }
        // As in Keras, an improvement counts during the cooldown too; only waiting is suspended.
        if self
            .best
            .is_none_or(|best| rule.monitor.is_better(value, best, rule.min_delta))
            && !value.is_nan()
        {
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
            .map(|step| {
                learning_rate(
                    schedule,
                    base,
                    Progress {
                        step,
                        steps_per_epoch,
                        epochs,
                        asked: epochs,
                    },
                )
            })
            .collect()
    }

    fn assert_close(got: &[f64], expected: &[f64]) {
        let is_close = got.len() == expected.len()
            && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(is_close, "{got:?} {expected:?}");
    }

    #[test]
    fn each_schedule_is_its_formula() {
        assert_close(
            &rates(
                &Schedule::Step {
                    every_epochs: 2,
                    factor: 0.1,
                },
                1.0,
                2,
                5,
            ),
            &[1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01],
        );
        assert_close(
            &rates(&Schedule::Exponential { factor: 0.25 }, 1.0, 2, 2),
            &[1.0, 0.5, 0.25, 0.125],
        );
        assert_close(
            &rates(
                &Schedule::Cosine {
                    warmup_epochs: 1.0,
                    min_lr: 0.0,
                },
                3.0,
                2,
                3,
            ),
            &[
                1.0,
                2.0,
                3.0,
                2.560_660_171_779_821,
                1.5,
                0.439_339_828_220_179,
            ],
        );
    }

    /// A run that `train.max_time` ends after two of eight epochs has the whole schedule in two.
    #[test]
    fn a_shortened_run_has_the_same_shape_in_fewer_epochs() {
        let rate = |warmup_epochs, step, epochs, asked| {
            learning_rate(
                &Schedule::Cosine {
                    warmup_epochs,
                    min_lr: 0.5,
                },
                1.0,
                Progress {
                    step,
                    steps_per_epoch: 4,
                    epochs,
                    asked,
                },
            )
        };
        for step in 0..8 {
            assert!(
                (rate(4.0, step, 2, 8) - rate(1.0, step, 2, 2)).abs() < 1e-12,
                "{step}"
            );
        }
        assert!((rate(4.0, 8, 2, 8) - 0.5).abs() < 1e-12, "at the end");
    }

    /// From PyTorch 2.15 (`scripts/reference/schedules.py`): `OneCycleLR(max_lr=1,
    /// total_steps=10)`.
    #[test]
    fn one_cycle_is_pytorchs() {
        let schedule = Schedule::OneCycle {
            pct_start: 0.3,
            div_factor: 25.0,
            final_div_factor: 1e4,
        };
        let expected = [
            0.04,
            0.52,
            1.0,
            0.950484632013,
            0.81174565395,
            0.611262021936,
            0.388741978064,
            0.18825834605,
            0.049519367987,
            4e-06,
        ];
        assert_close(&rates(&schedule, 1.0, 5, 2), &expected);
    }

    #[test]
    fn plateau_follows_kerass_rules() {
        let monitor = Metric::default();
        let rule = |patience, cooldown, min_lr| PlateauRule {
            monitor: monitor.clone(),
            factor: 0.5,
            patience,
            min_delta: 0.01,
            cooldown,
            min_lr,
        };
        for (losses, rule, expected, why) in [
            (
                &[1.0, 1.0, 1.0, 1.0][..],
                rule(2, 0, 0.0),
                &[8.0, 8.0, 4.0, 4.0][..],
                "two epochs without improvement",
            ),
            (
                &[1.0, 0.995, 0.99],
                rule(2, 0, 0.0),
                &[8.0, 8.0, 4.0],
                "less than min_delta is none",
            ),
            (
                &[1.0, 1.0, 0.5, 1.0, 1.0],
                rule(2, 0, 0.0),
                &[8.0, 8.0, 8.0, 8.0, 4.0],
                "an improvement starts again",
            ),
            (
                &[1.0, 1.0, 1.0, 1.0, 1.0],
                rule(1, 2, 0.0),
                &[8.0, 4.0, 4.0, 2.0, 2.0],
                "a cooldown is waited for",
            ),
            (
                &[1.0, 1.0, 1.0, 1.0],
                rule(1, 0, 3.0),
                &[8.0, 4.0, 3.0, 3.0],
                "never below min_lr",
            ),
            (
                &[f64::NAN, 1.0, f64::NAN, f64::NAN],
                rule(2, 0, 0.0),
                &[8.0, 8.0, 8.0, 4.0],
                "NaN is no improvement",
            ),
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
        fn no_schedule_leaves_its_bounds(
            step in 0usize..2000,
            warmup in 0.0f64..3.0,
            min_lr in 0.0f64..0.5,
        ) {
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
