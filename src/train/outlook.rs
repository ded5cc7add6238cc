//! What is to be expected of a run, in words and for the schedule: memory, averaged weights, the epochs that fit the time.

use std::time::Duration;

use super::{Session, rules::schedule::has_end, run::prepare::largest_batch};
use crate::nn::{estimate::Estimate, optim::ema_decay};

impl Session {
    /// What a step takes of this machine's memory.
    pub fn memory_words(&self) -> String {
        let batch = largest_batch(&self.config, &self.datasets.train, &self.datasets.validation);
        let estimate = Estimate::of(&self.config, self.datasets.train.classes.len(), batch);
        format!("Memory: {}, pictures aside; the most for {}", estimate.words(), estimate.largest.name)
    }

    /// What the averaged weights span; nothing where there is no average.
    pub fn average_words(&self) -> Option<String> {
        let train = &self.config.train;
        let wanted = train.ema_decay?;
        let per_epoch = self.datasets.train.pictures.len().div_ceil(train.batch_size).div_ceil(train.accumulate);
        let steps = per_epoch.saturating_mul(train.epochs);
        let decay = ema_decay(wanted, steps.saturating_sub(1));
        let spanned = 1.0 / (1.0 - decay);
        let warmed = if decay < wanted { format!("; its decay is warmed up, to {decay:.4} in {steps} steps") } else { String::new() };
        Some(format!(
            "Averaged weights (train.ema_decay = {wanted}): at the end they span about {spanned:.0} steps, {:.1} epochs{warmed}",
            spanned / per_epoch as f64
        ))
    }

    /// Epochs of the phase under way that the schedule is made for: all, or those that are expected to fit the time.
    pub(super) fn scheduled_epochs(&self) -> usize {
        let asked = self.phase().epochs;
        match self.state.planned_epochs.filter(|_| self.config.train.max_time.is_some()) {
            Some(planned) => asked.min(planned.saturating_sub(self.state.phase.first_epoch)).max(1),
            None => asked,
        }
    }

    /// Counts anew the epochs that fit `train.max_time`: `elapsed` of it is gone, and the epochs of this part of the run in this phase took
    /// `seconds` each. What comes out is kept in the state, so that the rate stays a function of the step and the state. Words where it changes.
    pub(super) fn plan(&mut self, elapsed: Duration, seconds: &[f64]) -> Option<String> {
        let train = &self.config.train;
        let limit = train.max_time.filter(|limit| has_end(&train.schedule) && elapsed < limit.0)?;
        let fit = self.state.epoch.saturating_add(epochs_that_fit(limit.0 - elapsed, seconds)?);
        let planned = (fit < train.epochs).then_some(fit);
        if planned == std::mem::replace(&mut self.state.planned_epochs, planned) {
            return None;
        }
        let (done, all, limit) = (self.state.epoch, train.epochs, String::from(limit));
        Some(match planned {
            Some(fit) => format!("Epoch {done}: about {fit} of {all} epochs fit train.max_time = \"{limit}\"; the schedule ends there"),
            None => format!("Epoch {done}: all {all} epochs fit train.max_time = \"{limit}\"; the schedule ends with them"),
        })
    }

    /// Plans for a part of a run that begins where the one before had planned to end.
    pub(super) fn plan_anew(&mut self) -> Option<String> {
        let is_over = self.state.planned_epochs.is_some_and(|planned| planned <= self.state.epoch);
        let last = self.state.history.last().map(|record| record.seconds).filter(|_| is_over)?;
        self.plan(Duration::ZERO, &[last])
    }
}

/// Epochs that begin before `left` is gone, by the seconds that earlier ones took; the first one, which reads the pictures, counts only
/// where it is all there is. `None` without any.
fn epochs_that_fit(left: Duration, seconds: &[f64]) -> Option<usize> {
    let counted = if seconds.len() > 1 { &seconds[1..] } else { seconds };
    let mean = counted.iter().sum::<f64>() / counted.len() as f64;
    // A cast cuts off at the largest number.
    (mean > 0.0).then(|| (left.as_secs_f64() / mean).ceil() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_that_begin_before_the_time_is_over_fit() {
        for (left, seconds, expected, why) in [
            (60.0, &[10.0][..], Some(6), "the first alone"),
            (61.0, &[10.0], Some(7), "one that begins is finished"),
            (60.0, &[30.0, 2.0, 4.0], Some(20), "the first reads the pictures"),
            (0.5, &[30.0, 2.0], Some(1), "there is some time"),
            (60.0, &[], None, "nothing is known"),
            (60.0, &[0.0], None, "a clock that stands still"),
            (1e12, &[1e-300], Some(usize::MAX), "no end in sight"),
        ] {
            assert_eq!(epochs_that_fit(Duration::from_secs_f64(left), seconds), expected, "{why}");
        }
    }
}
