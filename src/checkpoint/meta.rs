//! The content of `meta.json`: what the weights belong to, and everything that `evaluate` and
//! `predict` need besides. Reading and checking it is the task of `meta_file` and `check`.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    base::{io::files::sha256_hex, process},
    config::{Color, Data, Interpolation, Loss, OnBadImage, Resize, Weights},
    data::batches::normalize::Normalizer,
    metrics::{Coverage, Novelty, Reconstruction, Threshold},
    nn::networks::classifier::{Design, Output},
};

/// Format that is written; to be raised when older programs can't read it any more.
pub(super) const FORMAT: u32 = 3;

/// Oldest format that can be read. Its fields have no digests.
pub(super) const OLDEST: u32 = 2;

/// Name of the field with the digests of all others.
pub(super) const DIGESTS: &str = "digests";

/// Name of the file with the distribution of features that images are compared with, if novelty
/// was fitted.
pub(super) const NOVELTY: &str = "novelty.safetensors";

/// Metadata of a checkpoint: what the weights belong to, and how to predict with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Format of the checkpoint folder.
    pub format: u32,
    /// Version of the program that wrote it.
    pub emberlens: String,
    /// Name of the configuration.
    pub name: String,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
    /// Height and width of the network's input in pixels.
    pub image_size: [usize; 2],
    /// Color mode of the network's input.
    pub color: Color,
    /// How images are brought to that size.
    pub resize: Resize,
    /// Filter for resizing.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// Whether damaged images are used as far as they can be decoded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repair: bool,
    /// Normalization of pixel values.
    pub normalize: Normalizer,
    /// Architecture, input shape and number of classes.
    pub design: Design,
    /// Loss that is trained with and reported.
    pub loss: Loss,
    /// Exponent of the focal loss.
    pub focal_gamma: f64,
    /// Number of epochs trained.
    pub epoch: usize,
    /// Metrics of the last epoch by their names in `history.csv`; `None` for one that isn't finite.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// Divisor of logits before they become probabilities: 1, or the result of `calibrate
    /// --temperature`.
    #[serde(default = "one")]
    pub temperature: f64,
    /// Decision threshold of one class, fitted by `calibrate --sensitivity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Threshold of prediction sets, fitted by `calibrate --coverage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// Rate of false alarms at which images count as unlike the training images, fitted by
    /// `calibrate --novelty`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<Novelty>,
    /// Error of an autoencoder above which images are unlike the training images, fitted at the end
    /// of training and by `calibrate --novelty`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconstruction: Option<Reconstruction>,
    /// Layers that no phase of the training changes, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
    /// The run that the checkpoint belongs to; `None` in checkpoints of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// SHA-256 of the other files of the checkpoint.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

fn one() -> f64 {
    1.0
}

impl Meta {
    /// Returns how images are read for the checkpoint, but for their normalization, which has
    /// statistics of its own.
    pub fn data(&self) -> Data {
        Data {
            image_size: self.image_size,
            color: self.color,
            resize: self.resize,
            interpolation: self.interpolation,
            on_bad_image: if self.repair {
                OnBadImage::Repair
            } else {
                OnBadImage::Skip
            },
            ..Data::of(String::new())
        }
    }

    /// Returns whether the network gives images rather than classes.
    pub fn is_autoencoder(&self) -> bool {
        self.design.output == Output::Image
    }

    /// Returns the format that this version writes.
    pub fn format() -> u32 {
        FORMAT
    }
}

/// Identity of a run, and the data it was started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId {
    /// Identifier, different for every start.
    pub id: String,
    /// SHA-256 of each content of the run's `split.csv`: a resume with images that have moved
    /// writes it again.
    pub splits: Vec<String>,
}

impl RunId {
    /// Returns the identity of a run that starts now with this content of `split.csv`.
    pub fn new(split: &[u8]) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_nanos());
        let id = sha256_hex(format!("{} {} {now}", process::host(), std::process::id()).as_bytes());
        Self {
            id: id[..32].to_owned(),
            splits: vec![sha256_hex(split)],
        }
    }

    /// Adds a content of `split.csv`, unless it is known.
    pub fn add(&mut self, split: &[u8]) {
        let digest = sha256_hex(split);
        if !self.splits.contains(&digest) {
            self.splits.push(digest);
        }
    }
}

/// Frozen layers of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Number of layer groups, counted from the input.
    pub groups: usize,
    /// Origin of their weights.
    pub weights: Weights,
    /// SHA-256 of `backbone.safetensors`, whether the checkpoint includes it or not.
    pub sha256: String,
}
