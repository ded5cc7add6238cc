//! The folder of a run: who may write into it, and do the files in it belong together?

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{META, RunId, error::CheckpointError, other_of, read_meta, resolve};
use crate::{
    base::{
        files::{clear_working_names, is_working_name, sha256_hex, with_path},
        lock::{Lock, LockError},
    },
    data::known::LOOKS,
};

/// Locked by who writes into the run.
const LOCK: &str = "run.lock";

/// The checkpoints of a run.
const CHECKPOINTS: [&str; 2] = ["best", "last"];

/// What a start writes before the first checkpoint: all that there is of a run that was killed in its first moments.
const BEFORE_FIRST_SAVE: [&str; 5] = [LOCK, "config.toml", "split.csv", "skipped.csv", LOOKS];

/// A run's folder that nobody else writes into as long as this value lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Lock,
}

impl RunFolder {
    /// Makes the folder of a new run; an empty one will do, and so will what a start left that was killed before its first save.
    ///
    /// # Errors
    /// The folder holds something else; another process has it; the system's.
    pub fn create(path: &Path) -> Result<Self, CheckpointError> {
        let refuse = || CheckpointError::Occupied(path.to_owned());
        let was_ours = path.join(LOCK).exists();
        if !is_free(path, was_ours) {
            // Who holds it is more to the point than that it isn't empty.
            return Err(if was_ours { Self::open(path).err().unwrap_or_else(refuse) } else { refuse() });
        }
        fs::create_dir_all(path).map_err(|error| with_path(&error, "can't create the run folder", path))?;
        let folder = Self::lock(path)?;
        // Another start may have begun and ended since.
        if is_free(path, true) { folder.cleared() } else { Err(refuse()) }
    }

    /// The folder of a new run: `parent/name`, or the first of `name-2`, `name-3`, ... that nobody has.
    ///
    /// # Errors
    /// The system's.
    pub fn create_free(parent: &Path, name: &str) -> Result<Self, CheckpointError> {
        let folder = |count: usize| parent.join(if count == 1 { name.to_owned() } else { format!("{name}-{count}") });
        let create = |count| match Self::create(&folder(count)) {
            Err(CheckpointError::Occupied(_) | CheckpointError::Held { .. }) => None,
            Err(_) if folder(count).is_file() => None,
            result => Some(result),
        };
        (1..).find_map(create).expect("there are more numbers than folders")
    }

    /// The folder of a run that is there.
    ///
    /// # Errors
    /// Another process has it; the system's.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::lock(path)?.cleared()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(path: &Path) -> Result<Self, CheckpointError> {
        match Lock::take(&path.join(LOCK)) {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(LockError::Io(error)) => Err(error.into()),
            Err(holder) => Err(CheckpointError::Held { path: path.to_owned(), holder }),
        }
    }

    /// Without what writers left that were killed.
    fn cleared(self) -> Result<Self, CheckpointError> {
        CHECKPOINTS.iter().try_for_each(|name| clear_working_names(&self.path.join(name)))?;
        Ok(self)
    }
}

/// Is there nothing in the folder that a new run could not take the place of? With `was_ours` a start that was killed may have been there.
fn is_free(path: &Path, was_ours: bool) -> bool {
    let is_left = |name: &str| {
        is_working_name(name, "last") && !name.ends_with(".new") && !name.ends_with(".old") || was_ours && BEFORE_FIRST_SAVE.contains(&name)
    };
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().all(|entry| entry.file_name().to_str().is_some_and(is_left)),
        // What is no folder, its making will tell.
        Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// The checkpoint that a training goes on from, and the folder of its run: `path` is either.
///
/// # Errors
/// There is none, or the run was ended before its first save.
pub fn resolve_resumable(path: &Path) -> Result<(PathBuf, PathBuf), CheckpointError> {
    let found = resolve(path, "last");
    if matches!(found, Err(CheckpointError::Missing(_))) && path.join(LOCK).is_file() && is_free(path, true) {
        return Err(CheckpointError::Unstarted(path.to_owned()));
    }
    let checkpoint = found?;
    let run = checkpoint.parent().filter(|run| !run.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned);
    Ok((checkpoint, run))
}

/// Do `split.csv` and the other checkpoint of the run belong to the checkpoint at `path`, which is of the run `id`?
///
/// # Errors
/// [`CheckpointError::Mixed`]; files that can't be read.
pub fn check_run(id: Option<&RunId>, path: &Path) -> Result<(), CheckpointError> {
    let Some(id) = id else { return Ok(()) };
    let mixed = |path: PathBuf, reason: String| Err(CheckpointError::Mixed { path, reason });
    if let Some(split) = path.parent().map(|run| run.join("split.csv")).filter(|split| split.is_file()) {
        let text = fs::read(&split).map_err(|error| with_path(&error, "can't read", &split))?;
        if !id.splits.contains(&sha256_hex(&text)) {
            let reason = "split.csv was changed since the run wrote it (its SHA-256 isn't one of `run.splits` in meta.json), so nobody can say which                           pictures were trained on; put it back as it was";
            return mixed(split, reason.to_owned());
        }
    }
    let Some(other) = other_of(path).filter(|other| other.join(META).is_file()) else { return Ok(()) };
    // One that can't be read is told by who needs it.
    let other_id = read_meta(&other).ok().and_then(|meta| meta.run);
    match other_id {
        Some(found) if found.id != id.id => {
            let reason = format!(
                "meta.json: `run.id`: found {}, expected {}, that of {}; the two checkpoints are of different runs, put the right one back or                  move the other away",
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
            let is_folder = CHECKPOINTS.iter().any(|checkpoint| name.contains(checkpoint));
            if is_folder { fs::create_dir(path).expect("created") } else { fs::write(path, b"").expect("written") }
        }
        folder
    }

    #[test]
    fn a_new_run_takes_what_is_empty_or_was_never_saved_and_nothing_else() {
        for (names, is_taken) in [
            (&[][..], true),
            (&["run.lock"], true),
            (&["run.lock", "config.toml", ".partial-12345678-9-abcdef"], true),
            (&["run.lock", "config.toml", "split.csv", "skipped.csv", ".last.partial"], true),
            (&["config.toml"], false),
            (&["mine.txt"], false),
            (&["run.lock", "config.toml", "mine.txt"], false),
            (&["run.lock", "config.toml", "split.csv", "last"], false),
            (&["run.lock", "config.toml", "split.csv", ".last.new"], false),
            (&["run.lock", "config.toml", "split.csv", "best"], false),
        ] {
            let folder = folder_with(names);
            assert_eq!(RunFolder::create(folder.path()).is_ok(), is_taken, "{names:?}");
            let left = fs::read_dir(folder.path()).expect("listed").count();
            assert!(is_taken || left == names.len(), "{names:?}: nothing is put into a folder that isn't ours");
        }
    }

    #[test]
    fn each_of_four_starts_gets_a_folder_of_its_own() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let start = || RunFolder::create_free(&parent.path().join("checkpoints"), "small").expect("free");
        let folders = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
        });
        let mut names: Vec<_> = folders.iter().map(|folder| folder.path().file_name().expect("a name").to_owned()).collect();
        names.sort();
        assert_eq!(names, ["small", "small-2", "small-3", "small-4"]);
        let error = RunFolder::open(folders[0].path()).expect_err("held").to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        let error = RunFolder::create(folders[0].path()).expect_err("held").to_string();
        assert!(error.contains("in use by process"), "{error}");
    }
}
