//! Whose layers and pixel values a file of weights was trained with, told from the file, its name
//! and timm's `config.json` beside it.

use std::{fs, path::Path};

use serde::Deserialize;

use super::{
    files,
    names::{self, Origin},
};
use crate::{
    architecture::{Architecture, Dialect, Input, Network},
    config::Normalize,
    nn::NnError,
};

/// The longest `config.json` that is read; timm's have a kilobyte.
const MOST_CONFIG_BYTES: u64 = 1 << 20;

/// What is known of a file of weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Who named the tensors.
    pub origin: Origin,
    /// The library whose layers the weights belong to; `None` for a checkpoint of this program,
    /// which says so itself.
    pub dialect: Option<Dialect>,
    /// What the weights expect of pixel values; `None` for a checkpoint of this program.
    pub normalize: Option<Normalize>,
    /// How it was told, in words.
    pub by: &'static str,
}

/// What timm writes beside its weights.
#[derive(Deserialize)]
struct TimmConfig {
    #[serde(default)]
    architecture: String,
    pretrained_cfg: Option<PretrainedConfig>,
}

#[derive(Deserialize)]
struct PretrainedConfig {
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
}

/// Finds out whose weights are in the file at `path`, for a network of `architecture`. A dialect
/// that the recipe names is taken.
///
/// # Errors
/// Returns an error if the file can't be read or has none of the network's names, or if the
/// `config.json` beside it can't be read.
pub fn find(architecture: Architecture, network: &Network, named: Option<Dialect>, path: &Path) -> Result<Found, NnError> {
    let failed = |message: String| NnError::Weights(format!("{message}: {}", path.display()));
    let file = files::open(path).map_err(failed)?;
    let origin = names::choose(network, &file).ok_or_else(|| failed(names::unknown(&file)))?.origin;
    let Origin::Library(library) = origin else {
        return Ok(Found { origin, dialect: None, normalize: None, by: "a checkpoint of this program" });
    };
    let config = timm_config(path)?;
    let (dialect, by) = match named {
        Some(dialect) => (dialect, "model.dialect"),
        None => told(architecture, library, config.as_ref(), path),
    };
    let beside =
        config.and_then(|config| config.pretrained_cfg).and_then(|config| Some(Normalize::Custom { mean: config.mean?, std: config.std? }));
    let normalize = beside.unwrap_or(match architecture.traits(Some(dialect)).input {
        Input::Imagenet => Normalize::Imagenet,
        Input::Caffe => Normalize::Caffe,
        Input::Tf => Normalize::Tf,
    });
    Ok(Found { origin, dialect: Some(dialect), normalize: Some(normalize), by })
}

/// Tells the dialect, and by what.
fn told(architecture: Architecture, library: Dialect, config: Option<&TimmConfig>, path: &Path) -> (Dialect, &'static str) {
    let knows = |dialect: Dialect| architecture.entry().dialects.iter().any(|(known, _)| *known == dialect);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    // timm and torchvision share the names of some networks, and their layers with them.
    let is_timm = library == Dialect::Timm || config.is_some();
    if is_timm && let Some(config) = config.filter(|config| !config.architecture.is_empty()) {
        let dialect = if config.architecture.starts_with("tf_") { Dialect::TimmTf } else { Dialect::Timm };
        if knows(dialect) {
            return (dialect, "the config.json beside the file");
        }
    }
    if is_timm && knows(Dialect::TimmTf) && stem.split(['_', '-', '.']).any(|part| part == "tf") {
        return (Dialect::TimmTf, "the file's name");
    }
    if library != Dialect::Timm {
        return (library, "the names in the file");
    }
    // The same names with other padding and norms: the usual ones.
    let usual =
        architecture.entry().dialects.iter().map(|(known, _)| *known).find(|known| matches!(known, Dialect::Timm | Dialect::TimmTf));
    (usual.unwrap_or(library), "the names in the file, as the usual one of timm's two; set model.dialect if it is the other")
}

/// Reads timm's `config.json` from the folder of the weights; `None` if there is none, or another
/// program's.
fn timm_config(path: &Path) -> Result<Option<TimmConfig>, NnError> {
    let beside = path.with_file_name("config.json");
    if !fs::metadata(&beside).is_ok_and(|found| found.is_file() && found.len() <= MOST_CONFIG_BYTES) {
        return Ok(None);
    }
    let failed =
        |error: std::io::Error| NnError::Weights(format!("can't read the configuration of the weights: {error}: {}", beside.display()));
    let text = fs::read_to_string(&beside).map_err(failed)?;
    Ok(serde_json::from_str::<TimmConfig>(&text).ok().filter(|config| config.pretrained_cfg.is_some()))
}
