//! Walks a folder and classifies what is in it, sorted by name: images, folders, what is passed
//! over, and what can't be opened. Nothing found ends the walk, and pipes and devices are never
//! opened.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use walkdir::{DirEntry, WalkDir};

use super::{
    exclude::Exclude,
    has_image_extension,
    passed_over::{Kind, by_ending, by_name, is_ours},
};
use crate::{base::names, data::shards::in_shard};

/// A file or folder that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file with an image's ending.
    Image(PathBuf),
    /// A folder to list.
    Folder(PathBuf),
    /// Not an image, and why.
    PassedOver(Kind, PathBuf),
    /// What can't be opened, and why.
    Unreadable(PathBuf, String),
}

/// Returns what is directly in a folder, sorted by name. Links are followed.
///
/// # Errors
/// Returns an error if the folder itself can't be listed.
pub(super) fn children(folder: &Path, exclude: &Exclude) -> io::Result<Vec<Found>> {
    // `WalkDir` reports a folder that it can't read as an entry in it, not as an error.
    fs::read_dir(folder)?;
    let walk = WalkDir::new(folder)
        .follow_links(true)
        .sort_by_file_name()
        .min_depth(1)
        .max_depth(1);
    Ok(walk
        .into_iter()
        .map(|entry| sorted(entry, folder, exclude))
        .collect())
}

/// Calls `take` for each file in a folder at any depth, sorted by name, and for each folder that
/// isn't walked. Links are followed. Patterns are relative to `root`.
pub fn walk(folder: &Path, root: &Path, exclude: &Exclude, take: &mut dyn FnMut(Found)) {
    let mut walk = WalkDir::new(folder)
        .follow_links(true)
        .sort_by_file_name()
        .min_depth(1)
        .into_iter();
    while let Some(entry) = walk.next() {
        let is_folder = entry.as_ref().is_ok_and(|entry| entry.file_type().is_dir());
        match sorted(entry, root, exclude) {
            Found::Folder(_) => {}
            found => {
                if is_folder {
                    walk.skip_current_dir();
                }
                take(found);
            }
        }
    }
}

/// Classifies an entry.
fn sorted(entry: walkdir::Result<DirEntry>, root: &Path, exclude: &Exclude) -> Found {
    let path = match &entry {
        Ok(entry) => entry.path().to_owned(),
        Err(error) => error.path().unwrap_or(root).to_owned(),
    };
    if let Some(kind) = by_name(&path) {
        return Found::PassedOver(kind, path);
    }
    if exclude.takes(&path, root) {
        return Found::PassedOver(Kind::Excluded, path);
    }
    match entry {
        Ok(entry) if entry.file_type().is_dir() => {
            if entry.path_is_symlink() && leads_up(&path) {
                Found::PassedOver(Kind::Loop, path)
            } else if is_ours(&path) {
                Found::PassedOver(Kind::Own, path)
            } else {
                Found::Folder(path)
            }
        }
        Ok(entry) if entry.file_type().is_file() => match by_ending(&path) {
            Some(kind) => Found::PassedOver(kind, path),
            None => Found::Image(path),
        },
        Ok(_) => Found::PassedOver(Kind::Special, path),
        Err(error) if error.loop_ancestor().is_some() => Found::PassedOver(Kind::Loop, path),
        // Broken links to what would have been passed over anyway, such as a missing text file.
        Err(_) if path.extension().is_some() && !has_image_extension(&path) && !path.is_dir() => {
            Found::PassedOver(by_ending(&path).unwrap_or(Kind::NotAnImage), path)
        }
        Err(error) => {
            let reason = why_not(
                &path,
                &error
                    .into_io_error()
                    .unwrap_or_else(|| io::Error::other("for an unknown reason")),
            );
            Found::Unreadable(path, reason)
        }
    }
}

/// Returns whether a link leads to a folder that contains it at any depth. Following it would list
/// everything again.
fn leads_up(link: &Path) -> bool {
    let target = link.canonicalize();
    let folder = link.parent().and_then(|parent| parent.canonicalize().ok());
    target
        .ok()
        .zip(folder)
        .is_some_and(|(target, folder)| folder.starts_with(target))
}

/// The reason given for a path that leads nowhere.
pub(super) const NOT_THERE: &str = "not there";

/// Explains why a file or folder can't be opened.
fn why_not(path: &Path, error: &io::Error) -> String {
    if let Ok(target) = fs::read_link(path) {
        let target = names::of_path(&target);
        return match error.kind() {
            io::ErrorKind::NotFound => format!("a link to {target}, which doesn't exist"),
            _ => format!("a link to {target}, which can't be followed: {error}"),
        };
    }
    match error.kind() {
        io::ErrorKind::NotFound => NOT_THERE.to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; check its permissions and those of the folders above".to_owned()
        }
        io::ErrorKind::InvalidFilename => {
            format!(
                "its path has {} bytes, more than the system allows; move the folder nearer to the \
                 root",
                path.as_os_str().len()
            )
        }
        _ => error.to_string(),
    }
}

/// Explains why `path` can't be read as an image file; `None` for an ordinary file and for a member
/// of a shard. Opens nothing but shards, as a pipe might never end.
pub fn no_file(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => None,
        Ok(meta) if meta.is_dir() => Some("a folder, expected a file".to_owned()),
        Ok(_) => Some("a pipe, socket or device, expected a file".to_owned()),
        Err(error) => match in_shard(path) {
            Some(Ok(_)) => None,
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                Some(format!("{NOT_THERE} in the shard"))
            }
            Some(Err(error)) => Some(error.to_string()),
            None => Some(why_not(path, &error)),
        },
    }
}
