//! Progress of a run, reported through a trait: this floor prints nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::record::EpochRecord;

/// Receives the progress of a run: progress bars, a log, or a test.
pub trait Observer {
    /// An epoch (counted from 1) starts or is resumed, with `done` of `total` images already
    /// trained on.
    fn epoch_started(&self, epoch: usize, done: usize, total: usize);
    /// `images` more images were trained on; `loss` and `accuracy` are the means of the epoch so
    /// far; an autoencoder has no accuracy, which is NaN then.
    fn trained(&self, images: usize, loss: f64, accuracy: f64);
    /// The frozen layers have computed the features of `done` of `total` images.
    fn computed_features(&self, done: usize, total: usize);
    /// `images` more images were validated.
    fn validated(&self, images: usize);
    /// An epoch has ended, with its record.
    fn epoch_ended(&self, record: &EpochRecord);
    /// A message for the user, one line.
    fn say(&self, line: &str);
}

/// The observer of a run and its stop flag.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) observer: &'a dyn Observer,
    pub(super) stop: &'a AtomicBool,
}

impl Watch<'_> {
    /// Whether the run should stop at the next opportunity.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
