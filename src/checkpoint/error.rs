//! Errors of a checkpoint and of the run that contains it.

use std::path::{Path, PathBuf};

use super::meta::{FORMAT, OLDEST};
use crate::{base::io::lock::LockError, nn::NnError};

/// An error in reading or writing a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// No checkpoint at the path.
    #[error(
        "found no checkpoint, expected a run folder with best/ and last/ or one of these: {}",
        .0.display()
    )]
    Missing(PathBuf),
    /// A run of several networks, where one is needed.
    #[error(
        "found a run of several networks, expected one; name that of a fold, such as {}: {}",
        one.display(),
        path.display()
    )]
    Several {
        /// Path of the run.
        path: PathBuf,
        /// Path of the first one.
        one: PathBuf,
    },
    /// A checkpoint with a missing, incomplete or changed file.
    #[error(
        "the checkpoint is damaged: {reason}{}: {}",
        other_hint(.other.as_deref()),
        path.display()
    )]
    Damaged {
        /// Path of the checkpoint folder.
        path: PathBuf,
        /// The file and what is wrong with it.
        reason: String,
        /// An intact checkpoint of the same run.
        other: Option<PathBuf>,
    },
    /// A checkpoint whose format this version doesn't read.
    #[error(
        "the checkpoint is damaged or of another version: meta.json: `format`: found {found}, \
         expected {OLDEST} to {FORMAT}; {} emberlens can read it: {}",
        if *found > u64::from(FORMAT) { "a newer" } else { "an older" },
        path.display()
    )]
    Version {
        /// Path of the checkpoint folder.
        path: PathBuf,
        /// Format of the checkpoint.
        found: u64,
    },
    /// A checkpoint without its frozen layers, if the file that they came from is missing or has
    /// changed.
    #[error(
        "the checkpoint contains no frozen layers (train.checkpoint.include_backbone = false) and \
         needs those of {}: {reason}; {hint}",
        path.display()
    )]
    Backbone {
        /// Path of that file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// How to proceed.
        hint: String,
    },
    /// A folder for a new run that has other content.
    #[error(
        "the folder already exists and isn't empty; choose another --out, or --resume it: {}",
        .0.display()
    )]
    Occupied(PathBuf),
    /// A run that another process writes into.
    #[error("the run is in use by {holder}; wait for it, or stop it: {}", path.display())]
    Held {
        /// Path of the run folder.
        path: PathBuf,
        /// The process that holds the lock.
        holder: LockError,
    },
    /// A run that ended before its first save.
    #[error(
        "the run was ended before its first save, so there is nothing to resume; start it again \
         with the same recipe and --out: {}",
        .0.display()
    )]
    Unstarted(PathBuf),
    /// A run folder whose checkpoint comes from another program.
    #[error(
        "the checkpoint was imported and has nothing to go on with; to train from its weights, \
         name its model.safetensors in a recipe as model.weights: {}",
        .0.display()
    )]
    Imported(PathBuf),
    /// An autoencoder, where a network that knows classes is needed.
    #[error(
        "found an autoencoder, expected a network that knows classes: train, predict, evaluate \
         and calibrate --novelty take one, and model.weights the run for a small_cnn: {}",
        .0.display()
    )]
    Autoencoder(PathBuf),
    /// A file or checkpoint that doesn't belong to the run.
    #[error("{reason}: {}", path.display())]
    Mixed {
        /// Path of that file or checkpoint.
        path: PathBuf,
        /// What was found, what was expected and how to proceed.
        reason: String,
    },
    /// Weights that don't fit the network.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// An I/O error.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn other_hint(other: Option<&Path>) -> String {
    other.map_or(String::new(), |other| {
        format!("; {} is intact; name it instead", other.display())
    })
}
