//! Errors that end a run.

use std::path::PathBuf;

use crate::{
    base::{
        io::files::reason,
        words::{listed, nearest},
    },
    checkpoint::CheckpointError,
    config::{ConfigError, Metric},
    data::DataError,
    nn::{
        NnError,
        estimate::{Largest, size_words},
        infer::InferError,
    },
    ranks::RanksError,
};

/// An error that ends a run.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A loss that is NaN or infinite.
    #[error(
        "the {what} became {value} in epoch {epoch}{}; {kept}; a smaller learning rate or \
         train.clip_norm usually helps",
        step_words(*.step)
    )]
    Diverged {
        /// "loss" or "validation loss".
        what: &'static str,
        /// The value, NaN or infinite.
        value: f32,
        /// Epoch, counted from 1.
        epoch: usize,
        /// Batch of the epoch, counted from 1; `None` for the validation loss.
        step: Option<usize>,
        /// Which checkpoint is left.
        kept: String,
    },
    /// Another rank doesn't answer or differs.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// A resume with a changed configuration or changed data.
    #[error("can't resume: {what} has changed: {detail}; {hint}")]
    Changed {
        /// "the configuration" or "the data".
        what: &'static str,
        /// The key or file, with its old and new value.
        detail: String,
        /// How to proceed.
        hint: String,
    },
    /// A setting that names an unknown class.
    #[error("{key} names {name}, which isn't a class; {}", among(.name, .classes))]
    Class {
        /// The key of the setting.
        key: String,
        /// The unknown name.
        name: String,
        /// The classes of the run.
        classes: Vec<String>,
    },
    /// A monitored metric that has no value on this validation set.
    #[error(
        "{key} = \"{metric}\" can't be measured: validation has no image of {class}; add some, or \
         choose another metric, such as {instead}"
    )]
    Unmeasured {
        /// The key of the setting.
        key: &'static str,
        /// The monitored metric.
        metric: Metric,
        /// The class without validation images.
        class: String,
        /// A metric that can be measured.
        instead: Metric,
    },
    /// A network that needs more memory than is available.
    #[error(
        "a step needs about {}, and {} are left here; the layer {} alone needs {}: {advice}",
        size_words(*.needed),
        size_words(*.available),
        .largest.name,
        size_words(.largest.bytes)
    )]
    Memory {
        /// Bytes needed.
        needed: f64,
        /// Bytes available.
        available: f64,
        /// Layer that needs the most memory.
        largest: Largest,
        /// How to need less.
        advice: &'static str,
    },
    /// Weights without the `meta.json` that states their normalization.
    #[error(
        "found no meta.json beside the weights, which says how their images were normalized; \
         set data.normalize as it was for them: {}",
        .0.display()
    )]
    Normalize(PathBuf),
    /// A sigmoid output with more or fewer than two classes.
    #[error(
        "loss = \"binary_cross_entropy\" tells two classes apart, found {0}; use \"cross_entropy\""
    )]
    Binary(usize),
    /// A run folder that can't be created.
    #[error(
        "can't create the run folder: {}; choose another folder with --out: {}",
        reason(.error),
        path.display()
    )]
    Folder {
        /// Path of the folder.
        path: PathBuf,
        /// The underlying error.
        error: std::io::Error,
    },
    /// An I/O error.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// An error of the data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An error of the network or its device.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// An error in saving or loading a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An error in the run's saved configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl TrainError {
    /// Returns the kind of an I/O error whose message doesn't say by itself what to do.
    pub fn kind(&self) -> Option<std::io::ErrorKind> {
        match self {
            Self::Io(error) | Self::Checkpoint(CheckpointError::Io(error)) => Some(error.kind()),
            _ => None,
        }
    }
}

/// Describes the classes, with the one most similar to `name` if there is one.
fn among(name: &str, classes: &[String]) -> String {
    let known = format!("the classes are {}", listed(classes));
    nearest(name, classes.iter().map(String::as_str)).map_or_else(
        || known.clone(),
        |meant| format!("did you mean `{meant}`? ({known})"),
    )
}

fn step_words(step: Option<usize>) -> String {
    step.map_or(String::new(), |step| format!(", step {step}"))
}

impl From<InferError> for TrainError {
    fn from(error: InferError) -> Self {
        match error {
            InferError::Ranks(error) => Self::Ranks(error),
            InferError::Data(error) => Self::Data(error),
            InferError::Nn(error) => Self::Nn(error),
        }
    }
}
