//! Counters and decisions of the loop: with the weights and the optimiser's state, all that a resume needs.

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

/// Counters and decisions of the loop: with the weights and the optimiser's state, all that a resume needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// As the run was started.
    pub config: Config,
    /// Of `split.csv`.
    pub data_fingerprint: String,
    /// Where the training is among its phases.
    pub phase: PhaseState,
    /// Whole epochs done.
    pub epoch: usize,
    /// Batches done in the epoch that is under way.
    pub batch: usize,
    /// Optimiser steps done.
    pub step: usize,
    /// What the batches of this epoch gave so far.
    pub partial: Partial,
    /// One record a whole epoch.
    pub history: Vec<EpochRecord>,
    /// The best epoch so far.
    pub best: Best,
    /// What early stopping has seen.
    pub patience: Patience,
    /// What the plateau schedule has seen, and its learning rate.
    pub plateau: Plateau,
    /// Of all parts of the run together.
    pub seconds: f64,
    /// Whole epochs that `train.max_time` is expected to leave time for, where it isn't all; the schedule ends there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_epochs: Option<usize>,
}

/// Which phase, and where it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseState {
    /// Counted from 0.
    pub index: usize,
    /// Whole epochs done before it.
    pub first_epoch: usize,
    /// Optimiser steps done before it.
    pub first_step: usize,
}

/// The measures of an epoch under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// Of weighted losses.
    pub loss_sum: f64,
    /// On training pictures as they were trained on.
    pub confusion: Confusion,
    /// Seconds of the epoch.
    pub seconds: f64,
}

impl Partial {
    /// At the start of an epoch.
    pub fn new(num_classes: usize) -> Self {
        Self { loss_sum: 0.0, confusion: Confusion::new(num_classes), seconds: 0.0 }
    }
}

/// The records of the run in the folder `run`, as its last checkpoint has them; `history.csv` is for people, who may change it. `None` where there
/// is no checkpoint that can be read, as while it is being replaced.
pub fn history(run: &Path) -> Option<Vec<EpochRecord>> {
    let state = read_state(&run.join("last")).ok()?;
    Vec::deserialize(state.get("history")?).ok()
}

impl State {
    /// Reads the `state.json` of the checkpoint at `path`, of a network for so many classes, that is said to be after `epoch`.
    ///
    /// # Errors
    /// Something in it can't be, in words.
    pub(in crate::train) fn read(value: &Value, path: &Path, num_classes: usize, epoch: usize) -> Result<Self, CheckpointError> {
        let damaged =
            |reason: String| CheckpointError::Damaged { path: path.to_owned(), reason: format!("state.json: {reason}"), other: None };
        let state: Self =
            serde_path_to_error::deserialize(value).map_err(|error| damaged(format!("`{}`: {}", error.path(), error.inner())))?;
        let fault = |field: &str, found: usize, expected: &str| Err(damaged(format!("`{field}`: found {found}, expected {expected}")));
        if state.epoch != epoch {
            return fault("epoch", state.epoch, &format!("{epoch}, that of meta.json"));
        }
        let numbers = state.history.iter().map(|record| record.epoch);
        if !numbers.eq(1..=state.epoch) {
            return fault("history", state.history.len(), &format!("one record for each of {} epochs", state.epoch));
        }
        // Of many classes, earlier epochs have no recalls.
        let of_history = state.history.iter().flat_map(|record| [record.train.recall.len(), record.validation.recall.len()]);
        let is_other = |length: &usize| *length != num_classes && (*length > 0 || num_classes <= LISTED_CLASSES);
        let of_matrix = Some(state.partial.confusion.num_classes()).filter(|length| *length != num_classes);
        if let Some(found) = of_history.filter(is_other).chain(of_matrix).next() {
            return fault("history", found, &format!("figures of {num_classes} classes"));
        }
        let PhaseState { index, first_epoch, first_step } = state.phase;
        if index >= state.config.phases().len() || first_epoch > state.epoch || first_step > state.step {
            return fault("phase", index, "a phase of the configuration that has begun");
        }
        Ok(state)
    }
}
