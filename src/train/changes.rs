//! What a resume may change, and the refusal of everything else.

use std::{collections::BTreeMap, path::Path};

use super::{State, TrainError};
use crate::{
    base::{files::hex, names},
    config::{Config, changed_keys},
    data::{
        TrainingData,
        leaks::Leak,
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

/// [`split_rows`] with the copies marked, and the test pictures after them.
pub(super) fn written_rows(data: &TrainingData) -> Vec<SplitRow> {
    let copy_of = |leak: &Leak| leak.copy_of.as_ref().map_or_else(String::new, |path| names::of_path(path));
    let marks: BTreeMap<String, String> = data.leaks.iter().map(|leak| (names::of_path(&leak.path), copy_of(leak))).collect();
    let mut rows = split_rows(data);
    for row in rows.iter_mut().filter(|row| row.split == Part::Validation.name()) {
        row.copy_of = marks.get(&row.path).cloned().unwrap_or_default();
    }
    let tests = data.leaks.iter().filter(|leak| leak.part == Part::Test).map(|leak| SplitRow {
        path: names::of_path(&leak.path),
        label: data.classes.iter().position(|class| *class == leak.class).unwrap_or_default(),
        class: leak.class.clone(),
        split: Part::Test.name().to_owned(),
        group: String::new(),
        blake3: hex(&leak.digest),
        weight: 1.0,
        copy_of: copy_of(leak),
    });
    rows.extend(tests);
    rows
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
    let before = table::read_split(&folder.join("split.csv"))?.into_iter().filter(|row| row.split != Part::Test.name());
    let before: Vec<_> = before.map(|row| SplitRow { copy_of: String::new(), ..row }).collect();
    Err(TrainError::Changed {
        what: "the data",
        detail: table::difference(&before, &now).unwrap_or_else(|| "split.csv isn't the one of the checkpoint".to_owned()),
        hint: "put it back as it was, or start a new run".to_owned(),
    })
}
