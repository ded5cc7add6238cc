//! The inputs of a phase: images, or features of its frozen layers.
//!
//! Features that don't change between epochs are computed once and kept in a file that later
//! runs find by its name: those of validation images, of training images without augmentation, and
//! of `train.feature_cache` augmented variants of each training image.
//!
//! Measured with a frozen VGG16 and 575 training images of 150 x 150 pixels on two cores: 30 epochs
//! took 119 s, 78 s of them for the features; one epoch with fresh augmentation, which computes
//! them anew, took 65 to 68 s.

mod features;
mod layout;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(super) use self::layout::Sources;
use self::{
    features::{FeatureFiles, Job},
    layout::Layout,
};
use super::observer::Watch;
use super::{Observer, TrainError};
use crate::{
    base::io::{bytes, positioned::PositionedFile},
    data::{
        batches::{
            batch::{ImageBatcher, Prepare},
            dataset::{Image, ImageSet},
            order::{self, Draw},
            view::View,
        },
        store::{Features, Store},
    },
    nn::networks::classifier::NetworkInput,
};

/// The inputs of an epoch, and where they enter the network.
pub(super) struct Source {
    pub(super) view: View,
    pub(super) input: NetworkInput,
}

/// The inputs of the current phase. Without a layout, they are the images themselves.
pub(super) struct Inputs {
    train: Option<Layout>,
    validation: Option<Layout>,
    /// Number of augmented variants of each training image whose features are kept; 1 without
    /// augmentation.
    rounds: usize,
    /// Files of features, of this and of earlier runs.
    files: FeatureFiles,
    validation_set: Option<Arc<ImageSet>>,
    /// Features of the training images by the number of their augmented variant.
    train_files: BTreeMap<usize, Arc<PositionedFile>>,
}

impl Inputs {
    /// Decides which features of the current phase are kept. If some can't be, tells the observer
    /// why, once.
    pub(super) fn of_phase(
        sources: Sources<'_>,
        observer: &dyn Observer,
    ) -> Result<Self, TrainError> {
        let Sources {
            config, datasets, ..
        } = sources;
        let rounds = if config.augment.is_active() {
            config.train.feature_cache
        } else {
            1
        };
        let (layout, mut problem) = match Layout::of(sources) {
            Ok(layout) => (layout, None),
            Err(reason) => (None, Some(reason)),
        };
        // All ranks keep features or none does, because they compute them together.
        let is_problem = sources.learner.stepper.ranks.any(problem.is_some())?;
        if is_problem && problem.is_none() {
            problem = Some("another rank has no folder for features".to_owned());
        }
        let layout = layout.filter(|_| !is_problem);
        let mut kept = |count: usize| {
            layout.clone().filter(|layout| {
                layout
                    .check(count)
                    .map_err(|reason| problem.get_or_insert(reason))
                    .is_ok()
            })
        };
        let validation = kept(datasets.validation.images.len());
        let train = if rounds > 0 {
            kept(datasets.train.images.len() * rounds)
        } else {
            None
        };
        if let Some(reason) = problem {
            observer.say(&format!(
                "warning: {reason}; the frozen layers compute them anew in each epoch"
            ));
        }
        Ok(Self {
            train,
            validation,
            rounds,
            files: FeatureFiles::default(),
            validation_set: None,
            train_files: BTreeMap::new(),
        })
    }

    /// Returns the training inputs of `epoch` (counted from 0), or `None` if the run was stopped
    /// while features were computed.
    ///
    /// # Errors
    /// Returns an error if an image can't be read again, the device fails or a file can't be
    /// written.
    pub(super) fn training(
        &mut self,
        sources: Sources<'_>,
        epoch: usize,
        watch: Watch<'_>,
    ) -> Result<Option<Source>, TrainError> {
        let Sources {
            config,
            datasets,
            learner,
        } = sources;
        let plain = datasets.training_view(config, epoch);
        let Some(layout) = self.train.clone() else {
            return Ok(Some(Source {
                view: plain,
                input: learner.stepper.network_input,
            }));
        };
        let rounds = self.rounds;
        // Epoch e takes the variants of epoch e mod K, so that the first K epochs equal those
        // without a cache, byte for byte.
        let round_of = |draw: &Draw| (epoch + draw.repeat) % rounds;
        let needed: BTreeSet<usize> = plain.draws.iter().map(round_of).collect();
        for round in &needed {
            if self.train_files.contains_key(round) {
                continue;
            }
            let job = job_of_round(sources, &layout, *round);
            let Some(file) = self.files.open_or_compute(sources, job, watch)? else {
                return Ok(None);
            };
            self.train_files.insert(*round, file);
        }
        let needed: Vec<usize> = needed.into_iter().collect();
        let files = needed
            .iter()
            .map(|round| Arc::clone(&self.train_files[round]))
            .collect();
        let places = datasets.pooled.as_ref().map(|pooled| Places {
            positions: &pooled.train,
            count: pooled.set.images.len(),
        });
        let set = feature_set(&datasets.train, &layout, files, places);
        let position = |draw: &Draw| {
            needed
                .iter()
                .position(|needed| *needed == round_of(draw))
                .unwrap_or(0)
        };
        let count = datasets.train.images.len();
        let draws = plain
            .draws
            .iter()
            .map(|draw| Draw {
                image: position(draw) * count + draw.image,
                ..*draw
            })
            .collect();
        Ok(Some(source(set, draws, &layout)))
    }

    /// Returns the validation inputs in order, or `None` if the run was stopped while features were
    /// computed.
    ///
    /// # Errors
    /// As [`Self::training`].
    pub(super) fn validation(
        &mut self,
        sources: Sources<'_>,
        watch: Watch<'_>,
    ) -> Result<Option<Source>, TrainError> {
        let Sources {
            datasets, learner, ..
        } = sources;
        let plain = datasets.validation_view();
        let Some(layout) = self.validation.clone() else {
            return Ok(Some(Source {
                view: plain,
                input: learner.stepper.network_input,
            }));
        };
        let draws = plain.draws.clone();
        let pooled = datasets.pooled.as_ref();
        let set = match self.validation_set.clone() {
            Some(set) => set,
            None => {
                let job = Job {
                    layout: &layout,
                    view: pooled.map_or(plain, |pooled| {
                        View::plain(&pooled.set, &datasets.normalizer)
                    }),
                    round: None,
                    is_averaged: learner.ema.is_some(),
                };
                let Some(file) = self.files.open_or_compute(sources, job, watch)? else {
                    return Ok(None);
                };
                let places = pooled.map(|pooled| Places {
                    positions: &pooled.validation,
                    count: pooled.set.images.len(),
                });
                feature_set(&datasets.validation, &layout, vec![file], places)
            }
        };
        self.validation_set = Some(Arc::clone(&set));
        Ok(Some(source(set, draws, &layout)))
    }
}

/// Returns the job for the features of training images in round `round` of augmentation.
fn job_of_round<'a>(sources: Sources<'_>, layout: &'a Layout, round: usize) -> Job<'a> {
    let Sources {
        config, datasets, ..
    } = sources;
    let is_augmented = config.augment.is_active();
    // Of one fold of several, the features of all images, which the other folds find then.
    let (set, whole) = match &datasets.pooled {
        Some(pooled) => (
            &pooled.set,
            pooled.view(config, round, &datasets.normalizer),
        ),
        None => (&datasets.train, datasets.training_view(config, round)),
    };
    let view = if is_augmented {
        // Mixup and cutmix mix images, not features; a checked configuration has neither here.
        let batcher = ImageBatcher {
            mix: None,
            ..whole.batcher
        };
        View {
            draws: order::in_order(set.images.len()),
            batcher,
            ..whole
        }
    } else {
        View::plain(set, &datasets.normalizer)
    };
    Job {
        layout,
        view,
        round: is_augmented.then_some(round),
        is_averaged: false,
    }
}

/// Where the images of a set are in a file of features of more images.
struct Places<'a> {
    /// Position of each image.
    positions: &'a [usize],
    /// Number of images in the file.
    count: usize,
}

/// Returns a set with the images of `set` once per file, each with its features from that file.
fn feature_set(
    set: &ImageSet,
    layout: &Layout,
    files: Vec<Arc<PositionedFile>>,
    places: Option<Places<'_>>,
) -> Arc<ImageSet> {
    let count = places
        .as_ref()
        .map_or(set.images.len(), |places| places.count);
    let slot = |file: usize, index: usize| {
        let places = places.as_ref();
        file * count + places.map_or(index, |places| places.positions[index])
    };
    let of_file = |file: usize| {
        let images = set.images.iter().enumerate();
        images.map(move |(index, image)| (file, index, image))
    };
    let images = (0..files.len())
        .flat_map(of_file)
        .map(|(file, index, image)| Image {
            slot: slot(file, index),
            ..image.clone()
        })
        .collect();
    let features = Features {
        files,
        count,
        size: layout.size(),
        folder: layout.folder.clone(),
    };
    let store = Arc::new(Store::of_features(set.store.format(), features));
    Arc::new(ImageSet {
        classes: Arc::clone(&set.classes),
        images,
        store,
    })
}

/// Returns inputs whose values are features read as little-endian floats.
fn source(set: Arc<ImageSet>, draws: Vec<Draw>, layout: &Layout) -> Source {
    let prepare: Prepare = Arc::new(|subject, out| {
        out.extend(bytes::to_f32(subject.bytes));
    });
    let batcher = ImageBatcher {
        prepare,
        mix: None,
        num_classes: set.classes.len(),
    };
    Source {
        view: View {
            set,
            draws,
            batcher,
        },
        input: NetworkInput {
            shape: layout.shape,
            group: layout.groups,
        },
    }
}
