//! `meta.json`: what the weights belong to. Each of its fields carries a digest, so that one that was changed is named; each is held against
//! the others before anybody trusts it.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    base::{files::sha256_hex, process},
    config::{Color, Interpolation, Loss, Resize, Weights},
    data::normalize::Normalizer,
    metrics::{Coverage, Threshold},
    nn::networks::classifier::Design,
};

/// Raised when a program can't read what an older one wrote.
pub(super) const FORMAT: u32 = 3;

/// The oldest that can be read. Its fields have no digests.
pub(super) const OLDEST: u32 = 2;

/// The field with the digests of all others.
pub(super) const DIGESTS: &str = "digests";

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
    /// The metrics of that epoch, by their names in `history.csv`; nothing where one is no number.
    pub metrics: BTreeMap<String, Option<f64>>,
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
    /// The run that it is of; older programs didn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
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

/// Which run a checkpoint is of, and how that run's data was split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId {
    /// Of every start another one.
    pub id: String,
    /// SHA-256 of the run's `split.csv`, each time that it was written: a resume with pictures that have moved writes it again.
    pub splits: Vec<String>,
}

impl RunId {
    /// Of a run that starts now with this text of `split.csv`.
    pub fn new(split: &[u8]) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let id = sha256_hex(format!("{} {} {now}", process::host(), std::process::id()).as_bytes());
        Self { id: id[..32].to_owned(), splits: vec![sha256_hex(split)] }
    }

    /// The run writes this text of `split.csv` as well.
    pub fn add(&mut self, split: &[u8]) {
        let digest = sha256_hex(split);
        if !self.splits.contains(&digest) {
            self.splits.push(digest);
        }
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
