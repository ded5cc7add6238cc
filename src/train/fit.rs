//! The training loop: an epoch, validation, the record, best or not, stop or continue, and a save
//! after each epoch. Everything it decides by is in the [`Session`], so that a resume is exact.

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
        infer::{Detail, Settings, predict_among},
        loss::LossFn,
        networks::classifier::Output,
    },
    record::{EpochRecord, SplitRecord},
};

/// Trains until the last epoch, early stopping, the time limit, or `stop`.
///
/// `stop` is checked after each step and each batch of validation or of frozen layers; the run is
/// saved before the function returns.
///
/// # Errors
/// Returns an error if a loss is not finite, an image can't be read again, the device fails or a
/// file can't be written. Checkpoints saved before stay as they are.
pub fn fit(
    session: &mut Session,
    observer: &dyn Observer,
    stop: &AtomicBool,
) -> Result<Outcome, TrainError> {
    let watch = Watch { observer, stop };
    let mut clock = Clock::start();
    if let Some(words) = session
        .phase_words()
        .filter(|_| session.finished().is_none())
    {
        observer.say(&words);
    }
    let classes = &session.datasets.train.classes;
    let ranks = session.learner.stepper.ranks.clone();
    let board = (session.config.train.tensorboard && ranks.is_first())
        .then(|| TensorBoard::start(session.folder(), classes, &session.state.history))
        .transpose()?;
    if let Some(words) = session.plan_anew() {
        observer.say(&words);
    }
    session.take_over_plan()?;
    // Resolved once per phase: within it, frozen layers and what is cached of them stay the same.
    let mut inputs = Inputs::of_phase(session.sources(), observer)?;
    while session.finished().is_none() {
        let Some(record) = train_and_validate(session, &mut inputs, &mut clock, watch)? else {
            return Ok(clock.outcome(true));
        };
        observer.epoch_ended(&record);
        let stops_early = record_epoch(session, record, observer);
        // Early stopping ends the phase; the run ends with its last phase.
        let is_next_phase = (stops_early || session.phase_is_over()) && session.next_phase();
        clock.lap(is_next_phase);
        // Before the save, so that a resumed run continues with the same plan.
        if let Some(words) = session.plan(clock.elapsed(), &clock.laps) {
            observer.say(&words);
        }
        session.take_over_plan()?;
        save(session, observer)?;
        if let (Some(board), Some(record)) = (&board, session.state.history.last()) {
            board.add(record)?;
        }
        if stops_early {
            observer.say(&format!("Epoch {}: early stopping", session.state.epoch));
        }
        if is_next_phase {
            observer.say(&session.phase_words().unwrap_or_default());
            inputs = Inputs::of_phase(session.sources(), observer)?;
        }
        // A signal that arrived since the last check finds the epoch saved.
        if ranks.any(watch.is_stopped())? {
            return Ok(clock.outcome(true));
        }
        if let Some(limit) = session.config.train.max_time
            && ranks.any(clock.elapsed() >= limit.0)?
        {
            observer.say(&format!(
                "Epoch {}: stopping, train.max_time = \"{}\" is over",
                session.state.epoch,
                String::from(limit)
            ));
            break;
        }
    }
    Ok(clock.outcome(false))
}

/// Runs the rest of the current epoch and validates. Returns the epoch's record, or `None` if the
/// run was stopped before the end; the run is saved then.
fn train_and_validate(
    session: &mut Session,
    inputs: &mut Inputs,
    clock: &mut Clock,
    watch: Watch<'_>,
) -> Result<Option<EpochRecord>, TrainError> {
    let start = Instant::now();
    // Computing features can take minutes and be stopped. Doing both before the first step loses
    // nothing of the epoch then.
    let Some(validation) = inputs.validation(session.sources(), watch)? else {
        return Ok(None);
    };
    let Some(training) = inputs.training(session.sources(), session.state.epoch, watch)? else {
        return Ok(None);
    };
    session.state.partial.seconds += start.elapsed().as_secs_f64();
    let (scheduled, asked) = (session.scheduled_epochs(), session.phase().epochs);
    let epoch = Epoch {
        train: &session.config.train,
        scheduled,
        asked,
        files: &session.files,
        watch,
    };
    let end = epoch.run(training, &mut session.learner, &mut session.state)?;
    clock.trained(start.elapsed(), end.waited);
    if end.is_interrupted {
        return Ok(None);
    }
    let validation_start = Instant::now();
    let Some(validation) = validate(session, validation, watch)? else {
        // All steps of the epoch are done, so a resume only validates.
        session.save(&["last"])?;
        return Ok(None);
    };
    let num_classes = session.datasets.train.classes.len();
    // Reset here and the counters in `record_epoch`, before anything is saved.
    let partial = std::mem::replace(&mut session.state.partial, Partial::new(num_classes));
    Ok(Some(EpochRecord {
        epoch: session.state.epoch + 1,
        train: split_record(
            Output::of(session.config.train.loss),
            partial.loss_sum / partial.confusion.total() as f64,
            &partial.confusion,
        ),
        validation,
        learning_rate: end.learning_rate,
        seconds: partial.seconds + validation_start.elapsed().as_secs_f64(),
    }))
}

/// Updates the counters, early stopping and the plateau schedule with the record of an epoch.
/// Returns whether early stopping ends the phase.
fn record_epoch(session: &mut Session, record: EpochRecord, observer: &dyn Observer) -> bool {
    let (train, classes, state) = (
        &session.config.train,
        &session.datasets.train.classes,
        &mut session.state,
    );
    let epoch = record.epoch;
    let early_stopping = train.early_stopping.as_ref();
    // `EarlyStopping` counts epochs from 0, as Keras does; records count from 1.
    let stops_early = early_stopping.is_some_and(|rule| {
        state
            .patience
            .update(rule, epoch - 1, record.value(&rule.monitor, classes))
    });
    if let Some(rule) = PlateauRule::of(&train.schedule)
        && state
            .plateau
            .update(&rule, record.value(&rule.monitor, classes))
    {
        observer.say(&format!(
            "Epoch {epoch}: ReduceLROnPlateau reducing learning rate to {}",
            state.plateau.learning_rate
        ));
    }
    state.seconds += record.seconds;
    // Of many classes, only the latest epoch keeps its recalls: the history is saved with every
    // checkpoint and would grow with classes times epochs.
    if let Some(before) = state.history.last_mut() {
        before.train.condense();
        before.validation.condense();
    }
    state.history.push(record);
    (state.epoch, state.batch) = (epoch, 0);
    stops_early
}

/// Saves `best/` if the epoch is the best so far, then `last/`, then the history. After a crash in
/// between, `last/` leads to the same `best/` again.
fn save(session: &mut Session, observer: &dyn Observer) -> Result<(), TrainError> {
    let monitor = &session.config.train.checkpoint.monitor;
    let Some(record) = session.state.history.last() else {
        return Ok(());
    };
    let (epoch, value) = (
        record.epoch,
        record.value(monitor, &session.datasets.train.classes),
    );
    let before = session.state.best.found;
    let is_best = session.state.best.update(monitor, epoch, value);
    let folder = session.folder().join("best");
    let shown = |best: Option<(f64, usize)>| {
        best.map_or("nothing".to_owned(), |(value, _)| format!("{value:.5}"))
    };
    if is_best {
        observer.say(&format!(
            "Epoch {epoch}: {monitor} improved from {} to {value:.5}, saving to {}",
            shown(before),
            folder.display()
        ));
        session.save(&["best", "last"])?;
    } else {
        observer.say(&format!(
            "Epoch {epoch}: {monitor} did not improve from {}",
            shown(before)
        ));
        session.save(&["last"])?;
    }
    session.files.write_history(&session.state)
}

/// Measures the network on the validation images, in order and without augmentation, with the
/// unweighted loss and no label smoothing. Returns `None` if the run was stopped before the end.
fn validate(
    session: &Session,
    Source { view, input }: Source,
    watch: Watch<'_>,
) -> Result<Option<SplitRecord>, TrainError> {
    let (train, stepper, set) = (
        &session.config.train,
        &session.learner.stepper,
        &session.datasets.validation,
    );
    let settings = Settings {
        device: stepper.device.clone().without_autodiff(),
        input,
        batch_size: train.batch_size,
        workers: train.workers,
        output: Output::of(train.loss),
        temperature: 1.0,
        loss: LossFn {
            label_smoothing: 0.0,
            ..stepper.loss.clone()
        },
        keep: Detail::Classes,
    };
    let goes_on = |images| {
        watch.observer.validated(images);
        !watch.is_stopped()
    };
    let Some(found) = predict_among(
        &stepper.ranks,
        &session.learner.inference_model(),
        view,
        &settings,
        &goes_on,
    )?
    else {
        return Ok(None);
    };
    let mut confusion = Confusion::new(set.classes.len());
    for (image, predicted) in found.images.iter().zip(&found.predicted) {
        confusion.add(set.images[*image].label, *predicted);
    }
    let loss = found
        .losses
        .iter()
        .map(|loss| f64::from(*loss))
        .sum::<f64>()
        / found.losses.len() as f64;
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
                .map_or("there is no best epoch yet".to_owned(), |(_, epoch)| {
                    format!("the best epoch so far is {epoch}")
                }),
        });
    }
    Ok(Some(split_record(settings.output, loss, &confusion)))
}

/// Returns the record of one split; a class without images has no recall, and an autoencoder none
/// at all.
fn split_record(output: Output, loss: f64, confusion: &Confusion) -> SplitRecord {
    if output == Output::Image {
        return SplitRecord::of_loss(loss);
    }
    let recall = confusion
        .tallies()
        .iter()
        .map(|tally| (tally.support > 0).then(|| tally.scores().recall))
        .collect();
    SplitRecord {
        loss,
        accuracy: confusion.accuracy(),
        macro_f1: confusion.macro_f1(),
        recall,
    }
}
