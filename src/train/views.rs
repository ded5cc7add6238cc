//! The images of a run as training reads them: the draws of an epoch in their order, augmented and
//! normalized when a batch is made. Joins `data` and `augment`, which don't know each other.

use std::{collections::BTreeMap, sync::Arc};

use pixel_sampling::Finish;

use crate::{
    augment::{Augmenter, Key, Mixer},
    config::{Augment, Config, Sampler},
    data::batches::{
        batch::{HostBatch, ImageBatcher, Mix, Prepare},
        dataset::ImageSet,
        normalize::Normalizer,
        order::{self, Draw},
        view::View,
    },
};

/// The training and validation set of a run.
#[derive(Clone, Debug)]
pub struct Datasets {
    /// Images to train on.
    pub train: Arc<ImageSet>,
    /// Images measured after each epoch.
    pub validation: Arc<ImageSet>,
    /// Normalization of pixel values, the last step before the network.
    pub normalizer: Normalizer,
}

impl Datasets {
    /// Returns the training images of `epoch` (counted from 0) in their order, augmented and
    /// normalized.
    pub fn training_view(&self, config: &Config, epoch: usize) -> View {
        normalized(config, &self.train, &self.normalizer, epoch)
    }

    /// Returns the validation images in order, normalized only.
    pub fn validation_view(&self) -> View {
        View::plain(&self.validation, &self.normalizer)
    }
}

/// Returns the training images of `epoch` (counted from 0) in their order, augmented, as pixel
/// values from 0 to 255.
pub fn levels_view(config: &Config, train: &Arc<ImageSet>, epoch: usize) -> View {
    augmented(config, train, epoch, Some(Finish::LEVELS), Arc::new(|_| ()))
}

/// Returns the images of a set in order, each with its augmentation number `round`.
///
/// Only the settings for all classes apply, because the class of an image to be classified is
/// unknown.
pub fn unlabeled_view(
    config: &Config,
    set: &Arc<ImageSet>,
    normalizer: &Normalizer,
    round: usize,
) -> View {
    let augment = Augment {
        class: BTreeMap::new(),
        ..config.augment.clone()
    };
    let view = normalized(
        &Config {
            augment,
            ..config.clone()
        },
        set,
        normalizer,
        round,
    );
    // Without mixup and cutmix: predictions would be of other images as well.
    View {
        draws: order::in_order(set.images.len()),
        batcher: ImageBatcher {
            mix: None,
            ..view.batcher
        },
        set: Arc::clone(set),
    }
}

/// Returns the images of `epoch`, augmented and normalized.
fn normalized(config: &Config, set: &Arc<ImageSet>, normalizer: &Normalizer, epoch: usize) -> View {
    let normalizer = normalizer.clone();
    augmented(
        config,
        set,
        epoch,
        normalizer.finish(),
        Arc::new(move |values| normalizer.apply(values)),
    )
}

/// A normalization other than one factor and one offset per channel, applied in place.
type Normalize = Arc<dyn Fn(&mut [f32]) + Send + Sync>;

/// Returns the images of `epoch`, augmented. Values go through `finish` while they are sampled,
/// which saves a pass over the image, or through `normalize` afterwards if there is none.
fn augmented(
    config: &Config,
    set: &Arc<ImageSet>,
    epoch: usize,
    finish: Option<Finish>,
    normalize: Normalize,
) -> View {
    let draws = match config.train.sampler {
        Sampler::Shuffle => order::shuffled(set.images.len(), config.seed, epoch),
        Sampler::Balanced => order::balanced(&set.labels(), config.seed, epoch),
    };
    let shape = set.store.format().shape();
    let augmenters = augmenters(config, set);
    let key = move |draw: Draw| Key {
        epoch,
        image: draw.image,
        repeat: draw.repeat,
    };
    let prepare: Prepare = Arc::new(move |subject, out| {
        let start = out.len();
        augmenters[subject.label].write(subject.bytes, key(subject.draw), finish.as_ref(), out);
        if finish.is_none() {
            normalize(&mut out[start..]);
        }
    });
    // A batch depends on the keys of its draws alone, so that workers may make batches in any
    // order.
    let mix = Mixer::new(&config.augment, shape, config.seed).map(|mixer| -> Mix {
        Arc::new(move |batch: &mut HostBatch| {
            let keys: Vec<_> = batch.draws.iter().map(|draw| key(*draw)).collect();
            mixer.mix(
                &keys,
                &mut batch.images,
                &mut batch.targets,
                &mut batch.weights,
            );
        })
    });
    View {
        set: Arc::clone(set),
        draws,
        batcher: ImageBatcher {
            prepare,
            mix,
            num_classes: set.classes.len(),
        },
    }
}

/// Returns the augmenter of each class of `set`.
///
/// # Panics
/// Panics if the settings of a class contradict each other, which a checked configuration excludes.
pub fn augmenters(config: &Config, set: &ImageSet) -> Vec<Augmenter> {
    let shape = set.store.format().shape();
    let of_class = |class: &String| {
        let settings = config
            .augment
            .for_class(class)
            .expect("a configuration that was read has been checked");
        Augmenter::new(&settings, shape, config.seed)
    };
    set.classes.iter().map(of_class).collect()
}
