//! What a step changes beside the counters: the network, its optimizer and the average of its weights.

use burn::module::Module;

use super::{StepInput, Stepper, step::StepOutput};
use crate::{
    config::Optimizer,
    nn::{
        networks::classifier::Classifier,
        optim::{Ema, OptimizerState},
    },
};

/// A network that learns.
#[derive(Debug)]
pub struct Learner {
    /// How a step is taken.
    pub stepper: Stepper,
    /// With autodiff.
    pub model: Classifier,
    /// With its state.
    pub optimizer: OptimizerState,
    /// The averaged weights, where they are wanted.
    pub ema: Option<Ema>,
}

impl Learner {
    /// Takes one step.
    pub fn step(&mut self, input: StepInput) -> StepOutput {
        let (model, output) = self.stepper.step(self.model.clone(), &mut self.optimizer, self.ema.as_mut(), input);
        self.model = model;
        output
    }

    /// Freezes the first `frozen` layer groups, lets each group learn at `layer_factor` of the rate of the one after it, and forgets what the
    /// optimizer has gathered.
    pub(super) fn enter_phase(&mut self, frozen: usize, layer_factor: f64, optimizer: &Optimizer) {
        (self.stepper.frozen, self.stepper.layer_factor) = (frozen, layer_factor);
        self.optimizer = OptimizerState::new(optimizer);
    }

    /// Returns the network to validate and to save as `best/`: with averaged weights where they are wanted, without autodiff.
    pub fn inference_model(&self) -> Classifier {
        match &self.ema {
            Some(ema) => ema.apply(&self.model),
            None => self.model.valid(),
        }
    }
}
