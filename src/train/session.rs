//! A run in memory: everything that a step changes, how it starts anew and how it starts where it was left.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{
    TrainError,
    early_stopping::{Best, Patience},
    schedule::{Plateau, PlateauRule},
    step::Stepper,
};
use crate::{
    base::files::write_atomic,
    checkpoint::{Checkpoint, Meta, save},
    config::{ClassWeights, Config, Loss, Metric, changed_keys},
    data::{
        TrainingData,
        dataset::PictureSet,
        listing::Part,
        normalize::Normalizer,
        pictures::Format,
        table::{self, SplitRow},
    },
    metrics::Confusion,
    nn::{
        build,
        loss::LossFn,
        model::{Classifier, Design, Output},
        optim::{Ema, OptimizerState},
        params,
        weights::{TrainingState, from_bytes, state_from_bytes, state_to_bytes, to_bytes},
    },
    record::{EpochRecord, history_csv},
};

/// Keys that a resume may change: they end or place a run without changing what it computes.
const MAY_CHANGE: [&str; 4] = ["train.epochs", "train.early_stopping.patience", "train.max_time", "device"];

/// Counters and decisions of the loop: with the weights and the optimiser's state, all that a resume needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// As the run was started.
    pub config: Config,
    /// Of `split.csv`.
    pub data_fingerprint: String,
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
            epoch: 0,
            batch: 0,
            step: 0,
            partial: Partial::new(data.classes.len()),
            history: Vec::new(),
            best: Best::default(),
            patience: Patience::default(),
            plateau: Plateau::new(config.train.optimizer.learning_rate()),
            seconds: 0.0,
            config: config.clone(),
        };
        let normalizer = Normalizer::fit(&config.data.normalize, config.data.color, &data.train)?;
        let session = Self::new(config, data, (folder, device), state, normalizer)?;
        if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(TrainError::Occupied(folder.to_owned()));
        }
        std::fs::create_dir_all(folder).map_err(|error| crate::base::files::with_path(&error, "can't create the run folder", folder))?;
        write_atomic(&folder.join("config.toml"), session.config.to_toml().as_bytes())?;
        write_atomic(&folder.join("split.csv"), &table::to_csv(&rows))?;
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
        let mut state: State = serde_json::from_value(checkpoint.state).map_err(|error| crate::checkpoint::CheckpointError::Damaged {
            path: folder.to_owned(),
            reason: format!("state.json: {error}"),
            other: None,
        })?;
        refuse_changes(&state, &config, data, folder)?;
        state.config = config.clone();
        // The statistics are those that the run was started with.
        let mut session = Self::new(config, data, (folder, device), state, checkpoint.meta.normalize)?;
        session.model = from_bytes(session.model, checkpoint.model)?;
        let trained = state_from_bytes(&checkpoint.optimizer, device)?;
        session.optimizer.slots = trained.slots;
        if let Some(ema) = &mut session.ema {
            // The checkpoint's weights are the averaged ones; training goes on with those behind them.
            *ema = Ema::new(session.config.train.ema_decay.unwrap_or_default(), &session.model);
            session.model = params::replace(session.model, trained.raw);
        }
        write_atomic(&folder.join("config.toml"), session.config.to_toml().as_bytes())?;
        // A crash may have come between the checkpoint and its line.
        session.write_history()?;
        Ok(session)
    }

    fn new(
        config: Config,
        data: &TrainingData,
        (folder, device): (&Path, &Device),
        state: State,
        normalizer: Normalizer,
    ) -> Result<Self, TrainError> {
        let num_classes = data.classes.len();
        if config.train.loss == Loss::BinaryCrossEntropy && num_classes != 2 {
            return Err(TrainError::Binary(num_classes));
        }
        check_monitors(&config, &data.classes)?;
        check_augmented_classes(&config, &data.classes)?;
        let [height, width, channels] = Format::of(&config.data).shape();
        let design =
            Design { model: config.model.clone(), input: [channels, height, width], num_classes, output: Output::of(config.train.loss) };
        let device = device.clone().autodiff();
        let model = build(&design, config.seed, &device);
        let loss = LossFn {
            kind: config.train.loss,
            gamma: config.train.focal_gamma.unwrap_or(2.0),
            label_smoothing: config.train.label_smoothing,
        };
        let stepper = Stepper {
            device,
            input: design.input,
            loss,
            class_weights: class_weights(&config.train.class_weights, &data.train)?,
            clip_norm: config.train.clip_norm,
            seed: config.seed,
        };
        Ok(Self {
            folder: folder.to_owned(),
            train: Arc::clone(&data.train),
            validation: Arc::clone(&data.validation),
            stepper,
            optimizer: OptimizerState::new(&config.train.optimizer),
            ema: config.train.ema_decay.map(|decay| Ema::new(decay, &model)),
            model,
            state,
            normalizer,
            design,
            config,
        })
    }

    /// The network to validate and to save as `best/`: with averaged weights where they are wanted. Without autodiff.
    pub fn inference_model(&self) -> Classifier {
        use burn::module::Module;
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
        let raw = if self.ema.is_some() {
            params::collect(&self.model).into_iter().filter(|param| !param.is_statistic()).map(|param| (param.path, param.values)).collect()
        } else {
            BTreeMap::new()
        };
        let checkpoint = Checkpoint {
            meta: self.meta(),
            model: to_bytes(&self.inference_model())?,
            optimizer: state_to_bytes(&TrainingState { slots: self.optimizer.slots.clone(), raw })?,
            state: serde_json::to_value(&self.state).expect("plain values are JSON"),
        };
        for name in names {
            save(&self.folder.join(name), &checkpoint)?;
        }
        Ok(())
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
        let epochs = self.config.train.epochs;
        if self.state.epoch >= epochs {
            return Some(format!("all {epochs} epochs are done"));
        }
        let rule = self.config.train.early_stopping.as_ref()?;
        self.state.patience.still_stops(rule).then(|| format!("stopped early after epoch {}", self.state.epoch))
    }

    /// The rule of the plateau schedule, if that is the schedule.
    pub fn plateau_rule(&self) -> Option<PlateauRule> {
        PlateauRule::of(&self.config.train.schedule)
    }
}

/// The lines of `split.csv`.
fn split_rows(data: &TrainingData) -> Vec<SplitRow> {
    [table::rows(&data.train, Part::Train), table::rows(&data.validation, Part::Validation)].concat()
}

fn refuse_changes(state: &State, config: &Config, data: &TrainingData, folder: &Path) -> Result<(), TrainError> {
    let changed = changed_keys(&state.config, config);
    if let Some((key, old, new)) = changed.iter().find(|(key, ..)| !MAY_CHANGE.contains(&key.as_str())) {
        return Err(TrainError::Changed {
            what: "the configuration",
            detail: format!("{key} was {old} and is {new}"),
            hint: format!("a resume may change {} only; start a new run for the rest", MAY_CHANGE.join(", ")),
        });
    }
    let now = split_rows(data);
    if table::fingerprint(&now) == state.data_fingerprint {
        return Ok(());
    }
    let before = table::read_split(&folder.join("split.csv"))?;
    Err(TrainError::Changed {
        what: "the data",
        detail: table::difference(&before, &now).unwrap_or_else(|| "split.csv isn't the one of the checkpoint".to_owned()),
        hint: "put it back as it was, or start a new run".to_owned(),
    })
}

/// `[augment.class.NAME]` must name a class that is there.
///
/// # Errors
/// The first that doesn't.
pub fn check_augmented_classes(config: &Config, classes: &[String]) -> Result<(), TrainError> {
    match config.augment.class.keys().find(|name| !classes.contains(name)) {
        Some(name) => Err(TrainError::Class { key: format!("augment.class.{name}"), name: name.clone(), classes: classes.join(", ") }),
        None => Ok(()),
    }
}

/// A metric of one class must name a class that is there.
fn check_monitors(config: &Config, classes: &[String]) -> Result<(), TrainError> {
    let train = &config.train;
    let plateau = PlateauRule::of(&train.schedule).map(|rule| rule.monitor);
    let stopping = train.early_stopping.as_ref().map(|rule| rule.monitor.clone());
    for metric in [plateau, stopping, Some(train.checkpoint.monitor.clone())].into_iter().flatten() {
        if let Metric::Recall(class) = &metric
            && !classes.contains(class)
        {
            return Err(TrainError::Class { key: format!("monitor = \"{metric}\""), name: class.clone(), classes: classes.join(", ") });
        }
    }
    Ok(())
}

/// One factor a class. Balanced: pictures / (classes * pictures of the class), as scikit-learn.
fn class_weights(wanted: &ClassWeights, train: &PictureSet) -> Result<Vec<f32>, TrainError> {
    let classes = &train.classes;
    match wanted {
        ClassWeights::None => Ok(vec![1.0; classes.len()]),
        ClassWeights::Balanced => Ok(balanced(&train.class_counts())),
        ClassWeights::Named(weights) => {
            if let Some(name) = weights.keys().find(|name| !classes.contains(name)) {
                return Err(TrainError::Class { key: "train.class_weights".to_owned(), name: name.clone(), classes: classes.join(", ") });
            }
            Ok(classes.iter().map(|class| weights.get(class).copied().unwrap_or(1.0)).collect())
        }
    }
}

fn balanced(counts: &[usize]) -> Vec<f32> {
    let total: usize = counts.iter().sum();
    counts.iter().map(|count| (total as f64 / (counts.len() * count) as f64) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts of FER-2013, and scikit-learn's `compute_class_weight("balanced")` for them.
    #[test]
    fn balanced_weights_are_scikit_learns() {
        let got = balanced(&[3993, 436, 4103, 7164, 4982, 4938, 3205]);
        let expected = [1.0311, 9.4433, 1.0035, 0.5747, 0.8264, 0.8338, 1.2846];
        assert!(got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 5e-5), "{got:?}");
    }
}
