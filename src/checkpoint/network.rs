//! A checkpoint in memory: the network's weights as bytes, and what a training needs beside them.

use std::sync::Arc;

use burn::tensor::Device;
use serde_json::Value;

use super::{
    error::CheckpointError,
    meta::{Frozen, Meta},
};
use crate::{
    base::{files::sha256_hex, progress::Progress},
    config::Weights,
    nn::{
        NnError,
        networks::{classifier::Classifier, empty},
        pretrained::{self, FetchError, fetch, locate},
        weights::{Part, from_bytes, to_bytes},
    },
};

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

/// What predictions are made with.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What the weights belong to.
    pub meta: Meta,
    /// Safetensors: all but the frozen layers.
    pub model: Vec<u8>,
    /// The frozen layers, where there are any and they are kept.
    pub backbone: Option<Arc<FrozenBytes>>,
}

/// What a training goes on with.
#[derive(Clone, Debug)]
pub struct Resumable {
    /// The network.
    pub checkpoint: Checkpoint,
    /// Safetensors: the optimiser's state, and the weights behind a moving average.
    pub optimizer: Vec<u8>,
    /// Counters and decisions of the loop.
    pub state: Value,
}

impl Checkpoint {
    /// Downloads the published weights that the checkpoint names but doesn't hold, unless they are cached.
    ///
    /// # Errors
    /// They can't be downloaded.
    pub fn fetch_backbone(&self, progress: &dyn Progress) -> Result<(), FetchError> {
        match &self.meta.frozen {
            Some(frozen) if self.backbone.is_none() && frozen.weights == Weights::Imagenet => {
                fetch::ensure(self.meta.design.model.architecture, progress)
            }
            _ => Ok(()),
        }
    }

    /// The network with its weights, on `device`.
    ///
    /// # Errors
    /// Weights that don't fit; frozen layers that aren't kept and can't be found.
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
