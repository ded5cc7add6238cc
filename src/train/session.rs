//! A run in memory: everything that a step changes, how it starts anew and how it starts where it was left.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::{module::Module, tensor::Device};
use serde::{Deserialize, Serialize};

use super::{
    TrainError,
    changes::{refuse_changes, split_rows, written_rows},
    early_stopping::{Best, Patience},
    features::FeatureSets,
    prepare::{Network, base_rate, check_memory, check_names, class_weights, largest_batch},
    schedule::{Plateau, PlateauRule},
    step::Stepper,
};
use crate::{
    base::files::write_atomic,
    checkpoint::{Checkpoint, Frozen, FrozenBytes, Meta, save},
    config::{Config, Metric, Phase},
    data::{TrainingData, dataset::PictureSet, known, normalize::Normalizer, table},
    metrics::Confusion,
    nn::{
        estimate::Estimate,
        host::is_host,
        loss::LossFn,
        model::{Classifier, Design, Entrance},
        optim::{Ema, OptimizerState},
        params,
        weights::{Part, TrainingState, state_from_bytes, state_to_bytes, to_bytes},
    },
    record::{EpochRecord, history_csv},
};

/// Counters and decisions of the loop: with the weights and the optimiser's state, all that a resume needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// As the run was started.
    pub config: Config,
    /// Of `split.csv`.
    pub data_fingerprint: String,
    /// Where the training is among its phases.
    pub phase: PhaseState,
    /// Whole epochs done.
    pub epoch: usize,
    /// Batches done in the epoch that is under way.
    pub batch: usize,
    /// Optimiser steps done.
    pub step: usize,
    /// What the batches of this epoch gave so far.
    pub partial: Partial,
    /// One record a whole epoch.
    pub history: Vec<EpochRecord>,
    /// The best epoch so far.
    pub best: Best,
    /// What early stopping has seen.
    pub patience: Patience,
    /// What the plateau schedule has seen, and its learning rate.
    pub plateau: Plateau,
    /// Of all parts of the run together.
    pub seconds: f64,
    /// Whole epochs that `train.max_time` is expected to leave time for, where it isn't all; the schedule ends there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_epochs: Option<usize>,
}

/// Which phase, and where it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseState {
    /// Counted from 0.
    pub index: usize,
    /// Whole epochs done before it.
    pub first_epoch: usize,
    /// Optimiser steps done before it.
    pub first_step: usize,
}

/// The measures of an epoch under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// Of weighted losses.
    pub loss_sum: f64,
    /// On training pictures as they were trained on.
    pub confusion: Confusion,
    /// Seconds of the epoch.
    pub seconds: f64,
}

impl Partial {
    /// At the start of an epoch.
    pub fn new(num_classes: usize) -> Self {
        Self { loss_sum: 0.0, confusion: Confusion::new(num_classes), seconds: 0.0 }
    }
}

/// A run in memory.
#[derive(Debug)]
pub struct Session {
    /// The resolved configuration.
    pub config: Config,
    /// Where the run is written.
    pub folder: PathBuf,
    /// Trained on.
    pub train: Arc<PictureSet>,
    /// Looked at after each epoch.
    pub validation: Arc<PictureSet>,
    /// How a step is taken.
    pub stepper: Stepper,
    /// With autodiff.
    pub model: Classifier,
    /// With its state.
    pub optimizer: OptimizerState,
    /// The averaged weights, where they are wanted.
    pub ema: Option<Ema>,
    /// Counters and decisions.
    pub state: State,
    /// What is done to a picture's pixels last.
    pub normalizer: Normalizer,
    /// What frozen layers make of the pictures.
    pub(super) features: FeatureSets,
    phases: Vec<Phase>,
    /// Layers that no phase trains.
    backbone: Option<Arc<FrozenBytes>>,
    design: Design,
}

impl Session {
    /// A new run in `folder`, which is made and gets `config.toml`, `split.csv` and `skipped.csv`. `device` is without autodiff.
    ///
    /// # Errors
    /// A folder that isn't empty; class weights that name no class; the system's errors.
    pub fn start(config: Config, data: &TrainingData, folder: &Path, device: &Device) -> Result<Self, TrainError> {
        let rows = split_rows(data);
        let state = State {
            data_fingerprint: table::fingerprint(&rows),
            phase: PhaseState::default(),
            epoch: 0,
            batch: 0,
            step: 0,
            partial: Partial::new(data.classes.len()),
            history: Vec::new(),
            best: Best::default(),
            patience: Patience::default(),
            plateau: Plateau::new(base_rate(&config, &config.phases()[0])),
            seconds: 0.0,
            planned_epochs: None,
            config: config.clone(),
        };
        check_names(&config, data)?;
        check_memory(&Estimate::of(&config, data.classes.len(), largest_batch(&config, &data.train, &data.validation)), is_host(device))?;
        let network = Network::start(&config, data, device)?;
        let session = Self::new(config, data, folder, state, network)?;
        if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(TrainError::Occupied(folder.to_owned()));
        }
        std::fs::create_dir_all(folder).map_err(|error| TrainError::Folder { path: folder.to_owned(), error })?;
        write_atomic(&folder.join("config.toml"), session.config.to_toml().as_bytes())?;
        write_atomic(&folder.join("split.csv"), &table::to_csv(&written_rows(data)))?;
        write_atomic(&folder.join(known::LOOKS), &known::looks_to_bytes(data))?;
        if !data.skipped.is_empty() {
            write_atomic(&folder.join("skipped.csv"), &table::to_csv(&data.skipped))?;
        }
        // From here on the run can be resumed, whatever happens.
        session.save(&["last"])?;
        Ok(session)
    }

    /// The run in `folder` where `checkpoint` left it, under a `config` that may differ in what a resume may change.
    ///
    /// # Errors
    /// A configuration or data that has changed otherwise; weights that don't fit.
    pub fn resume(config: Config, data: &TrainingData, folder: &Path, device: &Device, checkpoint: Checkpoint) -> Result<Self, TrainError> {
        let mut state: State = State::deserialize(&checkpoint.state).map_err(|error| crate::checkpoint::CheckpointError::Damaged {
            path: folder.to_owned(),
            reason: format!("state.json: {error}"),
            other: None,
        })?;
        refuse_changes(&state, &config, data, folder)?;
        check_names(&config, data)?;
        check_memory(&Estimate::of(&config, data.classes.len(), largest_batch(&config, &data.train, &data.validation)), is_host(device))?;
        state.config = config.clone();
        let network = Network::resume(&config, data, device, &checkpoint)?;
        let frozen = config.always_frozen();
        let mut session = Self::new(config, data, folder, state, network)?;
        let trained = state_from_bytes(&checkpoint.optimizer, device)?;
        session.optimizer.slots = trained.slots;
        if let Some(ema) = &mut session.ema {
            // The checkpoint's weights are the averaged ones; training goes on with those behind them.
            *ema = Ema::new(session.config.train.ema_decay.unwrap_or_default(), &session.model, frozen);
            session.model = params::replace(session.model, trained.raw);
        }
        write_atomic(&folder.join("config.toml"), session.config.to_toml().as_bytes())?;
        if !folder.join(known::LOOKS).is_file() {
            // An older version wrote the run.
            write_atomic(&folder.join(known::LOOKS), &known::looks_to_bytes(data))?;
        }
        // A crash may have come between the checkpoint and its line.
        session.write_history()?;
        Ok(session)
    }

    fn new(config: Config, data: &TrainingData, folder: &Path, state: State, network: Network) -> Result<Self, TrainError> {
        let Network { design, device, model, normalizer, backbone } = network;
        let loss = LossFn {
            kind: config.train.loss,
            gamma: config.train.focal_gamma.unwrap_or(2.0),
            label_smoothing: config.train.label_smoothing,
        };
        let stepper = Stepper {
            device,
            entrance: Entrance { shape: design.input, group: 0 },
            frozen: 0,
            layer_factor: 1.0,
            loss,
            class_weights: class_weights(&config.train.class_weights, &data.train)?,
            clip_norm: config.train.clip_norm,
            seed: config.seed,
        };
        let mut session = Self {
            folder: folder.to_owned(),
            train: Arc::clone(&data.train),
            validation: Arc::clone(&data.validation),
            stepper,
            optimizer: OptimizerState::new(&config.train.optimizer),
            ema: config.train.ema_decay.map(|decay| Ema::new(decay, &model, config.always_frozen())),
            model,
            state,
            normalizer,
            features: FeatureSets::default(),
            phases: config.phases(),
            backbone,
            design,
            config,
        };
        session.enter_phase();
        Ok(session)
    }

    /// The phase that is under way.
    pub fn phase(&self) -> &Phase {
        &self.phases[self.state.phase.index.min(self.phases.len() - 1)]
    }

    /// How the phase that is under way is called; nothing where there is one only.
    pub fn phase_words(&self) -> Option<String> {
        let phase = self.phase();
        let of = self.phases.len();
        let words = || {
            let rate = base_rate(&self.config, phase);
            format!(
                "Phase {} of {of}: {} epochs, frozen: {}, learning rate {rate:e}",
                self.state.phase.index + 1,
                phase.epochs,
                phase.freeze
            )
        };
        (of > 1).then(words)
    }

    /// Sets the stepper for the phase that is under way.
    fn enter_phase(&mut self) {
        self.stepper.frozen = self.config.model.frozen_groups(self.phase().freeze);
        self.stepper.layer_factor = self.phase().layer_factor;
        self.features = FeatureSets::default();
    }

    /// Ends the phase after the epochs done so far; the next one starts with a fresh optimiser, schedule and patience. False where there is
    /// none.
    pub(super) fn next_phase(&mut self) -> bool {
        let index = self.state.phase.index + 1;
        if index >= self.phases.len() {
            return false;
        }
        self.state.phase = PhaseState { index, first_epoch: self.state.epoch, first_step: self.state.step };
        self.state.patience = Patience::default();
        self.state.plateau = Plateau::new(base_rate(&self.config, &self.phases[index]));
        self.optimizer = OptimizerState::new(&self.config.train.optimizer);
        self.enter_phase();
        true
    }

    /// The network to validate and to save as `best/`: with averaged weights where they are wanted. Without autodiff.
    pub fn inference_model(&self) -> Classifier {
        match &self.ema {
            Some(ema) => ema.apply(&self.model),
            None => self.model.valid(),
        }
    }

    /// What the weights belong to.
    pub fn meta(&self) -> Meta {
        let record = self.state.history.last();
        let data = &self.config.data;
        Meta {
            format: Meta::format(),
            emberlens: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.config.name.clone(),
            classes: self.train.classes.to_vec(),
            image_size: data.image_size,
            color: data.color,
            resize: data.resize,
            interpolation: data.interpolation,
            normalize: self.normalizer.clone(),
            design: self.design.clone(),
            loss: self.stepper.loss.kind,
            focal_gamma: self.stepper.loss.gamma,
            epoch: self.state.epoch,
            temperature: 1.0,
            threshold: None,
            coverage: None,
            frozen: self.backbone.as_ref().map(|backbone| Frozen {
                groups: self.config.always_frozen(),
                weights: self.config.model.weights(),
                sha256: backbone.sha256.clone(),
            }),
            metrics: record.map_or_else(BTreeMap::new, |record| {
                Metric::ALL.iter().map(|(name, metric)| ((*name).to_owned(), record.value(metric, &self.train.classes))).collect()
            }),
            files: BTreeMap::new(),
        }
    }

    /// Saves the run as it is now under these names (`last`, `best`). Waits for the device.
    ///
    /// # Errors
    /// The device's or the system's.
    pub fn save(&self, names: &[&str]) -> Result<(), TrainError> {
        let frozen = self.config.always_frozen();
        let raw = if self.ema.is_some() {
            params::trained(&self.model, frozen).into_iter().map(|param| (param.path, param.values)).collect()
        } else {
            BTreeMap::new()
        };
        let checkpoint = Checkpoint {
            meta: self.meta(),
            model: to_bytes(&self.inference_model(), Part::Rest(frozen))?,
            backbone: self.backbone.clone().filter(|_| self.config.train.checkpoint.include_backbone),
            optimizer: state_to_bytes(&TrainingState { slots: self.optimizer.slots.clone(), raw })?,
            state: serde_json::to_value(&self.state).expect("plain values are JSON"),
        };
        Ok(save(&self.folder, names, &checkpoint)?)
    }

    /// Writes `history.csv` anew from the records, so that it never holds a line twice or a torn one.
    ///
    /// # Errors
    /// The system's.
    pub fn write_history(&self) -> Result<(), TrainError> {
        let text = history_csv(&self.state.history, &self.train.classes);
        Ok(write_atomic(&self.folder.join("history.csv"), text.as_bytes())?)
    }

    /// Has the run come to its end under its configuration? In words.
    pub fn finished(&self) -> Option<String> {
        if self.state.phase.index + 1 < self.phases.len() {
            return None;
        }
        if self.phase_is_over() {
            return Some(format!("all {} epochs are done", self.state.epoch));
        }
        let rule = self.config.train.early_stopping.as_ref()?;
        self.state.patience.still_stops(rule).then(|| format!("stopped early after epoch {}", self.state.epoch))
    }

    /// Are all epochs of the phase done?
    pub(super) fn phase_is_over(&self) -> bool {
        self.state.epoch >= self.state.phase.first_epoch + self.phase().epochs
    }

    /// The rule of the plateau schedule, if that is the schedule.
    pub fn plateau_rule(&self) -> Option<PlateauRule> {
        PlateauRule::of(&self.config.train.schedule)
    }
}
