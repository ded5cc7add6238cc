//! What can be wrong with a checkpoint or the run that it is in.

use std::path::{Path, PathBuf};

use super::meta::{FORMAT, OLDEST};
use crate::{base::lock::LockError, nn::NnError};

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Nothing there.
    #[error("found no checkpoint, expected a run folder with best/ and last/ or one of these: {}", .0.display())]
    Missing(PathBuf),
    /// A file is missing, cut off or changed.
    #[error("the checkpoint is damaged: {reason}{}: {}", other_hint(.other.as_deref()), path.display())]
    Damaged {
        /// The checkpoint folder.
        path: PathBuf,
        /// Which file and what is wrong with it.
        reason: String,
        /// A whole checkpoint of the same run.
        other: Option<PathBuf>,
    },
    /// Written by a newer or older program.
    #[error("the checkpoint is damaged or of another version: meta.json: `format`: found {found}, expected {OLDEST} to {FORMAT}; {} emberlens can read it: {}", if *found > u64::from(FORMAT) { "a newer" } else { "an older" }, path.display())]
    Version {
        /// The checkpoint folder.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A checkpoint without its frozen layers, and the file that they came from isn't there or isn't the same.
    #[error("the checkpoint holds no frozen layers (train.checkpoint.include_backbone = false) and needs those of {}: {reason}; {hint}", path.display())]
    Backbone {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// The folder of a new run holds something else.
    #[error("the folder is there already and isn't empty; choose another --out, or --resume it: {}", .0.display())]
    Occupied(PathBuf),
    /// Another process writes into the run.
    #[error("the run is in use by {holder}; wait for it, or stop it: {}", path.display())]
    Held {
        /// The run folder.
        path: PathBuf,
        /// Who has it.
        holder: LockError,
    },
    /// A run that was ended before its first save.
    #[error("the run was ended before its first save, so there is nothing to go on with; start it again with the same recipe and --out: {}", .0.display())]
    Unstarted(PathBuf),
    /// Files of one run that don't belong together.
    #[error("{reason}: {}", path.display())]
    Mixed {
        /// The file or checkpoint that is out of place.
        path: PathBuf,
        /// What was found, what was expected and what to do.
        reason: String,
    },
    /// Weights that don't fit.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn other_hint(other: Option<&Path>) -> String {
    other.map_or(String::new(), |other| format!("; {} is whole, name it instead", other.display()))
}
