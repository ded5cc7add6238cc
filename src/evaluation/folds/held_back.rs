//! Measures a run of folds on its own images, each by the network of the fold that held it back.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::bail;

use crate::{
    base::{names, progress::Progress, usage::UsageError},
    data::{Listed, batches::dataset::ImageSet, duplicates::leaks::known_to, listing::Part},
    evaluation::{
        Evaluation,
        images::{EvalSet, OUT_OF_FOLD, SplitName, from_split, no_run, run_of},
        predictor::Predictor,
        read,
    },
};

/// Origin of the images of a cross-validation, in words.
pub(super) const SOURCE: &str = "all images of the folds";

/// The images of a run of folds.
#[derive(Clone, Debug)]
pub struct HeldBack {
    /// All of them, by class and path.
    pub images: EvalSet,
    /// The fold that held each one back, counted from 0.
    fold: Vec<usize>,
    /// Number of folds.
    folds: usize,
}

impl HeldBack {
    /// Lists what the folds of a run held back; `checkpoints` are those of their networks.
    ///
    /// # Errors
    /// Returns an error if a checkpoint belongs to no run, an image was held back twice, as by the
    /// repeats of a cross-validation, or none can be found.
    pub fn list(checkpoints: &[PathBuf], progress: &dyn Progress) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for (fold, path) in checkpoints.iter().enumerate() {
            let run = run_of(path).ok_or_else(|| no_run(path))?;
            let held = from_split(SplitName::Val, run, progress)?;
            let images = held.entries.into_iter().zip(held.digests);
            all.extend(images.map(|(entry, digest)| (entry, digest, fold)));
        }
        all.sort_by(|(a, ..), (b, ..)| (&a.class, &a.path).cmp(&(&b.class, &b.path)));
        let mut paths: BTreeSet<&Path> = BTreeSet::new();
        if let Some((again, ..)) = all.iter().find(|(entry, ..)| !paths.insert(&entry.path)) {
            return Err(UsageError(format!(
                "each repeat of the run held all images back once; name one of them, whose folds \
                 are beside {}: found {} twice",
                names::of_path(&checkpoints[0]),
                names::of_path(&again.path)
            ))
            .into());
        }
        let fold = all.iter().map(|(.., fold)| *fold).collect();
        let (entries, digests) = all
            .into_iter()
            .map(|(entry, digest, _)| (entry, digest))
            .unzip();
        Ok(Self {
            images: EvalSet {
                entries,
                skipped: Vec::new(),
                name: OUT_OF_FOLD.to_owned(),
                source: SOURCE.to_owned(),
                known: known_to(Part::Validation),
                digests,
            },
            fold,
            folds: checkpoints.len(),
        })
    }

    /// Measures each image by the network of its fold, for which `predictor` is called with the
    /// number of the fold, counted from 0, and from which all folds read images alike.
    ///
    /// # Errors
    /// Returns an error if no image can be read, a probability is not finite, or the device fails.
    pub fn evaluated<'a>(
        self,
        predictor: &dyn Fn(usize) -> anyhow::Result<Predictor<'a>>,
    ) -> anyhow::Result<Evaluation> {
        let mut network = predictor(0)?;
        let all = read(&network, &self.images)?;
        let mut skipped = all.skipped;
        let mut measured = Vec::new();
        for fold in 0..self.folds {
            if fold > 0 {
                network = predictor(fold)?;
            }
            let own = |slot: usize| self.fold[slot] == fold;
            let read = all.set.images.iter().zip(&all.facts);
            let (images, facts): (Vec<_>, Vec<_>) = read
                .filter(|(image, _)| own(image.slot))
                .map(|(image, facts)| (image.clone(), Arc::clone(facts)))
                .unzip();
            if images.is_empty() {
                bail!(
                    "found no readable image among those that fold {} held back, expected one or \
                     more",
                    fold + 1
                );
            }
            let listed = Listed {
                set: Arc::new(ImageSet {
                    classes: Arc::clone(&all.set.classes),
                    images,
                    store: Arc::clone(&all.set.store),
                }),
                facts,
                skipped: std::mem::take(&mut skipped),
            };
            let found = Evaluation::of(&network, listed, SOURCE.to_owned(), &[], None)?;
            measured.push((network.meta(), found));
        }
        Ok(Evaluation::out_of_fold(&measured))
    }
}
