//! Finds pretrained weights on this machine, and the architecture that each file belongs to.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::{
    dialect::{self, Found},
    files, names,
};
use crate::{architecture::Architecture, base::io::cache, config::Model};

/// Environment variable with a folder or file of weights, searched in addition to the cache folder.
const VARIABLE: &str = "EMBERLENS_WEIGHTS";

/// Extensions of the files that are opened.
const ENDINGS: [&str; 5] = ["pth", "pt", "safetensors", "h5", "keras"];

/// Width multipliers that weights are published for.
const WIDTHS: [f64; 7] = [1.0, 0.75, 0.5, 0.35, 0.25, 1.3, 1.4];

/// A file of weights, and the network that it belongs to.
#[derive(Clone, Debug)]
pub struct AtHand {
    /// Path of the file.
    pub path: PathBuf,
    /// The architecture that its tensors fit.
    pub architecture: Architecture,
    /// The width multiplier, unless it is 1.
    pub width: Option<f64>,
    /// The origin of the weights.
    pub found: Found,
}

/// Lists the files of weights in the cache folder and in the folder that `EMBERLENS_WEIGHTS` names,
/// sorted by path. Other files are left out.
pub fn at_hand() -> Vec<AtHand> {
    let places = cache::folder("weights")
        .into_iter()
        .chain(env::var_os(VARIABLE).map(PathBuf::from));
    let mut paths: Vec<PathBuf> = places.flat_map(|place| files_of(&place)).collect();
    paths.sort();
    paths.dedup();
    paths.iter().filter_map(|path| identify(path)).collect()
}

/// Lists the files at a path that may hold weights: the file itself, or those in the folder.
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

/// Returns the architecture that the weights at `path` belong to. Returns `None` if they belong to
/// none that is supported, or can't be read.
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
