//! One optimizer step: forward and backward passes, gradients summed up over batches and ranks, one
//! update. Waits for the device only where there are several ranks.

use std::collections::BTreeMap;

use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use rand::Rng as _;

use super::TrainError;
use crate::{
    base::{
        io::bytes,
        rng::{Purpose, stream},
    },
    config::Optimizer,
    data::batches::batch::HostBatch,
    nn::{
        batch::upload,
        infer::read,
        loss::LossFn,
        networks::{
            classifier::{Classifier, NetworkInput},
            params::{self, take_gradients},
        },
        optim::{Ema, OptimizerState, Rates, flat},
        statistics::Running,
    },
    ranks::{Ranks, tree::Tree},
};

/// Gradients by parameter name, each `[values]`.
type Gradients = BTreeMap<String, Tensor<1>>;

/// The settings of a step, beside the network and its images.
#[derive(Clone, Debug)]
pub struct Stepper {
    /// Device with autodiff.
    pub device: Device,
    /// Where images enter the network.
    pub network_input: NetworkInput,
    /// Number of layer groups, counted from the input, whose weights stay fixed.
    pub frozen: usize,
    /// Factor on the learning rate from one layer group to the group before it.
    pub layer_factor: f64,
    /// Loss with label smoothing.
    pub loss: LossFn,
    /// Factor on the loss of each class.
    pub class_weights: Vec<f32>,
    /// Maximum norm of the gradient of all parameters together.
    pub clip_norm: Option<f64>,
    /// Seed of the run.
    pub seed: u64,
    /// The processes that share the batches of a step.
    pub ranks: Ranks,
}

/// The batches of one step.
#[derive(Debug)]
pub struct StepInput {
    /// The batches that this process computes: its share of the step's, [`Ranks::share`].
    pub batches: Vec<HostBatch>,
    /// Number of batches of the whole step: as many as gradients are accumulated over, fewer at the
    /// end of an epoch.
    pub num_batches: usize,
    /// Number of images of the whole step.
    pub num_images: usize,
    /// Where the batches enter the network: as images, or as features of the frozen layers.
    pub network_input: NetworkInput,
    /// Epoch, counted from 0.
    pub epoch: usize,
    /// Position of the step's first batch in the epoch.
    pub first_batch: usize,
    /// Number of optimizer steps that the run took before this one.
    pub step: usize,
    /// Learning rate of the head.
    pub learning_rate: f64,
}

/// Results of this process's share of a step that are still on the device.
#[derive(Clone, Debug)]
pub struct StepOutput {
    /// Position of the first of its batches in the epoch.
    pub first_batch: usize,
    /// Sum of the weighted losses of each batch, `[1]`.
    pub losses: Vec<Tensor<1>>,
    /// Logits of each batch, `[batch, logits]`.
    pub logits: Vec<Tensor<2>>,
    /// Class of each image; of an image mixed from two, the class with the larger fraction.
    pub labels: Vec<usize>,
}

impl Stepper {
    /// Takes one step and returns the new network.
    ///
    /// The gradient is that of the mean loss over all images of the step, so that each image of the
    /// last, smaller group of an epoch counts as much as any other. It is summed up along one fixed
    /// tree over the step's batches, so that any number of ranks gives the same bytes.
    ///
    /// # Errors
    /// Returns an error if another rank doesn't answer, or the device fails where there are
    /// several; alone, it never does.
    pub fn step(
        &self,
        model: Classifier,
        optimizer: &mut OptimizerState,
        ema: Option<&mut Ema>,
        input: StepInput,
    ) -> Result<(Classifier, StepOutput), TrainError> {
        let share = self.ranks.share(input.num_batches);
        let mut output = StepOutput {
            first_batch: input.first_batch + share.start,
            losses: Vec::new(),
            logits: Vec::new(),
            labels: Vec::new(),
        };
        let running = Running::of(&model, self.frozen);
        let is_shared = self.ranks.are_several() && !running.is_empty();
        let mut statistics = if is_shared {
            running.values()?
        } else {
            Vec::new()
        };
        let mut parts = Vec::new();
        let mut sums = Tree::new(input.num_batches);
        for (index, batch) in share.zip(input.batches) {
            output.labels.extend(batch.labels());
            if is_shared {
                running.clear();
            }
            // Dropout draws from Burn's global generator, whose state can't be saved. Seeding it
            // for each batch makes a resume exact.
            let at = [input.epoch as u64, (input.first_batch + index) as u64, 0];
            self.device
                .seed(stream(self.seed, Purpose::Step, at).next_u64());
            // The number of the step's images divides every batch's loss, so that gradients add up
            // to the mean.
            let count = input.num_images;
            let found = self.backward(&model, batch, input.network_input, count, &mut output);
            // By name, so that the optimizer's state can be saved by parameter.
            let found = take_gradients(&model, found);
            sums.push(index..index + 1, found, added);
            if is_shared {
                parts.extend(running.values()?);
            }
        }
        if is_shared {
            let parts = self.ranks.gather(&bytes::from_f32(&parts))?.concat();
            let parts: Vec<f32> = bytes::to_f32(&parts).collect();
            for part in parts.chunks_exact(statistics.len()) {
                running.advance(&mut statistics, part);
            }
            running.set(&statistics);
        }
        let gradients = if self.ranks.are_several() {
            self.exchange(&model, sums, input.num_batches)?
        } else {
            sums.into_sum().unwrap_or_default()
        };
        let rates = Rates {
            head: input.learning_rate,
            layer_factor: self.layer_factor,
            num_groups: model.num_groups(),
        };
        let model = optimizer.step(model, gradients, rates, self.clip_norm);
        if let Some(ema) = ema {
            ema.update(&model, self.frozen, input.step);
        }
        Ok((model, output))
    }

    /// Sums up the gradients of all ranks. A rank without a batch in this step takes part.
    fn exchange(
        &self,
        model: &Classifier,
        sums: Tree<Gradients>,
        num_batches: usize,
    ) -> Result<Gradients, TrainError> {
        let params = params::trained(model, self.frozen);
        let mut counts: Vec<(String, usize)> = params
            .into_iter()
            .filter(|param| param.requires_grad)
            .map(|param| (param.path, param.dims.iter().product()))
            .collect();
        counts.sort_unstable();
        let len = counts.iter().map(|(_, count)| count).sum();
        let mut nodes = Vec::new();
        for (node, mut gradients) in sums.into_nodes() {
            let mut values = Vec::with_capacity(len);
            for (path, _) in &counts {
                let gradient = gradients.remove(path);
                let gradient = gradient.expect("what requires a gradient has one");
                values.extend(read(gradient)?);
            }
            nodes.push((node, values));
        }
        let sum = self.ranks.sum(num_batches, &nodes, len)?;
        let (device, mut rest) = (self.device.clone().without_autodiff(), sum.as_slice());
        let gradients = counts.into_iter().map(|(path, count)| {
            let own;
            (own, rest) = rest.split_at(count);
            (path, flat(own.to_vec(), &device))
        });
        Ok(gradients.collect())
    }

    /// Runs a batch forward and backward, adds its loss and logits to `output` and returns its
    /// gradients.
    fn backward(
        &self,
        model: &Classifier,
        batch: HostBatch,
        network_input: NetworkInput,
        count: usize,
        output: &mut StepOutput,
    ) -> GradientsParams {
        let batch = upload(batch, network_input.shape, &self.device);
        let targets = self.loss.targets(&batch);
        let logits = model.forward_from(
            self.frozen.max(network_input.group),
            self.through_frozen(model, batch.images, network_input.group),
        );
        let [images, num_classes] = batch.targets.dims();
        let class_weights = Tensor::<1>::from_floats(self.class_weights.as_slice(), &self.device)
            .reshape([1, num_classes]);
        // A mixed image has the mean of its classes' weights, by their fractions.
        let weights = (batch.targets * class_weights).sum_dim(1).reshape([images]) * batch.weights;
        let sum = self.loss.weighted_sum(logits.clone(), targets, weights);
        output.losses.push(sum.clone().without_autodiff());
        output.logits.push(logits.without_autodiff());
        // Divided by the number of images, as Keras does with class and sample weights; PyTorch's
        // weighted mean divides by the sum of the weights.
        GradientsParams::from_grads((sum / count as f64).backward(), model)
    }

    /// Returns the input of the first trained layer. The layers before it run without autodiff, so
    /// that they keep nothing for a backward pass; their batch norm uses its running statistics, as
    /// with `trainable = False` in Keras.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    fn through_frozen(&self, model: &Classifier, images: Tensor<4>, group: usize) -> Tensor<4> {
        if self.frozen <= group {
            return images;
        }
        Tensor::from_inner(
            model
                .valid()
                .forward_frozen(group..self.frozen, images.inner()),
        )
    }
}

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

/// Adds the gradients of two nodes of the tree.
fn added(mut left: Gradients, right: Gradients) -> Gradients {
    for (path, gradient) in right {
        let sum = match left.remove(&path) {
            Some(before) => before + gradient,
            None => gradient,
        };
        left.insert(path, sum);
    }
    left
}
