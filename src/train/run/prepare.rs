//! The initial state of a run: the network with its first weights, the normalization that belongs
//! to them and the class weights; and the checks of the configuration that need the data.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::Device;

use crate::train::{TrainError, rules::schedule::PlateauRule};
use crate::{
    architecture::{Dialect, Strided},
    base::memory::available_bytes,
    checkpoint::{Checkpoint, FrozenBytes, load},
    config::{ClassWeights, Config, Loss, Metric, Normalize, Phase, Split},
    data::{
        TrainingData,
        batches::{dataset::ImageSet, normalize::Normalizer},
        store::Format,
    },
    nn::{
        estimate::Estimate,
        networks::{
            build,
            classifier::{Classifier, Design, Output},
        },
        pretrained::{self, Found, Origin, locate},
    },
};

/// The network of a session and what belongs to it.
pub(in crate::train) struct Network {
    pub(in crate::train) design: Design,
    /// Device with autodiff.
    pub(in crate::train) device: Device,
    /// Network with autodiff.
    pub(in crate::train) model: Classifier,
    pub(in crate::train) normalizer: Normalizer,
    /// Layers that no phase trains, as bytes.
    pub(in crate::train) backbone: Option<Arc<FrozenBytes>>,
    /// What the weights expect, in words, if they come from a file.
    pub(in crate::train) remark: Option<String>,
}

impl Network {
    /// Builds the network of a new run. `device` is without autodiff.
    ///
    /// # Errors
    /// Returns an error if the weights can't be read or don't fit the network, or if an image can't
    /// be read again.
    pub(in crate::train) fn start(
        config: &Config,
        data: &TrainingData,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let mut design = design(config, data)?;
        let found = weights_file(config)?;
        design.model.dialect = match &found {
            Some((path, found)) => dialect_of(path, found)?,
            None => config.model.dialect,
        };
        let remark = found
            .as_ref()
            .and_then(|(_, found)| weights_words(config, found));
        let device = device.clone().autodiff();
        let model = build(&design, config.seed, &device);
        let (model, normalizer) = pretrain(model, config, &data.train, found)?;
        let backbone = frozen_bytes(&model, config)?;
        Ok(Self {
            design,
            device,
            model: with_norms(model, config),
            normalizer,
            backbone,
            remark,
        })
    }

    /// Builds the network of a resumed run, with the normalization that the run was started with.
    ///
    /// # Errors
    /// Returns an error if the weights don't fit the network.
    pub(in crate::train) fn resume(
        config: &Config,
        data: &TrainingData,
        device: &Device,
        checkpoint: &Checkpoint,
    ) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let model = checkpoint.network(&device)?;
        // A checkpoint with a copy of the frozen layers keeps it byte for byte.
        let backbone = match &checkpoint.backbone {
            Some(kept) => Some(Arc::clone(kept)),
            None => frozen_bytes(&model, config)?,
        };
        let mut design = design(config, data)?;
        design.model.dialect = checkpoint.meta.design.model.dialect;
        Ok(Self {
            design,
            device,
            model: with_norms(model, config),
            normalizer: checkpoint.meta.normalize.clone(),
            backbone,
            remark: None,
        })
    }
}

/// Returns the network with batch norms that learn, or that keep what their weights came with.
fn with_norms(model: Classifier, config: &Config) -> Classifier {
    if config.model.freeze_norms() {
        model.with_frozen_norms()
    } else {
        model
    }
}

/// Describes what weights of a library expect and how that was told: "Weights as Keras's
/// mobilenet_v2 (by the names in the file): padded by SAME, norm epsilon 0.001, pixel values -1 to
/// 1".
fn weights_words(config: &Config, found: &Found) -> Option<String> {
    let dialect = found.dialect?;
    let architecture = config.model.architecture;
    let traits = architecture.traits(Some(dialect));
    let padding = match traits.padding {
        Strided::Even => "padded evenly",
        Strided::Same => "padded by TensorFlow's SAME rule",
        Strided::After => "padded below and right",
    };
    let normalize = match (&config.data.normalize, &found.normalize) {
        (Normalize::Auto, Some(expected)) => format!("pixel values: {expected}"),
        (chosen, Some(expected)) if chosen != expected => {
            format!(
                "pixel values: {chosen} as the recipe says, where the weights expect {expected}"
            )
        }
        (chosen, _) => format!("pixel values: {chosen}"),
    };
    Some(format!(
        "Weights as {dialect} has {architecture:?}, by {}: {padding}, norm epsilon {}, {normalize}",
        found.by, traits.epsilon
    ))
}

/// Returns the file with the configured weights, and what is known of it.
///
/// # Errors
/// Returns an error if it can't be read or is of another network.
fn weights_file(config: &Config) -> Result<Option<(PathBuf, Found)>, TrainError> {
    let model = &config.model;
    let Some(path) = locate(model.architecture, &model.weights()) else {
        return Ok(None);
    };
    let found = pretrained::find(
        model.architecture,
        &model.network(config.data.color.channels()),
        model.dialect,
        &path,
    )?;
    Ok(Some((path, found)))
}

/// Returns the library whose layers the weights at `path` belong to.
///
/// # Errors
/// Returns an error if they are a checkpoint's whose `meta.json` can't be read.
fn dialect_of(path: &Path, found: &Found) -> Result<Option<Dialect>, TrainError> {
    match found.origin {
        Origin::Own => Ok(checkpoint_beside(path)?.meta.design.model.dialect),
        Origin::Library(_) => Ok(found.dialect),
    }
}

/// Returns the layers that no phase trains as bytes, `None` if there are none.
fn frozen_bytes(
    model: &Classifier,
    config: &Config,
) -> Result<Option<Arc<FrozenBytes>>, TrainError> {
    let frozen = config.always_frozen();
    Ok(if frozen > 0 {
        Some(Arc::new(FrozenBytes::of(model, frozen)?))
    } else {
        None
    })
}

/// Returns what the network is built from.
///
/// # Errors
/// Returns an error if a sigmoid output meets other than two classes.
fn design(config: &Config, data: &TrainingData) -> Result<Design, TrainError> {
    let num_classes = data.classes.len();
    if config.train.loss == Loss::BinaryCrossEntropy && num_classes != 2 {
        return Err(TrainError::Binary(num_classes));
    }
    let [height, width, channels] = Format::of(&config.data).shape();
    Ok(Design {
        model: config.model.clone(),
        input: [channels, height, width],
        num_classes,
        output: Output::of(config.train.loss),
    })
}

/// Returns the network with the configured initial weights, and the normalization that is
/// configured or belongs to those weights.
fn pretrain(
    model: Classifier,
    config: &Config,
    train: &ImageSet,
    found: Option<(PathBuf, Found)>,
) -> Result<(Classifier, Normalizer), TrainError> {
    let fit = |normalize: &Normalize| Normalizer::fit(normalize, config.data.color, train);
    let Some((path, found)) = found else {
        return Ok((model, fit(&config.data.normalize)?));
    };
    let (model, _) = pretrained::load(model, &path)?;
    let normalizer = match (&config.data.normalize, found.normalize) {
        (Normalize::Auto, Some(expected)) => fit(&expected)?,
        (Normalize::Auto, None) => checkpoint_beside(&path)?.meta.normalize,
        (chosen, _) => fit(chosen)?,
    };
    Ok((model, normalizer))
}

/// Returns the checkpoint that contains the weights at `path`.
fn checkpoint_beside(path: &Path) -> Result<Checkpoint, TrainError> {
    load(path.parent().unwrap_or(Path::new(".")))
        .map_err(|_| TrainError::Normalize(path.to_owned()))
}

/// Returns the learning rate that a phase starts with.
pub(in crate::train) fn base_rate(config: &Config, phase: &Phase) -> f64 {
    phase
        .learning_rate
        .unwrap_or_else(|| config.train.optimizer.learning_rate())
}

/// Checks that `[augment.class.NAME]` names classes of the data.
///
/// # Errors
/// Returns an error for the first name that is no class.
pub fn check_augmented_classes(config: &Config, classes: &[String]) -> Result<(), TrainError> {
    let is_unknown = |name: &&str| classes.iter().all(|class| class != name);
    match config.augment.classes().find(is_unknown) {
        Some(name) => Err(TrainError::Class {
            key: format!("augment.class.{name}"),
            name: name.to_owned(),
            classes: classes.to_vec(),
        }),
        None => Ok(()),
    }
}

/// Returns the number of images in the largest batch, which is never larger than its set.
pub(in crate::train) fn largest_batch(
    config: &Config,
    train: &ImageSet,
    validation: &ImageSet,
) -> usize {
    config
        .train
        .batch_size
        .min(train.images.len().max(validation.images.len()))
}

/// Checks that a network fits the available memory, before anything of it is allocated.
///
/// The memory of a GPU isn't known. There (`on_host` is false), only the weights are compared with
/// the host's memory, where they are initialized.
///
/// # Errors
/// Returns an error that names the largest layer if the network needs more memory than is
/// available.
pub fn check_memory(estimate: &Estimate, on_host: bool) -> Result<(), TrainError> {
    // Used if the available memory is unknown: about what 48-bit addresses reach.
    const MOST: f64 = 256e12;
    let needed = if on_host {
        estimate.total()
    } else {
        estimate.weights
    };
    let available = available_bytes().map_or(MOST, |bytes| bytes as f64);
    // On measured runs, the estimate was 0.90 to 1.39 times the peak memory.
    if needed <= available {
        return Ok(());
    }
    let largest = estimate.largest.clone();
    let advice = match (largest.is_weights, largest.name.as_str()) {
        (true, "head.hidden.0") => {
            "make model.hidden or data.image_size smaller, or set model.pooling = \"average\""
        }
        (true, name) if name.starts_with("head.hidden") => "make model.hidden smaller",
        (true, "head.output") => "make model.hidden smaller, or set model.pooling = \"average\"",
        (true, _) => "make model.channels smaller, or the layers of model.layers narrower",
        (false, _) => {
            "make train.batch_size, data.image_size or model.channels smaller, or the layers of \
             model.layers narrower"
        }
    };
    Err(TrainError::Memory {
        needed,
        available,
        largest,
        advice,
    })
}

/// Checks every class that the configuration names.
///
/// # Errors
/// Returns an error for the first name that is no class, or has no validation image to monitor.
pub(in crate::train) fn check_names(
    config: &Config,
    data: &TrainingData,
) -> Result<(), TrainError> {
    check_augmented_classes(config, &data.classes)?;
    check_monitors(config, &data.validation)?;
    class_weights(&config.train.class_weights, &data.train).map(|_| ())
}

/// Checks that each monitored metric of one class names a class with validation images: without
/// them, the metric would be NaN in every epoch and no epoch could be the best.
fn check_monitors(config: &Config, validation: &ImageSet) -> Result<(), TrainError> {
    let (train, classes) = (&config.train, &validation.classes);
    let plateau =
        PlateauRule::of(&train.schedule).map(|rule| ("train.schedule.monitor", rule.monitor));
    let stopping = train
        .early_stopping
        .as_ref()
        .map(|rule| ("train.early_stopping.monitor", rule.monitor.clone()));
    let checkpoint = Some(("train.checkpoint.monitor", train.checkpoint.monitor.clone()));
    for (key, metric) in [plateau, stopping, checkpoint].into_iter().flatten() {
        let Metric::Recall(class) = &metric else {
            continue;
        };
        let Some(label) = classes.iter().position(|name| name == class) else {
            return Err(TrainError::Class {
                key: format!("{key} = \"{metric}\""),
                name: class.clone(),
                classes: classes.to_vec(),
            });
        };
        if validation.class_counts()[label] == 0 {
            let instead = Metric::MacroF1(Split::Validation);
            return Err(TrainError::Unmeasured {
                key,
                class: class.clone(),
                metric,
                instead,
            });
        }
    }
    Ok(())
}

/// Returns the factor on the loss of each class. Balanced weights are images / (classes * images of
/// the class), as in scikit-learn.
///
/// # Errors
/// Returns an error for a name that isn't a class.
pub(in crate::train) fn class_weights(
    wanted: &ClassWeights,
    train: &ImageSet,
) -> Result<Vec<f32>, TrainError> {
    let classes = &train.classes;
    match wanted {
        ClassWeights::None => Ok(vec![1.0; classes.len()]),
        ClassWeights::Balanced => Ok(balanced(&train.class_counts())),
        ClassWeights::Named(weights) => {
            if let Some(name) = weights.keys().find(|name| !classes.contains(name)) {
                return Err(TrainError::Class {
                    key: "train.class_weights".to_owned(),
                    name: name.clone(),
                    classes: classes.to_vec(),
                });
            }
            Ok(classes
                .iter()
                .map(|class| weights.get(class).copied().unwrap_or(1.0))
                .collect())
        }
    }
}

fn balanced(counts: &[usize]) -> Vec<f32> {
    let total: usize = counts.iter().sum();
    counts
        .iter()
        .map(|count| (total as f64 / (counts.len() * count) as f64) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The class counts of FER-2013, and scikit-learn's `compute_class_weight("balanced")` for
    /// them.
    #[test]
    fn balanced_weights_are_scikit_learns() {
        let got = balanced(&[3993, 436, 4103, 7164, 4982, 4938, 3205]);
        let expected = [1.0311, 9.4433, 1.0035, 0.5747, 0.8264, 0.8338, 1.2846];
        assert!(
            got.iter()
                .zip(expected)
                .all(|(got, expected)| (got - expected).abs() < 5e-5),
            "{got:?}"
        );
    }
}
