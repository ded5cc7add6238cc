//! Batch norm that learns, with ReLU and pooling behind it, as one differentiable operation on the
//! CPU backends (`crates/conv-block`). It keeps the values that it normalized, and turns them into
//! their gradient in place.

use std::sync::Arc;

use burn::{
    backend::{
        AutodiffBackend as _, Backend, Dispatch, Flex, TensorMetadata as _, backend_extension,
        tensor::FloatTensor,
    },
    nn::BatchNorm,
    tensor::{DType, Device, Shape, Tensor},
};
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn_ndarray::NdArray;
use conv_block::{Isa, Norm, NormSaved, Tail, norm_backward, norm_forward};

use super::{
    backend::{HostBackend, has_kernels},
    block::follow,
};

/// Whether a norm on this device normalizes by the batch's statistics and updates the running ones.
pub(super) fn is_learning(norm: &BatchNorm, device: &Device) -> bool {
    device.is_autodiff() && norm.training.is_enabled()
}

/// Returns the factor and the offset per channel that a norm by its running statistics amounts to.
///
/// # Shapes
/// Returns `[channels]` twice.
pub(in crate::nn) fn scale_and_shift(norm: &BatchNorm, device: &Device) -> (Tensor<1>, Tensor<1>) {
    let (mean, variance) = (
        norm.running_mean.value().to_device(device),
        norm.running_var.value().to_device(device),
    );
    let scale = norm.gamma.val() / (variance + norm.epsilon).sqrt();
    let shift = norm.beta.val() - mean * scale.clone();
    (scale, shift)
}

/// Runs batch norm and a tail, with the semantics of Burn's [`BatchNorm`].
///
/// # Shapes
/// `[batch, channels, height, width]` in and out, with rows and columns halved (rounded down) by
/// pooling.
pub(in crate::nn) fn norm_block(x: Tensor<4>, norm: &BatchNorm, tail: Tail) -> Tensor<4> {
    let device = x.device();
    if !(has_kernels(&device) && x.dtype() == DType::F32) {
        return follow(tail, norm.forward(x));
    }
    if !is_learning(norm, &device) {
        let (scale, shift) = scale_and_shift(norm, &device);
        let channels = [1, scale.dims()[0], 1, 1];
        return follow(tail, x * scale.reshape(channels) + shift.reshape(channels));
    }
    let (gamma, beta) = (
        norm.gamma.val().into_dispatch(),
        norm.beta.val().into_dispatch(),
    );
    let (output, mean, variance) =
        Dispatch::norm_block(x.into_dispatch(), gamma, beta, norm.epsilon, tail);
    for (running, batch) in [(&norm.running_mean, mean), (&norm.running_var, variance)] {
        let batch = Tensor::<1>::from_dispatch(batch).detach();
        let before = running.value_sync().to_device(&device);
        running.update((before * (1.0 - norm.momentum) + batch * norm.momentum).detach());
    }
    Tensor::from_dispatch(output)
}

/// The norm as an extension of Burn's backends.
#[backend_extension(Flex, NdArray, Autodiff)]
pub(in crate::nn) trait NormOps: Backend {
    /// See [`norm_block()`]; always normalizes by the batch's statistics. Returns the output, the
    /// batch's mean and its biased variance. The statistics carry no gradient.
    fn norm_block(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        tail: Tail,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

macro_rules! on_slices {
    ($($backend:ty)*) => {$(
        impl NormOps for $backend {
            fn norm_block(
                x: FloatTensor<Self>,
                gamma: FloatTensor<Self>,
                beta: FloatTensor<Self>,
                epsilon: f64,
                tail: Tail,
            ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
                let (output, kept) = Kept::<Self>::of([x, gamma, beta], epsilon, tail);
                (output, kept.mean, kept.variance)
            }
        }
    )*};
}

on_slices!(Flex NdArray);

/// The tensors that a norm keeps for its backward pass.
#[derive(Clone, Debug)]
struct Kept<B: HostBackend> {
    tail: Tail,
    epsilon: f64,
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    mean: FloatTensor<B>,
    variance: FloatTensor<B>,
    affine: Arc<[[f32; 2]]>,
    codes: Arc<[u8]>,
}

impl<B: HostBackend> Kept<B> {
    /// Runs the kernels on contiguous copies or views of the tensors `[x, gamma, beta]`. Returns
    /// the output beside what is kept.
    ///
    /// # Shapes
    /// `x` is `[batch, channels, height, width]`, `gamma` and `beta` are `[channels]`.
    fn of(tensors: [FloatTensor<B>; 3], epsilon: f64, tail: Tail) -> (FloatTensor<B>, Self) {
        let [x, gamma, beta] = tensors.map(B::contiguous);
        let shape @ [images, channels, height, width] = x.shape().dims();
        let norm = Norm {
            gamma: B::values(&gamma),
            beta: B::values(&beta),
            epsilon,
        };
        let found = norm_forward(Isa::best(), shape, tail, B::values(&x), norm);
        let (rows, columns) = tail.output_size(height, width);
        let output = B::tensor(found.output, Shape::new([images, channels, rows, columns]));
        let kept = Self {
            tail,
            epsilon,
            mean: B::tensor(found.mean, Shape::new([channels])),
            variance: B::tensor(found.variance, Shape::new([channels])),
            affine: found.affine.into(),
            codes: found.codes.into(),
            x,
            gamma,
            beta,
        };
        (output, kept)
    }

    /// Returns the gradients of `[x, gamma, beta]` from that of the output.
    ///
    /// # Shapes
    /// `grad` has the shape of the output, and each gradient that of its tensor.
    fn backward(self, grad: FloatTensor<B>) -> [FloatTensor<B>; 3] {
        let (mut x, grad) = (self.x, B::contiguous(grad));
        let shape = x.shape().dims();
        let saved = NormSaved {
            norm: Norm {
                gamma: B::values(&self.gamma),
                beta: B::values(&self.beta),
                epsilon: self.epsilon,
            },
            codes: &self.codes,
            mean: B::values(&self.mean),
            variance: B::values(&self.variance),
            affine: &self.affine,
        };
        let found = norm_backward(
            Isa::best(),
            shape,
            self.tail,
            saved,
            B::values(&grad),
            B::values_mut(&mut x),
        );
        let channels = || Shape::new([shape[1]]);
        [
            x,
            B::tensor(found.gamma, channels()),
            B::tensor(found.beta, channels()),
        ]
    }
}

impl<B: HostBackend + NormOps, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
    fn norm_block(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        tail: Tail,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct NormBlock;

        impl<B: HostBackend> Backward<B, 3> for NormBlock {
            type State = Kept<B>;

            fn backward(self, ops: Ops<Kept<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<B>(&ops.node);
                for (node, found) in ops.parents.into_iter().zip(ops.state.backward(grad)) {
                    if let Some(node) = node {
                        grads.register::<B>(node.id, found);
                    }
                }
            }
        }

        let nodes = [x.node(), gamma.node(), beta.node()];
        let (output, kept) = Kept::<B>::of(
            [x, gamma, beta].map(|tensor| tensor.into_primitive()),
            epsilon,
            tail,
        );
        // The batch's statistics only feed the running ones, which carry no gradient.
        let (mean, variance) = (
            Self::from_inner(kept.mean.clone()),
            Self::from_inner(kept.variance.clone()),
        );
        let output = match NormBlock.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(kept, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        };
        (output, mean, variance)
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::{Module, Param},
        nn::BatchNormConfig,
        tensor::Distribution,
    };

    use super::*;
    use crate::nn::cpu::{block::Block, conv_op::conv_norm_block};

    const TAILS: [Tail; 4] = [Tail::Linear, Tail::Relu, Tail::Relu6, Tail::ReluPool];

    #[track_caller]
    fn assert_same<const D: usize>(what: &str, ours: Tensor<D>, burns: Tensor<D>) {
        let difference = (ours - burns).abs().max().into_scalar::<f32>();
        assert!(difference < 2e-4, "{what} differs by {difference}");
    }

    /// Checks output, gradients and running statistics of one form of norm beside Burn's. `run`
    /// computes the norm of a convolution's result, or of its first tensor by itself.
    fn check(
        device: &Device,
        weight: [usize; 4],
        tail: Tail,
        run: impl Fn([Tensor<4>; 2], &BatchNorm, bool) -> Tensor<4>,
    ) {
        let random = |shape| {
            Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), device).require_grad()
        };
        let vector = |values: [f32; 5]| {
            Param::from_tensor(Tensor::from_floats(values, device).require_grad())
        };
        let inputs = if weight[1] == 1 { 5 } else { weight[1] };
        let (x, weight) = (random([2, inputs, 9, 14]), random(weight));
        let [ours, burns] = [0, 1].map(|_| {
            let mut norm = BatchNormConfig::new(5).init(device);
            (norm.gamma, norm.beta) = (
                vector([1.0, -0.5, 0.3, 2.0, 7.0]),
                vector([0.3, -0.2, 0.0, 0.1, -0.4]),
            );
            norm
        });
        let out = run([x.clone(), weight.clone()], &ours, true);
        let burns_out = follow(tail, run([x.clone(), weight.clone()], &burns, false));
        assert_same("output", out.clone(), burns_out.clone());
        let factors = Tensor::random(out.dims(), Distribution::Uniform(-1.0, 1.0), device);
        let [ours_grads, burns_grads] =
            [out, burns_out].map(|out| (out * factors.clone()).sum().backward());
        let grads = |of: &Tensor<4>| Some((of.grad(&ours_grads)?, of.grad(&burns_grads)?));
        for (name, tensor) in [("input", &x), ("weight", &weight)] {
            let (ours, burns) = grads(tensor)
                .unwrap_or_else(|| (Tensor::zeros([1; 4], device), Tensor::zeros([1; 4], device)));
            assert_same(name, ours, burns);
        }
        for (name, ours, burns) in [
            ("gamma", &ours.gamma, &burns.gamma),
            ("beta", &ours.beta, &burns.beta),
        ] {
            assert_same(
                name,
                ours.val().grad(&ours_grads).expect("tracked"),
                burns.val().grad(&burns_grads).expect("tracked"),
            );
        }
        let (x, weight) = (x.without_autodiff(), weight.without_autodiff());
        let [ours, burns] = [ours, burns].map(|norm| norm.valid());
        assert_same(
            "running mean",
            ours.running_mean.value(),
            burns.running_mean.value(),
        );
        assert_same(
            "running variance",
            ours.running_var.value(),
            burns.running_var.value(),
        );
        assert_same(
            "evaluation",
            run([x.clone(), weight.clone()], &ours, true),
            follow(tail, run([x, weight], &burns, false)),
        );
    }

    #[test]
    fn a_norm_equals_that_of_burn_behind_any_convolution_and_by_itself() {
        for device in [Device::flex().autodiff(), Device::ndarray().autodiff()] {
            for tail in TAILS {
                // A dense kernel of ours, a depthwise one, and one that only Burn has.
                for (weight, groups) in [([5, 3, 3, 3], 1), ([5, 1, 3, 3], 5), ([5, 3, 5, 5], 1)] {
                    let block = Block {
                        stride: 1,
                        padding: [[1, 1]; 2],
                        groups,
                        tail,
                    };
                    check(&device, weight, tail, |[x, weight], norm, is_ours| {
                        if is_ours {
                            conv_norm_block(x, weight, norm, block)
                        } else {
                            norm.forward(block.convolve(x, weight, None))
                        }
                    });
                }
                check(&device, [1, 5, 1, 1], tail, |[x, _], norm, is_ours| {
                    if is_ours {
                        norm_block(x, norm, tail)
                    } else {
                        norm.forward(x)
                    }
                });
            }
        }
    }
}
