//! One pass over the training pictures, from wherever the epoch was left: steps, measures, saves inside the epoch.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Observer, Session, TrainError,
    features::{self, Source},
    schedule::{Progress, learning_rate},
    step::{StepInput, StepOutput, Stepper},
};
use pixel_sampling::Finish;

use crate::{
    augment::{Augmenter, Key, Mixer},
    config::{Augment, Config, Sampler},
    data::{
        batch::{HostBatch, ImageBatcher, Mix, Prepare},
        dataset::{PictureSet, View},
        loader::Loader,
        normalize::Normalizer,
        order::{self, Draw},
    },
    metrics::argmax,
    nn::{infer::read, model::Output},
};

/// Steps between two reads from the device, for the progress bar and the check for NaN.
const READ_EVERY: usize = 10;

/// How an epoch ended.
pub(super) struct EpochEnd {
    /// Stopped by a signal after a step.
    pub(super) is_interrupted: bool,
    /// Of the last step.
    pub(super) learning_rate: f64,
    /// How long the steps waited for pictures.
    pub(super) waited: Duration,
}

/// The training pictures of `epoch` (counted from 0) in its order, augmented and normalised.
pub fn view(session: &Session, epoch: usize) -> View {
    let normalizer = session.normalizer.clone();
    augmented(&session.config, &session.train, epoch, normalizer.finish(), Arc::new(move |levels| normalizer.apply(levels)))
}

/// The training pictures of `epoch` (counted from 0) in its order, augmented: grey levels 0 to 255.
pub fn levels_view(config: &Config, train: &Arc<PictureSet>, epoch: usize) -> View {
    augmented(config, train, epoch, Some(Finish::LEVELS), Arc::new(|_| ()))
}

/// The pictures of a set in order, each with its augmentation `round`; by the common settings only, since nobody knows the class of a picture
/// that is to be classified.
pub fn unlabelled_view(config: &Config, set: &Arc<PictureSet>, normalizer: &Normalizer, round: usize) -> View {
    let augment = Augment { class: BTreeMap::new(), ..config.augment.clone() };
    let config = Config { augment, ..config.clone() };
    let normalizer = normalizer.clone();
    let view = augmented(&config, set, round, normalizer.finish(), Arc::new(move |levels| normalizer.apply(levels)));
    View { draws: order::in_order(set.pictures.len()), batcher: ImageBatcher { mix: None, ..view.batcher }, set: Arc::clone(set) }
}

/// The normalisation that isn't one factor and summand a channel.
type Rest = Arc<dyn Fn(&mut [f32]) + Send + Sync>;

/// Values go through `finish`; where there is none, levels go through `apply`.
fn augmented(config: &Config, set: &Arc<PictureSet>, epoch: usize, finish: Option<Finish>, apply: Rest) -> View {
    let draws = match config.train.sampler {
        Sampler::Shuffle => order::shuffled(set.pictures.len(), config.seed, epoch),
        Sampler::Balanced => order::balanced(&set.labels(), config.seed, epoch),
    };
    let shape = set.store.format().shape();
    let augmenters = augmenters(config, set);
    let key = move |draw: Draw| Key { epoch, picture: draw.picture, repeat: draw.repeat };
    let prepare: Prepare = Arc::new(move |subject, out| {
        let start = out.len();
        augmenters[subject.label].write(subject.bytes, key(subject.draw), finish.as_ref(), out);
        if finish.is_none() {
            apply(&mut out[start..]);
        }
    });
    let mix = Mixer::new(&config.augment, shape, config.seed).map(|mixer| -> Mix {
        Arc::new(move |batch: &mut HostBatch| {
            let keys: Vec<_> = batch.draws.iter().map(|draw| key(*draw)).collect();
            mixer.mix(&keys, &mut batch.images, &mut batch.targets, &mut batch.weights);
        })
    });
    View { set: Arc::clone(set), draws, batcher: ImageBatcher { prepare, mix, num_classes: set.classes.len() } }
}

/// What is done to the pictures of each class.
pub fn augmenters(config: &Config, set: &PictureSet) -> Vec<Augmenter> {
    let shape = set.store.format().shape();
    let of_class = |class: &String| {
        let settings = config.augment.for_class(class).expect("a configuration that was read has been checked");
        Augmenter::new(&settings, shape, config.seed)
    };
    set.classes.iter().map(of_class).collect()
}

/// Trains from `session.state.batch` to the end of the epoch, or to a step after which `stop` is set.
pub(super) fn run(session: &mut Session, observer: &dyn Observer, stop: &AtomicBool) -> Result<EpochEnd, TrainError> {
    let train = session.config.train.clone();
    let epoch = session.state.epoch;
    let mut end = EpochEnd { is_interrupted: false, learning_rate: session.state.plateau.learning_rate, waited: Duration::ZERO };
    let mut start = Instant::now();
    let Some(Source { view, entrance }) = features::training(session, observer, stop)? else {
        return Ok(EpochEnd { is_interrupted: true, ..end });
    };
    let stepper = Stepper { entrance, ..session.stepper.clone() };
    let total = view.draws.len();
    observer.epoch_started(epoch + 1, (session.state.batch * train.batch_size).min(total), total);
    let mut loader = Loader::new(view, train.batch_size, session.state.batch, train.workers);
    let steps_per_epoch = loader.num_batches().div_ceil(train.accumulate);
    let rate = |session: &Session, step: usize| {
        let step = step - session.state.phase.first_step;
        let at = Progress { step, steps_per_epoch, epochs: session.scheduled_epochs(), asked: session.phase().epochs };
        learning_rate(&train.schedule, session.state.plateau.learning_rate, at)
    };
    if session.state.batch > 0 {
        // Of the step before, in case that it was the last one.
        end.learning_rate = rate(session, session.state.step - 1);
    }
    let mut unread = Vec::new();
    loop {
        let batches = loader.by_ref().take(train.accumulate).collect::<Result<Vec<_>, _>>()?;
        if batches.is_empty() {
            break;
        }
        end.learning_rate = rate(session, session.state.step);
        let num_batches = batches.len();
        let input =
            StepInput { batches, epoch, first_batch: session.state.batch, step: session.state.step, learning_rate: end.learning_rate };
        let model = session.model.clone();
        let (model, output) = stepper.step(model, &mut session.optimizer, session.ema.as_mut(), input);
        session.model = model;
        unread.push((session.state.batch, output));
        session.state.batch += num_batches;
        session.state.step += 1;
        let is_over = session.state.batch >= loader.num_batches();
        end.is_interrupted = stop.load(Ordering::Relaxed) && !is_over;
        let is_saved =
            end.is_interrupted || (train.checkpoint.every_steps > 0 && session.state.step.is_multiple_of(train.checkpoint.every_steps));
        if is_over || is_saved || unread.len() >= READ_EVERY || session.stepper.device == burn::tensor::Device::flex() {
            take_in(session, std::mem::take(&mut unread), observer)?;
        }
        if is_saved && !is_over {
            session.state.partial.seconds += start.elapsed().as_secs_f64();
            start = Instant::now();
            session.save(&["last"])?;
        }
        if end.is_interrupted {
            break;
        }
    }
    session.state.partial.seconds += start.elapsed().as_secs_f64();
    end.waited = loader.waited;
    Ok(end)
}

/// Reads what steps left on the device and adds it to the epoch's measures. Waits for the device.
fn take_in(session: &mut Session, outputs: Vec<(usize, StepOutput)>, observer: &dyn Observer) -> Result<(), TrainError> {
    let mut pictures = 0;
    for (batch, output) in outputs {
        for (offset, loss) in output.losses.into_iter().enumerate() {
            let value = read(loss)?[0];
            if !value.is_finite() {
                let kept = match session.state.best.found {
                    Some((_, epoch)) => format!("the best epoch so far is {epoch}, kept in {}", session.folder().join("best").display()),
                    None => "there is no best epoch yet".to_owned(),
                };
                return Err(TrainError::Diverged {
                    what: "loss",
                    value,
                    epoch: session.state.epoch + 1,
                    step: Some(batch + offset + 1),
                    kept,
                });
            }
            session.state.partial.loss_sum += f64::from(value);
        }
        let mut labels = output.labels.into_iter();
        for logits in output.logits {
            let [count, num_logits] = logits.dims();
            let values = read(logits)?;
            for (row, label) in values.chunks_exact(num_logits).zip(labels.by_ref().take(count)) {
                let predicted = match Output::of(session.config.train.loss) {
                    Output::Softmax => argmax(row),
                    Output::Sigmoid => usize::from(row[0] > 0.0),
                };
                session.state.partial.confusion.add(label, predicted);
            }
            pictures += count;
        }
    }
    let partial = &session.state.partial;
    observer.trained(pictures, partial.loss_sum / partial.confusion.total() as f64, partial.confusion.accuracy());
    Ok(())
}
