//! Files of features that frozen layers compute. A file is found by a hash of everything that its
//! values depend on, and a damaged one is computed anew.

use std::{
    collections::BTreeSet,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
};

use burn::module::Module;
use rayon::prelude::*;

use super::layout::{Layout, Sources};
use crate::{
    base::io::{
        bytes,
        files::{self, PartialFile, with_path},
        positioned::PositionedFile,
    },
    data::batches::{loader::Loader, view::View},
    nn::{
        batch::upload,
        cpu::backend::kernel_words,
        infer::read,
        networks::classifier::Classifier,
        weights::{Part, to_bytes},
    },
    train::{Learner, TrainError, observer::Watch},
};

/// Part of a file's key; to be raised whenever a frozen layer computes different values.
const VERSION: &str = "emberlens features 5";

/// Features to be found.
pub(super) struct Job<'a> {
    pub(super) layout: &'a Layout,
    /// The images.
    pub(super) view: View,
    /// The number of their augmented variant.
    pub(super) round: Option<usize>,
    /// Whether the averages of the weights compute them. A step runs the weights themselves, as
    /// without a cache; validation runs the network that `best/` will have. The two differ in
    /// layers that an earlier phase trained.
    pub(super) is_averaged: bool,
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

/// The files of a phase.
#[derive(Default)]
pub(super) struct FeatureFiles {
    /// Hashes of the frozen layers, computed on first use: of the weights, and of their averages.
    frozen: [Option<[u8; 32]>; 2],
}

impl FeatureFiles {
    /// Returns the file with the features that `job` asks for, from an earlier run or computed now,
    /// or `None` if the run was stopped before the end.
    ///
    /// # Errors
    /// Returns an error if an image can't be read again, the device fails or the file can't be
    /// written.
    pub(super) fn open_or_compute(
        &mut self,
        sources: Sources<'_>,
        job: Job<'_>,
        watch: Watch<'_>,
    ) -> Result<Option<Arc<PositionedFile>>, TrainError> {
        let (layout, total) = (job.layout, job.view.draws.len());
        let path = layout
            .folder
            .join(format!("{}.f32", self.key(sources, &job)?));
        let kept = PositionedFile::open(&path).ok();
        let is_damaged = kept
            .as_ref()
            .is_some_and(|file| !is_whole(file, total, layout.size()));
        let kept = kept.filter(|_| !is_damaged);
        let is_missing = sources.learner.stepper.ranks.any(kept.is_none())?;
        if let Some(file) = kept.filter(|_| !is_missing) {
            // Epochs read images in random order, so reading ahead would only evict other pages.
            return Ok(Some(Arc::new(file.in_any_order())));
        }
        if is_damaged {
            watch.observer.say(&format!(
                "warning: the cached features are damaged and are computed again: {}",
                path.display()
            ));
        }
        let which = job.round.map_or(String::new(), |round| {
            format!(", augmentation {}", round + 1)
        });
        watch.observer.say(&format!(
            "Frozen layers process {total} images{which} once; features are cached in {}",
            layout.folder.display()
        ));
        if !compute(sources, job, &path, watch)? {
            return Ok(None);
        }
        let file = PositionedFile::open(&path)
            .map_err(|error| with_path(&error, "can't read the features", &path))?;
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
        // All ranks compute the values, perhaps on several GPUs.
        let kernels = kernel_words(&learner.stepper.device);
        let all = learner.stepper.ranks.gather(kernels.as_bytes())?;
        let all: BTreeSet<_> = all
            .iter()
            .map(|words| String::from_utf8_lossy(words))
            .collect();
        let kernels = Vec::from_iter(all).join(" ");
        let words = format!(
            "{VERSION} {network} {:?} {kernels} {format:?}",
            layout.shape
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
    let ranks = &learner.stepper.ranks;
    // The other ranks of a machine read its file.
    let mut writer = match ranks.local() {
        (0, _) => Some(BufWriter::new(PartialFile::new(path).map_err(failed)?)),
        _ => None,
    };
    let mut checksums = Vec::new();
    let (total, mut done) = (view.draws.len(), 0);
    let device = learner.stepper.device.clone().without_autodiff();
    let frozen = model.frozen(0..layout.groups);
    let (size, num_batches) = (
        config.train.batch_size,
        view.num_batches(config.train.batch_size),
    );
    let own = (ranks.rank()..num_batches).step_by(ranks.count()).collect();
    let mut loader = Loader::of(view, size, own, config.train.workers);
    // Each rank computes a batch, and all get all of them.
    for _ in 0..num_batches.div_ceil(ranks.count()) {
        if ranks.any(watch.is_stopped())? {
            return Ok(false);
        }
        let mut own = Vec::new();
        if let Some(batch) = loader.next() {
            let images = upload(batch?, learner.stepper.network_input.shape, &device).images;
            let features = frozen.forward(images);
            let features = if layout.is_pooled {
                model.pool_features(features)
            } else {
                features
            };
            own = bytes::from_f32(&read(features)?);
        }
        for bytes in ranks.gather(&own)?.concat().chunks_exact(layout.size()) {
            done += 1;
            if let Some(writer) = &mut writer {
                checksums.extend(crc32c::crc32c(bytes).to_le_bytes());
                writer.write_all(bytes).map_err(failed)?;
            }
        }
        watch.observer.computed_features(done, total);
    }
    if let Some(mut writer) = writer {
        writer.write_all(&checksums).map_err(failed)?;
        writer
            .into_inner()
            .map_err(|error| failed(error.into_error()))?
            .commit()
            .map_err(failed)?;
    }
    // Who reads the file finds it whole.
    ranks.any(false)?;
    Ok(true)
}

/// Whether the features of every image match the checksums stored after them. Reads the whole file,
/// which also brings it into memory.
fn is_whole(file: &PositionedFile, count: usize, size: usize) -> bool {
    let features = count * size;
    if file.len() != features + count * size_of::<u32>() {
        return false;
    }
    // A file that can't be read is damaged, too.
    let Ok(checksums) = file.read(features..file.len()) else {
        return false;
    };
    checksums
        .par_chunks_exact(4)
        .enumerate()
        .all(|(index, checksum)| {
            let read = file.read(index * size..(index + 1) * size);
            read.is_ok_and(|bytes| crc32c::crc32c(&bytes).to_le_bytes() == *checksum)
        })
}
