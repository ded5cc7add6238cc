//! Where results may go: never into folders of pictures, where the next look would take them for more of those.

use std::path::{Path, PathBuf};

use crate::{
    base::{names, usage::UsageError},
    config::{self, Data, PHANTOM, Validation},
};

/// The folders of pictures that a recipe names.
pub(in crate::commands) fn of_data(data: &Data) -> Vec<PathBuf> {
    let validation = match &data.validation {
        Validation::Path(path) => Some(path),
        Validation::Share(_) => None,
    };
    let train = Some(&data.train).filter(|train| *train != PHANTOM);
    let named = [train, data.test.as_ref(), validation].into_iter().flatten();
    named.map(|path| names::to_path(path)).filter(|path| path.is_dir()).collect()
}

/// Those of a run's recipe. A run whose recipe can't be read may have lost it; who needs more of it than this says so.
pub(in crate::commands) fn of_run(run: Option<&Path>) -> Vec<PathBuf> {
    let recipe = run.map(|run| config::load(&run.join("config.toml"), &[]));
    recipe.and_then(Result::ok).map_or_else(Vec::new, |recipe| of_data(&recipe.data))
}

/// A folder that was named on the command line, and the parts found in it. Who stands in it writes beside the parts.
pub(in crate::commands) fn of_folder(dir: &Path, parts: &[Option<PathBuf>]) -> Vec<PathBuf> {
    let stands_in_it = resolve(Path::new(".")).starts_with(resolve(dir));
    let dir = (!stands_in_it).then(|| dir.to_owned());
    parts.iter().flatten().cloned().chain(dir).filter(|path| path.is_dir()).collect()
}

/// Refuses to write `out`, which the user asked for with `option`, into one of these folders.
pub(in crate::commands) fn refuse_inside(out: &Path, folders: &[PathBuf], option: &str) -> Result<(), UsageError> {
    let resolved = resolve(out);
    let Some(folder) = folders.iter().find(|folder| resolved.starts_with(resolve(folder))) else { return Ok(()) };
    Err(UsageError(format!(
        "nothing is written into the data's own folder {}; choose another {option}: {}",
        names::of_path(folder),
        names::of_path(out)
    )))
}

/// The whole path, links followed as far as it exists.
pub(in crate::commands) fn resolve(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = whole.ancestors().find_map(|parent| Some((parent, parent.canonicalize().ok()?)));
    let Some((parent, canonical)) = existing else { return whole };
    // What isn't there yet, without the slash that an empty rest would add.
    whole.strip_prefix(parent).map_or(canonical.clone(), |rest| rest.iter().fold(canonical, |path, part| path.join(part)))
}
