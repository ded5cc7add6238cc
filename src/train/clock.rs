//! The time that a run takes.

use std::time::{Duration, Instant};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// By a signal; `last/` is saved.
    pub is_interrupted: bool,
    /// Fraction of the training time that steps waited for images.
    pub data_wait_share: f64,
}

/// The time of this part of a run.
pub(super) struct Clock {
    start: Instant,
    lap: Instant,
    /// Seconds from one epoch's end to the next, saving included, in the phase under way.
    pub(super) laps: Vec<f64>,
    trained: Duration,
    waited: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self { start: now, lap: now, laps: Vec::new(), trained: Duration::ZERO, waited: Duration::ZERO }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Adds the time that the steps of an epoch took, and how much of it they waited for images.
    pub(super) fn trained(&mut self, trained: Duration, waited: Duration) {
        self.trained += trained;
        self.waited += waited;
    }

    /// Returns how the run ends now.
    pub(super) fn outcome(&self, is_interrupted: bool) -> Outcome {
        Outcome { is_interrupted, data_wait_share: self.waited.as_secs_f64() / self.trained.as_secs_f64().max(1e-9) }
    }

    /// An epoch has ended, and perhaps its phase, after which others will take another time.
    pub(super) fn lap(&mut self, ends_phase: bool) {
        self.laps.push(self.lap.elapsed().as_secs_f64());
        self.lap = Instant::now();
        if ends_phase {
            self.laps.clear();
        }
    }
}
