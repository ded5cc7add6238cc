//! A training step as a Burn user would write it, with Burn's own loss and Adam: what `bench step` measures ours against.

use burn::{
    module::Module,
    nn::loss::CrossEntropyLossConfig,
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor, TensorData},
};

use super::{
    NnError,
    infer::read,
    init::build,
    model::{Classifier, Design},
};

/// The network and Burn's Adam.
pub struct BareLoop {
    device: Device,
    model: Option<Classifier>,
    optimizer: ModuleOptimizer,
    frozen: usize,
}

impl BareLoop {
    /// `device` is without autodiff; the first `frozen` layer groups are run without it too.
    pub fn new(design: &Design, seed: u64, device: &Device, frozen: usize) -> Self {
        let device = device.clone().autodiff();
        let optimizer = AdamConfig::new().with_epsilon(1e-8).init();
        Self { model: Some(build(design, seed, &device)), optimizer, device, frozen }
    }

    /// One step on `[batch, channels, height, width]` pixels; the loss.
    ///
    /// # Errors
    /// The device can't be read.
    pub fn step(&mut self, images: Vec<f32>, shape: [usize; 4], labels: &[i64]) -> Result<f32, NnError> {
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels.to_vec(), [labels.len()]), &self.device);
        let Some(model) = self.model.take() else { return Err(NnError::Read("a step before it failed".to_owned())) };
        let images = Tensor::<4>::from_data(TensorData::new(images, shape), &self.device.clone().without_autodiff());
        let features = Tensor::from_inner(model.valid().forward_groups(0..self.frozen, images));
        let loss = CrossEntropyLossConfig::new().init(&self.device).forward(model.forward_from(self.frozen, features), labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(1e-3, model, gradients));
        Ok(read(loss.without_autodiff())?[0])
    }
}
