//! Checks where results may be written: never into a folder of images, where they would be listed
//! as images later.

use std::path::{Path, PathBuf};

use crate::{
    base::{io::http, names, usage::UsageError},
    config::{self, Data, PHANTOM, Source},
};

/// Returns the folders and CSVs of images that a configuration names.
pub(in crate::commands) fn sources(data: &Data) -> Vec<PathBuf> {
    let train = Some(data.train.as_str()).filter(|train| *train != PHANTOM);
    let named = [
        train,
        data.test.as_ref().and_then(Source::path),
        data.validation.path(),
    ];
    named.into_iter().flatten().map(names::to_path).collect()
}

/// Returns the folders of images that a configuration names.
pub(in crate::commands) fn of_data(data: &Data) -> Vec<PathBuf> {
    let mut folders = sources(data);
    folders.retain(|path| path.is_dir());
    folders
}

/// Returns the folders of images of a run. Empty if its configuration can't be read; a caller that
/// needs the configuration reports that.
pub(in crate::commands) fn of_run(run: Option<&Path>) -> Vec<PathBuf> {
    let recipe = run.map(|run| config::load(&run.join("config.toml"), &[]));
    recipe
        .and_then(Result::ok)
        .map_or_else(Vec::new, |recipe| of_data(&recipe.data))
}

/// Returns a folder named on the command line and the parts found in it. A user whose current
/// directory is in that folder may write there, beside the parts.
pub(in crate::commands) fn of_folder(dir: &Path, parts: &[Option<PathBuf>]) -> Vec<PathBuf> {
    let stands_in_it = resolve(Path::new(".")).starts_with(resolve(dir));
    let dir = (!stands_in_it).then(|| dir.to_owned());
    parts
        .iter()
        .flatten()
        .cloned()
        .chain(dir)
        .filter(|path| path.is_dir())
        .collect()
}

/// Checks that `out`, which the user chose with `option`, lies in none of these folders.
///
/// # Errors
/// Returns an error that names the folder.
pub(in crate::commands) fn refuse_inside(
    out: &Path,
    folders: &[PathBuf],
    option: &str,
) -> Result<(), UsageError> {
    let resolved = resolve(out);
    let Some(folder) = folders
        .iter()
        .find(|folder| resolved.starts_with(resolve(folder)))
    else {
        return Ok(());
    };
    Err(UsageError(format!(
        "nothing is written into the data's own folder {}; choose another {option}: {}",
        names::of_path(folder),
        names::of_path(out)
    )))
}

/// Checks that the folder that the user chose with `--out` is new or empty.
///
/// # Errors
/// Returns an error that names it.
pub(in crate::commands) fn refuse_used(out: &Path) -> Result<(), UsageError> {
    let found = if out.exists() && !out.is_dir() {
        "there is a file of that name"
    } else if out.read_dir().is_ok_and(|mut found| found.next().is_some()) {
        "the folder isn't empty and is left as it is"
    } else {
        return Ok(());
    };
    Err(UsageError(format!(
        "{found}; choose another --out: {}",
        names::of_path(out)
    )))
}

/// Returns the absolute path, with symbolic links resolved as far as the path exists.
pub(in crate::commands) fn resolve(path: &Path) -> PathBuf {
    let whole = http::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = whole
        .ancestors()
        .find_map(|parent| Some((parent, parent.canonicalize().ok()?)));
    let Some((parent, canonical)) = existing else {
        return whole;
    };
    // Joined component by component: joining an empty rest would add a trailing slash.
    whole
        .strip_prefix(parent)
        .map_or(canonical.clone(), |rest| {
            rest.iter().fold(canonical, |path, part| path.join(part))
        })
}
