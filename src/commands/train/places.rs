//! Where runs are, and their recipes: the folder of a new run, the newest of a recipe, and what a
//! run of several networks is resumed with.

use std::path::{Path, PathBuf};

use crate::{
    base::{io::files::write_atomic, names, usage::UsageError},
    checkpoint::{CheckpointError, Ensemble, RunFolder},
    config::{self, Config},
    train::{TrainError, refuse_changes},
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

/// The folder of a run, and its recipe.
#[derive(Clone)]
pub(super) struct RunRecipe {
    pub(super) path: PathBuf,
    pub(super) config: Config,
}

impl RunRecipe {
    /// Writes the recipe into the folder.
    pub(super) fn write(&self) -> std::io::Result<()> {
        let path = self.path.join("config.toml");
        write_atomic(&path, self.config.to_toml().as_bytes())
    }
}

/// Checks that the run of several networks in the folder `path`, which `ensemble` lists, can be
/// resumed with a recipe.
///
/// # Errors
/// Returns an error if it changes what a resume may not change, or doesn't belong to the list.
pub(super) fn check_recipe(
    config: &Config,
    path: &Path,
    ensemble: &Ensemble,
) -> anyhow::Result<()> {
    let recipe = path.join("config.toml");
    refuse_changes(&config::load(&recipe, &[])?, config)?;
    let folds = config.all_folds().map(Ensemble::of_folds);
    let repeats = config.train.repeats.map(Ensemble::of_repeats);
    let curve = config.train.learning_curve.last().copied();
    match repeats.or(folds).or(curve.map(Ensemble::of_fraction)) {
        Some(expected) if expected.members == ensemble.members => Ok(()),
        _ => Err(UsageError(format!(
            "train.folds, train.repeats or train.learning_curve was changed: found other runs in \
             ensemble.json than it asks for; put it back as it was: {}",
            names::of_path(&recipe)
        ))
        .into()),
    }
}
