//! The loop as one reads it aloud: an epoch, validation, record, best, stop or go on; saved after each.

use std::{sync::atomic::AtomicBool, time::Instant};

use super::{
    Observer, Outcome, Session, TrainError,
    clock::Clock,
    epoch::Epoch,
    inputs::{Inputs, Source},
    observer::Watch,
    rules::schedule::PlateauRule,
    run::{state::Partial, tensorboard::TensorBoard},
};
use crate::{
    metrics::Confusion,
    nn::{
        infer::{Keep, Settings, predict_while},
        loss::LossFn,
        networks::classifier::Output,
    },
    record::{EpochRecord, SplitRecord},
};

/// Trains until the last epoch, early stopping, the time limit, or `stop`.
///
/// # Errors
/// [`TrainError`]; what was saved before stays.
pub fn fit(session: &mut Session, observer: &dyn Observer, stop: &AtomicBool) -> Result<Outcome, TrainError> {
    let watch = Watch { observer, stop };
    let mut clock = Clock::start();
    if let Some(words) = session.phase_words().filter(|_| session.finished().is_none()) {
        observer.say(&words);
    }
    let classes = &session.datasets.train.classes;
    let board =
        session.config.train.tensorboard.then(|| TensorBoard::start(session.folder(), classes, &session.state.history)).transpose()?;
    if let Some(words) = session.plan_anew() {
        observer.say(&words);
    }
    let mut inputs = Inputs::of_phase(session.sources(), observer);
    while session.finished().is_none() {
        let Some(record) = train_and_validate(session, &mut inputs, &mut clock, watch)? else { return Ok(clock.outcome(true)) };
        observer.epoch_ended(&record);
        let stops_early = record_epoch(session, record, observer);
        let is_next_phase = (stops_early || session.phase_is_over()) && session.next_phase();
        clock.lap(is_next_phase);
        // Before it is saved, so that a resume goes on by it.
        if let Some(words) = session.plan(clock.elapsed(), &clock.laps) {
            observer.say(&words);
        }
        save(session, observer)?;
        if let (Some(board), Some(record)) = (&board, session.state.history.last()) {
            board.add(record)?;
        }
        if stops_early {
            observer.say(&format!("Epoch {}: early stopping", session.state.epoch));
        }
        if is_next_phase {
            observer.say(&session.phase_words().unwrap_or_default());
            inputs = Inputs::of_phase(session.sources(), observer);
        }
        if watch.is_stopped() {
            return Ok(clock.outcome(true));
        }
        if let Some(limit) = session.config.train.max_time.filter(|limit| clock.elapsed() >= limit.0) {
            observer.say(&format!("Epoch {}: stopping, train.max_time = \"{}\" is over", session.state.epoch, String::from(limit)));
            break;
        }
    }
    Ok(clock.outcome(false))
}

/// Runs what is left of the epoch under way and measures it on the validation images. Returns its record; `None` if the run was stopped
/// before, and is saved.
fn train_and_validate(
    session: &mut Session,
    inputs: &mut Inputs,
    clock: &mut Clock,
    watch: Watch<'_>,
) -> Result<Option<EpochRecord>, TrainError> {
    let start = Instant::now();
    // Both before the first step, so that nothing of an epoch is lost if the run is stopped meanwhile.
    let Some(validation) = inputs.validation(session.sources(), watch)? else { return Ok(None) };
    let Some(training) = inputs.training(session.sources(), session.state.epoch, watch)? else { return Ok(None) };
    session.state.partial.seconds += start.elapsed().as_secs_f64();
    let (scheduled, asked) = (session.scheduled_epochs(), session.phase().epochs);
    let epoch = Epoch { train: &session.config.train, scheduled, asked, files: &session.files, watch };
    let end = epoch.run(training, &mut session.learner, &mut session.state)?;
    clock.trained(start.elapsed(), end.waited);
    if end.is_interrupted {
        return Ok(None);
    }
    let validation_start = Instant::now();
    let Some(validation) = validate(session, validation, watch)? else {
        // All steps of the epoch are done; a resume validates.
        session.save(&["last"])?;
        return Ok(None);
    };
    let num_classes = session.datasets.train.classes.len();
    let partial = std::mem::replace(&mut session.state.partial, Partial::new(num_classes));
    Ok(Some(EpochRecord {
        epoch: session.state.epoch + 1,
        train: split_record(partial.loss_sum / partial.confusion.total() as f64, &partial.confusion),
        validation,
        learning_rate: end.learning_rate,
        seconds: partial.seconds + validation_start.elapsed().as_secs_f64(),
    }))
}

/// Updates counters and decisions with the record of an epoch. Returns whether early stopping ends the phase.
fn record_epoch(session: &mut Session, record: EpochRecord, observer: &dyn Observer) -> bool {
    let (train, classes, state) = (&session.config.train, &session.datasets.train.classes, &mut session.state);
    let epoch = record.epoch;
    let early_stopping = train.early_stopping.as_ref();
    let stops_early = early_stopping.is_some_and(|rule| state.patience.update(rule, epoch - 1, record.value(&rule.monitor, classes)));
    if let Some(rule) = PlateauRule::of(&train.schedule)
        && state.plateau.update(&rule, record.value(&rule.monitor, classes))
    {
        observer.say(&format!("Epoch {epoch}: ReduceLROnPlateau reducing learning rate to {}", state.plateau.learning_rate));
    }
    state.seconds += record.seconds;
    if let Some(before) = state.history.last_mut() {
        before.train.condense();
        before.validation.condense();
    }
    state.history.push(record);
    (state.epoch, state.batch) = (epoch, 0);
    stops_early
}

/// Saves `best/` if the epoch is the best so far, then `last/`, then the history. A crash in between leaves a `last/` that leads
/// to the same `best/` again.
fn save(session: &mut Session, observer: &dyn Observer) -> Result<(), TrainError> {
    let monitor = &session.config.train.checkpoint.monitor;
    let Some(record) = session.state.history.last() else { return Ok(()) };
    let (epoch, value) = (record.epoch, record.value(monitor, &session.datasets.train.classes));
    let before = session.state.best.found;
    let is_best = session.state.best.update(monitor, epoch, value);
    let folder = session.folder().join("best");
    let shown = |best: Option<(f64, usize)>| best.map_or("nothing".to_owned(), |(value, _)| format!("{value:.5}"));
    if is_best {
        observer.say(&format!("Epoch {epoch}: {monitor} improved from {} to {value:.5}, saving to {}", shown(before), folder.display()));
        session.save(&["best", "last"])?;
    } else {
        observer.say(&format!("Epoch {epoch}: {monitor} did not improve from {}", shown(before)));
        session.save(&["last"])?;
    }
    session.files.write_history(&session.state)
}

/// Measures the network on the validation images as they are, in order, with the unweighted loss and no label smoothing; `None` if the run was
/// stopped before the end.
fn validate(session: &Session, Source { view, entrance }: Source, watch: Watch<'_>) -> Result<Option<SplitRecord>, TrainError> {
    let (train, stepper, set) = (&session.config.train, &session.learner.stepper, &session.datasets.validation);
    let settings = Settings {
        device: stepper.device.clone().without_autodiff(),
        entrance,
        batch_size: train.batch_size,
        workers: train.workers,
        output: Output::of(train.loss),
        temperature: 1.0,
        loss: LossFn { label_smoothing: 0.0, ..stepper.loss.clone() },
        keep: Keep::Classes,
    };
    let goes_on = |images| {
        watch.observer.validated(images);
        !watch.is_stopped()
    };
    let Some(found) = predict_while(&session.learner.inference_model(), view, &settings, &goes_on)? else { return Ok(None) };
    let mut confusion = Confusion::new(set.classes.len());
    for (picture, predicted) in found.pictures.iter().zip(&found.predicted) {
        confusion.add(set.pictures[*picture].label, *predicted);
    }
    let loss = found.losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / found.losses.len() as f64;
    if !loss.is_finite() {
        return Err(TrainError::Diverged {
            what: "validation loss",
            value: loss as f32,
            epoch: session.state.epoch + 1,
            step: None,
            kept: session
                .state
                .best
                .found
                .map_or("there is no best epoch yet".to_owned(), |(_, epoch)| format!("the best epoch so far is {epoch}")),
        });
    }
    Ok(Some(split_record(loss, &confusion)))
}

fn split_record(loss: f64, confusion: &Confusion) -> SplitRecord {
    let recall = confusion.tallies().iter().map(|tally| (tally.support > 0).then(|| tally.scores().recall)).collect();
    SplitRecord { loss, accuracy: confusion.accuracy(), macro_f1: confusion.macro_f1(), recall }
}
