//! A run in memory: everything that a step changes, how it starts anew and how it starts where it was left.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use burn::{module::Module, tensor::Device};

use super::{
    TrainError,
    changes::{follow_pictures, refuse_changes, split_rows, written_rows},
    early_stopping::{Best, Patience},
    features::FeatureSets,
    prepare::{Network, base_rate, check_memory, check_names, class_weights, largest_batch},
    schedule::{Plateau, PlateauRule, jump},
    state::{Partial, PhaseState, State},
    step::Stepper,
};
use crate::{
    base::files::write_atomic,
    checkpoint::{Checkpoint, Frozen, FrozenBytes, Meta, Resumable, RunFolder, RunId, check_run, read_meta, save, save_meta},
    config::{Config, Metric, Phase},
    data::{
        TrainingData,
        dataset::PictureSet,
        known,
        normalize::Normalizer,
        table::{self, Skipped},
    },
    nn::{
        estimate::Estimate,
        host::is_host,
        loss::LossFn,
        model::{Classifier, Design, Entrance},
        optim::{Ema, OptimizerState},
        params,
        weights::{Part, TrainingState, state_from_bytes, state_to_bytes, to_bytes},
    },
    record::history_csv,
};

/// A run in memory.
#[derive(Debug)]
pub struct Session {
    /// The resolved configuration.
    pub config: Config,
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
    /// What a resume has to say before it goes on.
    pub remarks: Vec<String>,
    /// What frozen layers make of the pictures.
    pub(super) features: FeatureSets,
    phases: Vec<Phase>,
    /// Layers that no phase trains.
    backbone: Option<Arc<FrozenBytes>>,
    design: Design,
    /// Where the run is written, once it has begun.
    folder: Option<RunFolder>,
    run: RunId,
    /// The text of `split.csv`, where it is to be written.
    split: Option<Vec<u8>>,
    /// The looks of its pictures, likewise.
    looks: Option<Vec<u8>>,
}

impl Session {
    /// A new run, in memory. `device` is without autodiff.
    ///
    /// # Errors
    /// Class weights that name no class; weights that can't be read.
    pub fn start(config: Config, data: &TrainingData, device: &Device) -> Result<Self, TrainError> {
        let state = State {
            data_fingerprint: table::fingerprint(&split_rows(data)),
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
        let split = table::to_csv(&written_rows(data));
        let session = Self::new(config, data, RunId::new(&split), state, network)?;
        Ok(Self { split: Some(split), looks: Some(known::looks_to_bytes(data)), ..session })
    }

    /// The run in the folder `run` where the checkpoint at `path` left it, in memory, under a `config` that may differ in what a resume may
    /// change. Pictures of `data` that have moved get the places that they had.
    ///
    /// # Errors
    /// A configuration or data that has changed otherwise; files that don't belong together; weights that don't fit.
    pub fn resume(
        config: Config,
        data: &mut TrainingData,
        [run, path]: [&Path; 2],
        device: &Device,
        saved: Resumable,
    ) -> Result<Self, TrainError> {
        let Resumable { mut checkpoint, optimizer, state } = saved;
        let mut state = State::read(&state, path, checkpoint.meta.classes.len(), checkpoint.meta.epoch)?;
        refuse_changes(&state.config, &config)?;
        check_run(checkpoint.meta.run.as_ref(), path)?;
        let moved = follow_pictures(&mut state, data, run)?;
        let remarks = moved.iter().map(|moved| moved.words.clone()).chain(jump(&state, &config, data.train.pictures.len())).collect();
        check_names(&config, data)?;
        check_memory(&Estimate::of(&config, data.classes.len(), largest_batch(&config, &data.train, &data.validation)), is_host(device))?;
        state.config = config.clone();
        if let Some(frozen) = &mut checkpoint.meta.frozen {
            // The file may have moved; its digest tells whether it is the same.
            frozen.weights = config.model.weights();
        }
        let network = Network::resume(&config, data, device, &checkpoint)?;
        let frozen = config.always_frozen();
        let id = match checkpoint.meta.run {
            Some(id) => id,
            None => RunId::new(&table::read_bytes(&run.join("split.csv"))?),
        };
        // An older version wrote the run; looks have the order of `split.csv`, which that of moved pictures needn't be.
        let looks = (moved.is_none() && !run.join(known::LOOKS).is_file()).then(|| known::looks_to_bytes(data));
        let split = moved.map(|moved| moved.split);
        let mut session = Self { remarks, split, looks, ..Self::new(config, data, id, state, network)? };
        let trained = state_from_bytes(&optimizer, device)?;
        session.optimizer.slots = trained.slots;
        if let Some(ema) = &mut session.ema {
            // The checkpoint's weights are the averaged ones; training goes on with those behind them.
            *ema = Ema::new(session.config.train.ema_decay.unwrap_or_default(), &session.model, frozen);
            session.model = params::replace(session.model, trained.raw);
        }
        Ok(session)
    }

    /// From here on the run is in `folder`: `config.toml`, `split.csv`, a new one's `skipped.csv` and first checkpoint. It can be resumed
    /// whatever happens.
    ///
    /// # Errors
    /// The system's.
    pub fn begin(&mut self, folder: RunFolder, skipped: &[Skipped]) -> Result<(), TrainError> {
        let path = folder.path().to_owned();
        let is_new = self.state.step == 0 && !path.join("last").is_dir();
        if let Some(split) = self.split.take() {
            self.run.add(&split);
            if !is_new {
                // Before the file itself, so that checkpoints know it whenever a crash comes.
                ["best", "last"].iter().try_for_each(|name| add_split(&folder, name, &split))?;
            }
            write_atomic(&path.join("split.csv"), &split)?;
        }
        if let Some(looks) = self.looks.take() {
            write_atomic(&path.join(known::LOOKS), &looks)?;
        }
        write_atomic(&path.join("config.toml"), self.config.to_toml().as_bytes())?;
        self.folder = Some(folder);
        if !is_new {
            // A crash may have come between the checkpoint and its line.
            return self.write_history();
        }
        if !skipped.is_empty() {
            write_atomic(&path.join("skipped.csv"), &table::to_csv(skipped))?;
        }
        self.save(&["last"])
    }

    /// Where the run is written.
    ///
    /// # Panics
    /// It hasn't begun.
    pub fn folder(&self) -> &Path {
        self.run_folder().path()
    }

    fn run_folder(&self) -> &RunFolder {
        self.folder.as_ref().expect("a run that is trained or saved has begun")
    }

    /// Which run it is.
    pub fn run_id(&self) -> &RunId {
        &self.run
    }

    fn new(config: Config, data: &TrainingData, run: RunId, state: State, network: Network) -> Result<Self, TrainError> {
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
            remarks: Vec::new(),
            folder: None,
            run,
            split: None,
            looks: None,
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
                let value = |metric| Some(record.value(metric, &self.train.classes)).filter(|value| value.is_finite());
                Metric::ALL.iter().map(|(name, metric)| ((*name).to_owned(), value(metric))).collect()
            }),
            run: Some(self.run.clone()),
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
        };
        let saved = Resumable {
            checkpoint,
            optimizer: state_to_bytes(&TrainingState { slots: self.optimizer.slots.clone(), raw })?,
            state: serde_json::to_value(&self.state).expect("plain values are JSON"),
        };
        Ok(save(self.run_folder(), names, &saved)?)
    }

    /// Writes `history.csv` anew from the records, so that it never holds a line twice or a torn one.
    ///
    /// # Errors
    /// The system's.
    pub fn write_history(&self) -> Result<(), TrainError> {
        let text = history_csv(&self.state.history, &self.train.classes);
        Ok(write_atomic(&self.folder().join("history.csv"), text.as_bytes())?)
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

/// Lets the checkpoint of this name, where there is one, know another text of `split.csv`.
fn add_split(folder: &RunFolder, name: &str, split: &[u8]) -> Result<(), TrainError> {
    let path = folder.path().join(name);
    if !path.is_dir() {
        return Ok(());
    }
    let mut meta = read_meta(&path)?;
    let Some(run) = &mut meta.run else { return Ok(()) };
    run.add(split);
    Ok(save_meta(folder, &path, &meta)?)
}
