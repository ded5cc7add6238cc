//! One pass over the training images, from wherever the epoch was left: steps, measures, saves inside the epoch.

use std::time::{Duration, Instant};

use super::observer::Watch;
use super::{
    Learner, State, TrainError,
    inputs::Source,
    rules::schedule::{Progress, learning_rate},
    run::files::RunFiles,
    step::{StepInput, StepOutput},
};
use crate::{
    config::Train,
    data::loader::Loader,
    metrics::argmax,
    nn::{cpu::backend::reads_are_free, infer::read, networks::classifier::Output},
};

/// Steps between two reads from a device that has to be waited for, for the progress bar and the check for NaN.
const READ_EVERY: usize = 10;

/// What an epoch goes by.
pub(super) struct Epoch<'a> {
    pub(super) train: &'a Train,
    /// Epochs of the phase that the schedule is made for.
    pub(super) scheduled: usize,
    /// Epochs of the phase that were asked for.
    pub(super) asked: usize,
    pub(super) files: &'a RunFiles,
    pub(super) watch: Watch<'a>,
}

/// How an epoch ended.
pub(super) struct EpochEnd {
    /// Stopped by a signal after a step, and saved.
    pub(super) is_interrupted: bool,
    /// Of the last step.
    pub(super) learning_rate: f64,
    /// How long the steps waited for images.
    pub(super) waited: Duration,
}

impl Epoch<'_> {
    /// Trains on `inputs` from batch `state.batch` to the end of the epoch, or to a step after which the run is stopped.
    ///
    /// # Errors
    /// The loss is no number; an image can't be read again; the device fails; a file can't be written.
    pub(super) fn run(&self, inputs: Source, learner: &mut Learner, state: &mut State) -> Result<EpochEnd, TrainError> {
        let Self { train, watch, .. } = self;
        let total = inputs.view.draws.len();
        watch.observer.epoch_started(state.epoch + 1, (state.batch * train.batch_size).min(total), total);
        let mut start = Instant::now();
        let mut loader = Loader::new(inputs.view, train.batch_size, state.batch, train.workers);
        let (num_batches, num_steps) = (loader.num_batches(), loader.num_batches().div_ceil(train.accumulate));
        // Of the step before, in case that it was the last one.
        let first_rate = if state.batch > 0 { self.rate(state, state.step - 1, num_steps) } else { state.plateau.learning_rate };
        let mut end = EpochEnd { is_interrupted: false, learning_rate: first_rate, waited: Duration::ZERO };
        let mut unread = Vec::new();
        loop {
            let batches = loader.by_ref().take(train.accumulate).collect::<Result<Vec<_>, _>>()?;
            if batches.is_empty() {
                break;
            }
            let (first_batch, step) = (state.batch, state.step);
            end.learning_rate = self.rate(state, step, num_steps);
            state.batch += batches.len();
            state.step += 1;
            let input =
                StepInput { batches, entrance: inputs.entrance, epoch: state.epoch, first_batch, step, learning_rate: end.learning_rate };
            unread.push((first_batch, learner.step(input)));
            let is_over = state.batch >= num_batches;
            end.is_interrupted = watch.is_stopped() && !is_over;
            let is_saved = end.is_interrupted
                || !is_over && train.checkpoint.every_steps > 0 && state.step.is_multiple_of(train.checkpoint.every_steps);
            if is_over || is_saved || unread.len() >= READ_EVERY || reads_are_free(&learner.stepper.device) {
                self.measure(std::mem::take(&mut unread), state)?;
            }
            if is_saved {
                state.partial.seconds += start.elapsed().as_secs_f64();
                start = Instant::now();
                self.files.save(&["last"], learner, state)?;
            }
            if end.is_interrupted {
                break;
            }
        }
        state.partial.seconds += start.elapsed().as_secs_f64();
        end.waited = loader.waited;
        Ok(end)
    }

    /// The learning rate of step `step` of the run.
    fn rate(&self, state: &State, step: usize, steps_per_epoch: usize) -> f64 {
        let step = step - state.phase.first_step;
        let at = Progress { step, steps_per_epoch, epochs: self.scheduled, asked: self.asked };
        learning_rate(&self.train.schedule, state.plateau.learning_rate, at)
    }

    /// Reads what steps left on the device, each with its first batch, and adds it to the measures of the epoch. Waits for the device.
    fn measure(&self, outputs: Vec<(usize, StepOutput)>, state: &mut State) -> Result<(), TrainError> {
        let mut images = 0;
        for (first_batch, output) in outputs {
            for (offset, loss) in output.losses.into_iter().enumerate() {
                let value = read(loss)?[0];
                if !value.is_finite() {
                    return Err(self.diverged(value, first_batch + offset + 1, state));
                }
                state.partial.loss_sum += f64::from(value);
            }
            let mut labels = output.labels.into_iter();
            for logits in output.logits {
                let [count, num_logits] = logits.dims();
                let values = read(logits)?;
                for (row, label) in values.chunks_exact(num_logits).zip(labels.by_ref().take(count)) {
                    let predicted = match Output::of(self.train.loss) {
                        Output::Softmax => argmax(row),
                        Output::Sigmoid => usize::from(row[0] > 0.0),
                    };
                    state.partial.confusion.add(label, predicted);
                }
                images += count;
            }
        }
        let partial = &state.partial;
        self.watch.observer.trained(images, partial.loss_sum / partial.confusion.total() as f64, partial.confusion.accuracy());
        Ok(())
    }

    fn diverged(&self, value: f32, batch: usize, state: &State) -> TrainError {
        let best = self.files.path().join("best");
        let kept = match state.best.found {
            Some((_, epoch)) => format!("the best epoch so far is {epoch}, kept in {}", best.display()),
            None => "there is no best epoch yet".to_owned(),
        };
        TrainError::Diverged { what: "loss", value, epoch: state.epoch + 1, step: Some(batch), kept }
    }
}
