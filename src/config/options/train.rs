//! `[train]`: loss, optimizer, schedule, and when to stop and save.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MaxTime, Metric, Optimizer, Phase, Schedule, Split};

/// Loss, optimizer, schedule, and when to stop and save.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Maximum number of passes over the training images; with `phases`, their sum.
    #[serde(skip_serializing_if = "is_zero")]
    pub epochs: usize,
    /// Training in several phases, as in `[[train.phases]]`: such as the head first, then the last
    /// blocks at a lower rate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// Cross-validation, as scikit-learn's `StratifiedGroupKFold`: the training images, and
    /// validation images that have a source of their own, are dealt into so many folds (stratified
    /// by class and seeded; images of one `group` and copies stay together). A network is trained
    /// for each fold, which is held back for validation, as a run of its own in the run folder; all
    /// of them together classify new images. A share in `data.validation` isn't held back then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// Trains the network of this one of the `folds` alone, counted from 1, as an ordinary run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// Number of cross-validations, one after the other, with the seeds `seed`, `seed + 1` and so
    /// on (other folds, initial weights and order), to tell how much of a difference between two
    /// recipes may be the seed alone; only with `folds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<usize>,
    /// Trains a network on each of these fractions of the training images, rising from above 0 to 1
    /// at most, as a run of its own in the run folder, and tells whether more images would help.
    /// The validation images are the same for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learning_curve: Vec<f64>,
    /// Trains on this fraction of the training images alone, above 0 and at most 1: stratified by
    /// class and seeded, groups and copies as a whole. A smaller fraction is part of a larger one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// With frozen layers and augmentation: the number of augmented variants per image whose frozen
    /// features are cached; epochs cycle through them (epoch e uses those of epoch e mod N). With 0
    /// they are drawn and computed anew in each epoch.
    pub feature_cache: usize,
    /// Images per step. The last, shorter batch of an epoch is trained on as well.
    pub batch_size: usize,
    /// Number of threads that prepare batches during the training step; 0 prepares them in the
    /// training thread. The batches are the same.
    pub workers: usize,
    /// In which order, and how often, images are drawn.
    pub sampler: Sampler,
    /// Factor on the loss of each class: `"none"`, `"balanced"` (images / (classes * images of the
    /// class), as in scikit-learn), or a table by class name, in which a missing class has 1. The
    /// training loss is the weighted sum divided by the batch size (as in Keras; PyTorch divides by
    /// the sum of the weights). The validation loss is never weighted.
    pub class_weights: ClassWeights,
    /// The function that training minimizes.
    pub loss: Loss,
    /// Exponent of the focal loss, 2 by default; only with `loss = "focal"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub focal_gamma: Option<f64>,
    /// Fraction of each target that is spread evenly over all classes, in training only.
    pub label_smoothing: f64,
    /// The rule by which weights follow gradients. Defaults are PyTorch's. Weight decay leaves
    /// biases and norm layers alone.
    pub optimizer: Optimizer,
    /// The learning rate as a function of the step.
    pub schedule: Schedule,
    /// Maximum norm of the whole gradient (all parameters as one vector); a longer one is scaled
    /// down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Number of batches whose mean gradient makes one optimizer step. The last group of an epoch
    /// may be smaller and is averaged over its own number of images.
    pub accumulate: usize,
    /// Decay of an exponential moving average of the weights (such as 0.999: about 1,000 steps),
    /// which is validated and saved in place of the weights. The decay is warmed up: step n,
    /// counted from 0, uses the smaller of this and (1 + n) / (10 + n), so that the average spans
    /// about the last ninth of a shorter run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// When to stop because a metric has stopped improving, by Keras's rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Which epoch counts as the best, and what else is saved.
    pub checkpoint: Checkpoint,
    /// Stops after the epoch in which this much time has passed since the program was started:
    /// `"45m"`, `"2h"`, `"90s"`. A resume restarts the clock. After each epoch the number of epochs
    /// that fit is estimated; a `cosine` or `one_cycle` schedule ends with the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_time: Option<MaxTime>,
    /// Whether to write TensorBoard event files too, into `tensorboard/` in the run folder, under
    /// the names of Keras's callback; epochs count from 1.
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
            folds: None,
            fold: None,
            repeats: None,
            learning_curve: Vec::new(),
            fraction: None,
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
    /// Each image once per epoch, in an order drawn from the seed and the epoch.
    #[default]
    Shuffle,
    /// As many draws per epoch, each class equally often; an image drawn again is augmented anew.
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
    /// A factor for each class name.
    #[serde(untagged)]
    Named(BTreeMap<String, f32>),
}

/// The function that training minimizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Softmax cross-entropy.
    #[default]
    CrossEntropy,
    /// Sigmoid cross-entropy with a single output, for two classes.
    BinaryCrossEntropy,
    /// Cross-entropy in which easy images count less (Lin et al. 2017, arXiv 1708.02002), without
    /// its alpha: use `class_weights`.
    Focal,
    /// Mean of the squared differences between the values of the image, normalized, and those that
    /// the network gives for it; for `autoencoder` alone, whose loss it always is.
    MeanSquaredError,
}

/// When to stop: Keras's `EarlyStopping`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyStopping {
    /// A metric of `history.csv`, `val_recall_<class>` included.
    pub monitor: Metric,
    /// Minimum change that counts as an improvement.
    pub min_delta: f64,
    /// Epochs without improvement before training stops.
    pub patience: usize,
    /// Value that the metric must be better than before any epoch counts as progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Number of epochs at the start that are ignored.
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

/// Which epoch counts as the best, and what else is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// The metric whose best epoch is kept in `best/`; any of `history.csv`, `val_recall_<class>`
    /// included. `"val_loss"` by default for an autoencoder.
    pub monitor: Metric,
    /// Saves `last/` also after every so many optimizer steps within an epoch; 0 saves at the end
    /// of epochs only.
    pub every_steps: usize,
    /// Whether checkpoints include the layers that stay frozen. Without them a checkpoint is small,
    /// but needs the file of pretrained weights to be used; a hash tells that it is the same.
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
