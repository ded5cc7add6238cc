//! A run in memory: everything that a step changes, for a new run and for a resume.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::Device;

use super::{
    changes::{follow_images, jump, refuse_changes, split_rows, written_rows},
    files::RunFiles,
    prepare::{Network, base_rate, check_memory, check_names, class_weights, largest_batch},
    state::{Partial, PhaseState, State},
};
use crate::{
    checkpoint::{Frozen, FrozenBytes, Meta, Resumable, RunFolder, RunId, check_run},
    config::{Config, OnBadImage, Phase},
    data::{TrainingData, batches::normalize::Normalizer, duplicates::known, table},
    nn::{
        cpu::backend::is_host,
        estimate::Estimate,
        loss::LossFn,
        networks::{
            classifier::{Design, NetworkInput},
            params,
        },
        optim::{Ema, OptimizerState},
        weights::state_from_bytes,
    },
    ranks::Ranks,
    train::{
        Datasets, Learner, TrainError,
        inputs::Sources,
        rules::{
            early_stopping::{Best, Patience},
            schedule::Plateau,
        },
        step::Stepper,
    },
};

/// A run in memory.
#[derive(Debug)]
pub struct Session {
    /// The configuration with all defaults.
    pub config: Config,
    /// Training and validation set.
    pub datasets: Datasets,
    /// Network, optimizer and averaged weights.
    pub learner: Learner,
    /// Counters and decisions.
    pub state: State,
    /// Messages for the user before a resumed run continues.
    pub remarks: Vec<String>,
    pub(in crate::train) files: RunFiles,
    phases: Vec<Phase>,
}

impl Session {
    /// Creates a new run in memory. `device` is without autodiff.
    ///
    /// # Errors
    /// Returns an error if the configuration names a class that isn't there, the network needs more
    /// memory than is available, or the weights can't be read or don't fit.
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
        check_memory(
            &Estimate::of(
                &config,
                data.classes.len(),
                largest_batch(&config, &data.train, &data.validation),
            ),
            is_host(device),
        )?;
        let network = Network::start(&config, data, device)?;
        let split = table::to_csv(&written_rows(data));
        let mut session = Self::new(config, data, RunId::new(&split), state, network)?;
        (session.files.split, session.files.looks) = (
            Some(split),
            Some(known::looks_to_bytes(&data.known().collect::<Vec<_>>())),
        );
        Ok(session)
    }

    /// Restores the run in the folder `run` from its checkpoint at `path`, in memory.
    ///
    /// `config` may differ from the run's in what a resume may change. Images of `data` that have
    /// moved are put back into the order of the run.
    ///
    /// # Errors
    /// Returns an error if anything else of the configuration or data has changed, the files don't
    /// belong to one run, or the weights don't fit.
    pub fn resume(
        config: Config,
        data: &mut TrainingData,
        [run, path]: [&Path; 2],
        device: &Device,
        saved: Resumable,
    ) -> Result<Self, TrainError> {
        let Resumable {
            mut checkpoint,
            optimizer,
            state,
        } = saved;
        let mut state = State::read(
            &state,
            path,
            checkpoint.meta.classes.len(),
            checkpoint.meta.epoch,
        )?;
        refuse_changes(&state.config, &config)?;
        check_run(checkpoint.meta.run.as_ref(), path)?;
        let moved = follow_images(&mut state, data, run)?;
        let remarks = moved
            .iter()
            .map(|moved| moved.words.clone())
            .chain(jump(&state, &config, data.train.images.len()))
            .collect();
        check_names(&config, data)?;
        check_memory(
            &Estimate::of(
                &config,
                data.classes.len(),
                largest_batch(&config, &data.train, &data.validation),
            ),
            is_host(device),
        )?;
        state.config = config.clone();
        if let Some(frozen) = &mut checkpoint.meta.frozen {
            // The file of the initial weights may have moved; the digest of the frozen layers tells
            // whether they are the same.
            frozen.weights = config.model.weights();
        }
        let network = Network::resume(&config, data, device, &checkpoint)?;
        let id = match checkpoint.meta.run {
            Some(id) => id,
            None => RunId::new(&table::read_bytes(&run.join("split.csv"))?),
        };
        // A run of an older version has no thumbnails. Theirs is the order of `split.csv`, which
        // only images that haven't moved are sure to have.
        let looks = (moved.is_none() && !run.join(known::LOOKS).is_file())
            .then(|| known::looks_to_bytes(&data.known().collect::<Vec<_>>()));
        let mut session = Self {
            remarks,
            ..Self::new(config, data, id, state, network)?
        };
        (session.files.split, session.files.looks) = (moved.map(|moved| moved.split), looks);
        let (trained, learner) = (state_from_bytes(&optimizer, device)?, &mut session.learner);
        learner.optimizer.slots = trained.slots;
        if learner.ema.is_some() {
            // The checkpoint's weights are the averaged ones, and the average starts from them;
            // training continues with the weights saved beside the optimizer's state.
            learner.model = params::replace(learner.model.clone(), trained.raw);
        }
        Ok(session)
    }

    /// Writes the first files of the run into `folder`; from then on it can be resumed.
    ///
    /// # Errors
    /// Returns an error if a file can't be written.
    pub fn begin(&mut self, folder: RunFolder, data: &TrainingData) -> Result<(), TrainError> {
        self.files.begin(folder, data, &self.learner, &self.state)
    }

    /// Returns the folder of the run.
    ///
    /// # Panics
    /// Panics if the run hasn't begun.
    pub fn folder(&self) -> &Path {
        self.files.path()
    }

    /// Saves the current state of the run under each of `names` (`last`, `best`). Waits for the
    /// device.
    ///
    /// # Errors
    /// Returns an error if the device fails or a file can't be written.
    pub fn save(&self, names: &[&str]) -> Result<(), TrainError> {
        self.files.save(names, &self.learner, &self.state)
    }

    /// Replaces the `meta.json` of the checkpoint called `name`, unless another rank does.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub fn save_meta(&self, name: &str, meta: &Meta) -> Result<(), TrainError> {
        self.files.save_meta(name, meta)
    }

    /// Joins the parts of a run and sets the learner for the current phase.
    fn new(
        config: Config,
        data: &TrainingData,
        run: RunId,
        state: State,
        network: Network,
    ) -> Result<Self, TrainError> {
        let Network {
            design,
            device,
            model,
            normalizer,
            backbone,
            remark,
        } = network;
        let loss = LossFn {
            kind: config.train.loss,
            gamma: config.train.focal_gamma.unwrap_or(2.0),
            label_smoothing: config.train.label_smoothing,
        };
        let (shape, group) = (design.input, 0);
        let stepper = Stepper {
            device,
            network_input: NetworkInput { shape, group },
            frozen: 0,
            layer_factor: 1.0,
            loss,
            class_weights: class_weights(&config.train.class_weights, &data.train)?,
            clip_norm: config.train.clip_norm,
            seed: config.seed,
            ranks: Ranks::Alone,
        };
        let network = (design, normalizer.clone());
        let files = RunFiles {
            meta: meta(&config, &data.classes, network, backbone.as_deref(), run),
            backbone,
            include_backbone: config.train.checkpoint.include_backbone,
            split: None,
            looks: None,
            place: None,
        };
        let ema = |decay| Ema::new(decay, &model, config.always_frozen());
        let learner = Learner {
            stepper,
            optimizer: OptimizerState::new(&config.train.optimizer),
            ema: config.train.ema_decay.map(ema),
            model,
        };
        let datasets = Datasets::new(&config, &data.train, &data.validation, normalizer);
        let mut session = Self {
            datasets,
            learner,
            state,
            files,
            phases: config.phases(),
            config,
            remarks: remark.into_iter().collect(),
        };
        session.enter_phase();
        Ok(session)
    }

    /// Returns the current phase.
    pub fn phase(&self) -> &Phase {
        &self.phases[self.state.phase.index.min(self.phases.len() - 1)]
    }

    /// Describes the current phase, `None` if there is only one.
    pub fn phase_words(&self) -> Option<String> {
        let (phase, of) = (self.phase(), self.phases.len());
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

    /// Prepares the learner for the current phase, with a fresh optimizer.
    fn enter_phase(&mut self) {
        let frozen = self.config.model.frozen_groups(self.phase().freeze);
        let layer_factor = self.phase().layer_factor;
        self.learner
            .enter_phase(frozen, layer_factor, &self.config.train.optimizer);
    }

    /// Ends the phase after the epochs done so far. The next one starts with a fresh optimizer,
    /// schedule and patience. Returns whether there is a next one.
    pub(in crate::train) fn next_phase(&mut self) -> bool {
        let index = self.state.phase.index + 1;
        if index >= self.phases.len() {
            return false;
        }
        self.state.phase = PhaseState {
            index,
            first_epoch: self.state.epoch,
            first_step: self.state.step,
        };
        self.state.patience = Patience::default();
        self.state.plateau = Plateau::new(base_rate(&self.config, &self.phases[index]));
        self.enter_phase();
        true
    }

    /// Returns why training is finished, `None` while it isn't.
    pub fn finished(&self) -> Option<String> {
        if self.state.phase.index + 1 < self.phases.len() {
            return None;
        }
        if self.phase_is_over() {
            return Some(format!("all {} epochs are done", self.state.epoch));
        }
        let rule = self.config.train.early_stopping.as_ref()?;
        self.state
            .patience
            .still_stops(rule)
            .then(|| format!("stopped early after epoch {}", self.state.epoch))
    }

    /// Whether all epochs of the current phase are done.
    pub(in crate::train) fn phase_is_over(&self) -> bool {
        self.state.epoch >= self.state.phase.first_epoch + self.phase().epochs
    }

    /// Returns what the inputs of the current phase are computed from.
    pub(in crate::train) fn sources(&self) -> Sources<'_> {
        Sources {
            config: &self.config,
            datasets: &self.datasets,
            learner: &self.learner,
        }
    }
}

/// Returns the metadata of every checkpoint of a run, without epoch and metrics.
fn meta(
    config: &Config,
    classes: &[String],
    (design, normalize): (Design, Normalizer),
    backbone: Option<&FrozenBytes>,
    run: RunId,
) -> Meta {
    let data = &config.data;
    Meta {
        format: Meta::format(),
        emberlens: env!("CARGO_PKG_VERSION").to_owned(),
        name: config.name.clone(),
        classes: classes.to_vec(),
        image_size: data.image_size,
        color: data.color,
        resize: data.resize,
        interpolation: data.interpolation,
        repair: data.on_bad_image == OnBadImage::Repair,
        normalize,
        design,
        loss: config.train.loss,
        focal_gamma: config.train.focal_gamma.unwrap_or(2.0),
        epoch: 0,
        temperature: 1.0,
        threshold: None,
        coverage: None,
        novelty: None,
        reconstruction: None,
        frozen: backbone.map(|backbone| Frozen {
            groups: config.always_frozen(),
            weights: config.model.weights(),
            sha256: backbone.sha256.clone(),
        }),
        metrics: BTreeMap::new(),
        run: Some(run),
        files: BTreeMap::new(),
    }
}
