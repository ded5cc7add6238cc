//! What ends a run before its time.

use std::path::PathBuf;

use crate::{
    base::{
        files::reason,
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
    #[error("{key} names {name}, which is no class; {}", among(.name, .classes))]
    Class {
        /// The setting.
        key: String,
        /// The name.
        name: String,
        /// Those that there are.
        classes: Vec<String>,
    },
    /// A decision by a metric that no epoch will have.
    #[error(
        "{key} = \"{metric}\" can't be measured: validation has no picture of {class}; add some, or choose another metric, such as {instead}"
    )]
    Unmeasured {
        /// The setting.
        key: &'static str,
        /// The metric.
        metric: Metric,
        /// Whose validation pictures are missing.
        class: String,
        /// A metric that can be measured.
        instead: Metric,
    },
    /// A network that this machine hasn't got the memory for.
    #[error("a step needs about {}, and {} are left here; the layer {} alone needs {}: {advice}", size_words(*.needed), size_words(*.available), .largest.name, size_words(.largest.bytes))]
    Memory {
        /// Bytes.
        needed: f64,
        /// Bytes.
        available: f64,
        /// The layer that needs the most.
        largest: Largest,
        /// What to do.
        advice: &'static str,
    },
    /// Weights of a checkpoint whose preprocessing isn't known.
    #[error("found no meta.json beside the weights, which says how their pictures were normalised; set data.normalize as it was for them: {}", .0.display())]
    Normalize(PathBuf),
    /// A sigmoid for more than two classes.
    #[error("loss = \"binary_cross_entropy\" tells two classes apart, found {0}; use \"cross_entropy\"")]
    Binary(usize),
    /// The run folder can't be made.
    #[error("can't create the run folder: {}; choose another folder with --out: {}", reason(.error), path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The system refused.
    #[error(transparent)]
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

impl TrainError {
    /// The kind of the system's error, if it is one that doesn't say by itself what to do.
    pub fn kind(&self) -> Option<std::io::ErrorKind> {
        match self {
            Self::Io(error) | Self::Checkpoint(CheckpointError::Io(error)) => Some(error.kind()),
            _ => None,
        }
    }
}

/// The class that was meant, and those that there are.
fn among(name: &str, classes: &[String]) -> String {
    let known = format!("the classes are {}", listed(classes));
    nearest(name, classes.iter().map(String::as_str)).map_or_else(|| known.clone(), |meant| format!("did you mean `{meant}`? ({known})"))
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
