//! Files and folders that are complete or absent: written beside, synced, renamed. Deletes nothing
//! that it didn't write.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::partial::sync_folder;
pub use super::{
    digest::{digest_from_hex, hex, sha256_hex},
    partial::{PartialFile, discard_partial_files, held_leftovers_only},
};

/// Writes `bytes` to `path`, so that a reader finds the old or the new content and never a part.
///
/// # Errors
/// Returns the I/O error, with the path in its message.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let mut file = PartialFile::new(path)?;
        file.write_all(bytes)?;
        file.commit()
    };
    write().map_err(|error| with_path(&error, "can't write", path))
}

/// A folder that replaces `target` as a whole on `commit`, and leaves it unchanged otherwise.
#[derive(Debug)]
pub struct FolderWriter {
    target: PathBuf,
    partial: PathBuf,
}

impl FolderWriter {
    /// Starts a folder beside `target`. A folder that an interrupted writer left under the same
    /// working name is removed first.
    ///
    /// # Errors
    /// Returns the I/O error, with the path in its message.
    pub fn new(target: &Path) -> io::Result<Self> {
        let partial = sibling(target, "partial");
        remove_folder_if_there(&partial)?;
        fs::create_dir_all(&partial)
            .map_err(|error| with_path(&error, "can't create", &partial))?;
        Ok(Self {
            target: target.to_owned(),
            partial,
        })
    }

    /// Writes and syncs one file of the folder.
    ///
    /// # Errors
    /// Returns the I/O error, with the path in its message.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.partial.join(name);
        let write = || {
            let mut file = create(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|error| with_path(&error, "can't write", &path))
    }

    /// Returns the path of the folder until [`Self::commit`].
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Starts a file of the folder, which the caller syncs when it is whole.
    ///
    /// # Errors
    /// Returns the I/O error, with the path in its message.
    pub fn create(&self, name: &str) -> io::Result<File> {
        let path = self.partial.join(name);
        create(&path).map_err(|error| with_path(&error, "can't create", &path))
    }

    /// Adds a file with the content of `from`, which must never change: as a hard link, or as a
    /// copy on file systems without them.
    ///
    /// # Errors
    /// Returns the I/O error, with the path in its message.
    pub fn link(&self, name: &str, from: &Path) -> io::Result<()> {
        let path = self.partial.join(name);
        fs::hard_link(from, &path)
            .or_else(|_| {
                fs::copy(from, &path)?;
                File::open(&path)?.sync_all()
            })
            .map_err(|error| with_path(&error, "can't write", &path))
    }

    /// Puts the folder in the place of `target`; the old folder is removed last.
    ///
    /// # Errors
    /// Returns the I/O error, with the path in its message. [`recover_folder`] repairs what a crash
    /// in between leaves.
    pub fn commit(self) -> io::Result<()> {
        let (new, old) = (sibling(&self.target, "new"), sibling(&self.target, "old"));
        let parent = self.target.parent().unwrap_or(Path::new("."));
        let swap = || {
            // A folder can't be renamed over one with content, so there are two renames. Under the
            // name `.new` the folder is complete; after a crash between the renames it takes the
            // place.
            sync_folder(&self.partial)?;
            remove_folder_if_there(&new)?;
            fs::rename(&self.partial, &new)?;
            sync_folder(parent)?;
            if self.target.exists() {
                remove_folder_if_there(&old)?;
                fs::rename(&self.target, &old)?;
            }
            rename_or_found(&new, &self.target)?;
            sync_folder(parent)?;
            remove_folder_if_there(&old)
        };
        swap().map_err(|error| with_path(&error, "can't replace", &self.target))
    }
}

impl Drop for FolderWriter {
    /// Removes a folder that wasn't committed.
    fn drop(&mut self) {
        // What can't be removed now is removed by the next writer of the same folder.
        let _ = remove_folder_if_there(&self.partial);
    }
}

/// Finishes a replacement of `target` that a crash interrupted: a complete new folder takes its
/// place, otherwise the old one returns.
///
/// # Errors
/// Returns the I/O error, with the path in its message.
pub fn recover_folder(target: &Path) -> io::Result<()> {
    let (new, old) = (sibling(target, "new"), sibling(target, "old"));
    let mend = || {
        if !target.exists() {
            if new.exists() {
                rename_or_found(&new, target)?;
            } else if old.exists() {
                rename_or_found(&old, target)?;
            }
        }
        Ok(())
    };
    mend().map_err(|error: io::Error| with_path(&error, "can't restore", target))
}

/// Renames a folder, or finds that another process has just done so: a program that reads a run
/// repairs it while another one trains.
fn rename_or_found(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).or_else(|error| if to.exists() { Ok(()) } else { Err(error) })
}

/// Returns an error whose message says what was being done and to which path. If `error` was
/// wrapped before, the new words replace the old.
pub fn with_path(error: &io::Error, doing: &str, path: &Path) -> io::Error {
    let reason = reason(error);
    io::Error::new(
        error.kind(),
        WithPath {
            text: format!("{doing}: {reason}: {}", path.display()),
            reason,
        },
    )
}

/// Returns the message of the system, without the paths and words that were added to it.
pub fn reason(error: &io::Error) -> String {
    let Some(inner) = error.get_ref() else {
        return error.to_string();
    };
    if let Some(found) = inner.downcast_ref::<WithPath>() {
        return found.reason.clone();
    }
    // The error of a temporary file adds its random name, which means nothing to the user.
    let text = error.to_string();
    text.split_once(" at path \"")
        .map_or(text.as_str(), |(said, _)| said)
        .to_owned()
}

/// The error that [`with_path`] makes.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct WithPath {
    text: String,
    reason: String,
}

/// Returns a working name beside `target`: `.last.new` for `last`.
fn sibling(target: &Path, suffix: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{suffix}"))
}

/// Removes what interrupted writers of the folder `target` left beside it. Only for the process
/// that holds the lock of the run; finishes an interrupted replacement first.
///
/// # Errors
/// Returns the I/O error, with the path in its message.
pub fn clear_working_names(target: &Path) -> io::Result<()> {
    recover_folder(target)?;
    ["partial", "new", "old"]
        .into_iter()
        .try_for_each(|suffix| {
            let path = sibling(target, suffix);
            remove_folder_if_there(&path).map_err(|error| with_path(&error, "can't remove", &path))
        })
}

/// Whether only a writer at work or a killed one can have left this name in a folder that contains
/// the folder `target`.
pub fn is_working_name(name: &str, target: &str) -> bool {
    super::partial::is_partial(name)
        || ["partial", "new", "old"]
            .iter()
            .any(|suffix| name == format!(".{target}.{suffix}"))
}

fn remove_folder_if_there(path: &Path) -> io::Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "only our own working names come here"
    )]
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn create(path: &Path) -> io::Result<File> {
    #[expect(
        clippy::disallowed_methods,
        reason = "inside a folder that isn't in place yet"
    )]
    File::create(path)
}

#[cfg(test)]
pub(in crate::base) mod tests {
    use super::*;

    /// Returns the names in a folder, sorted.
    pub(in crate::base) fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("listed")
            .map(|entry| {
                entry
                    .expect("read")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let target = parent.path().join("last");
        for content in ["one", "two"] {
            let writer = FolderWriter::new(&target).expect("started");
            writer.write("file", content.as_bytes()).expect("written");
            writer.commit().expect("replaced");
            assert_eq!(
                fs::read_to_string(target.join("file")).expect("read"),
                content
            );
            assert_eq!(names(parent.path()), ["last"]);
        }
    }

    #[test]
    fn a_crash_at_any_point_leaves_the_old_folder_or_the_new_one() {
        let cases: [(&[&str], &str, &str); 4] = [
            (&["last", ".last.partial"], "last", "before the rename"),
            (
                &["last", ".last.new"],
                "last",
                "new complete, old still in place",
            ),
            (
                &[".last.old", ".last.new"],
                ".last.new",
                "between the two renames",
            ),
            (&[".last.old"], ".last.old", "only the old one is left"),
        ];
        for (present, expected, why) in cases {
            let parent = tempfile::tempdir().expect("a temporary folder");
            for name in present {
                fs::create_dir(parent.path().join(name)).expect("created");
                fs::write(parent.path().join(name).join("origin"), name).expect("written");
            }
            let target = parent.path().join("last");
            recover_folder(&target).expect("mended");
            assert_eq!(
                fs::read_to_string(target.join("origin")).expect("read"),
                expected,
                "{why}"
            );
        }
    }

    #[test]
    fn working_names_go_and_nothing_else() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        for name in [
            "last",
            ".last.partial",
            ".last.new",
            ".last.old",
            ".best.old",
            "mine",
        ] {
            fs::create_dir(parent.path().join(name)).expect("created");
        }
        clear_working_names(&parent.path().join("last")).expect("cleared");
        assert_eq!(names(parent.path()), [".best.old", "last", "mine"]);
        assert!(
            is_working_name(".last.old", "last")
                && !is_working_name(".best.old", "last")
                && !is_working_name("last", "last")
        );
    }

    #[test]
    fn an_error_names_the_path_once_whoever_wraps_it() {
        let error = write_atomic(Path::new("no/such/folder/file"), b"x").expect_err("no folder");
        let again = with_path(&error, "can't keep it", Path::new("kept"));
        let missing = io::Error::from_raw_os_error(2).to_string();
        assert_eq!(
            error.to_string(),
            format!("can't write: {missing}: no/such/folder/file")
        );
        assert_eq!(again.to_string(), format!("can't keep it: {missing}: kept"));
        assert_eq!(
            (again.kind(), reason(&again)),
            (io::ErrorKind::NotFound, missing)
        );
    }
}
