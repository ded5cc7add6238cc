//! The weights that are published for the backbones, and where they are cached.

use std::path::{Path, PathBuf};

use crate::{
    architecture::{Architecture, Published},
    base::io::cache,
    config::Weights,
};

/// Lists all published weights.
pub fn published() -> impl Iterator<Item = (Architecture, &'static Published)> {
    Architecture::all()
        .filter_map(|architecture| Some((architecture, architecture.entry().published.as_ref()?)))
}

/// Returns the path at which a published file is cached. Returns `None` if the system has no cache
/// folder for the user.
pub fn place(published: &Published) -> Option<PathBuf> {
    cache::folder("weights").map(|folder| folder.join(published.file()))
}

/// Returns the path that `model.weights` stands for, whether or not the file exists. Returns `None`
/// for weights that are drawn.
pub fn locate(architecture: Architecture, weights: &Weights) -> Option<PathBuf> {
    match weights {
        Weights::None => None,
        Weights::Path(path) => Some(Path::new(path).to_owned()),
        Weights::Imagenet => {
            let published = architecture.entry().published.as_ref()?;
            // Without a cache folder the current one has to do.
            Some(place(published).unwrap_or_else(|| PathBuf::from(published.file())))
        }
    }
}
