//! The folder of a run: which process may write into it, and whether its files belong together.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{META, RunId, error::CheckpointError, is_imported, other_of, read_meta, resolve};
use crate::{
    base::{
        io::{
            files::{clear_working_names, is_working_name, sha256_hex, with_path},
            lock::{Lock, LockError},
        },
        names,
    },
    data::duplicates::known::LOOKS,
};

/// Name of the file that a process holds locked while it writes into the run.
const LOCK: &str = "run.lock";

/// Names of a run's checkpoints.
const CHECKPOINTS: [&str; 2] = ["best", "last"];

/// Files that a start writes before its first checkpoint; a run killed before that has nothing
/// else.
const BEFORE_FIRST_SAVE: [&str; 6] = [
    LOCK,
    "config.toml",
    "split.csv",
    "skipped.csv",
    "damaged.csv",
    LOOKS,
];

/// Folder of a run, locked against other processes until the value is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Lock,
}

impl RunFolder {
    /// Creates the folder of a new run. An empty folder is taken as well, and one left by a start
    /// that was killed before its first save.
    ///
    /// # Errors
    /// Returns an error if the folder has other content, another process holds it, or it can't be
    /// created.
    pub fn create(path: &Path) -> Result<Self, CheckpointError> {
        Self::check(path)?;
        fs::create_dir_all(path)
            .map_err(|error| with_path(&error, "can't create the run folder", path))?;
        let folder = Self::lock(path)?;
        // Another process may have started and ended a run between the check and the lock.
        if is_free(path, true) {
            folder.cleared()
        } else {
            Err(CheckpointError::Occupied(path.to_owned()))
        }
    }

    /// Checks that [`Self::create`] would take the folder, so that nobody waits for images to be
    /// read before they are told.
    ///
    /// # Errors
    /// Returns an error if the folder isn't empty, or another process holds it.
    pub fn check(path: &Path) -> Result<(), CheckpointError> {
        let refuse = || CheckpointError::Occupied(path.to_owned());
        // Without `run.lock`, files with the names of a start may be the user's own.
        let was_ours = path.join(LOCK).exists();
        if is_free(path, was_ours) {
            return Ok(());
        }
        // Which process holds it says more than that it isn't empty.
        Err(if was_ours {
            Self::open(path).err().unwrap_or_else(refuse)
        } else {
            refuse()
        })
    }

    /// Creates the folder of a new run: `parent/name`, or the first free one of `name-2`, `name-3`
    /// and so on.
    ///
    /// # Errors
    /// Returns an error if a folder can't be created.
    pub fn create_free(parent: &Path, name: &str) -> Result<Self, CheckpointError> {
        let create = |name| {
            let folder = parent.join(name);
            match Self::create(&folder) {
                Err(CheckpointError::Occupied(_) | CheckpointError::Held { .. }) => None,
                Err(_) if folder.is_file() => None,
                result => Some(result),
            }
        };
        names::numbered(name)
            .find_map(create)
            .expect("there is no last name")
    }

    /// Locks the folder of an existing run.
    ///
    /// # Errors
    /// Returns an error if another process holds it or it can't be locked.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::lock(path)?.cleared()
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(path: &Path) -> Result<Self, CheckpointError> {
        match Lock::take(&path.join(LOCK)) {
            Ok(lock) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(LockError::Io(error)) => Err(error.into()),
            Err(holder) => Err(CheckpointError::Held {
                path: path.to_owned(),
                holder,
            }),
        }
    }

    /// Removes what killed writers left.
    fn cleared(self) -> Result<Self, CheckpointError> {
        CHECKPOINTS
            .iter()
            .try_for_each(|name| clear_working_names(&self.path.join(name)))?;
        Ok(self)
    }
}

/// Whether a new run may take the folder: it has nothing, or with `was_ours` nothing but what a
/// killed start left.
fn is_free(path: &Path, was_ours: bool) -> bool {
    let is_left = |name: &str| {
        // `.new` and `.old` are checkpoints between two renames, which `recover_folder` restores.
        is_working_name(name, "last") && !name.ends_with(".new") && !name.ends_with(".old")
            || was_ours && BEFORE_FIRST_SAVE.contains(&name)
    };
    match fs::read_dir(path) {
        Ok(entries) => entries
            .flatten()
            .all(|entry| entry.file_name().to_str().is_some_and(is_left)),
        // A path that is no folder fails when the folder is created, with a better message.
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        ),
    }
}

/// Returns the checkpoint to resume from and the folder of its run; `path` is either of them.
///
/// # Errors
/// Returns an error if there is no checkpoint, the run ended before its first save, or its
/// checkpoint was imported.
pub fn resolve_resumable(path: &Path) -> Result<(PathBuf, PathBuf), CheckpointError> {
    if resolve(path, "best").is_ok_and(|best| is_imported(&best)) {
        return Err(CheckpointError::Imported(path.to_owned()));
    }
    let found = resolve(path, "last");
    if matches!(found, Err(CheckpointError::Missing(_)))
        && path.join(LOCK).is_file()
        && is_free(path, true)
    {
        return Err(CheckpointError::Unstarted(path.to_owned()));
    }
    let checkpoint = found?;
    let run = checkpoint
        .parent()
        .filter(|run| !run.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    Ok((checkpoint, run))
}

/// Checks that `split.csv` and the other checkpoint of the run belong to the checkpoint at `path`,
/// whose run is `id`.
///
/// # Errors
/// Returns [`CheckpointError::Mixed`] if one doesn't, and an error if a file can't be read.
pub fn check_run(id: Option<&RunId>, path: &Path) -> Result<(), CheckpointError> {
    let Some(id) = id else { return Ok(()) };
    let mixed = |path: PathBuf, reason: String| Err(CheckpointError::Mixed { path, reason });
    if let Some(split) = path
        .parent()
        .map(|run| run.join("split.csv"))
        .filter(|split| split.is_file())
    {
        let text = fs::read(&split).map_err(|error| with_path(&error, "can't read", &split))?;
        if !id.splits.contains(&sha256_hex(&text)) {
            let reason = "split.csv was changed since the run wrote it (its SHA-256 isn't one of \
                          `run.splits` in meta.json), so it is unknown which images were trained \
                          on; put it back as it was";
            return mixed(split, reason.to_owned());
        }
    }
    let Some(other) = other_of(path).filter(|other| other.join(META).is_file()) else {
        return Ok(());
    };
    // An unreadable one is no obstacle here; whatever needs it reports it.
    let other_id = read_meta(&other).ok().and_then(|meta| meta.run);
    match other_id {
        Some(found) if found.id != id.id => {
            let reason = format!(
                "meta.json: `run.id`: found {}, expected {}, that of {}; the two checkpoints \
                 belong to different runs; put the right one back or move the other away",
                found.id,
                id.id,
                path.display()
            );
            mixed(other, reason)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in names {
            let path = folder.path().join(name);
            let is_folder = CHECKPOINTS
                .iter()
                .any(|checkpoint| name.contains(checkpoint));
            if is_folder {
                fs::create_dir(path).expect("created")
            } else {
                fs::write(path, b"").expect("written")
            }
        }
        folder
    }

    #[test]
    fn a_new_run_takes_what_is_empty_or_was_never_saved_and_nothing_else() {
        for (names, is_taken) in [
            (&[][..], true),
            (&["run.lock"], true),
            (
                &["run.lock", "config.toml", ".partial-12345678-9-abcdef"],
                true,
            ),
            (
                &[
                    "run.lock",
                    "config.toml",
                    "split.csv",
                    "skipped.csv",
                    "damaged.csv",
                    ".last.partial",
                ],
                true,
            ),
            (&["config.toml"], false),
            (&["mine.txt"], false),
            (&["run.lock", "config.toml", "mine.txt"], false),
            (&["run.lock", "config.toml", "split.csv", "last"], false),
            (
                &["run.lock", "config.toml", "split.csv", ".last.new"],
                false,
            ),
            (&["run.lock", "config.toml", "split.csv", "best"], false),
        ] {
            let folder = folder_with(names);
            assert_eq!(
                RunFolder::create(folder.path()).is_ok(),
                is_taken,
                "{names:?}"
            );
            let left = fs::read_dir(folder.path()).expect("listed").count();
            assert!(
                is_taken || left == names.len(),
                "{names:?}: nothing is put into a folder that isn't ours"
            );
        }
    }

    #[test]
    fn each_of_four_starts_gets_a_folder_of_its_own() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let start =
            || RunFolder::create_free(&parent.path().join("checkpoints"), "small").expect("free");
        let folders = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect::<Vec<_>>()
        });
        let mut names: Vec<_> = folders
            .iter()
            .map(|folder| folder.path().file_name().expect("a name").to_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["small", "small-2", "small-3", "small-4"]);
        let error = RunFolder::open(folders[0].path())
            .expect_err("held")
            .to_string();
        assert!(
            error.contains(&format!("in use by process {}", std::process::id())),
            "{error}"
        );
        let error = RunFolder::create(folders[0].path())
            .expect_err("held")
            .to_string();
        assert!(error.contains("in use by process"), "{error}");
    }
}
