//! The weights that are published for the backbones: where they are cached, and their download.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    architecture::{Architecture, Published},
    base::{
        io::{
            cache,
            download::{DownloadError, Expected, download, is_whole},
        },
        progress::Progress,
    },
    config::Weights,
};

/// Lists all published weights.
pub fn published() -> impl Iterator<Item = (Architecture, &'static Published)> {
    Architecture::all()
        .filter_map(|architecture| Some((architecture, architecture.entry().published.as_ref()?)))
}

/// Returns the path that `model.weights` stands for, whether or not the file exists: for the folder
/// of a run, the weights of its best epoch, and for that of a checkpoint, its weights. Returns
/// `None` for weights that are drawn.
pub fn locate(architecture: Architecture, weights: &Weights) -> Option<PathBuf> {
    match weights {
        Weights::None => None,
        Weights::Path(path) => {
            let path = Path::new(path);
            let inside =
                ["best/model.safetensors", "model.safetensors"].map(|name| path.join(name));
            let found = inside.into_iter().find(|file| file.is_file());
            Some(found.unwrap_or_else(|| path.to_owned()))
        }
        Weights::Imagenet => {
            let published = architecture.entry().published.as_ref()?;
            // Without a cache folder the current one has to do.
            Some(place(published).unwrap_or_else(|_| PathBuf::from(published.file())))
        }
    }
}

/// An error of getting published weights.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The system has no cache folder for the user.
    #[error("the system names no cache folder for this user; set HOME or XDG_CACHE_HOME")]
    NoCache,
    /// Another file has the path of the weights.
    #[error("the file there is not the published one; move it away: {}", .0.display())]
    Other(PathBuf),
    /// The file can't be read.
    #[error("can't read the cached weights: {0}: {path}", path = .1.display())]
    Read(io::Error, PathBuf),
    /// The download failed.
    #[error("{by_hand}: {error}")]
    Download {
        /// What to do without a network connection.
        by_hand: String,
        /// The error of the download.
        error: DownloadError,
    },
}

/// Downloads the published weights of a network unless they are cached. Does nothing for a network
/// without any.
///
/// # Errors
/// Returns an error that says what to do by hand if they can't be downloaded.
pub fn ensure(architecture: Architecture, progress: &dyn Progress) -> Result<(), FetchError> {
    let Some(published) = &architecture.entry().published else {
        return Ok(());
    };
    if place(published)?
        .metadata()
        .is_ok_and(|found| published.bytes.contains(&found.len()))
    {
        return Ok(());
    }
    fetch(architecture, published, published.url, progress).map(|_| ())
}

/// Downloads a published file from `url` unless it is cached, and checks it. Resumes a partial
/// download. Returns the path in the cache.
///
/// # Errors
/// Returns an error that says what to do by hand if the file can't be downloaded, and one if
/// another file has its path.
pub fn fetch(
    architecture: Architecture,
    published: &Published,
    url: &str,
    progress: &dyn Progress,
) -> Result<PathBuf, FetchError> {
    let place = place(published)?;
    let expected = Expected {
        bytes: &published.bytes,
        sha256: published.sha256,
    };
    if place.exists() {
        let is_whole =
            is_whole(&place, expected).map_err(|error| FetchError::Read(error, place.clone()))?;
        return if is_whole {
            Ok(place)
        } else {
            Err(FetchError::Other(place))
        };
    }
    progress.say(&format!("Downloading {url}"));
    let task = progress.bytes();
    task.set_total(*published.bytes.end() as usize);
    download(url, expected, &place, &|at| task.set_done(at as usize)).map_err(|error| {
        FetchError::Download {
            by_hand: by_hand(architecture, published, &place),
            error,
        }
    })?;
    Ok(place)
}

/// Returns the path at which a published file is cached.
///
/// # Errors
/// Returns [`FetchError::NoCache`] if the system has no cache folder for the user.
pub fn place(published: &Published) -> Result<PathBuf, FetchError> {
    cache::folder("weights")
        .map(|folder| folder.join(published.file()))
        .ok_or(FetchError::NoCache)
}

fn by_hand(architecture: Architecture, published: &Published, place: &Path) -> String {
    format!(
        "no weights of {}; without a network connection, put the file {} ({}, SHA-256 {}{}) from \
         {} at {}, or name another file with model.weights",
        architecture.name(),
        published.file(),
        Expected {
            bytes: &published.bytes,
            sha256: published.sha256
        }
        .length(),
        published.sha256,
        if published.sha256.len() < 64 {
            "..."
        } else {
            ""
        },
        published.url,
        place.display()
    )
}
