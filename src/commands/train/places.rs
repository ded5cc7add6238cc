//! Where runs are: the folder of a new one, and the newest of a recipe.

use std::path::{Path, PathBuf};

use crate::{
    base::usage::UsageError,
    checkpoint::{CheckpointError, Ensemble, RunFolder},
    config,
    train::TrainError,
};

/// Folder of runs without `--out`.
const RUNS: &str = "checkpoints";

/// Creates the folder of a new run: `out`, or a new folder in [`RUNS`].
pub(super) fn new_folder(name: &str, out: Option<&Path>) -> anyhow::Result<RunFolder> {
    let (path, folder) = match out {
        Some(out) => (out.to_owned(), RunFolder::create(out)),
        None => {
            let runs = Path::new(RUNS);
            (runs.join(name), RunFolder::create_free(runs, name))
        }
    };
    folder.map_err(|error| match error {
        CheckpointError::Io(error) => anyhow::Error::from(TrainError::Folder { path, error }),
        error => error.into(),
    })
}

/// Returns the run of a recipe called `name`, in any folder, whose `last/` was saved last.
pub(super) fn newest_run(name: &str) -> anyhow::Result<PathBuf> {
    let runs = std::fs::read_dir(RUNS)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_else(|_| Vec::new());
    let is_of_name = |path: &PathBuf| {
        config::name_of(&path.join("config.toml")).is_some_and(|found| found == name)
    };
    let saved_alone = |path: &Path| {
        std::fs::metadata(path.join("last").join("meta.json"))
            .and_then(|meta| meta.modified())
            .ok()
    };
    let saved = |path: &PathBuf| match Ensemble::open(path) {
        Ok(Some(ensemble)) => {
            let runs = ensemble.networks(path).unwrap_or_default();
            runs.iter().filter_map(|run| saved_alone(run)).max()
        }
        _ => saved_alone(path),
    };
    let newest = runs
        .into_iter()
        .filter(is_of_name)
        .filter_map(|path| saved(&path).map(|time| (time, path)))
        .max();
    newest.map(|(_, path)| path).ok_or_else(|| {
        UsageError(format!(
            "found no run to resume, expected one of the recipe {name} in {RUNS}/ with a last/ in \
             it"
        ))
        .into()
    })
}
