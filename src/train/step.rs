//! One optimizer step: forward and backward passes, accumulated gradients, one update. Never waits
//! for the device.

use burn::{
    module::Module,
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{Device, Tensor},
};
use rand::Rng as _;

use crate::{
    base::rng::{Purpose, stream},
    data::batches::batch::HostBatch,
    nn::{
        batch::upload,
        loss::LossFn,
        networks::{
            classifier::{Classifier, NetworkInput},
            params::take_gradients,
        },
        optim::{Ema, OptimizerState, Rates},
    },
};

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
}

/// The batches of one step.
#[derive(Debug)]
pub struct StepInput {
    /// As many batches as gradients are accumulated over; fewer at the end of an epoch.
    pub batches: Vec<HostBatch>,
    /// Where the batches enter the network: as images, or as features of the frozen layers.
    pub network_input: NetworkInput,
    /// Epoch, counted from 0.
    pub epoch: usize,
    /// Position of the first batch in the epoch.
    pub first_batch: usize,
    /// Number of optimizer steps that the run took before this one.
    pub step: usize,
    /// Learning rate of the head.
    pub learning_rate: f64,
}

/// Results of a step that are still on the device.
#[derive(Clone, Debug)]
pub struct StepOutput {
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
    /// last, smaller group of an epoch counts as much as any other.
    pub fn step(
        &self,
        model: Classifier,
        optimizer: &mut OptimizerState,
        ema: Option<&mut Ema>,
        input: StepInput,
    ) -> (Classifier, StepOutput) {
        let count: usize = input.batches.iter().map(HostBatch::len).sum();
        let mut output = StepOutput {
            losses: Vec::new(),
            logits: Vec::new(),
            labels: Vec::with_capacity(count),
        };
        let mut accumulator = GradientsAccumulator::new();
        let (network_input, is_single) = (input.network_input, input.batches.len() == 1);
        let mut gradients = None;
        for (offset, batch) in input.batches.into_iter().enumerate() {
            output.labels.extend(batch.labels());
            // Dropout draws from Burn's global generator, whose state can't be saved. Seeding it
            // for each batch makes a resume exact.
            let at = [input.epoch as u64, (input.first_batch + offset) as u64, 0];
            // `count` divides every batch's loss, so that accumulated gradients add up to the mean.
            self.device
                .seed(stream(self.seed, Purpose::Step, at).next_u64());
            let found = self.backward(&model, batch, network_input, count, &mut output);
            if is_single {
                gradients = Some(found);
            } else {
                accumulator.accumulate(&model, found);
            }
        }
        // By name, so that the optimizer's state can be saved by parameter.
        let gradients = take_gradients(&model, gradients.unwrap_or_else(|| accumulator.grads()));
        let rates = Rates {
            head: input.learning_rate,
            layer_factor: self.layer_factor,
            num_groups: model.num_groups(),
        };
        let model = optimizer.step(model, gradients, rates, self.clip_norm);
        if let Some(ema) = ema {
            ema.update(&model, self.frozen, input.step);
        }
        (model, output)
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
        let logits = model.forward_from(
            self.frozen.max(network_input.group),
            self.through_frozen(model, batch.images, network_input.group),
        );
        let [images, num_classes] = batch.targets.dims();
        let class_weights = Tensor::<1>::from_floats(self.class_weights.as_slice(), &self.device)
            .reshape([1, num_classes]);
        // A mixed image has the mean of its classes' weights, by their fractions.
        let weights = (batch.targets.clone() * class_weights)
            .sum_dim(1)
            .reshape([images])
            * batch.weights;
        let sum = self
            .loss
            .weighted_sum(logits.clone(), batch.targets, weights);
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
