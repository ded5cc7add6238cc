//! A file under a working name until it is complete. The name has the machine and process, so that
//! leftovers of killed programs can be told from files that another program is writing.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
};

use tempfile::NamedTempFile;

use super::digest::sha256_hex;
use crate::base::process;

/// Prefix of a working name; the machine, the process ID and random characters follow.
const PREFIX: &str = ".partial-";

/// Working files of this process, and folders in which it has removed leftovers.
#[derive(Default)]
struct Known {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

fn known() -> std::sync::MutexGuard<'static, Known> {
    // A panic in another thread leaves the sets usable, and working files must be removed all the
    // same.
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is written beside its target and replaces it on [`Self::commit`]. Dropped before, it
/// is removed.
#[derive(Debug)]
pub struct PartialFile {
    file: NamedTempFile,
    target: PathBuf,
}

impl PartialFile {
    /// Creates a file beside `target`. The first time in each folder, leftovers of ended processes
    /// are removed there.
    ///
    /// # Errors
    /// Returns the I/O error if the file can't be created.
    pub fn new(target: &Path) -> io::Result<Self> {
        let folder = target
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if known().folders.insert(folder.to_owned()) {
            remove_leftovers(folder);
        }
        // Under the lock, so that there is none which `discard_partial_files` doesn't know.
        let mut known = known();
        let file = with_usual_permissions(tempfile::Builder::new().prefix(&own_prefix()))
            .tempfile_in(folder)?;
        known.files.insert(file.path().to_owned());
        drop(known);
        // Held while the file is written. On a file system without locks, the process ID in the
        // name has to do.
        let _ = file.as_file().try_lock();
        Ok(Self {
            file,
            target: target.to_owned(),
        })
    }

    /// Syncs the file and renames it to its target.
    ///
    /// # Errors
    /// Returns the I/O error if a step fails.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()?;
        self.file.as_file().sync_all()?;
        let working = self.file.path().to_owned();
        let folder = self.target.parent().unwrap_or(Path::new("."));
        let placed = self.file.persist(&self.target).map_err(|error| error.error);
        known().files.remove(&working);
        placed?;
        sync_folder(folder)
    }
}

impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Removes the working files of ended processes in a folder. Returns whether nothing else was in
/// it.
pub fn held_leftovers_only(folder: &Path) -> bool {
    let count = || fs::read_dir(folder).map_or(0, Iterator::count);
    if count() == 0 {
        return false;
    }
    remove_leftovers(folder);
    count() == 0
}

/// Removes the working files of this process, which is about to exit. No thread can create or
/// commit one from then on.
pub fn discard_partial_files() {
    let known = known();
    // Whatever can't be removed now is found by the next program in that folder.
    known
        .files
        .iter()
        .for_each(|path| _ = fs::remove_file(path));
    // Other threads go on until the process exits: never unlocked.
    std::mem::forget(known);
}

/// Whether a name is a working name.
pub(in crate::base) fn is_partial(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Returns the prefix of this process's working names.
fn own_prefix() -> String {
    format!("{PREFIX}{}-{}-", machine(), std::process::id())
}

/// Returns a digest of the machine's name, because host names may have characters of their own.
fn machine() -> String {
    sha256_hex(process::host().as_bytes())[..8].to_owned()
}

/// Removes the working files of ended processes of this machine.
fn remove_leftovers(folder: &Path) {
    // If the folder can't be listed, creating the file there reports it.
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_dead = || {
            let (machine_of, process) = owner(path.file_name()?)?;
            // The process ID may be of another container with its own numbering; the lock holds
            // across containers.
            let is_free = || File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            Some(machine_of == machine() && !process::is_alive(process) && is_free())
        };
        if is_dead() == Some(true) {
            // Another process may have removed it already.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Returns the machine and process of a working name.
fn owner(name: &OsStr) -> Option<(&str, u32)> {
    let (machine, rest) = name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    Some((machine, rest.split_once('-')?.0.parse().ok()?))
}

/// Gives files the permissions of any other new file, of which the user's mask takes some away;
/// temporary files are their owner's alone.
fn with_usual_permissions<'a, 'b, 'c>(
    builder: &'c mut tempfile::Builder<'a, 'b>,
) -> &'c mut tempfile::Builder<'a, 'b> {
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// Makes a rename in `folder` survive a power failure, where the system allows it (folders can't be
/// opened on Windows).
pub(in crate::base) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::io::files::tests::names;

    #[test]
    fn a_file_is_there_when_it_is_committed_and_leaves_nothing_when_it_is_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = folder.path().join("pixels");
        let mut file = PartialFile::new(&target).expect("started");
        file.write_all(b"half").expect("written");
        assert_eq!(names(folder.path()).len(), 1);
        drop(file);
        assert!(names(folder.path()).is_empty());
        let mut file = PartialFile::new(&target).expect("started");
        file.write_all(b"whole").expect("written");
        file.commit().expect("placed");
        assert_eq!(
            (names(folder.path()), fs::read(&target).expect("read")),
            (vec!["pixels".to_owned()], b"whole".to_vec())
        );
    }

    #[test]
    fn what_a_dead_process_left_goes_and_what_others_write_or_own_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let own = machine();
        // Linux has no process ID above 2^22.
        let dead = format!("{PREFIX}{own}-{}-abcdef", u32::MAX >> 2);
        let alive = format!("{PREFIX}{own}-{}-abcdef", std::process::id());
        let elsewhere = format!("{PREFIX}00000000-{}-abcdef", u32::MAX >> 2);
        let of_user = format!("{PREFIX}mine");
        for name in [&dead, &alive, &elsewhere, &of_user] {
            fs::write(folder.path().join(name), b"x").expect("written");
        }
        remove_leftovers(folder.path());
        let mut expected = vec![alive, elsewhere, of_user];
        expected.sort();
        assert_eq!(names(folder.path()), expected);
        fs::write(folder.path().join(&dead), b"x").expect("written");
        let other = File::open(folder.path().join(&dead)).expect("opened");
        other.try_lock().expect("locked");
        remove_leftovers(folder.path());
        assert!(names(folder.path()).contains(&dead), "somebody holds it");
    }
}
