//! Measures where the time of a run goes.

use std::time::{Duration, Instant};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Whether the run was stopped by a signal; `last/` is saved then.
    pub is_interrupted: bool,
    /// Fraction of the training time that steps waited for images.
    pub data_wait_share: f64,
}

/// The clock of one process of a run; a resume starts a new one.
pub(super) struct Clock {
    start: Instant,
    lap: Instant,
    /// Seconds from the end of one epoch to the end of the next, saving included, in the current
    /// phase.
    pub(super) laps: Vec<f64>,
    trained: Duration,
    waited: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            lap: now,
            laps: Vec::new(),
            trained: Duration::ZERO,
            waited: Duration::ZERO,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Adds the duration of an epoch's training, including features computed for it, and how much
    /// of it the steps waited for images.
    pub(super) fn trained(&mut self, trained: Duration, waited: Duration) {
        self.trained += trained;
        self.waited += waited;
    }

    /// Returns the outcome of a run that ends now.
    pub(super) fn outcome(&self, is_interrupted: bool) -> Outcome {
        Outcome {
            is_interrupted,
            data_wait_share: self.waited.as_secs_f64() / self.trained.as_secs_f64().max(1e-9),
        }
    }

    /// Records the end of an epoch. If it ends the phase, the laps are cleared, because the epochs
    /// of the next phase take another time.
    pub(super) fn lap(&mut self, ends_phase: bool) {
        self.laps.push(self.lap.elapsed().as_secs_f64());
        self.lap = Instant::now();
        if ends_phase {
            self.laps.clear();
        }
    }
}
