//! A folder in, everything in it out, sorted: images, folders, what is passed over, and what can't be opened, with the reason. Nothing that is
//! found ends the walk, and pipes and devices are never opened.

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
use crate::base::names;

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file with an image's ending.
    Image(PathBuf),
    /// A folder to look into.
    Folder(PathBuf),
    /// None of the images.
    PassedOver(Kind, PathBuf),
    /// Neither is known nor can be found out, and why.
    Unreadable(PathBuf, String),
}

/// What is directly in a folder, sorted by name, links followed.
///
/// # Errors
/// The folder itself can't be listed.
pub(super) fn children(folder: &Path, exclude: &Exclude) -> io::Result<Vec<Found>> {
    fs::read_dir(folder)?;
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().min_depth(1).max_depth(1);
    Ok(walk.into_iter().map(|entry| sorted(entry, folder, exclude)).collect())
}

/// What is in a folder at any depth, sorted by name, links followed; folders are gone into. `root` is what patterns are relative to.
pub fn walk(folder: &Path, root: &Path, exclude: &Exclude, take: &mut dyn FnMut(Found)) {
    let mut walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().min_depth(1).into_iter();
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
        // A file that nobody would have looked at.
        Err(_) if path.extension().is_some() && !has_image_extension(&path) && !path.is_dir() => {
            Found::PassedOver(by_ending(&path).unwrap_or(Kind::NotAnImage), path)
        }
        Err(error) => {
            let reason = why_not(&path, &error.into_io_error().unwrap_or_else(|| io::Error::other("the system doesn't say why")));
            Found::Unreadable(path, reason)
        }
    }
}

/// Does a link lead to a folder that it is in, however far up? Below it, everything would be found once more.
fn leads_up(link: &Path) -> bool {
    let target = link.canonicalize();
    let folder = link.parent().and_then(|parent| parent.canonicalize().ok());
    target.ok().zip(folder).is_some_and(|(target, folder)| folder.starts_with(target))
}

/// The reason of a path that leads nowhere.
pub(super) const NOT_THERE: &str = "not there";

/// Why a file or folder can't be opened, in words.
fn why_not(path: &Path, error: &io::Error) -> String {
    if let Ok(target) = fs::read_link(path) {
        let target = names::of_path(&target);
        return match error.kind() {
            io::ErrorKind::NotFound => format!("a link to {target}, which is not there"),
            _ => format!("a link to {target}, which can't be followed: {error}"),
        };
    }
    match error.kind() {
        io::ErrorKind::NotFound => NOT_THERE.to_owned(),
        io::ErrorKind::PermissionDenied => {
            "the system doesn't allow to open it; look at its permissions and at those of the folders above".to_owned()
        }
        io::ErrorKind::InvalidFilename => {
            format!("its path has {} bytes, more than the system opens; move the folder nearer to the root", path.as_os_str().len())
        }
        _ => error.to_string(),
    }
}

/// Why `path` is no file that can be read as an image; `None` of an ordinary file. Nothing is opened: a pipe might never end.
pub fn no_file(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => None,
        Ok(meta) if meta.is_dir() => Some("a folder, expected a file".to_owned()),
        Ok(_) => Some("a pipe, socket or device, expected a file".to_owned()),
        Err(error) => Some(why_not(path, &error)),
    }
}
