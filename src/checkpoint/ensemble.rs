//! A run of several networks, which predict together by the mean of their probabilities: a folder
//! that lists its members, each a run of its own in it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Checkpoint, CheckpointError, RunFolder, load, pretty, resolve};
use crate::base::{
    io::files::{with_path, write_atomic},
    words::listed,
};

/// Name of the list.
const LIST: &str = "ensemble.json";

/// Start of the names of a learning curve's run folders.
const FRACTION: &str = "fraction-";

/// The networks of a run, as `ensemble.json` lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ensemble {
    /// Names of the members' run folders in the folder of the run.
    pub members: Vec<String>,
}

impl Ensemble {
    /// Returns the list of the folds of a cross-validation.
    pub fn of_folds(count: usize) -> Self {
        Self {
            members: (1..=count).map(|fold| format!("fold-{fold}")).collect(),
        }
    }

    /// Returns the list of the repeats of a cross-validation, each of them an ensemble of its own.
    pub fn of_repeats(count: usize) -> Self {
        Self {
            members: (1..=count)
                .map(|repeat| format!("repeat-{repeat}"))
                .collect(),
        }
    }

    /// Returns the list of a learning curve: only the network with the largest `fraction` of the
    /// training images, which predicts for the run.
    pub fn of_fraction(fraction: f64) -> Self {
        Self {
            members: vec![format!("{FRACTION}{fraction}")],
        }
    }

    /// Returns whether the run is a learning curve.
    pub fn is_learning_curve(&self) -> bool {
        matches!(&self.members[..], [member] if member.starts_with(FRACTION))
    }

    /// Returns whether a folder has the name of a member.
    pub fn has(&self, path: &Path) -> bool {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| self.members.iter().any(|member| *member == name))
    }

    /// Reads the list of the run in the folder `path`, or returns `None` if it has none.
    ///
    /// # Errors
    /// Returns an error if the list can't be read, is empty, or names something outside the folder.
    pub fn open(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let list = path.join(LIST);
        let text = match fs::read(&list) {
            Ok(text) => text,
            Err(error)
                if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(with_path(&error, "can't read", &list).into()),
        };
        let damaged = |reason: String| CheckpointError::Damaged {
            path: path.to_owned(),
            reason: format!("{LIST}: {reason}"),
            other: None,
        };
        let found: Self =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        let is_name = |name: &String| Path::new(name).file_name() == Some(name.as_ref());
        if found.members.is_empty() || !found.members.iter().all(is_name) {
            let found = listed(&found.members);
            let reason = format!("`members`: found {found}, expected names of folders beside it");
            return Err(damaged(reason));
        }
        Ok(Some(found))
    }

    /// Writes the list into the folder of a run.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub fn write(&self, run: &RunFolder) -> Result<(), CheckpointError> {
        Ok(write_atomic(&run.path().join(LIST), &pretty(self))?)
    }

    /// Returns the run folder of each member of the run in the folder `path`.
    pub fn runs(&self, path: &Path) -> Vec<PathBuf> {
        self.members.iter().map(|name| path.join(name)).collect()
    }

    /// Returns the run folder of each network of the run in the folder `path`.
    ///
    /// # Errors
    /// Returns an error if the list of a member that is an ensemble itself can't be read.
    pub fn networks(&self, path: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
        let mut found = Vec::new();
        for run in self.runs(path) {
            match Self::open(&run)? {
                Some(inner) => found.extend(inner.runs(&run)),
                None => found.push(run),
            }
        }
        Ok(found)
    }

    /// Returns the error for a run of several networks where one is needed.
    pub(super) fn refuse(&self, path: &Path) -> CheckpointError {
        match self.networks(path) {
            Ok(runs) => CheckpointError::Several {
                path: path.to_owned(),
                one: runs[0].clone(),
            },
            Err(error) => error,
        }
    }
}

/// Returns the checkpoint folders that a path names: the best of each network if it is a run of
/// several, and otherwise what [`resolve`] returns.
///
/// # Errors
/// Returns an error if a checkpoint isn't there.
pub fn resolve_all(path: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    match Ensemble::open(path)? {
        None => Ok(vec![resolve(path, "best")?]),
        Some(ensemble) => {
            let runs = ensemble.networks(path)?;
            runs.iter().map(|run| resolve(run, "best")).collect()
        }
    }
}

/// Loads the checkpoints at `paths`, for predictions by all of them together. Of several, decisions
/// and novelty are left out: they were fitted to one network and say nothing of the mean. Frozen
/// layers that they have in common are kept in memory once.
///
/// # Errors
/// Fails as [`load`] does, and if the checkpoints differ in their classes or in how images are
/// read.
pub fn load_all(paths: &[PathBuf]) -> Result<Vec<Checkpoint>, CheckpointError> {
    let mut found: Vec<Checkpoint> = Vec::new();
    for path in paths {
        let mut next = load(path)?;
        let first = found.first().and_then(|first| first.backbone.as_ref());
        if let (Some(first), Some(own)) = (first, &mut next.backbone)
            && first.sha256 == own.sha256
        {
            *own = Arc::clone(first);
        }
        found.push(next);
    }
    if let [first, others @ ..] = found.as_slice() {
        let is_other = |other: &Checkpoint| {
            other.meta.classes != first.meta.classes || other.meta.data() != first.meta.data()
        };
        if let Some(index) = others.iter().position(is_other) {
            return Err(CheckpointError::Mixed {
                path: paths[index + 1].clone(),
                reason: format!(
                    "meta.json: found other classes or images than in {}, expected the same in \
                     all networks of a run",
                    paths[0].display()
                ),
            });
        }
    }
    if found.len() > 1 {
        for checkpoint in &mut found {
            (checkpoint.meta.threshold, checkpoint.meta.coverage) = (None, None);
            checkpoint.meta.novelty = None;
        }
    }
    Ok(found)
}
