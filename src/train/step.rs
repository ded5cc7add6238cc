//! One optimiser step: batches forward and backward, gradients added up, one update. Nothing here waits for the device.

use burn::{
    module::Module,
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{Device, Tensor},
};
use rand::Rng as _;

use crate::{
    base::rng::{Purpose, stream},
    data::batch::HostBatch,
    nn::{
        batch::upload,
        loss::LossFn,
        networks::{
            classifier::{Classifier, Entrance},
            params::take_gradients,
        },
        optim::{Ema, OptimizerState, Rates},
    },
};

/// What a step needs beside the network and its pictures.
#[derive(Clone, Debug)]
pub struct Stepper {
    /// With autodiff.
    pub device: Device,
    /// Where images enter the network.
    pub entrance: Entrance,
    /// Layer groups, counted from the input, that keep their weights.
    pub frozen: usize,
    /// Each layer group learns at this share of the rate of what follows it.
    pub layer_factor: f64,
    /// With label smoothing.
    pub loss: LossFn,
    /// Factor on the loss of each class.
    pub class_weights: Vec<f32>,
    /// Largest length of the whole gradient.
    pub clip_norm: Option<f64>,
    /// Of the run.
    pub seed: u64,
}

/// The batches of one step.
#[derive(Debug)]
pub struct StepInput {
    /// One, or as many as are accumulated.
    pub batches: Vec<HostBatch>,
    /// What the batches hold, and where it enters the network.
    pub entrance: Entrance,
    /// Counted from 0.
    pub epoch: usize,
    /// Position of the first batch in the epoch.
    pub first_batch: usize,
    /// Optimiser steps that the run took before this one.
    pub step: usize,
    /// For this step.
    pub learning_rate: f64,
}

/// What a step leaves on the device, to be read when somebody looks.
#[derive(Clone, Debug)]
pub struct StepOutput {
    /// `[1]` each batch: the sum of weighted losses.
    pub losses: Vec<Tensor<1>>,
    /// `[batch, logits]` each batch.
    pub logits: Vec<Tensor<2>>,
    /// The class of each picture; of a mixed one, that with the largest share.
    pub labels: Vec<usize>,
}

impl Stepper {
    /// Takes one step. The gradient is that of the mean loss over all pictures of the step, so that the last, smaller
    /// group of an epoch counts each of its pictures like any other.
    pub fn step(
        &self,
        model: Classifier,
        optimizer: &mut OptimizerState,
        ema: Option<&mut Ema>,
        input: StepInput,
    ) -> (Classifier, StepOutput) {
        let count: usize = input.batches.iter().map(HostBatch::len).sum();
        let mut output = StepOutput { losses: Vec::new(), logits: Vec::new(), labels: Vec::with_capacity(count) };
        let mut accumulator = GradientsAccumulator::new();
        let (entrance, is_single) = (input.entrance, input.batches.len() == 1);
        let mut gradients = None;
        for (offset, batch) in input.batches.into_iter().enumerate() {
            output.labels.extend(batch.labels());
            // Dropout draws from the framework's generator, which can't be saved: each batch starts it anew.
            let at = [input.epoch as u64, (input.first_batch + offset) as u64, 0];
            self.device.seed(stream(self.seed, Purpose::Step, at).next_u64());
            let found = self.backward(&model, batch, entrance, count, &mut output);
            if is_single {
                gradients = Some(found);
            } else {
                accumulator.accumulate(&model, found);
            }
        }
        let gradients = take_gradients(&model, gradients.unwrap_or_else(|| accumulator.grads()));
        let rates = Rates { head: input.learning_rate, layer_factor: self.layer_factor, num_groups: model.num_groups() };
        let model = optimizer.step(model, gradients, rates, self.clip_norm);
        if let Some(ema) = ema {
            ema.update(&model, self.frozen, input.step);
        }
        (model, output)
    }

    fn backward(&self, model: &Classifier, batch: HostBatch, entrance: Entrance, count: usize, output: &mut StepOutput) -> GradientsParams {
        let batch = upload(batch, entrance.shape, &self.device);
        let logits = model.forward_from(self.frozen.max(entrance.group), self.through_frozen(model, batch.images, entrance.group));
        let [pictures, num_classes] = batch.targets.dims();
        let class_weights = Tensor::<1>::from_floats(self.class_weights.as_slice(), &self.device).reshape([1, num_classes]);
        let weights = (batch.targets.clone() * class_weights).sum_dim(1).reshape([pictures]) * batch.weights;
        let sum = self.loss.weighted_sum(logits.clone(), batch.targets, weights);
        output.losses.push(sum.clone().without_autodiff());
        output.logits.push(logits.without_autodiff());
        GradientsParams::from_grads((sum / count as f64).backward(), model)
    }

    /// What trained layers see: without autodiff up to there, so that frozen layers keep nothing for a backward pass.
    fn through_frozen(&self, model: &Classifier, images: Tensor<4>, group: usize) -> Tensor<4> {
        if self.frozen <= group {
            return images;
        }
        Tensor::from_inner(model.valid().forward_frozen(group..self.frozen, images.inner()))
    }
}
