//! The images of a run as training reads them: the draws of an epoch in their order, augmented and
//! normalized when a batch is made. Joins `data` and `augment`, which don't know each other.

use std::sync::Arc;

use pixel_sampling::Finish;

use crate::{
    augment::{Augmenter, Key},
    config::{Config, Sampler},
    data::{
        TrainingData,
        batches::{
            batch::{HostBatch, ImageBatcher, Mix, Prepare},
            dataset::{Image, ImageSet},
            normalize::Normalizer,
            order::{self, Draw},
            view::View,
        },
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
    /// The images of both sets together, in a run that trains one of several folds.
    pub(super) pooled: Option<Pooled>,
}

/// The images of a training and a validation set together, in an order that depends on their pixels
/// alone. It is the same for every fold, which therefore augment an image in the same way and share
/// its features.
#[derive(Clone, Debug)]
pub(super) struct Pooled {
    /// The images.
    pub(super) set: Arc<ImageSet>,
    /// Position of each training image.
    pub(super) train: Arc<Vec<usize>>,
    /// Position of each validation image.
    pub(super) validation: Arc<Vec<usize>>,
}

impl Pooled {
    /// Joins two sets that share a store, if `config` trains one of several folds.
    fn of_fold(config: &Config, train: &ImageSet, validation: &ImageSet) -> Option<Self> {
        config.train.fold?;
        let images: Vec<&Image> = train.images.iter().chain(&validation.images).collect();
        let mut order: Vec<usize> = (0..images.len()).collect();
        order.sort_by_key(|index| (images[*index].digest, images[*index].label));
        let mut positions = vec![0; images.len()];
        for (position, index) in order.iter().enumerate() {
            positions[*index] = position;
        }
        let set = ImageSet {
            classes: Arc::clone(&train.classes),
            images: order.iter().map(|index| images[*index].clone()).collect(),
            store: Arc::clone(&train.store),
        };
        let validation_positions = positions.split_off(train.images.len());
        Some(Self {
            set: Arc::new(set),
            train: Arc::new(positions),
            validation: Arc::new(validation_positions),
        })
    }

    /// Returns all images of `epoch` in any order, augmented as those of a training set are.
    pub(super) fn view(&self, config: &Config, epoch: usize, normalizer: &Normalizer) -> View {
        augmented(config, (&self.set, None), epoch, Some(normalizer.clone()))
    }
}

impl Datasets {
    /// Returns the sets of a run by `config`.
    pub(super) fn new(
        config: &Config,
        train: &Arc<ImageSet>,
        validation: &Arc<ImageSet>,
        normalizer: Normalizer,
    ) -> Self {
        Self {
            train: Arc::clone(train),
            validation: Arc::clone(validation),
            normalizer,
            pooled: Pooled::of_fold(config, train, validation),
        }
    }

    /// Returns the training images of `epoch` (counted from 0) in their order, augmented and
    /// normalized.
    pub fn training_view(&self, config: &Config, epoch: usize) -> View {
        let numbers = self.pooled.as_ref().map(|pooled| Arc::clone(&pooled.train));
        let normalizer = Some(self.normalizer.clone());
        augmented(config, (&self.train, numbers), epoch, normalizer)
    }

    /// Returns the validation images in order, normalized only.
    pub fn validation_view(&self) -> View {
        View::plain(&self.validation, &self.normalizer)
    }
}

/// Returns the training images of `epoch` (counted from 0) in their order, augmented, as pixel
/// values from 0 to 255.
pub fn levels_view(config: &Config, data: &TrainingData, epoch: usize) -> View {
    let pooled = Pooled::of_fold(config, &data.train, &data.validation);
    let numbers = pooled.map(|pooled| pooled.train);
    augmented(config, (&data.train, numbers), epoch, None)
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
    let common = Augmenter::new(
        config.augment.common(),
        set.store.format().shape(),
        config.seed,
    );
    let augmenters = vec![common; set.classes.len()];
    let draws = order::in_order(set.images.len());
    let prepare = prepare((augmenters, None), round, Some(normalizer.clone()));
    // Without mixup and cutmix: predictions would be of other images as well.
    View {
        set: Arc::clone(set),
        draws,
        batcher: ImageBatcher {
            prepare,
            mix: None,
            num_classes: set.classes.len(),
        },
    }
}

/// Returns a draw with the number of its image in place of its position.
fn numbered(draw: Draw, numbers: Option<&Vec<usize>>) -> Draw {
    Draw {
        image: numbers.map_or(draw.image, |numbers| numbers[draw.image]),
        ..draw
    }
}

/// Returns the key of a draw of `epoch`.
fn key(epoch: usize, draw: Draw) -> Key {
    Key {
        epoch,
        image: draw.image,
        repeat: draw.repeat,
    }
}

/// Number of each image of a set in the keys of its draws, if that isn't its position.
type Numbers = Option<Arc<Vec<usize>>>;

/// Returns what makes an image of `epoch` from its bytes, with the augmenter of its label. Without
/// a normalizer, values are those of pixels, from 0 to 255.
fn prepare(
    (augmenters, numbers): (Vec<Augmenter>, Numbers),
    epoch: usize,
    normalizer: Option<Normalizer>,
) -> Prepare {
    // One factor and one offset per channel are applied while pixels are sampled, which saves a
    // pass over the image.
    let finish = match &normalizer {
        Some(normalizer) => normalizer.finish(),
        None => Some(Finish::LEVELS),
    };
    Arc::new(move |subject, out| {
        let start = out.len();
        let key = key(epoch, numbered(subject.draw, numbers.as_deref()));
        augmenters[subject.label].write(subject.bytes, key, finish.as_ref(), out);
        if let (None, Some(normalizer)) = (&finish, &normalizer) {
            normalizer.apply(&mut out[start..]);
        }
    })
}

/// Returns the images of `epoch` in their order, augmented, with values as [`prepare`] has them.
fn augmented(
    config: &Config,
    (set, numbers): (&Arc<ImageSet>, Numbers),
    epoch: usize,
    normalizer: Option<Normalizer>,
) -> View {
    let draws = match config.train.sampler {
        Sampler::Shuffle => order::shuffled(set.images.len(), config.seed, epoch),
        Sampler::Balanced => order::balanced(&set.labels(), config.seed, epoch),
    };
    // A batch depends on the keys of its draws alone, so that workers may make batches in any
    // order.
    let shape = set.store.format().shape();
    let mixer = config.augment.common().mixer(shape, config.seed);
    let mix = mixer.map(|mixer| -> Mix {
        Arc::new(move |batch: &mut HostBatch| {
            let keys: Vec<_> = batch.draws.iter().map(|draw| key(epoch, *draw)).collect();
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
            prepare: prepare((augmenters(config, set), numbers), epoch, normalizer),
            mix,
            num_classes: set.classes.len(),
        },
    }
}

/// Returns the augmenter of each class of `set`.
pub fn augmenters(config: &Config, set: &ImageSet) -> Vec<Augmenter> {
    let shape = set.store.format().shape();
    let of_class =
        |class: &String| Augmenter::new(config.augment.of_class(class), shape, config.seed);
    set.classes.iter().map(of_class).collect()
}
