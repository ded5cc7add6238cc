//! One pass over the training images, from the batch where a resume starts: steps, running measures
//! and saves within the epoch. Doesn't validate and decides nothing about the next epoch.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::observer::Watch;
use super::{
    Learner, State, TrainError,
    inputs::Source,
    measured::{self, Measured},
    rules::schedule::{Progress, learning_rate},
    run::files::RunFiles,
    step::{StepInput, StepOutput},
};
use crate::{
    config::Train,
    data::batches::loader::Loader,
    nn::{cpu::backend::reads_are_free, networks::classifier::Output},
    ranks::Ranks,
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
        let num_batches = inputs.view.num_batches(train.batch_size);
        let num_steps = num_batches.div_ceil(train.accumulate);
        let ranks = learner.stepper.ranks.clone();
        let own = self.own_batches(&ranks, state.batch..num_batches);
        let mut loader = Loader::of(inputs.view, train.batch_size, own, train.workers);
        // On burn-flex, values are computed when a step returns, so reading them is free.
        let reads_are_free = reads_are_free(&learner.stepper.device);
        let mut end = EpochEnd {
            is_interrupted: false,
            learning_rate: self.rate_before(state, num_steps),
            waited: Duration::ZERO,
        };
        let mut unread = Vec::new();
        while state.batch < num_batches {
            let (first_batch, step) = (state.batch, state.step);
            let of_step = train.accumulate.min(num_batches - first_batch);
            let batches = loader
                .by_ref()
                .take(ranks.share(of_step).len())
                .collect::<Result<Vec<_>, _>>()?;
            end.learning_rate = self.rate(state, step, num_steps);
            state.batch += of_step;
            state.step += 1;
            let input = StepInput {
                batches,
                num_batches: of_step,
                num_images: (state.batch * train.batch_size).min(total)
                    - first_batch * train.batch_size,
                network_input: inputs.input,
                epoch: state.epoch,
                first_batch,
                step,
                learning_rate: end.learning_rate,
            };
            unread.push(learner.step(input)?);
            // The counters are those after the step even while its loss is unread: whatever is
            // saved below is read first, so that `state.partial` always covers `state.batch`
            // batches.
            let is_over = state.batch >= num_batches;
            // After the last step, the signal is left to validation, which stops and saves.
            end.is_interrupted = !is_over && ranks.any(watch.is_stopped())?;
            let every = train.checkpoint.every_steps;
            let is_due = every > 0 && state.step.is_multiple_of(every);
            let is_saved = end.is_interrupted || !is_over && is_due;
            if is_over || is_saved || reads_are_free || unread.len() >= READ_EVERY {
                self.measure(&ranks, std::mem::take(&mut unread), state)?;
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

    /// Returns the positions of the batches that this rank computes, of those in `left`.
    fn own_batches(&self, ranks: &Ranks, left: Range<usize>) -> Vec<usize> {
        let accumulate = self.train.accumulate;
        let steps = left.clone().step_by(accumulate);
        let of_step = |first: usize| {
            let share = ranks.share(accumulate.min(left.end - first));
            first + share.start..first + share.end
        };
        steps.flat_map(of_step).collect()
    }

    /// Reads the losses and logits of steps from the device and adds those of all ranks to the
    /// measures of the epoch. Waits for the device; steps of a rank that is alone never do.
    fn measure(
        &self,
        ranks: &Ranks,
        outputs: Vec<StepOutput>,
        state: &mut State,
    ) -> Result<(), TrainError> {
        let mut own = Vec::new();
        for output in outputs {
            own.extend(measured::read_output(output, Output::of(self.train.loss))?);
        }
        let mut images = 0;
        for Measured {
            batch,
            loss,
            classes,
        } in measured::of_all(ranks, own)?
        {
            if !loss.is_finite() {
                return Err(self.diverged(loss, batch + 1, state));
            }
            state.partial.loss_sum += f64::from(loss);
            images += classes.len();
            for [label, predicted] in classes {
                state.partial.confusion.add(label, predicted);
            }
        }
        let partial = &state.partial;
        let accuracy = match Output::of(self.train.loss) {
            Output::Image => f64::NAN,
            Output::Softmax | Output::Sigmoid => partial.confusion.accuracy(),
        };
        let loss = partial.loss_sum / partial.confusion.total() as f64;
        self.watch.observer.trained(images, loss, accuracy);
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
