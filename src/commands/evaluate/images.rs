//! The images that are measured, and which of a run's networks measure each.

use std::path::Path;

use super::others::Other;
use crate::{
    base::{names, usage::UsageError},
    checkpoint::{Checkpoint, Networks},
    commands::ui::{Terminal, say},
    evaluation::{
        Evaluation, HeldBack,
        images::{EvalSet, SplitName, from_path, from_split, held_out_or_back, no_run, run_of},
        predictor::Predictor,
    },
};

/// Images to measure.
pub(super) enum Images {
    /// Each by all networks.
    Any(EvalSet),
    /// Those of a run of folds, each by the network that held it back.
    HeldBack(HeldBack),
}

impl Images {
    /// Returns the images for these networks: those of `data` or of a part of their run, by default
    /// its test images or, without any, those that were held back.
    ///
    /// # Errors
    /// Returns an error if there are none, or they can't be listed.
    pub(super) fn named(
        data: Option<&Path>,
        split: Option<SplitName>,
        checkpoints: &[Checkpoint],
        networks: &Networks,
    ) -> anyhow::Result<Self> {
        let path = &networks.paths[0];
        if let Some(data) = data {
            return Ok(Self::Any(from_path(data, &checkpoints[0].meta, &Terminal)?));
        }
        let run = run_of(path).ok_or_else(|| no_run(path))?;
        let held_back = || HeldBack::list(&networks.paths, &Terminal).map(Self::HeldBack);
        match split {
            Some(SplitName::Val) if checkpoints.len() > 1 => held_back(),
            Some(split) => Ok(Self::Any(from_split(split, run, &Terminal)?)),
            None if checkpoints.len() == 1 => Ok(Self::Any(held_out_or_back(run, &Terminal)?)),
            None => match from_split(SplitName::Test, run, &Terminal) {
                Err(error) if error.is::<UsageError>() => {
                    say(
                        "The run has no test images: measuring on its own, each by the network of \
                         the fold that held it back (--data measures others)",
                    );
                    held_back()
                }
                found => Ok(Self::Any(found?)),
            },
        }
    }

    /// Returns all of them.
    pub(super) fn set(&self) -> &EvalSet {
        match self {
            Self::Any(set) => set,
            Self::HeldBack(held) => &held.images,
        }
    }

    /// Returns the same images for the networks of another run.
    ///
    /// # Errors
    /// Returns an error if those are of folds that held other images back.
    pub(super) fn for_other(&self, other: &Other) -> anyhow::Result<Self> {
        let own = self.set();
        if matches!(self, Self::Any(_)) || other.networks.paths.len() == 1 {
            return Ok(Self::Any(EvalSet {
                known: other.known(own.known),
                ..own.clone()
            }));
        }
        let held = HeldBack::list(&other.networks.paths, &Terminal)?;
        let paths = |set: &EvalSet| -> Vec<_> {
            let entries = set.entries.iter();
            entries.map(|entry| entry.path.clone()).collect()
        };
        if paths(&held.images) != paths(own) {
            return Err(UsageError(format!(
                "--compare: the folds of {} held {} images back and those of this run {}, and not \
                 the same; compare the two on images that both have: --data",
                names::of_path(&other.path),
                held.images.entries.len(),
                own.entries.len()
            ))
            .into());
        }
        Ok(Self::HeldBack(held))
    }

    /// Measures networks on the images; `run` is the run around the first of them, and `predictor`
    /// puts networks on a device.
    ///
    /// # Errors
    /// Returns an error if no image can be read, a probability is not finite, or the device fails.
    pub(super) fn evaluated<'a>(
        self,
        checkpoints: &'a [Checkpoint],
        run: Option<&Path>,
        predictor: &dyn Fn(&'a [Checkpoint]) -> anyhow::Result<Predictor<'a>>,
    ) -> anyhow::Result<Evaluation> {
        match self {
            Self::Any(set) => Evaluation::run(&predictor(checkpoints)?, set, run),
            Self::HeldBack(held) => held.evaluated(&|fold| predictor(&checkpoints[fold..=fold])),
        }
    }
}
