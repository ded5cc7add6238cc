//! Who watches a run.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::record::EpochRecord;

/// Who watches a run: progress bars, a log, a test.
pub trait Observer {
    /// An epoch begins, or goes on at picture `done` of `total`.
    fn epoch_started(&self, epoch: usize, done: usize, total: usize);
    /// So many pictures more are trained on; mean loss and accuracy of the epoch so far.
    fn trained(&self, pictures: usize, loss: f64, accuracy: f64);
    /// Frozen layers have seen `done` of `total` pictures, whose features are kept for all epochs.
    fn computed_features(&self, done: usize, total: usize);
    /// So many pictures more are validated.
    fn validated(&self, pictures: usize);
    /// An epoch is over.
    fn epoch_ended(&self, record: &EpochRecord);
    /// A line for the user.
    fn say(&self, line: &str);
}

/// Who watches a run, and whether it is to stop.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) observer: &'a dyn Observer,
    pub(super) stop: &'a AtomicBool,
}

impl Watch<'_> {
    /// Whether the run is to stop after what it is at.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
