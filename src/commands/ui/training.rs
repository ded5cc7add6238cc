//! Progress bars and messages of a training run.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::{bars, say};
use crate::{
    record::EpochRecord,
    train::{Observer, Work},
};

/// Label of the bar while frozen layers compute features.
const FEATURES: &str = "Features";

/// Training time after which the length of the run is forecast.
const ENOUGH: Duration = Duration::from_secs(5);

/// Forecasts from this length on are reported.
const LONG: Duration = Duration::from_secs(60);

/// Shows a training run: two progress bars in a terminal, one line per epoch elsewhere.
pub struct TrainingView {
    epochs: usize,
    run: ProgressBar,
    epoch: Mutex<Epoch>,
    /// The work of each epoch.
    work: Vec<Work>,
    /// The time after which the run ends in any case.
    most: Option<Duration>,
    start: Instant,
}

/// The bar of an epoch, and the number of images since its start.
struct Epoch {
    bar: ProgressBar,
    start: Instant,
    images: usize,
    /// Images whose features were computed.
    features: usize,
    /// The work done by this process in earlier epochs.
    done: f64,
    /// Whether the time of the whole run has been told.
    is_told: bool,
}

impl TrainingView {
    /// Creates the view of a run with `done` of its epochs done, given the work of each, that ends
    /// after `most` in any case.
    pub fn new(done: usize, work: Vec<Work>, most: Option<Duration>) -> Self {
        let epochs = work.len();
        let style = |template: &str| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        let bar = ProgressBar::new(0).with_style(style(
            "{prefix:12} {wide_bar} {pos}/{len} {msg}, {eta} left",
        ));
        let epoch = Epoch {
            bar: bars().add(bar),
            start: Instant::now(),
            images: 0,
            features: 0,
            done: 0.0,
            is_told: false,
        };
        let run = ProgressBar::new(epochs as u64).with_style(style(
            "{prefix:12} {wide_bar} {pos}/{len} epochs, {elapsed} gone{msg}",
        ));
        let run = bars().add(run.with_prefix("Run").with_position(done as u64));
        // Keeps the elapsed time moving during validation and saving.
        run.enable_steady_tick(Duration::from_secs(1));
        Self {
            epochs,
            run,
            epoch: Mutex::new(epoch),
            work,
            most,
            start: Instant::now(),
        }
    }

    /// Returns how long the rest of the run takes, extrapolated from the epochs that this process
    /// has done; `None` before the first ends.
    pub fn left(&self) -> Option<Duration> {
        let done = self.epoch().done;
        let rest = self.work_after(self.run.position() as usize);
        let elapsed = self.start.elapsed();
        let most = self
            .most
            .map_or(Duration::MAX, |most| most.saturating_sub(elapsed));
        (done > 0.0).then(|| elapsed.mul_f64((rest / done).clamp(0.0, 1e6)).min(most))
    }

    /// Returns the work of all epochs after the first `epochs`.
    fn work_after(&self, epochs: usize) -> f64 {
        self.work
            .iter()
            .skip(epochs)
            .map(|work| work.features + work.steps)
            .sum()
    }

    /// Shows how long the rest of the run takes, extrapolated from the work done so far: on the
    /// bar, and once as a message, as soon as there is enough to go by.
    fn tell(&self, state: &mut Epoch, takes_steps: bool) {
        let (epochs, elapsed) = (self.run.position() as usize, self.start.elapsed());
        let Some(Work {
            features,
            image,
            steps,
        }) = self.work.get(epochs)
        else {
            return;
        };
        let share = |images: f64| {
            if takes_steps {
                images / state.bar.length().unwrap_or(1).max(1) as f64
            } else {
                0.0
            }
        };
        let computed = state.features as f64 * image;
        // What another process did in this epoch took no time of this one.
        let done = state.done + computed + share(state.images as f64) * steps;
        if elapsed < ENOUGH || done <= 0.0 {
            return;
        }
        let later = self.work_after(epochs + 1);
        // Features that were kept by an earlier run aren't computed at all.
        let features_left = if takes_steps {
            0.0
        } else {
            (features - computed).max(0.0)
        };
        let rest = later + features_left + (1.0 - share(state.bar.position() as f64)) * steps;
        let needed = elapsed.mul_f64((rest / done).clamp(0.0, 1e6));
        let most = self
            .most
            .map_or(Duration::MAX, |most| most.saturating_sub(elapsed));
        let left = needed.min(most);
        self.run
            .set_message(format!(", about {} left", HumanDuration(left)));
        if !std::mem::replace(&mut state.is_told, true) && left >= LONG {
            let (epochs, needed) = (self.epochs - epochs, HumanDuration(needed));
            let ended = if left == most {
                "; train.max_time ends the run before"
            } else {
                ""
            };
            say(&format!(
                "About {needed} for {epochs} epochs, judging by the first steps{ended}"
            ));
        }
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
        state
            .bar
            .set_prefix(format!("Epoch {epoch}/{}", self.epochs));
    }

    fn trained(&self, images: usize, loss: f64, accuracy: f64) {
        let mut state = self.epoch();
        state.images += images;
        state.bar.inc(images as u64);
        // Images since the epoch was started or resumed, not those done before.
        let rate = state.images as f64 / state.start.elapsed().as_secs_f64();
        let accuracy = if accuracy.is_nan() {
            String::new()
        } else {
            format!("accuracy {accuracy:.4}, ")
        };
        state
            .bar
            .set_message(format!("loss {loss:.4}, {accuracy}{rate:.0} images/s"));
        self.tell(&mut state, true);
    }

    fn computed_features(&self, done: usize, total: usize) {
        let mut state = self.epoch();
        if state.bar.prefix() != FEATURES {
            state.bar.set_prefix(FEATURES);
            state.bar.set_message("computed once");
            state.bar.reset_eta();
        }
        // Those of validation images come first, then those of training images: each from 0.
        let before = state.bar.position() as usize;
        state.features += if done >= before { done - before } else { done };
        state.bar.set_length(total as u64);
        state.bar.set_position(done as u64);
        self.tell(&mut state, false);
    }

    fn validated(&self, _images: usize) {
        self.epoch().bar.set_prefix("Validating");
    }

    fn epoch_ended(&self, record: &EpochRecord) {
        self.run.set_position(record.epoch as u64);
        let state = &mut self.epoch();
        let features = std::mem::take(&mut state.features) as f64;
        state.done += self
            .work
            .get(record.epoch - 1)
            .map_or(0.0, |work| features * work.image + work.steps);
        say(&epoch_line(record, self.epochs));
    }

    fn say(&self, line: &str) {
        say(line);
    }
}

/// Returns the line of an epoch, in Keras's words. What it has no number for is left out.
pub fn epoch_line(record: &EpochRecord, epochs: usize) -> String {
    let (train, validation) = (&record.train, &record.validation);
    let metrics = [
        ("loss", train.loss),
        ("accuracy", train.accuracy),
        ("val_loss", validation.loss),
        ("val_accuracy", validation.accuracy),
        ("val_macro_f1", validation.macro_f1),
    ];
    let metrics: String = metrics
        .into_iter()
        .filter(|(_, value)| !value.is_nan())
        .map(|(name, value)| format!("{name}: {value:.4} - "))
        .collect();
    format!(
        "Epoch {}/{epochs} - {:.1}s - {metrics}learning_rate: {:.3e}",
        record.epoch, record.seconds, record.learning_rate,
    )
}

impl Drop for TrainingView {
    fn drop(&mut self) {
        self.epoch().bar.finish_and_clear();
        self.run.finish_and_clear();
    }
}
