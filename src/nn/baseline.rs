//! The reference training step of `bench step`: Burn's own convolutions, cross-entropy loss and
//! Adam, without the kernels of `crates/conv-block`.

use burn::{
    module::Module,
    nn::loss::CrossEntropyLossConfig,
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor, TensorData},
};

use super::{
    NnError,
    cpu::backend::BurnAlone,
    infer::read,
    networks::{
        build,
        classifier::{Classifier, Design},
    },
};

/// A network trained with Burn's own Adam and loss.
pub struct BareLoop {
    device: Device,
    model: Option<Classifier>,
    optimizer: ModuleOptimizer,
    frozen: usize,
}

impl BareLoop {
    /// Creates the network with the initial weights of `seed` on `device`, which must be without
    /// autodiff. The first `frozen` layer groups are not trained.
    pub fn new(design: &Design, seed: u64, device: &Device, frozen: usize) -> Self {
        let device = device.clone().autodiff();
        // PyTorch's and our epsilon; Burn's default is 1e-5.
        let optimizer = AdamConfig::new().with_epsilon(1e-8).init();
        Self {
            model: Some(build(design, seed, &device)),
            optimizer,
            device,
            frozen,
        }
    }

    /// Takes one training step at a learning rate of 0.001 and returns the loss before it.
    ///
    /// # Shapes
    /// `images` holds `[batch, channels, height, width]` values, given as `shape`; `labels` is
    /// `[batch]`.
    ///
    /// # Errors
    /// Returns an error if the loss can't be read from the device, or if an earlier step panicked.
    pub fn step(
        &mut self,
        images: Vec<f32>,
        shape: [usize; 4],
        labels: &[i64],
    ) -> Result<f32, NnError> {
        // Without this guard the network's layers would call our kernels on the CPU backends.
        let _alone = BurnAlone::begin();
        let labels = Tensor::<1, Int>::from_data(
            TensorData::new(labels.to_vec(), [labels.len()]),
            &self.device,
        );
        let Some(model) = self.model.take() else {
            return Err(NnError::Read("a step before it failed".to_owned()));
        };
        let images = Tensor::<4>::from_data(
            TensorData::new(images, shape),
            &self.device.clone().without_autodiff(),
        );
        // Frozen groups run without autodiff, as in our own loop, so that Burn isn't charged for
        // gradients that are never used.
        let features = Tensor::from_inner(model.valid().forward_groups(0..self.frozen, images));
        let loss = CrossEntropyLossConfig::new()
            .init(&self.device)
            .forward(model.forward_from(self.frozen, features), labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(1e-3, model, gradients));
        Ok(read(loss.without_autodiff())?[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Model,
        nn::{cpu::backend::has_kernels, networks::classifier::Output},
    };

    /// The first loss equals that of our own path, the weights change, and our kernels are active
    /// again afterwards.
    #[test]
    fn the_bare_loop_runs_no_kernel_of_ours_and_learns_the_same() {
        let device = Device::flex();
        let design = Design {
            model: Model {
                channels: Some(vec![4, 6]),
                dropout: 0.0,
                ..Model::default()
            },
            input: [3, 20, 16],
            num_classes: 3,
            output: Output::Softmax,
        };
        let images: Vec<f32> = (0..6 * 960)
            .map(|at| ((at * 7919) % 255) as f32 / 127.0 - 1.0)
            .collect();
        let labels = [0, 1, 2, 0, 1, 2];
        let ours = build(&design, 5, &device).forward_from(
            0,
            Tensor::from_data(TensorData::new(images.clone(), [6, 3, 20, 16]), &device),
        );
        let targets = Tensor::<1, Int>::from_data(TensorData::new(labels.to_vec(), [6]), &device);
        let expected = read(
            CrossEntropyLossConfig::new()
                .init(&device)
                .forward(ours, targets),
        )
        .expect("read")[0];
        let mut bare = BareLoop::new(&design, 5, &device, 0);
        let losses: Vec<f32> = (0..8)
            .map(|_| {
                bare.step(images.clone(), [6, 3, 20, 16], &labels)
                    .expect("a step")
            })
            .collect();
        assert!(
            (losses[0] - expected).abs() < 1e-4 && losses[7] < losses[0],
            "{losses:?}, ours {expected}"
        );
        {
            let _alone = BurnAlone::begin();
            assert!(!has_kernels(&device));
            let other = std::thread::Builder::new()
                .spawn(|| has_kernels(&Device::flex()))
                .expect("a thread")
                .join()
                .expect("ended");
            assert_eq!(other, has_kernels_by_environment());
        }
        assert_eq!(has_kernels(&device), has_kernels_by_environment());
    }

    fn has_kernels_by_environment() -> bool {
        std::env::var_os("EMBERLENS_KERNELS").is_none_or(|value| value != "off")
    }
}
