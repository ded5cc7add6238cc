//! What frozen layers make of pictures that don't change is computed once and kept in a mapped file, which later runs find again: of
//! validation pictures, of training pictures where nothing is augmented, and of `train.feature_cache` augmentations of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mapped_file::MappedFile;
use rayon::prelude::*;

use super::{Observer, Session, TrainError, epoch};
use crate::{
    base::files::{self, PartialFile, with_path},
    config::Pooling,
    data::{
        batch::{ImageBatcher, Prepare},
        dataset::{Picture, PictureSet, View},
        loader::Loader,
        order::{self, Draw},
        pictures::{Features, Store},
    },
    nn::{
        batch::upload,
        head::average,
        host::kernel_words,
        infer::read,
        model::{Classifier, Entrance},
        weights::{Part, to_bytes},
    },
};

/// Part of a file's key: raise it when a frozen layer computes other values.
const VERSION: &str = "emberlens features 2";

/// The most that the features of a run may take on disk; above, frozen layers compute them anew in each epoch.
const MOST_BYTES: usize = 16 << 30;

/// What is known of the features of the phase under way.
#[derive(Clone, Debug, Default)]
pub(super) struct FeatureSets {
    /// Was it said that they aren't kept?
    is_warned: bool,
    /// Of the frozen layers, once they are needed.
    digest: Option<[u8; 32]>,
    validation: Option<Arc<PictureSet>>,
    /// By the epoch whose augmentation they have.
    train: BTreeMap<usize, Arc<MappedFile>>,
}

/// Pictures or features on their way into the network.
pub(super) struct Source {
    pub(super) view: View,
    pub(super) entrance: Entrance,
}

/// Where and what features are.
struct Place {
    /// Layer groups that made them.
    groups: usize,
    /// Channels, height and width.
    shape: [usize; 3],
    /// Channel by channel, as the head would do it.
    is_averaged: bool,
    folder: PathBuf,
}

impl Place {
    /// Bytes a picture.
    fn size(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }
}

/// Where the features of `count` pictures of this session are kept; `None` where nothing is frozen. Where they can't be kept it says so, once.
fn place(session: &mut Session, count: usize, observer: &dyn Observer) -> Option<Place> {
    let groups = session.stepper.frozen;
    if groups == 0 {
        return None;
    }
    let mut shape = session.model.shape_after(groups, session.stepper.entrance.shape);
    let is_averaged = groups == session.model.num_groups() && session.config.model.pooling == Pooling::Average;
    if is_averaged {
        // The mean of a mean of one is itself: what comes after the pooling is all that the head looks at.
        (shape[1], shape[2]) = (1, 1);
    }
    let bytes = (shape.iter().product::<usize>() * size_of::<f32>()).saturating_mul(count);
    let why = match folder() {
        Err(reason) => reason,
        Ok(_) if bytes > MOST_BYTES => format!("features would take {} GiB, more than {} GiB", bytes >> 30, MOST_BYTES >> 30),
        Ok(folder) => return Some(Place { groups, shape, is_averaged, folder }),
    };
    if !std::mem::replace(&mut session.features.is_warned, true) {
        observer.say(&format!("warning: {why}; the frozen layers compute them anew in each epoch"));
    }
    None
}

fn folder() -> Result<PathBuf, String> {
    let cache = dirs::cache_dir().ok_or("the system names no cache folder for this user")?;
    let folder = cache.join("emberlens").join("features");
    fs::create_dir_all(&folder).map_err(|error| format!("can't create the folder for features: {error}: {}", folder.display()))?;
    Ok(folder)
}

/// The training pictures of the epoch under way; `None` if `stop` came before they were there.
pub(super) fn training(session: &mut Session, observer: &dyn Observer, stop: &AtomicBool) -> Result<Option<Source>, TrainError> {
    let (number, kept) = (session.state.epoch, session.config.train.feature_cache);
    let plain = epoch::view(session, number);
    let is_augmented = session.config.augment.is_active();
    let rounds = if is_augmented { kept } else { 1 };
    let count = session.train.pictures.len();
    let Some(place) = (if rounds > 0 { place(session, count * rounds, observer) } else { None }) else {
        return Ok(Some(Source { view: plain, entrance: session.stepper.entrance }));
    };
    let round = |draw: &Draw| (number + draw.repeat) % rounds;
    let needed: BTreeSet<usize> = plain.draws.iter().map(round).collect();
    for round in &needed {
        if session.features.train.contains_key(round) {
            continue;
        }
        let augmented = View {
            draws: order::in_order(count),
            batcher: ImageBatcher { mix: None, ..epoch::view(session, *round).batcher },
            ..plain.clone()
        };
        let view = if is_augmented { augmented } else { View::plain(&session.train, &session.normalizer) };
        let Some(file) = open_or_compute(session, &place, view, is_augmented.then_some(*round), (observer, stop))? else { return Ok(None) };
        session.features.train.insert(*round, file);
    }
    let needed: Vec<usize> = needed.into_iter().collect();
    let files = needed.iter().map(|round| Arc::clone(&session.features.train[round])).collect();
    let set = feature_set(&session.train, &place, files);
    let position = |draw: &Draw| needed.iter().position(|needed| *needed == round(draw)).unwrap_or(0);
    let draws = plain.draws.iter().map(|draw| Draw { picture: position(draw) * count + draw.picture, ..*draw }).collect();
    Ok(Some(source(set, draws, &place)))
}

/// The validation pictures in order; `None` if `stop` came before they were there.
pub(super) fn validation(session: &mut Session, observer: &dyn Observer, stop: &AtomicBool) -> Result<Option<Source>, TrainError> {
    let plain = View::plain(&session.validation, &session.normalizer);
    let Some(place) = place(session, plain.draws.len(), observer) else {
        return Ok(Some(Source { view: plain, entrance: session.stepper.entrance }));
    };
    let draws = plain.draws.clone();
    let set = match session.features.validation.clone() {
        Some(set) => set,
        None => match open_or_compute(session, &place, plain, None, (observer, stop))? {
            Some(file) => feature_set(&session.validation, &place, vec![file]),
            None => return Ok(None),
        },
    };
    session.features.validation = Some(Arc::clone(&set));
    Ok(Some(source(set, draws, &place)))
}

/// As many copies of a set as there are files, each with the features of one.
fn feature_set(set: &PictureSet, place: &Place, files: Vec<Arc<MappedFile>>) -> Arc<PictureSet> {
    let slots = 0..set.pictures.len() * files.len();
    let pictures = slots.zip(set.pictures.iter().cycle()).map(|(slot, picture)| Picture { slot, ..picture.clone() }).collect();
    let features = Features { files, count: set.pictures.len(), size: place.size(), folder: place.folder.clone() };
    let store = Arc::new(Store::of_features(set.store.format(), features));
    Arc::new(PictureSet { classes: Arc::clone(&set.classes), pictures, store })
}

fn source(set: Arc<PictureSet>, draws: Vec<Draw>, place: &Place) -> Source {
    let prepare: Prepare = Arc::new(|subject, out| {
        out.extend(subject.bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])));
    });
    let batcher = ImageBatcher { prepare, mix: None, num_classes: set.classes.len() };
    Source { view: View { set, draws, batcher }, entrance: Entrance { shape: place.shape, group: place.groups } }
}

/// The file with the features of the pictures of `view`, as an earlier run left it or computed now; `round` says which augmentation they
/// have. `None` if `stop` came before the end.
fn open_or_compute(
    session: &mut Session,
    place: &Place,
    view: View,
    round: Option<usize>,
    (observer, stop): (&dyn Observer, &AtomicBool),
) -> Result<Option<Arc<MappedFile>>, TrainError> {
    let model = session.inference_model();
    let path = place.folder.join(format!("{}.f32", key(session, &model, place, &view, round)?));
    if let Ok(file) = MappedFile::open(&path) {
        if is_whole(&file, view.draws.len(), place.size()) {
            return Ok(Some(Arc::new(file.in_any_order())));
        }
        observer.say(&format!("warning: the features that were kept are damaged and are computed anew: {}", path.display()));
    }
    let failed = |error: std::io::Error| with_path(&error, "can't write the features", &path);
    let mut writer = BufWriter::new(PartialFile::new(&path).map_err(failed)?);
    let mut sums = Vec::new();
    let (total, mut done) = (view.draws.len(), 0);
    let which = round.map_or(String::new(), |round| format!(", augmentation {}", round + 1));
    observer.say(&format!("Frozen layers look at {total} pictures{which}, once; kept in {}", place.folder.display()));
    let device = session.stepper.device.clone().without_autodiff();
    let train = &session.config.train;
    for batch in Loader::new(view, train.batch_size, 0, train.workers) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let batch = batch?;
        done += batch.len();
        let images = upload(batch, session.stepper.entrance.shape, &device).images;
        let features = model.forward_frozen(0..place.groups, images);
        let features = if place.is_averaged { average(features) } else { features };
        for picture in read(features)?.chunks_exact(place.size() / size_of::<f32>()) {
            let bytes: Vec<u8> = picture.iter().flat_map(|value| value.to_le_bytes()).collect();
            sums.extend(crc32c::crc32c(&bytes).to_le_bytes());
            writer.write_all(&bytes).map_err(failed)?;
        }
        observer.computed_features(done, total);
    }
    writer.write_all(&sums).map_err(failed)?;
    writer.into_inner().map_err(|error| failed(error.into_error()))?.commit().map_err(failed)?;
    Ok(Some(Arc::new(open(&path)?.in_any_order())))
}

/// Is every picture's part what was written? The sums come after the features. Read once from end to end, which brings the file into memory.
fn is_whole(file: &[u8], count: usize, size: usize) -> bool {
    let Some((features, sums)) = file.split_at_checked(count * size) else { return false };
    sums.len() == count * size_of::<u32>()
        && features.par_chunks_exact(size).zip(sums.par_chunks_exact(4)).all(|(bytes, sum)| crc32c::crc32c(bytes).to_le_bytes() == *sum)
}

fn open(path: &Path) -> Result<MappedFile, TrainError> {
    Ok(MappedFile::open(path).map_err(|error| with_path(&error, "can't map the features", path))?)
}

/// Everything that features depend on: the layers and who computes them, the pixels and what is done to them.
fn key(session: &mut Session, model: &Classifier, place: &Place, view: &View, round: Option<usize>) -> Result<String, TrainError> {
    let digest = match session.features.digest {
        Some(digest) => digest,
        None => *blake3::hash(&to_bytes(model, Part::Frozen(place.groups))?).as_bytes(),
    };
    session.features.digest = Some(digest);
    let (config, format) = (&session.config, view.set.store.format());
    let mut hash = blake3::Hasher::new();
    let words = format!("{VERSION} {:?} {} {format:?}", config.model.architecture, kernel_words(&session.stepper.device));
    hash.update(words.as_bytes()).update(&digest);
    hash.update(&serde_json::to_vec(&session.normalizer).expect("plain values are JSON"));
    if let Some(whitening) = &session.normalizer.whitening {
        hash.update(&whitening.to_bytes());
    }
    for picture in &view.set.pictures {
        hash.update(&picture.digest);
    }
    if let Some(round) = round {
        // A picture's draws come from its place among the others; its class may have settings of its own.
        hash.update(&serde_json::to_vec(&config.augment).expect("plain values are JSON"));
        hash.update(format!("{} {round} {:?} {:?}", config.seed, view.set.labels(), view.set.classes).as_bytes());
    }
    Ok(files::hex(hash.finalize().as_bytes()))
}
