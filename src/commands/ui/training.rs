//! Progress bars and messages of a training run.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{bars, say};
use crate::{record::EpochRecord, train::Observer};

/// Label of the bar while frozen layers compute features.
const FEATURES: &str = "Features";

/// Shows a training run: two progress bars in a terminal, one line per epoch elsewhere.
pub struct TrainingView {
    epochs: usize,
    run: ProgressBar,
    epoch: Mutex<Epoch>,
}

/// The bar of an epoch, and the number of images since its start.
struct Epoch {
    bar: ProgressBar,
    start: Instant,
    images: usize,
}

impl TrainingView {
    /// Creates the view of a run with `done` of `epochs` epochs done.
    pub fn new(done: usize, epochs: usize) -> Self {
        let style = |template: &str| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0).with_style(style("{prefix:12} {wide_bar} {pos}/{len} {msg}, {eta} left"));
        let epoch = Epoch { bar: bars().add(bar), start: Instant::now(), images: 0 };
        let run = ProgressBar::new(epochs as u64).with_style(style("{msg:12} {wide_bar} {pos}/{len} epochs, {elapsed} gone, {eta} left"));
        let run = bars().add(run.with_message("Run").with_position(done as u64));
        // Keeps the elapsed time moving during validation and saving.
        run.enable_steady_tick(Duration::from_secs(1));
        Self { epochs, run, epoch: Mutex::new(epoch) }
    }

    fn epoch(&self) -> std::sync::MutexGuard<'_, Epoch> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for TrainingView {
    fn epoch_started(&self, epoch: usize, done: usize, total: usize) {
        let mut state = self.epoch();
        (state.start, state.images) = (Instant::now(), 0);
        state.bar.set_length(total as u64);
        state.bar.set_position(done as u64);
        state.bar.reset_eta();
        state.bar.set_prefix(format!("Epoch {epoch}/{}", self.epochs));
    }

    fn trained(&self, images: usize, loss: f64, accuracy: f64) {
        let mut state = self.epoch();
        state.images += images;
        state.bar.inc(images as u64);
        // Images since the epoch was started or resumed, not those done before.
        let rate = state.images as f64 / state.start.elapsed().as_secs_f64();
        state.bar.set_message(format!("loss {loss:.4}, accuracy {accuracy:.4}, {rate:.0} images/s"));
    }

    fn computed_features(&self, done: usize, total: usize) {
        let state = self.epoch();
        if state.bar.prefix() != FEATURES {
            state.bar.set_prefix(FEATURES);
            state.bar.set_message("computed once");
            state.bar.reset_eta();
        }
        state.bar.set_length(total as u64);
        state.bar.set_position(done as u64);
    }

    fn validated(&self, _images: usize) {
        self.epoch().bar.set_prefix("Validating");
    }

    fn epoch_ended(&self, record: &EpochRecord) {
        self.run.set_position(record.epoch as u64);
        say(&format!(
            "Epoch {}/{} - {:.1}s - loss: {:.4} - accuracy: {:.4} - val_loss: {:.4} - val_accuracy: {:.4} - val_macro_f1: {:.4} - learning_rate: {:.3e}",
            record.epoch,
            self.epochs,
            record.seconds,
            record.train.loss,
            record.train.accuracy,
            record.validation.loss,
            record.validation.accuracy,
            record.validation.macro_f1,
            record.learning_rate,
        ));
    }

    fn say(&self, line: &str) {
        say(line);
    }
}

impl Drop for TrainingView {
    fn drop(&mut self) {
        self.epoch().bar.finish_and_clear();
        self.run.finish_and_clear();
    }
}
