//! What a run starts from: the network with its first weights, the normalisation that belongs to them, the factors of the classes; and the
//! checks that need the data.

use std::{path::Path, sync::Arc};

use burn::tensor::Device;

use crate::train::{TrainError, rules::schedule::PlateauRule};
use crate::{
    base::memory::available_bytes,
    checkpoint::{Checkpoint, FrozenBytes, load},
    config::{ClassWeights, Config, Loss, Metric, Normalize, Phase, Split},
    data::{TrainingData, dataset::PictureSet, normalize::Normalizer, pictures::Format},
    nn::{
        estimate::Estimate,
        networks::{
            build,
            classifier::{Classifier, Design, Output},
        },
        pretrained::{self, Origin, locate},
    },
};

/// What a session is made of beside its configuration and data.
pub(in crate::train) struct Network {
    pub(in crate::train) design: Design,
    /// With autodiff.
    pub(in crate::train) device: Device,
    /// With autodiff.
    pub(in crate::train) model: Classifier,
    pub(in crate::train) normalizer: Normalizer,
    /// Layers that no phase trains.
    pub(in crate::train) backbone: Option<Arc<FrozenBytes>>,
}

impl Network {
    /// For a new run; `device` is without autodiff.
    ///
    /// # Errors
    /// Weights that can't be read or don't fit; pictures that can't be read again.
    pub(in crate::train) fn start(config: &Config, data: &TrainingData, device: &Device) -> Result<Self, TrainError> {
        let design = design(config, data)?;
        let device = device.clone().autodiff();
        let model = build(&design, config.seed, &device);
        let (model, normalizer) = pretrain(model, config, &data.train)?;
        let backbone = frozen_bytes(&model, config)?;
        Ok(Self { design, device, model, normalizer, backbone })
    }

    /// For a run that goes on; its statistics are those that it was started with.
    ///
    /// # Errors
    /// Weights that don't fit.
    pub(in crate::train) fn resume(
        config: &Config,
        data: &TrainingData,
        device: &Device,
        checkpoint: &Checkpoint,
    ) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let model = checkpoint.network(&device)?;
        let backbone = match &checkpoint.backbone {
            Some(kept) => Some(Arc::clone(kept)),
            None => frozen_bytes(&model, config)?,
        };
        Ok(Self { design: design(config, data)?, device, model, normalizer: checkpoint.meta.normalize.clone(), backbone })
    }
}

fn frozen_bytes(model: &Classifier, config: &Config) -> Result<Option<Arc<FrozenBytes>>, TrainError> {
    let frozen = config.always_frozen();
    Ok(if frozen > 0 { Some(Arc::new(FrozenBytes::of(model, frozen)?)) } else { None })
}

fn design(config: &Config, data: &TrainingData) -> Result<Design, TrainError> {
    let num_classes = data.classes.len();
    if config.train.loss == Loss::BinaryCrossEntropy && num_classes != 2 {
        return Err(TrainError::Binary(num_classes));
    }
    let [height, width, channels] = Format::of(&config.data).shape();
    Ok(Design { model: config.model.clone(), input: [channels, height, width], num_classes, output: Output::of(config.train.loss) })
}

/// The network with the weights that the configuration names, and the normalisation that it asks for or that belongs to them.
fn pretrain(model: Classifier, config: &Config, train: &PictureSet) -> Result<(Classifier, Normalizer), TrainError> {
    let fit = |normalize: &Normalize| Normalizer::fit(normalize, config.data.color, train);
    let Some(path) = locate(config.model.architecture, &config.model.weights()) else {
        return Ok((model, fit(&config.data.normalize)?));
    };
    let (model, origin) = pretrained::load(model, &path)?;
    let normalizer = match (&config.data.normalize, origin) {
        (Normalize::Auto, Origin::Torch) => fit(&Normalize::Imagenet)?,
        (Normalize::Auto, Origin::Keras) => fit(&Normalize::Caffe)?,
        (Normalize::Auto, Origin::Own) => normalizer_beside(&path)?,
        (chosen, _) => fit(chosen)?,
    };
    Ok((model, normalizer))
}

/// The normalisation of the checkpoint that a file of ours is in.
fn normalizer_beside(path: &Path) -> Result<Normalizer, TrainError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    load(folder).map(|checkpoint| checkpoint.meta.normalize).map_err(|_| TrainError::Normalize(path.to_owned()))
}

/// The learning rate that a phase starts from.
pub(in crate::train) fn base_rate(config: &Config, phase: &Phase) -> f64 {
    phase.learning_rate.unwrap_or_else(|| config.train.optimizer.learning_rate())
}

/// `[augment.class.NAME]` must name a class that is there.
///
/// # Errors
/// The first that doesn't.
pub fn check_augmented_classes(config: &Config, classes: &[String]) -> Result<(), TrainError> {
    match config.augment.class.keys().find(|name| !classes.contains(name)) {
        Some(name) => Err(TrainError::Class { key: format!("augment.class.{name}"), name: name.clone(), classes: classes.to_vec() }),
        None => Ok(()),
    }
}

/// Pictures of the largest batch, which is never larger than the set that it comes from.
pub(in crate::train) fn largest_batch(config: &Config, train: &PictureSet, validation: &PictureSet) -> usize {
    config.train.batch_size.min(train.pictures.len().max(validation.pictures.len()))
}

/// Refuses a network that can't fit, before anything of it is made. Not on the host, so on a GPU, whose memory isn't known, its weights alone
/// must fit here, where they are drawn.
///
/// # Errors
/// Too large for what is left of this machine's memory, with the largest layer.
pub fn check_memory(estimate: &Estimate, on_host: bool) -> Result<(), TrainError> {
    // Where the system doesn't tell: no processor of today reaches further.
    const MOST: f64 = 256e12;
    let needed = if on_host { estimate.total() } else { estimate.weights };
    let available = available_bytes().map_or(MOST, |bytes| bytes as f64);
    if needed <= available {
        return Ok(());
    }
    let largest = estimate.largest.clone();
    let advice = match (largest.is_weights, largest.name.as_str()) {
        (true, "head.hidden.0") => "make model.hidden or data.image_size smaller, or set model.pooling = \"average\"",
        (true, name) if name.starts_with("head.hidden") => "make model.hidden smaller",
        (true, "head.output") => "make model.hidden smaller, or set model.pooling = \"average\"",
        (true, _) => "make model.channels smaller",
        (false, _) => "make train.batch_size, data.image_size or model.channels smaller",
    };
    Err(TrainError::Memory { needed, available, largest, advice })
}

/// Every class that the configuration names must be there.
pub(in crate::train) fn check_names(config: &Config, data: &TrainingData) -> Result<(), TrainError> {
    check_augmented_classes(config, &data.classes)?;
    check_monitors(config, &data.validation)?;
    class_weights(&config.train.class_weights, &data.train).map(|_| ())
}

/// A metric of one class must name a class that validation has pictures of.
fn check_monitors(config: &Config, validation: &PictureSet) -> Result<(), TrainError> {
    let (train, classes) = (&config.train, &validation.classes);
    let plateau = PlateauRule::of(&train.schedule).map(|rule| ("train.schedule.monitor", rule.monitor));
    let stopping = train.early_stopping.as_ref().map(|rule| ("train.early_stopping.monitor", rule.monitor.clone()));
    let checkpoint = Some(("train.checkpoint.monitor", train.checkpoint.monitor.clone()));
    for (key, metric) in [plateau, stopping, checkpoint].into_iter().flatten() {
        let Metric::Recall(class) = &metric else { continue };
        let Some(label) = classes.iter().position(|name| name == class) else {
            return Err(TrainError::Class { key: format!("{key} = \"{metric}\""), name: class.clone(), classes: classes.to_vec() });
        };
        if validation.class_counts()[label] == 0 {
            let instead = Metric::MacroF1(Split::Validation);
            return Err(TrainError::Unmeasured { key, class: class.clone(), metric, instead });
        }
    }
    Ok(())
}

/// One factor a class. Balanced: pictures / (classes * pictures of the class), as scikit-learn.
pub(in crate::train) fn class_weights(wanted: &ClassWeights, train: &PictureSet) -> Result<Vec<f32>, TrainError> {
    let classes = &train.classes;
    match wanted {
        ClassWeights::None => Ok(vec![1.0; classes.len()]),
        ClassWeights::Balanced => Ok(balanced(&train.class_counts())),
        ClassWeights::Named(weights) => {
            if let Some(name) = weights.keys().find(|name| !classes.contains(name)) {
                return Err(TrainError::Class { key: "train.class_weights".to_owned(), name: name.clone(), classes: classes.to_vec() });
            }
            Ok(classes.iter().map(|class| weights.get(class).copied().unwrap_or(1.0)).collect())
        }
    }
}

fn balanced(counts: &[usize]) -> Vec<f32> {
    let total: usize = counts.iter().sum();
    counts.iter().map(|count| (total as f64 / (counts.len() * count) as f64) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts of FER-2013, and scikit-learn's `compute_class_weight("balanced")` for them.
    #[test]
    fn balanced_weights_are_scikit_learns() {
        let got = balanced(&[3993, 436, 4103, 7164, 4982, 4938, 3205]);
        let expected = [1.0311, 9.4433, 1.0035, 0.5747, 0.8264, 0.8338, 1.2846];
        assert!(got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 5e-5), "{got:?}");
    }
}
