//! Determines the library whose layers and normalization a file of weights was trained with, from
//! the file, its name and timm's `config.json` next to it.

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

/// Maximum length of a `config.json` in bytes; timm's have a kilobyte.
const MOST_CONFIG_BYTES: u64 = 1 << 20;

/// The origin of a file of weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The library or program that named the tensors.
    pub origin: Origin,
    /// The library whose layers the weights belong to; `None` for a checkpoint of this program,
    /// whose metadata says so.
    pub dialect: Option<Dialect>,
    /// The normalization that the weights expect; `None` for a checkpoint of this program.
    pub normalize: Option<Normalize>,
    /// Description for messages of how the library was determined.
    pub by: &'static str,
}

/// The fields of timm's `config.json`.
#[derive(Deserialize)]
struct TimmConfig {
    #[serde(default)]
    architecture: String,
    pretrained_cfg: PretrainedConfig,
}

#[derive(Deserialize)]
struct PretrainedConfig {
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
}

impl PretrainedConfig {
    /// Returns the mean and standard deviation, if both are given.
    fn normalize(self) -> Option<Normalize> {
        Some(Normalize::Custom {
            mean: self.mean?,
            std: self.std?,
        })
    }

    /// Returns whether mean and standard deviation have three channels or are missing.
    fn is_possible(&self) -> bool {
        let is_mean =
            |mean: &Vec<f32>| mean.len() == 3 && mean.iter().all(|value| value.is_finite());
        let is_std = |std: &Vec<f32>| {
            std.len() == 3 && std.iter().all(|value| value.is_finite() && *value > 0.0)
        };
        self.mean.as_ref().is_none_or(is_mean) && self.std.as_ref().is_none_or(is_std)
    }
}

/// Determines the origin of the weights at `path` for a network of `architecture`. A dialect that
/// the recipe names takes precedence.
///
/// # Errors
/// Returns an error if the file can't be read or has none of the network's names, or if the
/// `config.json` next to it can't be read.
pub fn find(
    architecture: Architecture,
    network: &Network,
    named: Option<Dialect>,
    path: &Path,
) -> Result<Found, NnError> {
    let failed = |message: String| NnError::Weights(format!("{message}: {}", path.display()));
    let file = files::open(path).map_err(failed)?;
    let origin = names::choose(network, &file)
        .ok_or_else(|| failed(names::unknown(&file)))?
        .origin;
    tell(architecture, origin, named, path)
}

/// Determines the origin of a file whose tensors were named by `origin`.
///
/// # Errors
/// Returns an error if the `config.json` next to it can't be read or isn't valid.
pub(super) fn tell(
    architecture: Architecture,
    origin: Origin,
    named: Option<Dialect>,
    path: &Path,
) -> Result<Found, NnError> {
    let Origin::Library(library) = origin else {
        return Ok(Found {
            origin,
            dialect: None,
            normalize: None,
            by: "a checkpoint of this program",
        });
    };
    let config = if library == Dialect::Keras {
        None
    } else {
        timm_config(path)?
    };
    let (dialect, by) = match named {
        Some(dialect) => (dialect, "model.dialect"),
        None => told(architecture, library, config.as_ref(), path),
    };
    let beside = config.and_then(|config| config.pretrained_cfg.normalize());
    let normalize = beside.unwrap_or(match architecture.traits(Some(dialect)).input {
        Input::Imagenet => Normalize::Imagenet,
        Input::Caffe => Normalize::Caffe,
        Input::Tf => Normalize::Tf,
    });
    Ok(Found {
        origin,
        dialect: Some(dialect),
        normalize: Some(normalize),
        by,
    })
}

/// Returns the dialect, and how it was determined.
fn told(
    architecture: Architecture,
    library: Dialect,
    config: Option<&TimmConfig>,
    path: &Path,
) -> (Dialect, &'static str) {
    let knows = |dialect: Dialect| {
        architecture
            .entry()
            .dialects
            .iter()
            .any(|(known, _)| *known == dialect)
    };
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    // timm and torchvision share the names of some networks, and their layers with them.
    let is_timm = library == Dialect::Timm || config.is_some();
    if is_timm && let Some(config) = config.filter(|config| !config.architecture.is_empty()) {
        let dialect = if config.architecture.starts_with("tf_") {
            Dialect::TimmTf
        } else {
            Dialect::Timm
        };
        if knows(dialect) {
            return (dialect, "the config.json beside the file");
        }
    }
    let says = |word| {
        stem.split(['_', '-', '.'])
            .any(|part| part.eq_ignore_ascii_case(word))
    };
    if is_timm && knows(Dialect::TimmTf) && says("tf") {
        return (Dialect::TimmTf, "the file's name");
    }
    // Keras's values under torchvision's names, as converters write them.
    if library == Dialect::Torchvision && knows(Dialect::Keras) && says("keras") {
        return (Dialect::Keras, "the file's name");
    }
    if library != Dialect::Timm {
        return (library, "the names in the file");
    }
    // The same names with other padding and norms: the usual ones.
    let known = architecture
        .entry()
        .dialects
        .iter()
        .map(|(known, _)| *known);
    let mut timms = known.filter(|known| matches!(known, Dialect::Timm | Dialect::TimmTf));
    let usual = timms.next();
    if timms.next().is_none() {
        return (usual.unwrap_or(library), "the names in the file");
    }
    (
        usual.unwrap_or(library),
        "the names in the file, as the usual one of timm's two; set model.dialect if it is the \
         other",
    )
}

/// Reads timm's `config.json` from the folder of the weights. Returns `None` if there is none, or
/// if it belongs to another program. It applies to a file named as in timm's repositories only, not
/// to others in the same folder.
///
/// # Errors
/// Returns an error if it can't be read, or if its mean or standard deviation isn't valid.
fn timm_config(path: &Path) -> Result<Option<TimmConfig>, NnError> {
    let beside = path.with_file_name("config.json");
    let is_timms = path
        .file_stem()
        .is_some_and(|stem| stem == "model" || stem == "pytorch_model");
    if !is_timms
        || !fs::metadata(&beside)
            .is_ok_and(|found| found.is_file() && found.len() <= MOST_CONFIG_BYTES)
    {
        return Ok(None);
    }
    let failed = |message: String| {
        NnError::Weights(format!(
            "the configuration of the weights {message}: {}",
            beside.display()
        ))
    };
    let text =
        fs::read_to_string(&beside).map_err(|error| failed(format!("can't be read: {error}")))?;
    let Ok(config) = serde_json::from_str::<TimmConfig>(&text) else {
        return Ok(None);
    };
    if !config.pretrained_cfg.is_possible() {
        let PretrainedConfig { mean, std } = &config.pretrained_cfg;
        return Err(failed(format!(
            "has mean {mean:?} and std {std:?}, expected three numbers each, std above 0"
        )));
    }
    Ok(Some(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    use Dialect::{Keras, Timm, TimmTf, Torchvision};
    use Normalize::{Imagenet, Tf};

    /// What is told of a file called `name` with timm's names in it, beside a `config.json`.
    fn told_of(name: &str, library: Dialect, config: &str) -> Result<Found, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        crate::base::io::files::write_atomic(&folder.path().join("config.json"), config.as_bytes())
            .expect("written");
        let architecture = Architecture::find("mobilenet_v2").expect("listed");
        tell(
            architecture,
            Origin::Library(library),
            None,
            &folder.path().join(name),
        )
        .map_err(|error| error.to_string())
    }

    const TF: &str = r#"{
        "architecture": "tf_mobilenetv2_100",
        "pretrained_cfg": {"mean": [0.5, 0.25, 0.5], "std": [0.5, 0.5, 0.125]}
    }"#;
    const OWN: &str = r#"{"architecture": "mobilenetv2_100", "pretrained_cfg": {}}"#;

    #[track_caller]
    fn assert_told(
        (name, library, config): (&str, Dialect, &str),
        (dialect, normalize): (Dialect, Normalize),
    ) {
        let found = told_of(name, library, config).expect(name);
        assert_eq!(
            (found.dialect, found.normalize),
            (Some(dialect), Some(normalize)),
            "{name} {config}"
        );
    }

    #[test]
    fn the_dialect_is_told_by_the_configuration_beside_a_file() {
        const FILE: &str = "model.safetensors";
        let custom = Normalize::Custom {
            mean: vec![0.5, 0.25, 0.5],
            std: vec![0.5, 0.5, 0.125],
        };
        assert_told((FILE, Timm, TF), (TimmTf, custom));
        assert_told((FILE, Timm, OWN), (Timm, Imagenet));
        assert_told((FILE, Torchvision, "no JSON"), (Torchvision, Imagenet));
        // A file that only lies in the same folder, and Keras's.
        assert_told(("mine.pth", Timm, TF), (Timm, Imagenet));
        assert_told(("model.h5", Keras, TF), (Keras, Tf));
    }

    #[test]
    fn the_dialect_is_told_by_the_name_of_a_file_and_the_names_in_it() {
        for (name, library, config, told) in [
            ("mobilenetv2_100_tf.pth", Timm, OWN, (TimmTf, Tf)),
            (
                "mobilenet_v2_keras.safetensors",
                Torchvision,
                "{}",
                (Keras, Tf),
            ),
            (
                "mobilenet_v2-b0353104.pth",
                Torchvision,
                "{}",
                (Torchvision, Imagenet),
            ),
        ] {
            assert_told((name, library, config), told);
        }
    }

    #[test]
    fn a_configuration_that_cannot_be_is_an_error() {
        for (mean, std) in [
            ("[0.5]", "[0.5, 0.5, 0.5]"),
            ("[0.5, 0.5, 0.5]", "[0.5, 0.0, 0.5]"),
            ("[0.5, 0.5, 0.5]", "[]"),
        ] {
            let config = format!(r#"{{"pretrained_cfg": {{"mean": {mean}, "std": {std}}}}}"#);
            let error = told_of("model.safetensors", Dialect::Timm, &config).expect_err(&config);
            assert!(
                error.contains("expected three numbers each, std above 0")
                    && error.contains("config.json"),
                "{error}"
            );
        }
    }
}
