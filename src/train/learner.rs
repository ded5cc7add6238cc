//! What a step changes besides the counters: the network, its optimizer and its averaged weights.

use burn::module::Module;

use super::{StepInput, Stepper, TrainError, step::StepOutput};
use crate::{
    config::Optimizer,
    nn::{
        networks::classifier::Classifier,
        optim::{Ema, OptimizerState},
    },
};

/// A network and what trains it.
#[derive(Debug)]
pub struct Learner {
    /// Settings of a step.
    pub stepper: Stepper,
    /// Network with autodiff.
    pub model: Classifier,
    /// Optimizer with its state.
    pub optimizer: OptimizerState,
    /// Averaged weights, if `train.ema_decay` is set.
    pub ema: Option<Ema>,
}

impl Learner {
    /// Takes one step on the network.
    ///
    /// # Errors
    /// As [`Stepper::step`].
    pub fn step(&mut self, input: StepInput) -> Result<StepOutput, TrainError> {
        let (model, output) = self.stepper.step(
            self.model.clone(),
            &mut self.optimizer,
            self.ema.as_mut(),
            input,
        )?;
        self.model = model;
        Ok(output)
    }

    /// Prepares for a phase: freezes the first `frozen` layer groups, sets the learning-rate factor
    /// between groups to `layer_factor` and resets the optimizer.
    pub(super) fn enter_phase(&mut self, frozen: usize, layer_factor: f64, optimizer: &Optimizer) {
        (self.stepper.frozen, self.stepper.layer_factor) = (frozen, layer_factor);
        self.optimizer = OptimizerState::new(optimizer);
    }

    /// Returns the network to validate and to save, without autodiff, with averaged weights if
    /// there are any.
    pub fn inference_model(&self) -> Classifier {
        match &self.ema {
            Some(ema) => ema.apply(&self.model),
            None => self.model.valid(),
        }
    }
}
