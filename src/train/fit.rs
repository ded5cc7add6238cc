//! The loop as one reads it aloud: an epoch, validation, record, best, stop or go on; saved after each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Observer, Session, TrainError, epoch,
    features::{self, Source},
    outlook::Clock,
    state::Partial,
    tensorboard::TensorBoard,
};
use crate::{
    metrics::Confusion,
    nn::{
        infer::{Keep, Settings, predict_while},
        loss::LossFn,
        model::Output,
    },
    record::{EpochRecord, SplitRecord},
};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// By a signal; `last/` is saved.
    pub is_interrupted: bool,
    /// Share of the training time that steps waited for pictures.
    pub data_wait_share: f64,
}

/// Trains until the last epoch, early stopping, the time limit, or `stop`.
///
/// # Errors
/// [`TrainError`]; what was saved before stays.
pub fn fit(session: &mut Session, observer: &dyn Observer, stop: &AtomicBool) -> Result<Outcome, TrainError> {
    let mut clock = Clock::start();
    let (mut waited, mut trained) = (Duration::ZERO, Duration::ZERO);
    let outcome = |is_interrupted, waited: Duration, trained: Duration| Outcome {
        is_interrupted,
        data_wait_share: waited.as_secs_f64() / trained.as_secs_f64().max(1e-9),
    };
    if let Some(words) = session.phase_words().filter(|_| session.finished().is_none()) {
        observer.say(&words);
    }
    let board = match session.config.train.tensorboard {
        true => Some(TensorBoard::start(session.folder(), &session.train.classes, &session.state.history)?),
        false => None,
    };
    session.plan_anew().iter().for_each(|words| observer.say(words));
    while session.finished().is_none() {
        let epoch_start = Instant::now();
        // Before the epoch, so that nothing of it is lost if somebody can't wait.
        let Some(validation) = features::validation(session, observer, stop)? else { return Ok(outcome(true, waited, trained)) };
        session.state.partial.seconds += epoch_start.elapsed().as_secs_f64();
        let end = epoch::run(session, observer, stop)?;
        (waited, trained) = (waited + end.waited, trained + epoch_start.elapsed());
        if end.is_interrupted {
            return Ok(outcome(true, waited, trained));
        }
        let validation_start = Instant::now();
        let Some(validation) = validate(session, validation, observer, stop)? else {
            // All steps of the epoch are done; a resume validates.
            session.save(&["last"])?;
            return Ok(outcome(true, waited, trained));
        };
        let partial = std::mem::replace(&mut session.state.partial, Partial::new(session.train.classes.len()));
        let record = EpochRecord {
            epoch: session.state.epoch + 1,
            train: split_record(partial.loss_sum / partial.confusion.total() as f64, &partial.confusion),
            validation,
            learning_rate: end.learning_rate,
            seconds: partial.seconds + validation_start.elapsed().as_secs_f64(),
        };
        observer.epoch_ended(&record);
        let stops = take_in(session, record, observer);
        let is_next = (stops || session.phase_is_over()) && session.next_phase();
        clock.lap(is_next);
        // Before it is saved, so that a resume goes on by it.
        session.plan(clock.elapsed(), &clock.laps).iter().for_each(|words| observer.say(words));
        save(session, observer)?;
        if let (Some(board), Some(record)) = (&board, session.state.history.last()) {
            board.add(record)?;
        }
        if stops {
            observer.say(&format!("Epoch {}: early stopping", session.state.epoch));
        }
        if is_next {
            observer.say(&session.phase_words().unwrap_or_default());
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(outcome(true, waited, trained));
        }
        if let Some(limit) = session.config.train.max_time.filter(|limit| clock.elapsed() >= limit.0) {
            observer.say(&format!("Epoch {}: stopping, train.max_time = \"{}\" is over", session.state.epoch, String::from(limit)));
            break;
        }
    }
    Ok(outcome(false, waited, trained))
}

/// Updates counters and decisions with the record of an epoch. True if early stopping says so.
fn take_in(session: &mut Session, record: EpochRecord, observer: &dyn Observer) -> bool {
    let plateau_rule = session.plateau_rule();
    let (config, state) = (&session.config, &mut session.state);
    let epoch = record.epoch;
    let stops = config
        .train
        .early_stopping
        .as_ref()
        .is_some_and(|rule| state.patience.update(rule, epoch - 1, record.value(&rule.monitor, &session.train.classes)));
    if let Some(rule) = plateau_rule
        && state.plateau.update(&rule, record.value(&rule.monitor, &session.train.classes))
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
    stops
}

/// Saves `best/` if the epoch is the best so far, then `last/`, then the history. A crash in between leaves a `last/` that leads
/// to the same `best/` again.
fn save(session: &mut Session, observer: &dyn Observer) -> Result<(), TrainError> {
    let monitor = &session.config.train.checkpoint.monitor;
    let Some(record) = session.state.history.last() else { return Ok(()) };
    let (epoch, value) = (record.epoch, record.value(monitor, &session.train.classes));
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
    session.write_history()
}

/// The validation pictures as they are, in order, with the unweighted loss and no label smoothing; `None` if `stop` came before the end.
fn validate(
    session: &Session,
    Source { view, entrance }: Source,
    observer: &dyn Observer,
    stop: &AtomicBool,
) -> Result<Option<SplitRecord>, TrainError> {
    let set = Arc::clone(&session.validation);
    let settings = Settings {
        device: session.stepper.device.clone().without_autodiff(),
        entrance,
        batch_size: session.config.train.batch_size,
        workers: session.config.train.workers,
        output: Output::of(session.config.train.loss),
        temperature: 1.0,
        loss: LossFn { label_smoothing: 0.0, ..session.stepper.loss.clone() },
        keep: Keep::Classes,
    };
    let goes_on = |pictures| {
        observer.validated(pictures);
        !stop.load(Ordering::Relaxed)
    };
    let Some(found) = predict_while(&session.inference_model(), view, &settings, &goes_on)? else { return Ok(None) };
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
