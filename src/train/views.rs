//! How training sees its images: the draws of an epoch in their order, each augmented and normalized.

use std::{collections::BTreeMap, sync::Arc};

use pixel_sampling::Finish;

use crate::{
    augment::{Augmenter, Key, Mixer},
    config::{Augment, Config, Sampler},
    data::{
        batch::{HostBatch, ImageBatcher, Mix, Prepare},
        dataset::{PictureSet, View},
        normalize::Normalizer,
        order::{self, Draw},
    },
};

/// The images of a run.
#[derive(Clone, Debug)]
pub struct Datasets {
    /// Trained on.
    pub train: Arc<PictureSet>,
    /// Measured after each epoch.
    pub validation: Arc<PictureSet>,
    /// What is done to an image's pixels last.
    pub normalizer: Normalizer,
}

impl Datasets {
    /// Returns the training images of `epoch` (counted from 0) in its order, augmented and normalized.
    pub fn training_view(&self, config: &Config, epoch: usize) -> View {
        normalized(config, &self.train, &self.normalizer, epoch)
    }

    /// Returns the validation images in order, normalized only.
    pub fn validation_view(&self) -> View {
        View::plain(&self.validation, &self.normalizer)
    }
}

/// Returns the training images of `epoch` (counted from 0) in its order, augmented, as pixel values from 0 to 255.
pub fn levels_view(config: &Config, train: &Arc<PictureSet>, epoch: usize) -> View {
    augmented(config, train, epoch, Some(Finish::LEVELS), Arc::new(|_| ()))
}

/// Returns the images of a set in order, each with its augmentation `round`, by the settings for all classes alone: the class of an
/// image to be classified isn't known.
pub fn unlabelled_view(config: &Config, set: &Arc<PictureSet>, normalizer: &Normalizer, round: usize) -> View {
    let augment = Augment { class: BTreeMap::new(), ..config.augment.clone() };
    let view = normalized(&Config { augment, ..config.clone() }, set, normalizer, round);
    View { draws: order::in_order(set.pictures.len()), batcher: ImageBatcher { mix: None, ..view.batcher }, set: Arc::clone(set) }
}

fn normalized(config: &Config, set: &Arc<PictureSet>, normalizer: &Normalizer, epoch: usize) -> View {
    let normalizer = normalizer.clone();
    augmented(config, set, epoch, normalizer.finish(), Arc::new(move |values| normalizer.apply(values)))
}

/// A normalization other than one factor and one offset a channel, applied in place.
type Normalize = Arc<dyn Fn(&mut [f32]) + Send + Sync>;

/// Values go through `finish` as they are sampled, or through `normalize` afterwards where there is none.
fn augmented(config: &Config, set: &Arc<PictureSet>, epoch: usize, finish: Option<Finish>, normalize: Normalize) -> View {
    let draws = match config.train.sampler {
        Sampler::Shuffle => order::shuffled(set.pictures.len(), config.seed, epoch),
        Sampler::Balanced => order::balanced(&set.labels(), config.seed, epoch),
    };
    let shape = set.store.format().shape();
    let augmenters = augmenters(config, set);
    let key = move |draw: Draw| Key { epoch, picture: draw.picture, repeat: draw.repeat };
    let prepare: Prepare = Arc::new(move |subject, out| {
        let start = out.len();
        augmenters[subject.label].write(subject.bytes, key(subject.draw), finish.as_ref(), out);
        if finish.is_none() {
            normalize(&mut out[start..]);
        }
    });
    let mix = Mixer::new(&config.augment, shape, config.seed).map(|mixer| -> Mix {
        Arc::new(move |batch: &mut HostBatch| {
            let keys: Vec<_> = batch.draws.iter().map(|draw| key(*draw)).collect();
            mixer.mix(&keys, &mut batch.images, &mut batch.targets, &mut batch.weights);
        })
    });
    View { set: Arc::clone(set), draws, batcher: ImageBatcher { prepare, mix, num_classes: set.classes.len() } }
}

/// Returns the augmenter of each class of `set`.
pub fn augmenters(config: &Config, set: &PictureSet) -> Vec<Augmenter> {
    let shape = set.store.format().shape();
    let of_class = |class: &String| {
        let settings = config.augment.for_class(class).expect("a configuration that was read has been checked");
        Augmenter::new(&settings, shape, config.seed)
    };
    set.classes.iter().map(of_class).collect()
}
