//! Finds the pretrained weights on this machine, and the architecture that each file is of.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::{
    dialect::{self, Found},
    files, names,
};
use crate::{architecture::Architecture, base::io::cache, config::Model};

/// A folder or file with weights, beside the cache folder.
const VARIABLE: &str = "EMBERLENS_WEIGHTS";

/// Endings of the files that are opened.
const ENDINGS: [&str; 5] = ["pth", "pt", "safetensors", "h5", "keras"];

/// Width factors that weights are published for.
const WIDTHS: [f64; 7] = [1.0, 0.75, 0.5, 0.35, 0.25, 1.3, 1.4];

/// A file of weights and what it is.
#[derive(Clone, Debug)]
pub struct AtHand {
    /// The file.
    pub path: PathBuf,
    /// The architecture that its tensors fit.
    pub architecture: Architecture,
    /// The width factor, unless it is 1.
    pub width: Option<f64>,
    /// Whose layers and pixel values it belongs to.
    pub found: Found,
}

/// Lists the files with weights in the cache folder and in what `EMBERLENS_WEIGHTS` names, by path.
/// Files that are no weights of an architecture here are left out.
pub fn at_hand() -> Vec<AtHand> {
    let places = cache::folder("weights")
        .into_iter()
        .chain(env::var_os(VARIABLE).map(PathBuf::from));
    let mut paths: Vec<PathBuf> = places.flat_map(|place| files_of(&place)).collect();
    paths.sort();
    paths.dedup();
    paths.iter().filter_map(|path| identify(path)).collect()
}

/// Lists the files at a place that may hold weights: itself, or those in the folder.
fn files_of(place: &Path) -> Vec<PathBuf> {
    let has_ending = |path: &PathBuf| {
        path.extension().is_some_and(|ending| {
            ENDINGS
                .iter()
                .any(|known| ending.eq_ignore_ascii_case(known))
        })
    };
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let entries = fs::read_dir(place)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    entries
        .filter(has_ending)
        .filter(|path| path.is_file())
        .collect()
}

/// Finds out which architecture the weights at `path` are of; `None` if they are of none here, or
/// can't be read.
pub fn identify(path: &Path) -> Option<AtHand> {
    let file = files::open(path).ok()?;
    for architecture in Architecture::all().filter(|architecture| !architecture.is_of_recipe()) {
        let widths = if architecture.is_scaled() {
            &WIDTHS[..]
        } else {
            &WIDTHS[..1]
        };
        for width in widths {
            let model = Model {
                architecture,
                width: Some(*width),
                ..Model::default()
            };
            let network = model.network(3);
            if let Some(chosen) =
                names::choose(&network, &file).filter(|chosen| chosen.faults(&file).is_empty())
            {
                let found = dialect::tell(architecture, chosen.origin, None, path).ok()?;
                let width = (*width != 1.0).then_some(*width);
                return found.dialect.is_some().then(|| AtHand {
                    path: path.to_owned(),
                    architecture,
                    width,
                    found,
                });
            }
        }
    }
    None
}
