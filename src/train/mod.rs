//! The training loop: epochs of steps, validation, best and last checkpoints, and when to stop.

mod changes;
pub mod early_stopping;
mod epoch;
mod features;
mod fit;
mod prepare;
pub mod schedule;
mod session;
mod step;
mod tensorboard;

use std::path::PathBuf;

pub use epoch::{augmenters, levels_view, unlabelled_view, view as training_view};
pub use fit::{Outcome, fit};
pub use prepare::check_augmented_classes;
pub use session::{Session, State};
pub use step::{StepInput, Stepper};

use crate::{
    checkpoint::CheckpointError,
    config::ConfigError,
    data::DataError,
    nn::{NnError, infer::InferError},
    record::EpochRecord,
};

/// What ends a run before its time.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Not a number, or infinite.
    #[error("the {what} became {value} in epoch {epoch}{}; {kept}; a smaller learning rate or train.clip_norm usually helps", step_words(*.step))]
    Diverged {
        /// "loss" or "validation loss".
        what: &'static str,
        /// NaN or infinity.
        value: f32,
        /// Counted from 1.
        epoch: usize,
        /// Batch of the epoch, counted from 1; `None` after the epoch.
        step: Option<usize>,
        /// What is still there.
        kept: String,
    },
    /// A resume with something changed.
    #[error("can't resume: {what} has changed: {detail}; {hint}")]
    Changed {
        /// "the configuration" or "the data".
        what: &'static str,
        /// The key or file with both values.
        detail: String,
        /// What to do.
        hint: String,
    },
    /// A setting for a class that isn't there.
    #[error("{key} names {name}, which is no class; the classes are {classes}")]
    Class {
        /// The setting.
        key: String,
        /// The name.
        name: String,
        /// Those that there are.
        classes: String,
    },
    /// Weights of a checkpoint whose preprocessing isn't known.
    #[error("found no meta.json beside the weights, which says how their pictures were normalised; set data.normalize as it was for them: {}", .0.display())]
    Normalize(PathBuf),
    /// A sigmoid for more than two classes.
    #[error("loss = \"binary_cross_entropy\" tells two classes apart, found {0}; use \"cross_entropy\"")]
    Binary(usize),
    /// The run folder holds something else.
    #[error("the folder is there already and isn't empty; choose another --out, or --resume it: {}", .0.display())]
    Occupied(PathBuf),
    /// The system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Pictures.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network or its device.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// Saving or loading.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The run's own configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

fn step_words(step: Option<usize>) -> String {
    step.map_or(String::new(), |step| format!(", step {step}"))
}

impl From<InferError> for TrainError {
    fn from(error: InferError) -> Self {
        match error {
            InferError::Data(error) => Self::Data(error),
            InferError::Nn(error) => Self::Nn(error),
        }
    }
}

/// Who watches a run: progress bars, a log, a test.
pub trait Observer {
    /// An epoch begins, or goes on at picture `done` of `total`.
    fn epoch_started(&self, epoch: usize, done: usize, total: usize);
    /// So many pictures more are trained on; mean loss and accuracy of the epoch so far.
    fn trained(&self, pictures: usize, loss: f64, accuracy: f64);
    /// Frozen layers have seen `done` of `total` pictures, whose features are kept for all epochs.
    fn computed_features(&self, done: usize, total: usize);
    /// So many pictures more are validated.
    fn validated(&self, pictures: usize);
    /// An epoch is over.
    fn epoch_ended(&self, record: &EpochRecord);
    /// A line for the user.
    fn say(&self, line: &str);
}
