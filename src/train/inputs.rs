//! The inputs of a phase: images, or features of its frozen layers.
//!
//! Features that don't change between epochs are computed once and kept in a mapped file that later
//! runs find by its name: those of validation images, of training images without augmentation, and
//! of `train.feature_cache` augmented variants of each training image.
//!
//! Measured with a frozen VGG16 and 575 training images of 150 x 150 pixels on two cores: 30 epochs
//! took 119 s, 78 s of them for the features; one epoch with fresh augmentation, which computes
//! them anew, took 65 to 68 s.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::module::Module;
use mapped_file::MappedFile;
use rayon::prelude::*;

use super::observer::Watch;
use super::{Datasets, Learner, Observer, TrainError};
use crate::{
    base::io::{
        bytes, cache,
        files::{self, PartialFile, with_path},
    },
    config::{Config, Pooling},
    data::{
        batches::{
            batch::{ImageBatcher, Prepare},
            dataset::{Image, ImageSet},
            loader::Loader,
            order::{self, Draw},
            view::View,
        },
        store::{Features, Store},
    },
    nn::{
        batch::upload,
        cpu::backend::kernel_words,
        infer::read,
        networks::classifier::{Classifier, NetworkInput},
        weights::{Part, to_bytes},
    },
};

/// Part of a file's key; to be raised whenever a frozen layer computes different values.
const VERSION: &str = "emberlens features 4";

/// Maximum size on disk of the features of one set; above it, the frozen layers run in each epoch.
const MAX_BYTES: usize = 16 << 30;

/// The inputs of an epoch, and where they enter the network.
pub(super) struct Source {
    pub(super) view: View,
    pub(super) entrance: NetworkInput,
}

/// The inputs of the current phase. Without a layout, they are the images themselves.
pub(super) struct Inputs {
    train: Option<Layout>,
    validation: Option<Layout>,
    /// Number of augmented variants of each training image whose features are kept; 1 without
    /// augmentation.
    rounds: usize,
    /// Hashes of the frozen layers, computed on first use: of the weights, and of their averages.
    frozen: [Option<[u8; 32]>; 2],
    validation_set: Option<Arc<ImageSet>>,
    /// Features of the training images by the number of their augmented variant.
    train_files: BTreeMap<usize, Arc<MappedFile>>,
}

/// What inputs are computed from; within a phase, only the weights of trained layers change.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) config: &'a Config,
    pub(super) datasets: &'a Datasets,
    pub(super) learner: &'a Learner,
}

/// Shape and folder of the features of an image.
#[derive(Clone)]
struct Layout {
    /// Number of layer groups that compute the features.
    groups: usize,
    /// `[channels, height, width]`.
    shape: [usize; 3],
    /// Whether features are pooled as the head would pool them.
    is_pooled: bool,
    folder: PathBuf,
}

impl Layout {
    /// Returns the layout of the features after the frozen layer groups, or `None` if nothing is
    /// frozen.
    ///
    /// # Errors
    /// Returns the reason if there is no folder to keep features in.
    fn of(
        Sources {
            config, learner, ..
        }: Sources<'_>,
    ) -> Result<Option<Self>, String> {
        let (groups, model) = (learner.stepper.frozen, &learner.model);
        if groups == 0 {
            return Ok(None);
        }
        let mut shape = model.shape_after(groups, learner.stepper.entrance.shape);
        let is_pooled = groups == model.num_groups() && config.model.pooling != Pooling::Flatten;
        if is_pooled {
            // The head computes the same from pooled features, at a fraction of their size.
            shape = [config.model.pooling.width(shape), 1, 1];
        }
        Ok(Some(Self {
            groups,
            shape,
            is_pooled,
            folder: folder()?,
        }))
    }

    /// Returns the bytes of one image's features.
    fn size(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }

    /// Checks the size of the features of `count` images.
    ///
    /// # Errors
    /// Returns the reason if they are too large to keep.
    fn check(&self, count: usize) -> Result<(), String> {
        let bytes = self.size().saturating_mul(count);
        if bytes > MAX_BYTES {
            return Err(format!(
                "features would take {} GiB, more than {} GiB",
                bytes >> 30,
                MAX_BYTES >> 30
            ));
        }
        Ok(())
    }
}

/// Returns the folder for features in the user's cache folder, creating it.
fn folder() -> Result<PathBuf, String> {
    let folder =
        cache::folder("features").ok_or("the system names no cache folder for this user")?;
    fs::create_dir_all(&folder).map_err(|error| {
        format!(
            "can't create the folder for features: {error}: {}",
            folder.display()
        )
    })?;
    Ok(folder)
}

/// Features to be found.
struct Job<'a> {
    layout: &'a Layout,
    /// The images.
    view: View,
    /// The number of their augmented variant.
    round: Option<usize>,
    /// Whether the averages of the weights compute them. A step runs the weights themselves, as
    /// without a cache; validation runs the network that `best/` will have. The two differ in layers
    /// that an earlier phase trained.
    is_averaged: bool,
}

impl Job<'_> {
    /// Returns the network that computes the features, without autodiff.
    fn model(&self, learner: &Learner) -> Classifier {
        if self.is_averaged {
            learner.inference_model()
        } else {
            learner.model.valid()
        }
    }
}

impl Inputs {
    /// Decides which features of the current phase are kept. If some can't be, tells the observer
    /// why, once.
    pub(super) fn of_phase(sources: Sources<'_>, observer: &dyn Observer) -> Self {
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
        Self {
            train,
            validation,
            rounds,
            frozen: [None; 2],
            validation_set: None,
            train_files: BTreeMap::new(),
        }
    }

    /// Returns the training inputs of `epoch` (counted from 0), or `None` if the run was stopped
    /// while features were computed.
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
                entrance: learner.stepper.entrance,
            }));
        };
        let (rounds, count) = (self.rounds, datasets.train.images.len());
        // Epoch e takes the variants of epoch e mod K, so that the first K epochs equal those
        // without a cache, byte for byte.
        let round_of = |draw: &Draw| (epoch + draw.repeat) % rounds;
        let needed: BTreeSet<usize> = plain.draws.iter().map(round_of).collect();
        for round in &needed {
            if self.train_files.contains_key(round) {
                continue;
            }
            let (view, augmentation) = if config.augment.is_active() {
                // Mixup and cutmix mix images, not features; a checked configuration has neither
                // here.
                let batcher = ImageBatcher {
                    mix: None,
                    ..datasets.training_view(config, *round).batcher
                };
                (
                    View {
                        draws: order::in_order(count),
                        batcher,
                        ..plain.clone()
                    },
                    Some(*round),
                )
            } else {
                (View::plain(&datasets.train, &datasets.normalizer), None)
            };
            let job = Job {
                layout: &layout,
                view,
                round: augmentation,
                is_averaged: false,
            };
            let Some(file) = self.open_or_compute(sources, job, watch)? else {
                return Ok(None);
            };
            self.train_files.insert(*round, file);
        }
        let needed: Vec<usize> = needed.into_iter().collect();
        let files = needed
            .iter()
            .map(|round| Arc::clone(&self.train_files[round]))
            .collect();
        let set = feature_set(&datasets.train, &layout, files);
        let position = |draw: &Draw| {
            needed
                .iter()
                .position(|needed| *needed == round_of(draw))
                .unwrap_or(0)
        };
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
                entrance: learner.stepper.entrance,
            }));
        };
        let draws = plain.draws.clone();
        let set = match self.validation_set.clone() {
            Some(set) => set,
            None => {
                let job = Job {
                    layout: &layout,
                    view: plain,
                    round: None,
                    is_averaged: learner.ema.is_some(),
                };
                let Some(file) = self.open_or_compute(sources, job, watch)? else {
                    return Ok(None);
                };
                feature_set(&datasets.validation, &layout, vec![file])
            }
        };
        self.validation_set = Some(Arc::clone(&set));
        Ok(Some(source(set, draws, &layout)))
    }

    /// Returns the file with the features that `job` asks for, from an earlier run or computed now,
    /// or `None` if the run was stopped before the end.
    fn open_or_compute(
        &mut self,
        sources: Sources<'_>,
        job: Job<'_>,
        watch: Watch<'_>,
    ) -> Result<Option<Arc<MappedFile>>, TrainError> {
        let (layout, total) = (job.layout, job.view.draws.len());
        let path = layout
            .folder
            .join(format!("{}.f32", self.key(sources, &job)?));
        if let Ok(file) = MappedFile::open(&path) {
            if is_whole(&file, total, layout.size()) {
                // Epochs read images in random order, so reading ahead would only evict other
                // pages.
                return Ok(Some(Arc::new(file.in_any_order())));
            }
            watch.observer.say(&format!(
                "warning: the features that were kept are damaged and are computed anew: {}",
                path.display()
            ));
        }
        let which = job.round.map_or(String::new(), |round| {
            format!(", augmentation {}", round + 1)
        });
        watch.observer.say(&format!(
            "Frozen layers look at {total} images{which}, once; kept in {}",
            layout.folder.display()
        ));
        if !compute(sources, job, &path, watch)? {
            return Ok(None);
        }
        let file = MappedFile::open(&path)
            .map_err(|error| with_path(&error, "can't map the features", &path))?;
        Ok(Some(Arc::new(file.in_any_order())))
    }

    /// Returns a hash of everything that the features depend on: the layers, the device and
    /// instruction set that run them, the pixels, and their normalization and augmentation.
    fn key(&mut self, sources: Sources<'_>, job: &Job<'_>) -> Result<String, TrainError> {
        let (
            Sources {
                config,
                datasets,
                learner,
            },
            Job {
                layout,
                view,
                round,
                ..
            },
        ) = (sources, job);
        // Hashing the frozen layers reads tens of megabytes; one hash serves the whole phase.
        let kept = &mut self.frozen[usize::from(job.is_averaged)];
        let frozen = match *kept {
            Some(digest) => digest,
            None => *blake3::hash(&to_bytes(&job.model(learner), Part::Frozen(layout.groups))?)
                .as_bytes(),
        };
        *kept = Some(frozen);
        let format = view.set.store.format();
        let mut hash = blake3::Hasher::new();
        // Weights alone don't say how images are padded, nor what the head keeps.
        let network = learner.model.description();
        let words = format!(
            "{VERSION} {network} {:?} {} {format:?}",
            layout.shape,
            kernel_words(&learner.stepper.device)
        );
        hash.update(words.as_bytes()).update(&frozen);
        hash.update(&serde_json::to_vec(&datasets.normalizer).expect("plain values are JSON"));
        if let Some(whitening) = &datasets.normalizer.whitening {
            hash.update(&whitening.to_bytes());
        }
        for image in &view.set.images {
            hash.update(&image.digest);
        }
        if let Some(round) = round {
            // The random draws of an image depend on its position in the set, and its class may
            // have augmentation settings of its own.
            hash.update(&serde_json::to_vec(&config.augment).expect("plain values are JSON"));
            hash.update(
                format!(
                    "{} {round} {:?} {:?}",
                    config.seed,
                    view.set.labels(),
                    view.set.classes
                )
                .as_bytes(),
            );
        }
        Ok(files::hex(hash.finalize().as_bytes()))
    }
}

/// Writes the features of the images of `view` to `path`, followed by a CRC-32C of each image.
/// Returns false, leaving no file, if the run was stopped before the end.
fn compute(
    sources: Sources<'_>,
    job: Job<'_>,
    path: &Path,
    watch: Watch<'_>,
) -> Result<bool, TrainError> {
    let Sources {
        config, learner, ..
    } = sources;
    let model = job.model(learner);
    let Job { layout, view, .. } = job;
    let failed = |error: std::io::Error| with_path(&error, "can't write the features", path);
    let mut writer = BufWriter::new(PartialFile::new(path).map_err(failed)?);
    let mut checksums = Vec::new();
    let (total, mut done) = (view.draws.len(), 0);
    let device = learner.stepper.device.clone().without_autodiff();
    for batch in Loader::new(view, config.train.batch_size, 0, config.train.workers) {
        if watch.is_stopped() {
            return Ok(false);
        }
        let batch = batch?;
        done += batch.len();
        let images = upload(batch, learner.stepper.entrance.shape, &device).images;
        let features = model.forward_frozen(0..layout.groups, images);
        let features = if layout.is_pooled {
            model.pool_features(features)
        } else {
            features
        };
        for values in read(features)?.chunks_exact(layout.size() / size_of::<f32>()) {
            let bytes = bytes::from_f32(values);
            checksums.extend(crc32c::crc32c(&bytes).to_le_bytes());
            writer.write_all(&bytes).map_err(failed)?;
        }
        watch.observer.computed_features(done, total);
    }
    writer.write_all(&checksums).map_err(failed)?;
    writer
        .into_inner()
        .map_err(|error| failed(error.into_error()))?
        .commit()
        .map_err(failed)?;
    Ok(true)
}

/// Returns a set with the images of `set` once per file, each with its features from that file.
fn feature_set(set: &ImageSet, layout: &Layout, files: Vec<Arc<MappedFile>>) -> Arc<ImageSet> {
    let slots = 0..set.images.len() * files.len();
    let images = slots
        .zip(set.images.iter().cycle())
        .map(|(slot, image)| Image {
            slot,
            ..image.clone()
        })
        .collect();
    let features = Features {
        files,
        count: set.images.len(),
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
        entrance: NetworkInput {
            shape: layout.shape,
            group: layout.groups,
        },
    }
}

/// Whether the features of every image match the checksums stored after them. Reads the whole file,
/// which also brings it into memory.
fn is_whole(file: &[u8], count: usize, size: usize) -> bool {
    let Some((features, checksums)) = file.split_at_checked(count * size) else {
        return false;
    };
    checksums.len() == count * size_of::<u32>()
        && features
            .par_chunks_exact(size)
            .zip(checksums.par_chunks_exact(4))
            .all(|(bytes, checksum)| crc32c::crc32c(bytes).to_le_bytes() == *checksum)
}
