//! The files of a run: configuration, split, checkpoints and the history of its epochs. Training
//! only ever writes them here, through the lock of the [`RunFolder`].

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::io::files::write_atomic,
    checkpoint::{Checkpoint, FrozenBytes, Meta, Resumable, RunFolder, read_meta, save, save_meta},
    config::Metric,
    data::{TrainingData, duplicates::known, table},
    nn::{
        networks::params,
        weights::{Part, TrainingState, state_to_bytes, to_bytes},
    },
    record::history_csv,
    train::{Learner, State, TrainError},
};

/// The files of a run. Nothing is written before [`Self::begin`].
#[derive(Debug)]
pub(in crate::train) struct RunFiles {
    /// Metadata of every checkpoint; epoch and metrics are filled in when one is saved.
    pub(in crate::train) meta: Meta,
    /// Layers that no phase trains.
    pub(in crate::train) backbone: Option<Arc<FrozenBytes>>,
    /// Whether each checkpoint has a copy of those layers.
    pub(in crate::train) include_backbone: bool,
    /// Content of `split.csv`, if it is to be written.
    pub(in crate::train) split: Option<Vec<u8>>,
    /// Thumbnails of the images for later searches for copies, if they are to be written.
    pub(in crate::train) looks: Option<Vec<u8>>,
    /// Where the run is, once it has begun.
    pub(in crate::train) place: Option<Place>,
}

/// Where a run is.
#[derive(Debug)]
pub(in crate::train) enum Place {
    /// In a folder of this process.
    Here(RunFolder),
    /// In a folder of rank 0, perhaps on another machine. This process writes nothing.
    There(PathBuf),
}

impl RunFiles {
    /// Writes `config.toml` and `split.csv` into `folder`, and for a new run `skipped.csv` and the
    /// first checkpoint. From then on the run can be resumed.
    ///
    /// # Errors
    /// Returns an error if a file can't be written.
    pub(in crate::train) fn begin(
        &mut self,
        folder: RunFolder,
        data: &TrainingData,
        learner: &Learner,
        state: &State,
    ) -> Result<(), TrainError> {
        let path = folder.path().to_owned();
        let is_new = state.step == 0 && !path.join("last").is_dir();
        if let Some(split) = self.split.take() {
            if let Some(run) = &mut self.meta.run {
                run.add(&split);
            }
            if !is_new {
                // Before `split.csv` itself: after a crash in between, the checkpoints accept both
                // contents.
                for name in ["best", "last"] {
                    add_split(&folder, name, &split)?;
                }
            }
            write_atomic(&path.join("split.csv"), &split)?;
        }
        if let Some(looks) = self.looks.take() {
            write_atomic(&path.join(known::LOOKS), &looks)?;
        }
        write_atomic(&path.join("config.toml"), state.config.to_toml().as_bytes())?;
        self.place = Some(Place::Here(folder));
        if !is_new {
            // A crash may have come between a checkpoint and its line in `history.csv`.
            return self.write_history(state);
        }
        if !data.skipped.is_empty() {
            write_atomic(&path.join("skipped.csv"), &table::to_csv(&data.skipped))?;
        }
        if !data.damaged.is_empty() {
            write_atomic(&path.join("damaged.csv"), &table::to_csv(&data.damaged))?;
        }
        // Not together with other ranks, which haven't begun.
        self.write(&["last"], &self.resumable(learner, state)?)
    }

    /// Returns the place of the run.
    ///
    /// # Panics
    /// Panics if the run hasn't begun.
    fn place(&self) -> &Place {
        self.place
            .as_ref()
            .expect("a run that is trained or saved has begun")
    }

    /// Returns the path of the run's folder.
    ///
    /// # Panics
    /// Panics if the run hasn't begun.
    pub(in crate::train) fn path(&self) -> &Path {
        match self.place() {
            Place::Here(folder) => folder.path(),
            Place::There(path) => path,
        }
    }

    /// Saves the current state of the run under each of `names` (`last`, `best`). Waits for the
    /// device. All ranks must come here: that they hold the same bytes is checked, and rank 0
    /// writes them.
    ///
    /// # Errors
    /// Returns an error if the device fails, ranks differ, or a file can't be written.
    pub(in crate::train) fn save(
        &self,
        names: &[&str],
        learner: &Learner,
        state: &State,
    ) -> Result<(), TrainError> {
        let saved = self.resumable(learner, state)?;
        let ranks = &learner.stepper.ranks;
        if ranks.are_several() {
            let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
            let at = format!("after step {}", state.step);
            ranks.check_same(&[
                (&format!("weights {at}"), digest(&saved.checkpoint.model)),
                (&format!("optimizer state {at}"), digest(&saved.optimizer)),
            ])?;
        }
        self.write(names, &saved)
    }

    /// Writes a state of the run under each of `names`, unless rank 0 does.
    fn write(&self, names: &[&str], saved: &Resumable) -> Result<(), TrainError> {
        match self.place() {
            Place::Here(folder) => Ok(save(folder, names, saved)?),
            Place::There(_) => Ok(()),
        }
    }

    /// Replaces the `meta.json` of the checkpoint called `name`, unless rank 0 does.
    pub(in crate::train) fn save_meta(&self, name: &str, meta: &Meta) -> Result<(), TrainError> {
        match self.place() {
            Place::Here(folder) => Ok(save_meta(folder, &folder.path().join(name), meta)?),
            Place::There(_) => Ok(()),
        }
    }

    /// Returns all that a resume needs.
    fn resumable(&self, learner: &Learner, state: &State) -> Result<Resumable, TrainError> {
        let frozen = self.meta.frozen.as_ref().map_or(0, |frozen| frozen.groups);
        // With averaged weights, `model.safetensors` has the average; the weights that training
        // continues with are saved beside the optimizer's state.
        let raw = if learner.ema.is_some() {
            params::trained(&learner.model, frozen)
                .into_iter()
                .map(|param| (param.path, param.values))
                .collect()
        } else {
            BTreeMap::new()
        };
        let checkpoint = Checkpoint {
            meta: Meta {
                epoch: state.epoch,
                metrics: self.metrics(state),
                ..self.meta.clone()
            },
            model: to_bytes(&learner.inference_model(), Part::Rest(frozen))?,
            backbone: self.backbone.clone().filter(|_| self.include_backbone),
        };
        Ok(Resumable {
            checkpoint,
            optimizer: state_to_bytes(&TrainingState {
                slots: learner.optimizer.slots.clone(),
                raw,
            })?,
            state: serde_json::to_value(state).expect("plain values are JSON"),
        })
    }

    /// Returns the metrics of the last epoch by name, `None` for one that isn't finite.
    fn metrics(&self, state: &State) -> BTreeMap<String, Option<f64>> {
        let Some(record) = state.history.last() else {
            return BTreeMap::new();
        };
        let value = |metric| {
            Some(record.value(metric, &self.meta.classes)).filter(|value| value.is_finite())
        };
        Metric::ALL
            .iter()
            .map(|(name, metric)| ((*name).to_owned(), value(metric)))
            .collect()
    }

    /// Writes `history.csv` from all records, which leaves no repeated or incomplete line after a
    /// crash.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub(in crate::train) fn write_history(&self, state: &State) -> Result<(), TrainError> {
        if matches!(self.place(), Place::There(_)) {
            return Ok(());
        }
        let text = history_csv(&state.history, &self.meta.classes);
        Ok(write_atomic(
            &self.path().join("history.csv"),
            text.as_bytes(),
        )?)
    }
}

/// Adds `split` to the contents of `split.csv` that the checkpoint `name` accepts, if it exists.
fn add_split(folder: &RunFolder, name: &str, split: &[u8]) -> Result<(), TrainError> {
    let path = folder.path().join(name);
    if !path.is_dir() {
        return Ok(());
    }
    let mut meta = read_meta(&path)?;
    let Some(run) = &mut meta.run else {
        return Ok(());
    };
    run.add(split);
    Ok(save_meta(folder, &path, &meta)?)
}
