//! Searches for a good learning rate: steps on the training images with a rate that rises from one
//! to the next. Saves nothing; the network is of no use afterwards.

use std::sync::atomic::AtomicBool;

use super::{
    Observer, Session, TrainError,
    inputs::{Inputs, Source},
    observer::Watch,
    rules::rate_finder::RateCurve,
    step::StepInput,
};
use crate::{
    data::batches::{batch::HostBatch, loader::Loader},
    nn::infer::read,
};

/// Trains a new session in its first phase, step by step at the rates of the search, and returns
/// the curve. `observer` is told of each step that images were trained on, with its loss and no
/// accuracy.
///
/// # Errors
/// Returns an error if an image can't be read again, the device fails, or a file with features of
/// frozen layers can't be written.
pub fn find_rate(mut session: Session, observer: &dyn Observer) -> Result<RateCurve, TrainError> {
    // There is nothing to save, so that a search may be cut off anywhere.
    let stop = AtomicBool::new(false);
    let watch = Watch {
        observer,
        stop: &stop,
    };
    let mut inputs = Inputs::of_phase(session.sources(), observer)?;
    let mut curve = RateCurve::default();
    let mut epoch = 0;
    while curve.next_rate().is_some() {
        let Some(source) = inputs.training(session.sources(), epoch, watch)? else {
            break;
        };
        search_epoch(&mut session, (epoch, source), &mut curve, observer)?;
        epoch += 1;
    }
    Ok(curve)
}

/// Takes the steps of an epoch, or as many as the search needs.
fn search_epoch(
    session: &mut Session,
    (epoch, source): (usize, Source),
    curve: &mut RateCurve,
    observer: &dyn Observer,
) -> Result<(), TrainError> {
    let train = &session.config.train;
    let mut loader = Loader::new(source.view, train.batch_size, 0, train.workers);
    let mut first_batch = 0;
    while let Some(learning_rate) = curve.next_rate() {
        let batches = loader.by_ref().take(train.accumulate);
        let batches = batches.collect::<Result<Vec<_>, _>>()?;
        if batches.is_empty() {
            break;
        }
        let count = batches.len();
        let output = session.learner.step(StepInput {
            num_batches: count,
            num_images: batches.iter().map(HostBatch::len).sum(),
            batches,
            network_input: source.input,
            epoch,
            first_batch,
            step: curve.rates.len(),
            learning_rate,
        })?;
        first_batch += count;
        let mut sum = 0.0;
        for loss in output.losses {
            sum += f64::from(read(loss)?[0]);
        }
        let images = output.labels.len();
        curve.add(sum / images as f64);
        observer.trained(images, sum / images as f64, f64::NAN);
    }
    Ok(())
}
