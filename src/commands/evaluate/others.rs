//! The runs that a run is compared with.

use std::path::{Path, PathBuf};

use crate::{
    base::{names, usage::UsageError},
    checkpoint::{Checkpoint, CheckpointError, Networks, check_run},
    commands::common::folders,
    data::{duplicates::leaks::known_to, listing::Part},
    evaluation::{images::run_of, predictor::Tta},
};

/// A run to compare with.
pub(super) struct Other {
    pub(super) path: PathBuf,
    pub(super) networks: Networks,
    /// The run around its first network, if there is one.
    pub(super) run: Option<PathBuf>,
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) tta: Option<Tta>,
}

impl Other {
    /// Loads the runs in these folders; `tta` returns the augmentation of a run.
    pub(super) fn of_all(
        runs: &[PathBuf],
        tta: &dyn Fn(&Path) -> anyhow::Result<Option<Tta>>,
    ) -> anyhow::Result<Vec<Self>> {
        let other = |run: &PathBuf| {
            let networks = Networks::find(run)?;
            let checkpoints = networks.load_classifiers()?;
            check_runs(&checkpoints, &networks.paths)?;
            Ok(Self {
                path: run.clone(),
                run: run_of(&networks.paths[0]).map(Path::to_owned),
                checkpoints,
                tta: tta(&networks.paths[0])?,
                networks,
            })
        };
        runs.iter().map(other).collect()
    }
}

impl Other {
    /// Returns the parts of its data whose copies it knows, where `own` are those of the run that
    /// it is compared with.
    pub(super) fn known(&self, own: &'static [Part]) -> &'static [Part] {
        match self.checkpoints.len() {
            1 => own,
            // What one of its networks held back trained the others.
            _ => known_to(Part::Test),
        }
    }
}

/// Checks that what lies in the runs around checkpoints belongs to them: `split.csv` tells which
/// images they know.
///
/// # Errors
/// Returns an error if something doesn't, or can't be read.
pub(super) fn check_runs(
    checkpoints: &[Checkpoint],
    paths: &[PathBuf],
) -> Result<(), CheckpointError> {
    for (checkpoint, path) in checkpoints.iter().zip(paths) {
        if run_of(path).is_some() {
            check_run(checkpoint.meta.run.as_ref(), path)?;
        }
    }
    Ok(())
}

/// Refuses a comparison of a run with itself, and one that is asked for twice: each would count in
/// the correction of p-values.
pub(super) fn refuse_twice(own: &Path, others: &[PathBuf]) -> Result<(), UsageError> {
    for (index, run) in others.iter().enumerate() {
        let same = |other: &Path| folders::resolve(other) == folders::resolve(run);
        let reason = if same(own) {
            "found the run itself, expected another one"
        } else if others[..index].iter().any(|other| same(other)) {
            "found a run twice, expected it once"
        } else {
            continue;
        };
        return Err(UsageError(format!(
            "--compare: {reason}: {}",
            names::of_path(run)
        )));
    }
    Ok(())
}
