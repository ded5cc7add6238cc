//! One checkpoint folder, saved as a whole or not at all, and refused where a byte of it is wrong.
//!
//! `model.safetensors`, `meta.json`, and what a resume needs: `optimizer.safetensors`, `state.json`. Layers that stay frozen are in a file of
//! their own, `backbone.safetensors`, which all checkpoints of a run share, or are told by the file they came from and their digest.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    base::files::{FolderWriter, recover_folder, sha256_hex, write_atomic},
    config::{Color, Interpolation, Loss, Resize, Weights},
    data::{Whitening, normalize::Normalizer},
    metrics::{Coverage, Threshold},
    nn::{
        NnError, empty,
        model::{Classifier, Design},
        pretrained::{self, locate},
        weights::{Part, from_bytes, to_bytes},
    },
};

/// Raised when a program can't read what an older one wrote.
const FORMAT: u32 = 2;

/// Looks at a folder that is being replaced, and the time between them.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);

const MODEL: &str = "model.safetensors";
/// Only where layers stay frozen, and the user wants them kept.
const BACKBONE: &str = "backbone.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
/// Only where pictures are whitened.
const WHITENING: &str = "whitening.safetensors";
const META: &str = "meta.json";

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Nothing there.
    #[error("found no checkpoint, expected a run folder with best/ and last/ or one of these: {}", .0.display())]
    Missing(PathBuf),
    /// A file is missing, cut off or changed.
    #[error("the checkpoint is damaged: {reason}{}: {}", other_hint(.other.as_deref()), path.display())]
    Damaged {
        /// The checkpoint folder.
        path: PathBuf,
        /// Which file and what is wrong with it.
        reason: String,
        /// A whole checkpoint of the same run.
        other: Option<PathBuf>,
    },
    /// Written by a newer or older program.
    #[error("the checkpoint has format {found}, this program reads {FORMAT}; use {} emberlens: {}", if *found > FORMAT { "a newer" } else { "the older" }, path.display())]
    Version {
        /// The checkpoint folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A checkpoint without its frozen layers, and the file that they came from isn't there or isn't the same.
    #[error("the checkpoint holds no frozen layers (train.checkpoint.include_backbone = false) and needs those of {}: {reason}; {hint}", path.display())]
    Backbone {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// Weights that don't fit.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn other_hint(other: Option<&Path>) -> String {
    other.map_or(String::new(), |other| format!("; {} is whole, name it instead", other.display()))
}

/// What the weights belong to: all that `evaluate` and `predict` need beside them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The format of the folder.
    pub format: u32,
    /// The program that wrote it.
    pub emberlens: String,
    /// The recipe's name.
    pub name: String,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
    /// Height and width in pixels.
    pub image_size: [usize; 2],
    /// Colours that the network sees.
    pub color: Color,
    /// How a picture gets to that size.
    pub resize: Resize,
    /// The filter of that.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// Mean and deviation.
    pub normalize: Normalizer,
    /// The network.
    pub design: Design,
    /// The loss that is reported.
    pub loss: Loss,
    /// Exponent of the focal loss.
    pub focal_gamma: f64,
    /// Epochs trained, counted from 1.
    pub epoch: usize,
    /// The metrics of that epoch, by their names in `history.csv`.
    pub metrics: BTreeMap<String, f64>,
    /// What logits are divided by before they become probabilities: 1, or what `calibrate --temperature` found.
    #[serde(default = "one")]
    pub temperature: f64,
    /// When a picture counts as one of a class, by `calibrate --sensitivity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// When a class belongs to a picture's set, by `calibrate --coverage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// The layers that no phase of the training changes, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
    /// SHA-256 of the other files.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

fn one() -> f64 {
    1.0
}

impl Meta {
    /// The format that this program writes.
    pub fn format() -> u32 {
        FORMAT
    }
}

/// Layers that stay as they were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// So many layer groups, counted from the input.
    pub groups: usize,
    /// Where they came from.
    pub weights: Weights,
    /// SHA-256 of `backbone.safetensors`, whether it is kept or not.
    pub sha256: String,
}

/// The frozen layers of a network as the bytes of `backbone.safetensors`, with their digest.
#[derive(Debug)]
pub struct FrozenBytes {
    /// Safetensors.
    pub bytes: Vec<u8>,
    /// In hexadecimal.
    pub sha256: String,
}

impl FrozenBytes {
    /// Of the first `groups` layer groups.
    ///
    /// # Errors
    /// The device can't be read.
    pub fn of(model: &Classifier, groups: usize) -> Result<Self, NnError> {
        let bytes = to_bytes(model, Part::Frozen(groups))?;
        Ok(Self { sha256: sha256_hex(&bytes), bytes })
    }
}

/// A checkpoint in memory.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What the weights belong to.
    pub meta: Meta,
    /// Safetensors: all but the frozen layers.
    pub model: Vec<u8>,
    /// The frozen layers, where there are any and they are kept.
    pub backbone: Option<Arc<FrozenBytes>>,
    /// Safetensors: the optimiser's state, and the weights behind a moving average.
    pub optimizer: Vec<u8>,
    /// Counters and decisions of the loop.
    pub state: Value,
}

impl Checkpoint {
    /// The network with its weights, on `device`.
    ///
    /// # Errors
    /// Weights that don't fit; frozen layers that aren't kept and can't be found.
    pub fn network(&self, device: &Device) -> Result<Classifier, CheckpointError> {
        let mut model = empty(&self.meta.design, device);
        let groups = self.meta.frozen.as_ref().map_or(0, |frozen| frozen.groups);
        match (&self.meta.frozen, &self.backbone) {
            (Some(_), Some(kept)) => model = from_bytes(model, kept.bytes.clone(), Part::Frozen(groups))?,
            (Some(frozen), None) => model = self.find_frozen(model, frozen)?,
            (None, _) => {}
        }
        Ok(from_bytes(model, self.model.clone(), Part::Rest(groups))?)
    }

    fn find_frozen(&self, model: Classifier, frozen: &Frozen) -> Result<Classifier, CheckpointError> {
        let architecture = self.meta.design.model.architecture;
        let path = locate(architecture, &frozen.weights).unwrap_or_default();
        let failed = |reason: String| {
            let hint = match frozen.weights {
                Weights::Imagenet => format!("`emberlens weights fetch {}` downloads them", architecture.name()),
                _ => "put the file that the run was trained with there".to_owned(),
            };
            CheckpointError::Backbone { path: path.clone(), reason, hint }
        };
        if !path.is_file() {
            return Err(failed("no such file".to_owned()));
        }
        let (model, _) = pretrained::load(model, &path)?;
        let found = FrozenBytes::of(&model, frozen.groups)?;
        if found.sha256 == frozen.sha256 {
            Ok(model)
        } else {
            Err(failed("its weights are others than those that the run was trained with".to_owned()))
        }
    }
}

/// Replaces the checkpoints of these names (`best`, `last`) in the folder of a run by this one.
///
/// # Errors
/// The system's, with the path.
pub fn save(run: &Path, names: &[&str], checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
    let state = pretty(&checkpoint.state);
    let whitening = checkpoint.meta.normalize.whitening.as_ref().map(Whitening::to_bytes);
    let mut files = vec![(MODEL, &checkpoint.model), (OPTIMIZER, &checkpoint.optimizer), (STATE, &state)];
    files.extend(whitening.as_ref().map(|bytes| (WHITENING, bytes)));
    let mut meta = checkpoint.meta.clone();
    meta.files = files.iter().map(|(name, bytes)| ((*name).to_owned(), sha256_hex(bytes))).collect();
    meta.files.extend(checkpoint.backbone.as_ref().map(|backbone| (BACKBONE.to_owned(), backbone.sha256.clone())));
    let meta = pretty(&meta);
    files.push((META, &meta));
    names.iter().try_for_each(|name| write(&run.join(name), checkpoint.backbone.as_deref(), &files))
}

fn write(path: &Path, backbone: Option<&FrozenBytes>, files: &[(&str, &Vec<u8>)]) -> Result<(), CheckpointError> {
    let writer = FolderWriter::new(path)?;
    if let Some(backbone) = backbone {
        // It never changes within a run: the one that this checkpoint or the other holds already will do.
        let is_it = |folder: &PathBuf| {
            let length = fs::metadata(folder.join(BACKBONE)).map(|found| found.len());
            length.is_ok_and(|length| length == backbone.bytes.len() as u64) && written_digest(folder).as_ref() == Some(&backbone.sha256)
        };
        match [Some(path.to_owned()), other_of(path)].into_iter().flatten().find(is_it) {
            Some(folder) => writer.link(BACKBONE, &folder.join(BACKBONE))?,
            None => writer.write(BACKBONE, &backbone.bytes)?,
        }
    }
    for (name, bytes) in files {
        writer.write(name, bytes)?;
    }
    Ok(writer.commit()?)
}

/// Writes what a checkpoint's predictions go by (temperature, threshold, sets) into its `meta.json`.
///
/// # Errors
/// The system's.
pub fn save_meta(path: &Path, meta: &Meta) -> Result<(), CheckpointError> {
    Ok(write_atomic(&path.join(META), &pretty(meta))?)
}

/// The digest of `backbone.safetensors` that the checkpoint in `folder` was written with.
fn written_digest(folder: &Path) -> Option<String> {
    let meta: Meta = serde_json::from_slice(&fs::read(folder.join(META)).ok()?).ok()?;
    meta.files.get(BACKBONE).cloned()
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain values are JSON");
    text.push(b'\n');
    text
}

/// Loads the checkpoint folder at `path`, every byte checked.
///
/// # Errors
/// [`CheckpointError`]; a damaged one names the other checkpoint of the run if that is whole.
pub fn load(path: &Path) -> Result<Checkpoint, CheckpointError> {
    recover_folder(path)?;
    read_whole(path).map_err(|error| match error {
        CheckpointError::Damaged { path, reason, .. } => {
            let other = other_of(&path).filter(|other| read(other).is_ok());
            CheckpointError::Damaged { path, reason, other }
        }
        error => error,
    })
}

/// [`read`], again where a training replaced the folder meanwhile.
fn read_whole(path: &Path) -> Result<Checkpoint, CheckpointError> {
    for _ in 0..TRIES {
        let before = fs::read(path.join(META)).ok();
        let found = read(path);
        if found.is_ok() || before.is_some() && fs::read(path.join(META)).ok() == before {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
    read(path)
}

/// `best` for `last` and the other way round.
fn other_of(path: &Path) -> Option<PathBuf> {
    let name = match path.file_name()?.to_str()? {
        "best" => "last",
        "last" => "best",
        _ => return None,
    };
    Some(path.with_file_name(name))
}

fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let damaged = |reason: String| CheckpointError::Damaged { path: path.to_owned(), reason, other: None };
    let bytes = |name: &str| fs::read(path.join(name)).map_err(|error| damaged(format!("{name}: {error}")));
    if !path.is_dir() {
        return Err(CheckpointError::Missing(path.to_owned()));
    }
    let raw: Value = serde_json::from_slice(&bytes(META)?).map_err(|error| damaged(format!("{META}: {error}")))?;
    if let Some(found) = raw.get("format").and_then(Value::as_u64).filter(|found| *found != u64::from(FORMAT)) {
        return Err(CheckpointError::Version { path: path.to_owned(), found: u32::try_from(found).unwrap_or(u32::MAX) });
    }
    let mut meta: Meta = serde_json::from_value(raw).map_err(|error| damaged(format!("{META}: {error}")))?;
    let checked = |name: &str| {
        let content = bytes(name)?;
        match meta.files.get(name) {
            Some(expected) if *expected == sha256_hex(&content) => Ok(content),
            Some(_) => Err(damaged(format!("{name} is cut off or changed (its SHA-256 isn't the one in {META})"))),
            None => Err(damaged(format!("{META} doesn't list {name}"))),
        }
    };
    let (model, optimizer, state) = (checked(MODEL)?, checked(OPTIMIZER)?, checked(STATE)?);
    if meta.files.contains_key(WHITENING) {
        let whitening = Whitening::from_bytes(&checked(WHITENING)?).map_err(|reason| damaged(format!("{WHITENING}: {reason}")))?;
        meta.normalize.whitening = Some(whitening);
    }
    let backbone = match meta.files.get(BACKBONE).cloned() {
        Some(sha256) => Some(Arc::new(FrozenBytes { bytes: checked(BACKBONE)?, sha256 })),
        None => None,
    };
    let state = serde_json::from_slice(&state).map_err(|error| damaged(format!("{STATE}: {error}")))?;
    Ok(Checkpoint { meta, model, backbone, optimizer, state })
}

/// The checkpoint folder that the user means: `path` itself, or `path/preferred` where `path` is a run folder.
///
/// # Errors
/// Neither is there.
pub fn resolve(path: &Path, preferred: &str) -> Result<PathBuf, CheckpointError> {
    let inner = path.join(preferred);
    recover_folder(&inner)?;
    if path.join(META).is_file() {
        Ok(path.to_owned())
    } else if inner.is_dir() {
        Ok(inner)
    } else if other_of(&inner).is_some_and(|other| other.is_dir()) {
        Err(CheckpointError::Damaged {
            path: inner.clone(),
            reason: format!("{preferred}/ is missing (no epoch has ended yet, or it was removed)"),
            other: other_of(&inner),
        })
    } else {
        // A folder that is named like a checkpoint but lost its meta.json is damaged rather than missing.
        let is_checkpoint = path.is_dir() && other_of(path).is_some();
        if is_checkpoint { Ok(path.to_owned()) } else { Err(CheckpointError::Missing(path.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Model, nn::model::Output};

    fn checkpoint(epoch: usize) -> Checkpoint {
        let meta = Meta {
            format: FORMAT,
            emberlens: "0.0.0".to_owned(),
            name: "x".to_owned(),
            classes: vec!["a".to_owned(), "b".to_owned()],
            image_size: [12, 10],
            color: Color::Grayscale,
            resize: Resize::Pad,
            interpolation: Interpolation::Box,
            normalize: Normalizer {
                rescale: 1.0 / 255.0,
                samplewise_center: true,
                samplewise_std: false,
                mean: vec![0.1],
                std: vec![0.3],
                blue_first: false,
                whitening: Some(Whitening { matrix: vec![0.5, 0.25, 0.25, 1.0] }),
            },
            design: Design { model: Model::default(), input: [1, 12, 10], num_classes: 2, output: Output::Sigmoid },
            loss: Loss::BinaryCrossEntropy,
            focal_gamma: 2.0,
            epoch,
            metrics: BTreeMap::from([("val_loss".to_owned(), 0.1 + 0.2)]),
            temperature: 1.0,
            threshold: None,
            coverage: None,
            frozen: None,
            files: BTreeMap::new(),
        };
        Checkpoint { meta, model: vec![1; 1000], backbone: None, optimizer: vec![2; 500], state: serde_json::json!({ "epoch": epoch }) }
    }

    #[test]
    fn what_is_saved_is_loaded_and_a_run_folder_leads_to_its_best() {
        let run = tempfile::tempdir().expect("a temporary folder");
        save(run.path(), &["best", "last"], &checkpoint(3)).expect("saved");
        let loaded = load(&resolve(run.path(), "best").expect("found")).expect("loaded");
        let expected = checkpoint(3);
        assert_eq!((loaded.model, loaded.optimizer, loaded.state), (expected.model, expected.optimizer, expected.state));
        assert_eq!(Meta { files: BTreeMap::new(), ..loaded.meta }, expected.meta);
        assert_eq!(resolve(&run.path().join("last"), "best").expect("found"), run.path().join("last"));
    }

    #[test]
    fn any_damage_is_named_and_the_other_checkpoint_is_offered() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 5] = [
            (MODEL, |path| fs::write(path.join(MODEL), [1; 999]).expect("cut off")),
            (OPTIMIZER, |path| fs::write(path.join(OPTIMIZER), [3; 500]).expect("changed")),
            (STATE, |path| fs::remove_file(path.join(STATE)).expect("removed")),
            (META, |path| fs::write(path.join(META), b"{").expect("cut off")),
            (META, |path| fs::remove_file(path.join(META)).expect("removed")),
        ];
        for (file, damage) in damages {
            let run = tempfile::tempdir().expect("a temporary folder");
            save(run.path(), &["best", "last"], &checkpoint(3)).expect("saved");
            damage(&run.path().join("last"));
            let error = load(&resolve(run.path(), "last").expect("found")).expect_err(file).to_string();
            assert!(error.contains("damaged") && error.contains(file), "{error}");
            assert!(error.contains("best is whole"), "{error}");
        }
    }

    #[test]
    fn a_newer_format_and_an_empty_folder_say_so() {
        let run = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(resolve(run.path(), "best"), Err(CheckpointError::Missing(_))));
        let path = run.path().join("best");
        save(run.path(), &["best"], &checkpoint(1)).expect("saved");
        let text = fs::read_to_string(path.join(META)).expect("read").replace("\"format\": 2", "\"format\": 9");
        fs::write(path.join(META), text).expect("written");
        assert!(load(&path).expect_err("newer").to_string().contains("format 9"));
    }
}
