//! Forecasts of a run: memory, the span of averaged weights, and the epochs that fit the time
//! limit.

use std::time::Duration;

use super::{Session, rules::schedule::has_end, run::prepare::largest_batch};
use crate::{
    nn::{estimate::Estimate, optim::ema_decay},
    ranks::RanksError,
};

impl Session {
    /// Describes how much memory a step needs.
    pub fn memory_words(&self) -> String {
        let batch = largest_batch(
            &self.config,
            &self.datasets.train,
            &self.datasets.validation,
        );
        let estimate = Estimate::of(&self.config, self.datasets.train.classes.len(), batch);
        format!(
            "Memory: {}, images aside; the most for {}",
            estimate.words(),
            estimate.largest.name
        )
    }

    /// Describes how many steps the averaged weights span, or returns `None` if weights aren't
    /// averaged.
    pub fn average_words(&self) -> Option<String> {
        let train = &self.config.train;
        let wanted = train.ema_decay?;
        let per_epoch = self
            .datasets
            .train
            .images
            .len()
            .div_ceil(train.batch_size)
            .div_ceil(train.accumulate);
        let steps = per_epoch.saturating_mul(train.epochs);
        let decay = ema_decay(wanted, steps.saturating_sub(1));
        // An exponential average with decay d has the weight of about 1 / (1 - d) steps.
        let spanned = 1.0 / (1.0 - decay);
        let warmed = if decay < wanted {
            format!("; its decay is warmed up, to {decay:.4} in {steps} steps")
        } else {
            String::new()
        };
        Some(format!(
            "Averaged weights (train.ema_decay = {wanted}): at the end they span about \
             {spanned:.0} steps, {:.1} epochs{warmed}",
            spanned / per_epoch as f64
        ))
    }

    /// Returns the number of epochs of the current phase that the schedule is computed for: all, or
    /// those expected to fit `train.max_time`.
    pub(super) fn scheduled_epochs(&self) -> usize {
        let asked = self.phase().epochs;
        match self
            .state
            .planned_epochs
            .filter(|_| self.config.train.max_time.is_some())
        {
            Some(planned) => asked
                .min(planned.saturating_sub(self.state.phase.first_epoch))
                .max(1),
            None => asked,
        }
    }

    /// Estimates again how many epochs fit `train.max_time` and returns a message if the number
    /// changed.
    ///
    /// `elapsed` is the time used up, `seconds` the durations of the epochs that this process ran
    /// in this phase. The estimate is kept in the state, so that the learning rate stays a function
    /// of the step and the state, also after a resume.
    pub(super) fn plan(&mut self, elapsed: Duration, seconds: &[f64]) -> Option<String> {
        let train = &self.config.train;
        let limit = train
            .max_time
            .filter(|limit| has_end(&train.schedule) && elapsed < limit.0)?;
        let fit = self
            .state
            .epoch
            .saturating_add(epochs_that_fit(limit.0 - elapsed, seconds)?);
        let planned = (fit < train.epochs).then_some(fit);
        if planned == std::mem::replace(&mut self.state.planned_epochs, planned) {
            return None;
        }
        let (done, all, limit) = (self.state.epoch, train.epochs, String::from(limit));
        Some(match planned {
            Some(fit) => format!(
                "Epoch {done}: about {fit} of {all} epochs fit train.max_time = \"{limit}\"; the \
                 schedule ends there"
            ),
            None => format!(
                "Epoch {done}: all {all} epochs fit train.max_time = \"{limit}\"; the schedule \
                 ends with them"
            ),
        })
    }

    /// Plans again for a resumed run whose planned epochs are all done.
    pub(super) fn plan_anew(&mut self) -> Option<String> {
        let is_over = self
            .state
            .planned_epochs
            .is_some_and(|planned| planned <= self.state.epoch);
        let last = self
            .state
            .history
            .last()
            .map(|record| record.seconds)
            .filter(|_| is_over)?;
        self.plan(Duration::ZERO, &[last])
    }

    /// Takes over the epochs that rank 0 expects to fit: each rank has a clock of its own.
    ///
    /// # Errors
    /// Returns an error if a rank doesn't answer.
    pub(super) fn take_over_plan(&mut self) -> Result<(), RanksError> {
        // No run has as many epochs as 0 stands for.
        let own = self
            .state
            .planned_epochs
            .map_or(0, |planned| planned as u64);
        let told = self
            .learner
            .stepper
            .ranks
            .tell(own.to_le_bytes().to_vec())?;
        let told = told
            .first_chunk()
            .map_or(own, |told| u64::from_le_bytes(*told));
        self.state.planned_epochs = (told > 0).then_some(told as usize);
        Ok(())
    }
}

/// Returns the number of epochs that begin before `left` is over, given the durations of earlier
/// ones, or `None` without any. The first epoch, which also decodes the images, counts only if it
/// is the only one.
fn epochs_that_fit(left: Duration, seconds: &[f64]) -> Option<usize> {
    let counted = if seconds.len() > 1 {
        &seconds[1..]
    } else {
        seconds
    };
    let mean = counted.iter().sum::<f64>() / counted.len() as f64;
    // A cast saturates at the largest integer.
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
            (
                60.0,
                &[30.0, 2.0, 4.0],
                Some(20),
                "the first reads the images",
            ),
            (0.5, &[30.0, 2.0], Some(1), "there is some time"),
            (60.0, &[], None, "nothing is known"),
            (60.0, &[0.0], None, "a clock that stands still"),
            (1e12, &[1e-300], Some(usize::MAX), "no end in sight"),
        ] {
            assert_eq!(
                epochs_that_fit(Duration::from_secs_f64(left), seconds),
                expected,
                "{why}"
            );
        }
    }
}
