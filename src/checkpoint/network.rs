//! A checkpoint in memory: the network's weights as bytes, and what training needs besides.

use std::{path::Path, sync::Arc};

use burn::tensor::Device;
use serde_json::Value;

use super::{
    error::CheckpointError,
    load,
    meta::{Frozen, Meta},
};
use crate::{
    base::{io::files::sha256_hex, progress::Progress},
    config::Weights,
    nn::{
        NnError,
        networks::{classifier::Classifier, empty},
        pretrained::{self, FetchError, fetch, locate},
        weights::{Part, from_bytes, to_bytes},
    },
};

/// Frozen layers of a network as the bytes of `backbone.safetensors`, with their digest.
#[derive(Debug)]
pub struct FrozenBytes {
    /// Weights in safetensors format.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
}

impl FrozenBytes {
    /// Returns the first `groups` layer groups of a network as bytes.
    ///
    /// # Errors
    /// Returns an error if the device can't be read.
    pub fn of(model: &Classifier, groups: usize) -> Result<Self, NnError> {
        let bytes = to_bytes(model, Part::Frozen(groups))?;
        Ok(Self {
            sha256: sha256_hex(&bytes),
            bytes,
        })
    }
}

/// Content of a checkpoint for predictions.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Classes, preprocessing, design and decisions.
    pub meta: Meta,
    /// Weights of all but the frozen layers, in safetensors format.
    pub model: Vec<u8>,
    /// Frozen layers, if there are any and the checkpoint includes them.
    pub backbone: Option<Arc<FrozenBytes>>,
}

/// Content of a checkpoint for a resume.
#[derive(Clone, Debug)]
pub struct Resumable {
    /// Network and metadata.
    pub checkpoint: Checkpoint,
    /// State of the optimizer, and the weights behind averaged ones, in safetensors format.
    pub optimizer: Vec<u8>,
    /// Counters and decisions of the training loop.
    pub state: Value,
}

/// Loads the checkpoint folder at `path` as [`load`] does, if its network knows classes.
///
/// # Errors
/// Fails as [`load`] does, and for an autoencoder.
pub fn load_classifier(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let checkpoint = load(path)?;
    match checkpoint.meta.is_autoencoder() {
        true => Err(CheckpointError::Autoencoder(path.to_owned())),
        false => Ok(checkpoint),
    }
}

impl Checkpoint {
    /// Downloads the published weights that the checkpoint refers to, unless it includes them or
    /// they are cached.
    ///
    /// # Errors
    /// Returns an error if the download fails.
    pub fn fetch_backbone(&self, progress: &dyn Progress) -> Result<(), FetchError> {
        match &self.meta.frozen {
            Some(frozen) if self.backbone.is_none() && frozen.weights == Weights::Imagenet => {
                fetch::ensure(self.meta.design.model.architecture, progress)
            }
            _ => Ok(()),
        }
    }

    /// Builds the network with its weights on `device`.
    ///
    /// # Errors
    /// Returns an error if weights don't fit the network, or if frozen layers that the checkpoint
    /// doesn't include can't be found or have changed.
    pub fn network(&self, device: &Device) -> Result<Classifier, CheckpointError> {
        let mut model = empty(&self.meta.design, device);
        let groups = self.meta.frozen.as_ref().map_or(0, |frozen| frozen.groups);
        match (&self.meta.frozen, &self.backbone) {
            (Some(_), Some(kept)) => model = from_bytes(model, &kept.bytes, Part::Frozen(groups))?,
            (Some(frozen), None) => model = self.find_frozen(model, frozen)?,
            (None, _) => {}
        }
        Ok(from_bytes(model, &self.model, Part::Rest(groups))?)
    }

    /// Loads frozen layers that the checkpoint doesn't include, from the file that they came from.
    fn find_frozen(
        &self,
        model: Classifier,
        frozen: &Frozen,
    ) -> Result<Classifier, CheckpointError> {
        let architecture = self.meta.design.model.architecture;
        let path = locate(architecture, &frozen.weights).unwrap_or_default();
        let failed = |reason: String| {
            let hint = match frozen.weights {
                Weights::Imagenet => format!(
                    "`emberlens weights fetch {}` downloads them",
                    architecture.name()
                ),
                _ => "put the file that the run was trained with there".to_owned(),
            };
            CheckpointError::Backbone {
                path: path.clone(),
                reason,
                hint,
            }
        };
        if !path.is_file() {
            return Err(failed("no such file".to_owned()));
        }
        let (model, _) = pretrained::load(model, &path)?;
        let found = FrozenBytes::of(&model, frozen.groups)?;
        if found.sha256 == frozen.sha256 {
            Ok(model)
        } else {
            Err(failed(
                "its weights differ from those that the run was trained with".to_owned(),
            ))
        }
    }
}
