//! What a resume may change, and the refusal of everything else.

use std::path::Path;

use super::{State, TrainError};
use crate::{
    config::{Config, changed_keys},
    data::{
        TrainingData,
        listing::Part,
        table::{self, SplitRow},
    },
};

/// Keys that a resume may change: they end or place a run without changing what it computes.
const MAY_CHANGE: [&str; 5] = ["train.epochs", "train.early_stopping.patience", "train.max_time", "train.tensorboard", "device"];

/// The lines of `split.csv`.
pub(super) fn split_rows(data: &TrainingData) -> Vec<SplitRow> {
    [table::rows(&data.train, Part::Train), table::rows(&data.validation, Part::Validation)].concat()
}

/// Do the phases differ in the number of epochs of the last one only?
fn differ_in_length(old: &Config, new: &Config) -> bool {
    let mut phases = new.train.phases.clone();
    match (phases.last_mut(), old.train.phases.last()) {
        (Some(last), Some(old)) => last.epochs = old.epochs,
        _ => return false,
    }
    phases == old.train.phases
}

/// Refuses a configuration or data that would compute something else.
pub(super) fn refuse_changes(state: &State, config: &Config, data: &TrainingData, folder: &Path) -> Result<(), TrainError> {
    let changed = changed_keys(&state.config, config);
    let may_change = |key: &str| MAY_CHANGE.contains(&key) || key == "train.phases" && differ_in_length(&state.config, config);
    if let Some((key, old, new)) = changed.iter().find(|(key, ..)| !may_change(key)) {
        return Err(TrainError::Changed {
            what: "the configuration",
            detail: format!("{key} was {old} and is {new}"),
            hint: format!(
                "a resume may change {} and the epochs of the last phase only; start a new run for the rest",
                MAY_CHANGE.join(", ")
            ),
        });
    }
    let now = split_rows(data);
    if table::fingerprint(&now) == state.data_fingerprint {
        return Ok(());
    }
    let before = table::read_split(&folder.join("split.csv"))?;
    Err(TrainError::Changed {
        what: "the data",
        detail: table::difference(&before, &now).unwrap_or_else(|| "split.csv isn't the one of the checkpoint".to_owned()),
        hint: "put it back as it was, or start a new run".to_owned(),
    })
}
