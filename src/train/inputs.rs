//! Where the inputs of a phase come from: the images, or what its frozen layers make of them. What doesn't change is computed once and kept
//! in a mapped file, which later runs find again: the features of validation images, of training images where nothing is augmented, and of
//! `train.feature_cache` augmentations of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use mapped_file::MappedFile;
use rayon::prelude::*;

use super::observer::Watch;
use super::{Datasets, Learner, Observer, TrainError};
use crate::{
    base::files::{self, PartialFile, with_path},
    config::{Config, Pooling},
    data::{
        batch::{ImageBatcher, Prepare},
        dataset::{Picture, PictureSet, View},
        loader::Loader,
        order::{self, Draw},
        pictures::{Features, Store},
    },
    nn::{
        batch::upload,
        cpu::backend::kernel_words,
        infer::read,
        networks::{classifier::Entrance, head::average},
        weights::{Part, to_bytes},
    },
};

/// Part of a file's key: raise it when a frozen layer computes other values.
const VERSION: &str = "emberlens features 2";

/// Most bytes that the features of one set may take on disk; above, the frozen layers run in each epoch.
const MAX_BYTES: usize = 16 << 30;

/// What enters the network: a view of images or of features, and where in the network it enters.
pub(super) struct Source {
    pub(super) view: View,
    pub(super) entrance: Entrance,
}

/// Where the inputs of the phase under way come from. `None` as a layout stands for the images themselves.
pub(super) struct Inputs {
    train: Option<Layout>,
    validation: Option<Layout>,
    /// Augmentations of each training image whose features are kept; 1 where nothing is augmented.
    rounds: usize,
    /// Hash of the frozen layers, once it is needed.
    frozen: Option<[u8; 32]>,
    validation_set: Option<Arc<PictureSet>>,
    /// Features of the training images by the round of their augmentation.
    train_files: BTreeMap<usize, Arc<MappedFile>>,
}

/// What inputs are made from; all but the weights of trained layers stay the same through a phase.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) config: &'a Config,
    pub(super) datasets: &'a Datasets,
    pub(super) learner: &'a Learner,
}

/// Shape and place of the features of an image.
#[derive(Clone)]
struct Layout {
    /// Layer groups that made them.
    groups: usize,
    /// `[channels, height, width]`.
    shape: [usize; 3],
    /// Averaged to one value a channel, as the head would do it.
    is_averaged: bool,
    folder: PathBuf,
}

impl Layout {
    /// Returns the layout after the frozen groups; `None` where nothing is frozen.
    ///
    /// # Errors
    /// Features can't be kept, in words.
    fn of(Sources { config, learner, .. }: Sources<'_>) -> Result<Option<Self>, String> {
        let (groups, model) = (learner.stepper.frozen, &learner.model);
        if groups == 0 {
            return Ok(None);
        }
        let mut shape = model.shape_after(groups, learner.stepper.entrance.shape);
        let is_averaged = groups == model.num_groups() && config.model.pooling == Pooling::Average;
        if is_averaged {
            // The mean of a mean of one is itself: the head sees nothing but what comes after the pooling.
            (shape[1], shape[2]) = (1, 1);
        }
        Ok(Some(Self { groups, shape, is_averaged, folder: folder()? }))
    }

    /// Bytes an image.
    fn size(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }

    /// # Errors
    /// The features of `count` images are too large to keep, in words.
    fn check(&self, count: usize) -> Result<(), String> {
        let bytes = self.size().saturating_mul(count);
        if bytes > MAX_BYTES {
            return Err(format!("features would take {} GiB, more than {} GiB", bytes >> 30, MAX_BYTES >> 30));
        }
        Ok(())
    }
}

fn folder() -> Result<PathBuf, String> {
    let cache = dirs::cache_dir().ok_or("the system names no cache folder for this user")?;
    let folder = cache.join("emberlens").join("features");
    fs::create_dir_all(&folder).map_err(|error| format!("can't create the folder for features: {error}: {}", folder.display()))?;
    Ok(folder)
}

impl Inputs {
    /// Decides for the phase under way what is kept. Where features can't be kept, the observer is told why, once.
    pub(super) fn of_phase(sources: Sources<'_>, observer: &dyn Observer) -> Self {
        let Sources { config, datasets, .. } = sources;
        let rounds = if config.augment.is_active() { config.train.feature_cache } else { 1 };
        let (layout, mut problem) = match Layout::of(sources) {
            Ok(layout) => (layout, None),
            Err(reason) => (None, Some(reason)),
        };
        let mut kept =
            |count: usize| layout.clone().filter(|layout| layout.check(count).map_err(|reason| problem.get_or_insert(reason)).is_ok());
        let validation = kept(datasets.validation.pictures.len());
        let train = if rounds > 0 { kept(datasets.train.pictures.len() * rounds) } else { None };
        if let Some(reason) = problem {
            observer.say(&format!("warning: {reason}; the frozen layers compute them anew in each epoch"));
        }
        Self { train, validation, rounds, frozen: None, validation_set: None, train_files: BTreeMap::new() }
    }

    /// Returns the training inputs of `epoch` (counted from 0); `None` if the run was stopped before they were there.
    pub(super) fn training(&mut self, sources: Sources<'_>, epoch: usize, watch: Watch<'_>) -> Result<Option<Source>, TrainError> {
        let Sources { config, datasets, learner } = sources;
        let plain = datasets.training_view(config, epoch);
        let Some(layout) = self.train.clone() else {
            return Ok(Some(Source { view: plain, entrance: learner.stepper.entrance }));
        };
        let (rounds, count) = (self.rounds, datasets.train.pictures.len());
        let round_of = |draw: &Draw| (epoch + draw.repeat) % rounds;
        let needed: BTreeSet<usize> = plain.draws.iter().map(round_of).collect();
        for round in &needed {
            if self.train_files.contains_key(round) {
                continue;
            }
            let (view, augmentation) = if config.augment.is_active() {
                let batcher = ImageBatcher { mix: None, ..datasets.training_view(config, *round).batcher };
                (View { draws: order::in_order(count), batcher, ..plain.clone() }, Some(*round))
            } else {
                (View::plain(&datasets.train, &datasets.normalizer), None)
            };
            let Some(file) = self.open_or_compute(sources, &layout, view, augmentation, watch)? else { return Ok(None) };
            self.train_files.insert(*round, file);
        }
        let needed: Vec<usize> = needed.into_iter().collect();
        let files = needed.iter().map(|round| Arc::clone(&self.train_files[round])).collect();
        let set = feature_set(&datasets.train, &layout, files);
        let position = |draw: &Draw| needed.iter().position(|needed| *needed == round_of(draw)).unwrap_or(0);
        let draws = plain.draws.iter().map(|draw| Draw { picture: position(draw) * count + draw.picture, ..*draw }).collect();
        Ok(Some(source(set, draws, &layout)))
    }

    /// Returns the validation inputs in order; `None` if the run was stopped before they were there.
    pub(super) fn validation(&mut self, sources: Sources<'_>, watch: Watch<'_>) -> Result<Option<Source>, TrainError> {
        let Sources { datasets, learner, .. } = sources;
        let plain = datasets.validation_view();
        let Some(layout) = self.validation.clone() else {
            return Ok(Some(Source { view: plain, entrance: learner.stepper.entrance }));
        };
        let draws = plain.draws.clone();
        let set = match self.validation_set.clone() {
            Some(set) => set,
            None => match self.open_or_compute(sources, &layout, plain, None, watch)? {
                Some(file) => feature_set(&datasets.validation, &layout, vec![file]),
                None => return Ok(None),
            },
        };
        self.validation_set = Some(Arc::clone(&set));
        Ok(Some(source(set, draws, &layout)))
    }

    /// Returns the file with the features of the images of `view`, as an earlier run left it or computed now; `round` says which
    /// augmentation they have. `None` if the run was stopped before the end.
    fn open_or_compute(
        &mut self,
        sources: Sources<'_>,
        layout: &Layout,
        view: View,
        round: Option<usize>,
        watch: Watch<'_>,
    ) -> Result<Option<Arc<MappedFile>>, TrainError> {
        let path = layout.folder.join(format!("{}.f32", self.key(sources, layout, &view, round)?));
        let total = view.draws.len();
        if let Ok(file) = MappedFile::open(&path) {
            if is_whole(&file, total, layout.size()) {
                return Ok(Some(Arc::new(file.in_any_order())));
            }
            watch.observer.say(&format!("warning: the features that were kept are damaged and are computed anew: {}", path.display()));
        }
        let which = round.map_or(String::new(), |round| format!(", augmentation {}", round + 1));
        watch.observer.say(&format!("Frozen layers look at {total} pictures{which}, once; kept in {}", layout.folder.display()));
        if !compute(sources, layout, view, &path, watch)? {
            return Ok(None);
        }
        let file = MappedFile::open(&path).map_err(|error| with_path(&error, "can't map the features", &path))?;
        Ok(Some(Arc::new(file.in_any_order())))
    }

    /// Returns a hash of everything that features depend on: the layers and what computes them, the pixels and what is done to them.
    fn key(&mut self, sources: Sources<'_>, layout: &Layout, view: &View, round: Option<usize>) -> Result<String, TrainError> {
        let Sources { config, datasets, learner } = sources;
        let frozen = match self.frozen {
            Some(digest) => digest,
            None => *blake3::hash(&to_bytes(&learner.inference_model(), Part::Frozen(layout.groups))?).as_bytes(),
        };
        self.frozen = Some(frozen);
        let format = view.set.store.format();
        let mut hash = blake3::Hasher::new();
        let words = format!("{VERSION} {:?} {} {format:?}", config.model.architecture, kernel_words(&learner.stepper.device));
        hash.update(words.as_bytes()).update(&frozen);
        hash.update(&serde_json::to_vec(&datasets.normalizer).expect("plain values are JSON"));
        if let Some(whitening) = &datasets.normalizer.whitening {
            hash.update(&whitening.to_bytes());
        }
        for picture in &view.set.pictures {
            hash.update(&picture.digest);
        }
        if let Some(round) = round {
            // An image's draws come from its place among the others; its class may have settings of its own.
            hash.update(&serde_json::to_vec(&config.augment).expect("plain values are JSON"));
            hash.update(format!("{} {round} {:?} {:?}", config.seed, view.set.labels(), view.set.classes).as_bytes());
        }
        Ok(files::hex(hash.finalize().as_bytes()))
    }
}

/// Writes the features of the images of `view` to `path`, and a checksum of each after them. Returns whether it came to the end before the
/// run was stopped; the file is there only then.
fn compute(sources: Sources<'_>, layout: &Layout, view: View, path: &Path, watch: Watch<'_>) -> Result<bool, TrainError> {
    let Sources { config, learner, .. } = sources;
    let failed = |error: std::io::Error| with_path(&error, "can't write the features", path);
    let mut writer = BufWriter::new(PartialFile::new(path).map_err(failed)?);
    let mut checksums = Vec::new();
    let (total, mut done) = (view.draws.len(), 0);
    let model = learner.inference_model();
    let device = learner.stepper.device.clone().without_autodiff();
    for batch in Loader::new(view, config.train.batch_size, 0, config.train.workers) {
        if watch.is_stopped() {
            return Ok(false);
        }
        let batch = batch?;
        done += batch.len();
        let images = upload(batch, learner.stepper.entrance.shape, &device).images;
        let features = model.forward_frozen(0..layout.groups, images);
        let features = if layout.is_averaged { average(features) } else { features };
        for values in read(features)?.chunks_exact(layout.size() / size_of::<f32>()) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            checksums.extend(crc32c::crc32c(&bytes).to_le_bytes());
            writer.write_all(&bytes).map_err(failed)?;
        }
        watch.observer.computed_features(done, total);
    }
    writer.write_all(&checksums).map_err(failed)?;
    writer.into_inner().map_err(|error| failed(error.into_error()))?.commit().map_err(failed)?;
    Ok(true)
}

/// Returns as many copies of the images of a set as there are files, each with the features of one file.
fn feature_set(set: &PictureSet, layout: &Layout, files: Vec<Arc<MappedFile>>) -> Arc<PictureSet> {
    let slots = 0..set.pictures.len() * files.len();
    let pictures = slots.zip(set.pictures.iter().cycle()).map(|(slot, picture)| Picture { slot, ..picture.clone() }).collect();
    let features = Features { files, count: set.pictures.len(), size: layout.size(), folder: layout.folder.clone() };
    let store = Arc::new(Store::of_features(set.store.format(), features));
    Arc::new(PictureSet { classes: Arc::clone(&set.classes), pictures, store })
}

fn source(set: Arc<PictureSet>, draws: Vec<Draw>, layout: &Layout) -> Source {
    let prepare: Prepare = Arc::new(|subject, out| {
        out.extend(subject.bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])));
    });
    let batcher = ImageBatcher { prepare, mix: None, num_classes: set.classes.len() };
    Source { view: View { set, draws, batcher }, entrance: Entrance { shape: layout.shape, group: layout.groups } }
}

/// Whether every image's part is what was written, by the checkchecksums after the features. Reads the file from end to end, which also brings it
/// into memory.
fn is_whole(file: &[u8], count: usize, size: usize) -> bool {
    let Some((features, checksums)) = file.split_at_checked(count * size) else { return false };
    checksums.len() == count * size_of::<u32>()
        && features
            .par_chunks_exact(size)
            .zip(checksums.par_chunks_exact(4))
            .all(|(bytes, checksum)| crc32c::crc32c(bytes).to_le_bytes() == *checksum)
}
