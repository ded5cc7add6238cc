//! Where the MPI library is, and opening it.

use std::path::{Path, PathBuf};

use libloading::Library;

use crate::calls::Mpi;
use crate::error::Error;
use crate::launcher::{Kind, Launcher, launcher};

/// The variable with the path or name of the library to open, in place of those that are looked
/// for.
pub const LIBRARY_VARIABLE: &str = "EMBERLENS_MPI";

/// An MPI library that can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file, or the name under which the system's loader knows it.
    pub path: PathBuf,
    /// Whose it is and its version: "Open MPI 5.0.11".
    pub version: String,
}

/// Returns the library that would be opened by the launcher that started this process; without
/// one, that of the `mpiexec` on the path, or any. MPI isn't started by this.
///
/// # Errors
///
/// Fails where there is none, or the one that the user chose can't be opened.
pub fn library_found() -> Result<Option<Found>, Error> {
    let kind = launcher().map(|launcher| launcher.kind);
    let Some((path, mpi)) = open_first(&candidates(kind))? else {
        return Ok(None);
    };
    Ok(Some(Found {
        path,
        version: mpi.version()?,
    }))
}

/// Opens the library for a launcher's processes.
pub(crate) fn open(launcher: &Launcher) -> Result<Mpi, Error> {
    let candidates = candidates(Some(launcher.kind));
    let (_, mpi) = open_first(&candidates)?.ok_or_else(|| Error::NoLibrary {
        launcher: *launcher,
        looked_for: in_words(&candidates),
    })?;
    Ok(mpi)
}

/// What to try, in order.
#[derive(Debug, PartialEq, Eq)]
enum Candidates {
    /// The user's choice.
    Chosen(PathBuf),
    /// Each of the names in each of the folders, and then where the loader looks.
    Known {
        names: Vec<&'static str>,
        folders: Vec<PathBuf>,
    },
}

fn candidates(kind: Option<Kind>) -> Candidates {
    if let Some(chosen) = std::env::var_os(LIBRARY_VARIABLE).filter(|chosen| !chosen.is_empty()) {
        return Candidates::Chosen(chosen.into());
    }
    Candidates::Known {
        names: names(kind),
        folders: folders(),
    }
}

#[cfg(target_os = "macos")]
mod file {
    pub(super) const OPEN_MPI: &str = "libmpi.40.dylib";
    pub(super) const MPICH: &str = "libmpi.12.dylib";
    pub(super) const STANDARD: &str = "libmpi_abi.1.dylib";
}

#[cfg(not(target_os = "macos"))]
mod file {
    pub(super) const OPEN_MPI: &str = "libmpi.so.40";
    pub(super) const MPICH: &str = "libmpi.so.12";
    pub(super) const STANDARD: &str = "libmpi_abi.so.1";
}

/// Returns the names of the libraries that a launcher's processes can use, best first. A library
/// under another one's launcher comes up alone, or ends the process.
fn names(kind: Option<Kind>) -> Vec<&'static str> {
    match kind {
        Some(Kind::OpenMpi) => vec![file::OPEN_MPI],
        Some(Kind::Hydra | Kind::SrunPmi2 | Kind::Pmi) => vec![file::STANDARD, file::MPICH],
        _ => vec![file::OPEN_MPI, file::STANDARD, file::MPICH],
    }
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

fn in_words(candidates: &Candidates) -> String {
    match candidates {
        Candidates::Chosen(path) => path.display().to_string(),
        Candidates::Known { names, folders } => {
            let folders: Vec<_> = folders
                .iter()
                .map(|folder| format!("{}, ", folder.display()))
                .collect();
            format!(
                "{} in {}and where the system looks for libraries",
                names.join(" and "),
                folders.concat()
            )
        }
    }
}

/// Opens the first candidate that is there. One that is there and can't be opened is an error, as
/// is anything about the user's choice.
fn open_first(candidates: &Candidates) -> Result<Option<(PathBuf, Mpi)>, Error> {
    match candidates {
        Candidates::Chosen(path) => Ok(Some((path.clone(), open_file(path)?))),
        Candidates::Known { names, folders } => {
            for folder in folders {
                for name in names {
                    let path = folder.join(name);
                    if path.is_file() {
                        let mpi = open_file(&path)?;
                        return Ok(Some((path, mpi)));
                    }
                }
            }
            for name in names {
                // The loader doesn't tell a file that isn't there from one that it can't open.
                if let Ok(library) = load(Path::new(name)) {
                    let path = PathBuf::from(name);
                    let mpi = Mpi::new(library, &path)?;
                    return Ok(Some((path, mpi)));
                }
            }
            Ok(None)
        }
    }
}

fn open_file(path: &Path) -> Result<Mpi, Error> {
    let library = load(path).map_err(|problem| Error::NotUsable {
        path: path.display().to_string(),
        problem,
    })?;
    Mpi::new(library, path)
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
