//! Counters and decisions of the loop: with the weights and the optimizer's state, all that a
//! resume needs. Read back only after checks against the checkpoint that contains it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::train::rules::{
    early_stopping::{Best, Patience},
    schedule::Plateau,
};
use crate::{
    checkpoint::{CheckpointError, read_state},
    config::Config,
    metrics::Confusion,
    record::{EpochRecord, LISTED_CLASSES},
};

/// Counters and decisions of the loop, saved as `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Configuration of the run, with the changes of resumes.
    pub config: Config,
    /// Fingerprint of the rows of `split.csv`.
    pub data_fingerprint: String,
    /// The current phase.
    pub phase: PhaseState,
    /// Number of epochs done.
    pub epoch: usize,
    /// Number of batches done in the current epoch.
    pub batch: usize,
    /// Number of optimizer steps done.
    pub step: usize,
    /// Measures of the current epoch so far.
    pub partial: Partial,
    /// Records of the epochs done.
    pub history: Vec<EpochRecord>,
    /// The best epoch so far.
    pub best: Best,
    /// State of early stopping in the current phase.
    pub patience: Patience,
    /// State of the plateau schedule; its learning rate is the base of every schedule.
    pub plateau: Plateau,
    /// Duration of all epochs in seconds, over all resumes.
    pub seconds: f64,
    /// Number of epochs expected to fit `train.max_time`, if not all do; the schedule ends with
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_epochs: Option<usize>,
}

/// The current phase, and where it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseState {
    /// Index of the phase, counted from 0.
    pub index: usize,
    /// Number of epochs done before the phase.
    pub first_epoch: usize,
    /// Number of optimizer steps done before the phase.
    pub first_step: usize,
}

/// Measures of an unfinished epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// Sum of the weighted losses.
    pub loss_sum: f64,
    /// Predictions on the augmented training images, made while the weights changed.
    pub confusion: Confusion,
    /// Duration so far, in seconds.
    pub seconds: f64,
}

impl Partial {
    /// Returns the measures at the start of an epoch.
    pub fn new(num_classes: usize) -> Self {
        Self {
            loss_sum: 0.0,
            confusion: Confusion::new(num_classes),
            seconds: 0.0,
        }
    }
}

/// Returns the epoch records of the run in the folder `run` from its last checkpoint, because users
/// may edit `history.csv`. `None` if no checkpoint can be read, for example while it is replaced.
pub fn history(run: &Path) -> Option<Vec<EpochRecord>> {
    let state = read_state(&run.join("last")).ok()?;
    Vec::deserialize(state.get("history")?).ok()
}

impl State {
    /// Reads the `state.json` of the checkpoint at `path`, for a network with `num_classes` classes
    /// and a `meta.json` that states `epoch`.
    ///
    /// # Errors
    /// Returns an error that names the field if `value` contradicts itself or the checkpoint.
    pub(in crate::train) fn read(
        value: &Value,
        path: &Path,
        num_classes: usize,
        epoch: usize,
    ) -> Result<Self, CheckpointError> {
        let damaged = |reason: String| CheckpointError::Damaged {
            path: path.to_owned(),
            reason: format!("state.json: {reason}"),
            other: None,
        };
        let state: Self = serde_path_to_error::deserialize(value)
            .map_err(|error| damaged(format!("`{}`: {}", error.path(), error.inner())))?;
        let fault = |field: &str, found: usize, expected: &str| {
            Err(damaged(format!(
                "`{field}`: found {found}, expected {expected}"
            )))
        };
        if state.epoch != epoch {
            return fault("epoch", state.epoch, &format!("{epoch}, that of meta.json"));
        }
        // A record missing or repeated would shift every later epoch of `history.csv`.
        let numbers = state.history.iter().map(|record| record.epoch);
        if !numbers.eq(1..=state.epoch) {
            return fault(
                "history",
                state.history.len(),
                &format!("one record for each of {} epochs", state.epoch),
            );
        }
        // Above `LISTED_CLASSES`, all but the latest epoch have no recalls; an autoencoder's have
        // none.
        let is_autoencoder = state.config.model.architecture.is_autoencoder();
        let has_recalls = num_classes <= LISTED_CLASSES && !is_autoencoder;
        let of_history = state
            .history
            .iter()
            .flat_map(|record| [record.train.recall.len(), record.validation.recall.len()]);
        let is_other = |length: &usize| *length != num_classes && (*length > 0 || has_recalls);
        let of_matrix =
            Some(state.partial.confusion.num_classes()).filter(|length| *length != num_classes);
        if let Some(found) = of_history.filter(is_other).chain(of_matrix).next() {
            return fault(
                "history",
                found,
                &format!("figures of {num_classes} classes"),
            );
        }
        let PhaseState {
            index,
            first_epoch,
            first_step,
        } = state.phase;
        if index >= state.config.phases().len()
            || first_epoch > state.epoch
            || first_step > state.step
        {
            return fault(
                "phase",
                index,
                "a phase of the configuration that has begun",
            );
        }
        Ok(state)
    }
}
