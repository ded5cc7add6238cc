//! One pass over the training images, from the batch where a resume starts: steps, running measures
//! and saves within the epoch. Doesn't validate and decides nothing about the next epoch.

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
    data::batches::loader::Loader,
    metrics::argmax,
    nn::{cpu::backend::reads_are_free, infer::read, networks::classifier::Output},
};

/// Steps between two reads of loss and logits from a device whose reads block. Each read waits
/// until the device has finished all queued work, and a device that is read after every step idles
/// between steps.
const READ_EVERY: usize = 10;

/// The settings of an epoch.
pub(super) struct Epoch<'a> {
    pub(super) train: &'a Train,
    /// Number of epochs that the schedule of the phase is computed for.
    pub(super) scheduled: usize,
    /// Number of epochs that the phase was configured with.
    pub(super) asked: usize,
    pub(super) files: &'a RunFiles,
    pub(super) watch: Watch<'a>,
}

/// The result of an epoch.
pub(super) struct EpochEnd {
    /// Whether the epoch was stopped after a step, before its end. The run is saved then.
    pub(super) is_interrupted: bool,
    /// Learning rate of the last step.
    pub(super) learning_rate: f64,
    /// Time that steps waited for batches.
    pub(super) waited: Duration,
}

impl Epoch<'_> {
    /// Trains on `inputs` from batch `state.batch` to the end of the epoch, or until the run is
    /// stopped.
    ///
    /// # Errors
    /// Returns an error if the loss is not finite, an image can't be read again, the device fails
    /// or a file can't be written.
    pub(super) fn run(
        &self,
        inputs: Source,
        learner: &mut Learner,
        state: &mut State,
    ) -> Result<EpochEnd, TrainError> {
        let Self { train, watch, .. } = self;
        let (observer, total) = (watch.observer, inputs.view.draws.len());
        let trained = (state.batch * train.batch_size).min(total);
        observer.epoch_started(state.epoch + 1, trained, total);
        let mut start = Instant::now();
        let mut loader = Loader::new(inputs.view, train.batch_size, state.batch, train.workers);
        let num_batches = loader.num_batches();
        let num_steps = num_batches.div_ceil(train.accumulate);
        // On burn-flex, values are computed when a step returns, so reading them is free.
        let reads_are_free = reads_are_free(&learner.stepper.device);
        let mut end = EpochEnd {
            is_interrupted: false,
            learning_rate: self.rate_before(state, num_steps),
            waited: Duration::ZERO,
        };
        let mut unread = Vec::new();
        loop {
            let batches = loader
                .by_ref()
                .take(train.accumulate)
                .collect::<Result<Vec<_>, _>>()?;
            if batches.is_empty() {
                break;
            }
            let (first_batch, step) = (state.batch, state.step);
            end.learning_rate = self.rate(state, step, num_steps);
            state.batch += batches.len();
            state.step += 1;
            let input = StepInput {
                batches,
                network_input: inputs.input,
                epoch: state.epoch,
                first_batch,
                step,
                learning_rate: end.learning_rate,
            };
            unread.push((first_batch, learner.step(input)));
            // The counters are those after the step even while its loss is unread: whatever is
            // saved below is read first, so that `state.partial` always covers `state.batch`
            // batches.
            let is_over = state.batch >= num_batches;
            // After the last step, the signal is left to validation, which stops and saves.
            end.is_interrupted = watch.is_stopped() && !is_over;
            let every = train.checkpoint.every_steps;
            let is_due = every > 0 && state.step.is_multiple_of(every);
            let is_saved = end.is_interrupted || !is_over && is_due;
            if is_over || is_saved || reads_are_free || unread.len() >= READ_EVERY {
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

    /// Returns the learning rate of an epoch before its first step. A resume after the last step of
    /// an epoch takes no step and only validates; the record still gets the rate of that last step.
    fn rate_before(&self, state: &State, steps_per_epoch: usize) -> f64 {
        if state.batch > 0 {
            self.rate(state, state.step - 1, steps_per_epoch)
        } else {
            state.plateau.learning_rate
        }
    }

    /// Returns the learning rate of step `step`, counted over the whole run.
    fn rate(&self, state: &State, step: usize, steps_per_epoch: usize) -> f64 {
        // Each phase has a schedule of its own, from its first step on.
        let step = step - state.phase.first_step;
        let at = Progress {
            step,
            steps_per_epoch,
            epochs: self.scheduled,
            asked: self.asked,
        };
        learning_rate(&self.train.schedule, state.plateau.learning_rate, at)
    }

    /// Reads the losses and logits of steps from the device, each with the position of its first
    /// batch, and adds them to the measures of the epoch. Waits for the device; steps never do.
    fn measure(
        &self,
        outputs: Vec<(usize, StepOutput)>,
        state: &mut State,
    ) -> Result<(), TrainError> {
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
                for (row, label) in values
                    .chunks_exact(num_logits)
                    .zip(labels.by_ref().take(count))
                {
                    let predicted = match Output::of(self.train.loss) {
                        Output::Softmax => argmax(row),
                        // A logit above 0 is a probability above 0.5.
                        Output::Sigmoid => usize::from(row[0] > 0.0),
                    };
                    state.partial.confusion.add(label, predicted);
                }
                images += count;
            }
        }
        let partial = &state.partial;
        self.watch.observer.trained(
            images,
            partial.loss_sum / partial.confusion.total() as f64,
            partial.confusion.accuracy(),
        );
        Ok(())
    }

    fn diverged(&self, value: f32, batch: usize, state: &State) -> TrainError {
        let best = self.files.path().join("best");
        let kept = match state.best.found {
            Some((_, epoch)) => format!(
                "the best epoch so far is {epoch}, kept in {}",
                best.display()
            ),
            None => "there is no best epoch yet".to_owned(),
        };
        TrainError::Diverged {
            what: "loss",
            value,
            epoch: state.epoch + 1,
            step: Some(batch),
            kept,
        }
    }
}
