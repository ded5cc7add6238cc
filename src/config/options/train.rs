//! `[train]`: loss, optimizer, schedule, and when to stop and save.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MaxTime, Metric, Optimizer, Phase, Schedule, Split};

/// Loss, optimizer, schedule, and when to stop and save.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Passes over the training images, at most; with `phases` their sum.
    #[serde(skip_serializing_if = "is_zero")]
    pub epochs: usize,
    /// Training in several stretches, as in `[[train.phases]]`: the head first, say, then the last
    /// blocks at a lower rate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// With frozen layers and augmentation: so many augmentations of each image are drawn, what the
    /// frozen layers make of them is kept, and epochs take them in turn (epoch e those of epoch e
    /// mod N). 0 draws and computes anew in each epoch.
    pub feature_cache: usize,
    /// Images a step. The last, shorter batch of an epoch is trained on as well.
    pub batch_size: usize,
    /// Threads that prepare batches beside the training step; 0 prepares them in the training
    /// thread. The batches are the same.
    pub workers: usize,
    /// In which order, and how often, images are drawn.
    pub sampler: Sampler,
    /// Factor on the loss of each class: `"none"`, `"balanced"` (images / (classes * images of the
    /// class), as scikit-learn), or a table of class names; a class left out has 1. The training
    /// loss is the weighted sum divided by the batch size (Keras; PyTorch divides by the sum of the
    /// weights). The validation loss is never weighted.
    pub class_weights: ClassWeights,
    /// What is made small.
    pub loss: Loss,
    /// Exponent of the focal loss, 2 by default; only with `loss = "focal"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub focal_gamma: Option<f64>,
    /// Share of each target spread evenly over all classes, in training only.
    pub label_smoothing: f64,
    /// How weights follow gradients. Defaults are PyTorch's. Weight decay leaves biases and norm
    /// layers alone.
    pub optimizer: Optimizer,
    /// The learning rate as a function of the step.
    pub schedule: Schedule,
    /// Largest length of the whole gradient (all parameters as one vector); longer ones are scaled
    /// down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Batches whose mean gradient makes one optimizer step. The last group of an epoch may be
    /// smaller and is averaged by its own number of images.
    pub accumulate: usize,
    /// Keep an exponential moving average of the weights with this decay (0.999, say: some 1,000
    /// steps), and validate and save that. The decay is warmed up: step n, counted from 0, has the
    /// smaller of this and (1 + n) / (10 + n), so that the average spans about the last ninth of a
    /// run that is shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// Stop when a metric has stopped improving, by Keras's rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Which epoch is the best, and what else is saved.
    pub checkpoint: Checkpoint,
    /// Stop after the epoch in which this much time has passed since the program was started:
    /// `"45m"`, `"2h"`, `"90s"`. A resume starts the clock anew. After each epoch it is estimated
    /// how many fit; a `cosine` or `one_cycle` schedule ends with the last of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_time: Option<MaxTime>,
    /// Also write TensorBoard's event files, into `tensorboard/` of the run folder, under the names
    /// of Keras's callback; epochs count from 1.
    pub tensorboard: bool,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Default for Train {
    fn default() -> Self {
        Self {
            epochs: 30,
            phases: Vec::new(),
            feature_cache: 0,
            batch_size: 32,
            workers: 1,
            sampler: Sampler::default(),
            class_weights: ClassWeights::default(),
            loss: Loss::default(),
            focal_gamma: None,
            label_smoothing: 0.0,
            optimizer: Optimizer::default(),
            schedule: Schedule::default(),
            clip_norm: None,
            accumulate: 1,
            ema_decay: None,
            early_stopping: None,
            checkpoint: Checkpoint::default(),
            max_time: None,
            tensorboard: false,
        }
    }
}

/// In which order, and how often, images are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Each image once an epoch, in an order that is a permutation drawn from (seed, epoch).
    #[default]
    Shuffle,
    /// As many images an epoch, each class equally often; an image drawn again is augmented afresh.
    Balanced,
}

/// Factor on the loss of each class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// 1 for each class.
    #[default]
    None,
    /// Images / (classes * images of the class).
    Balanced,
    /// By the names of classes.
    #[serde(untagged)]
    Named(BTreeMap<String, f32>),
}

/// What is made small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Softmax cross-entropy.
    #[default]
    CrossEntropy,
    /// One sigmoid output for two classes.
    BinaryCrossEntropy,
    /// Cross-entropy with easy images counted less (Lin et al. 2017, arXiv 1708.02002), without its
    /// alpha: use `class_weights`.
    Focal,
}

/// When to stop: Keras's `EarlyStopping`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStopping {
    /// A metric of `history.csv`, `val_recall_<class>` included.
    pub monitor: Metric,
    /// An improvement must be larger than this.
    pub min_delta: f64,
    /// Epochs without improvement before training stops.
    pub patience: usize,
    /// Until the metric is better than this, no epoch counts as progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Epochs at the start that are not looked at.
    pub start_from_epoch: usize,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self {
            monitor: Metric::default(),
            min_delta: 0.0,
            patience: 5,
            baseline: None,
            start_from_epoch: 0,
        }
    }
}

/// Which epoch is the best, and what else is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// The metric whose best epoch is kept in `best/`; any of `history.csv`, `val_recall_<class>`
    /// included.
    pub monitor: Metric,
    /// Save `last/` also after every so many optimizer steps inside an epoch; 0 saves at the end of
    /// epochs only.
    pub every_steps: usize,
    /// Whether a checkpoint holds the layers that stay frozen. Without them it is small, but
    /// whoever uses it needs the file that they came from; a hash tells that it is the same.
    pub include_backbone: bool,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            monitor: Metric::Accuracy(Split::Validation),
            every_steps: 0,
            include_backbone: true,
        }
    }
}
