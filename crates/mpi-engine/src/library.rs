//! Where the MPI library is, and opening it.

use std::path::{Path, PathBuf};

use libloading::Library;

use crate::calls::Mpi;
use crate::error::Error;
use crate::launcher::{Kind, LIBRARY_VARIABLE, Launcher, launcher};

/// An MPI library that can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file, or the name under which the system's loader knows it.
    pub path: PathBuf,
    /// Whose it is and its version: "Open MPI 5.0.11".
    pub version: String,
}

/// Returns the library that [`World::from_launcher`](crate::World::from_launcher) would open; in a
/// process without a launcher, that of the `mpiexec` on the path, or any that the system knows.
/// Returns `None` where there is none. The library is opened, but MPI isn't initialized.
///
/// # Errors
///
/// Fails where one is there and can't be opened, or isn't one of MPI.
pub fn library_found() -> Result<Option<Found>, Error> {
    let kind = launcher().map(|launcher| launcher.kind);
    let Some((path, mpi)) = open_first(&candidates(kind, &folders()))? else {
        return Ok(None);
    };
    Ok(Some(Found {
        path,
        version: mpi.version()?,
    }))
}

/// Opens the library for a launcher's processes.
pub(crate) fn open(launcher: &Launcher) -> Result<Mpi, Error> {
    let candidates = candidates(Some(launcher.kind), &folders());
    let (_, mpi) = open_first(&candidates)?.ok_or_else(|| Error::NoLibrary {
        launcher: *launcher,
        looked_for: in_words(&candidates),
    })?;
    Ok(mpi)
}

/// Returns whether the user says which library to open.
pub(crate) fn is_chosen() -> bool {
    chosen().is_some()
}

fn chosen() -> Option<PathBuf> {
    let path = std::env::var_os(LIBRARY_VARIABLE).filter(|path| !path.is_empty());
    path.map(PathBuf::from)
}

#[cfg(target_os = "macos")]
mod file {
    pub(super) const OPEN_MPI: &[&str] = &["libmpi.40.dylib"];
    pub(super) const OTHERS: &[&str] = &["libmpi_abi.1.dylib", "libmpi.12.dylib"];
}

#[cfg(not(target_os = "macos"))]
mod file {
    /// Of versions 4 and 5.
    pub(super) const OPEN_MPI: &[&str] = &["libmpi.so.40"];
    /// MPI 5's standard one, MPICH's and that of many others, and MPICH's on Debian.
    pub(super) const OTHERS: &[&str] = &["libmpi_abi.so.1", "libmpi.so.12", "libmpich.so.12"];
}

/// Returns the files to try, best first: those in folders, and names for the system's loader. A
/// library under another one's launcher comes up alone, or ends the process.
fn candidates(kind: Option<Kind>, folders: &[PathBuf]) -> Vec<PathBuf> {
    let groups = match kind {
        Some(Kind::OpenMpi) => vec![file::OPEN_MPI.to_vec()],
        Some(Kind::Hydra | Kind::SrunPmi2 | Kind::Pmi) => vec![file::OTHERS.to_vec()],
        // Open MPI always speaks PMIx; of the others some builds do.
        Some(Kind::SrunPmix | Kind::Pmix) => {
            vec![file::OPEN_MPI.to_vec(), file::OTHERS.to_vec()]
        }
        // Nothing is known but the `mpiexec` on the path: its folder before the system's.
        Some(Kind::Srun | Kind::Torchrun) | None => vec![[file::OPEN_MPI, file::OTHERS].concat()],
    };
    let mut candidates = Vec::new();
    for names in groups {
        for folder in folders {
            candidates.extend(names.iter().map(|name| folder.join(name)));
        }
        candidates.extend(names.iter().map(PathBuf::from));
    }
    candidates
}

/// Returns the folders of libraries beside the launcher: beside the programs that started this one
/// (a launcher in a virtual environment needn't be on the path), and beside the `mpiexec` on the
/// path (with `srun`, and on other hosts).
fn folders() -> Vec<PathBuf> {
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join("mpiexec"))
            .find(|file| file.is_file())
    });
    let mut folders = Vec::new();
    for program in ancestors().into_iter().chain(on_path) {
        let Ok(program) = program.canonicalize() else {
            continue;
        };
        let Some(prefix) = program.parent().and_then(Path::parent) else {
            continue;
        };
        for folder in [prefix.join("lib"), prefix.join("lib64")] {
            if !folders.contains(&folder) && folder.is_dir() {
                folders.push(folder);
            }
        }
    }
    folders
}

/// A script between the launcher and this program, and a helper between the two, are passed over.
#[cfg(target_os = "linux")]
const MOST_ANCESTORS: usize = 4;

/// Returns the programs that started this one, nearest first, as far as they may be read.
#[cfg(target_os = "linux")]
fn ancestors() -> Vec<PathBuf> {
    let mut programs = Vec::new();
    let mut process = std::os::unix::process::parent_id();
    for _ in 0..MOST_ANCESTORS {
        programs.extend(std::fs::read_link(format!("/proc/{process}/exe")));
        let status = std::fs::read_to_string(format!("/proc/{process}/status"));
        let parent = status.ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
            line.trim().parse().ok()
        });
        match parent {
            Some(parent) => process = parent,
            None => break,
        }
    }
    programs
}

#[cfg(not(target_os = "linux"))]
fn ancestors() -> Vec<PathBuf> {
    Vec::new()
}

/// Says what was looked for and where.
fn in_words(candidates: &[PathBuf]) -> String {
    let mut names = Vec::new();
    let mut folders = Vec::new();
    for file in candidates {
        let folder = file.parent().filter(|folder| *folder != Path::new(""));
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !names.contains(&name) {
            names.push(name);
        }
        let folder = folder.map(|folder| folder.display().to_string());
        folders.extend(folder.filter(|folder| !folders.contains(folder)));
    }
    folders.push("where the system looks for libraries".into());
    format!("{} in {}", names.join(", "), folders.join(", "))
}

/// Opens the user's choice, or the first candidate that is there. One that is there and can't be
/// opened is an error.
fn open_first(candidates: &[PathBuf]) -> Result<Option<(PathBuf, Mpi)>, Error> {
    if let Some(path) = chosen() {
        let mpi = open_file(&path)?;
        return Ok(Some((path, mpi)));
    }
    for file in candidates {
        let is_name = file.components().count() == 1;
        // The loader doesn't tell a library that isn't there from one that it can't open.
        if is_name && let Ok(library) = load(file) {
            return Ok(Some((file.clone(), Mpi::new(library, file)?)));
        }
        if !is_name && file.is_file() {
            return Ok(Some((file.clone(), open_file(file)?)));
        }
    }
    Ok(None)
}

fn open_file(file: &Path) -> Result<Mpi, Error> {
    let library = load(file).map_err(|problem| Error::NotUsable {
        path: file.display().to_string(),
        problem,
    })?;
    Mpi::new(library, file)
}

/// Opens a library so that the plug-ins that it opens in turn find its symbols.
#[cfg(unix)]
fn load(path: &Path) -> Result<Library, String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: what runs when an MPI library is opened has no preconditions, and a file that has
    // the name of one is what the user's system means by it.
    let opened = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
    opened.map(Into::into).map_err(|error| error.to_string())
}

#[cfg(not(unix))]
fn load(_: &Path) -> Result<Library, String> {
    Err("MPI is supported on Linux and macOS only".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_launcher_gets_its_own_library_from_its_own_folder_first() {
        let folders = [PathBuf::from("/a/lib"), PathBuf::from("/b/lib")];
        let check = |kind, expected: &[&str]| {
            let found = candidates(kind, &folders);
            let found: Vec<_> = found.iter().map(|file| file.to_str().unwrap()).collect();
            assert_eq!(found[..expected.len()], *expected, "{kind:?}");
            found.len()
        };
        let open_mpi = ["/a/lib/libmpi.so.40", "/b/lib/libmpi.so.40", "libmpi.so.40"];
        assert_eq!(check(Some(Kind::OpenMpi), &open_mpi), 3);
        assert_eq!(check(Some(Kind::SrunPmix), &open_mpi), 12);
        let others = ["/a/lib/libmpi_abi.so.1", "/a/lib/libmpi.so.12"];
        assert_eq!(check(Some(Kind::Hydra), &others), 9);
        assert_eq!(check(Some(Kind::SrunPmi2), &others), 9);
        let any = ["/a/lib/libmpi.so.40", "/a/lib/libmpi_abi.so.1"];
        assert_eq!(check(None, &any), 12);
        assert_eq!(
            in_words(&candidates(Some(Kind::Pmi), &folders)),
            "libmpi_abi.so.1, libmpi.so.12, libmpich.so.12 in /a/lib, /b/lib, where the system \
             looks for libraries"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_program_that_started_this_one_is_an_ancestor() {
        let ancestors = ancestors();
        assert!(
            (1..=MOST_ANCESTORS).contains(&ancestors.len()),
            "{ancestors:?}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_no_library_of_mpi_is_refused() {
        let file = std::env::current_exe().unwrap();
        let error = open_file(&file).err().expect("refused").to_string();
        let start = format!("{} can't be used as the MPI library: ", file.display());
        assert!(error.starts_with(&start), "{error}");
    }
}
