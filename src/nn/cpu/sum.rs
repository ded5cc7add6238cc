//! The sum of two tensors and the ReLU behind it, with which residual blocks end, as one
//! differentiable operation on the CPU backends: one pass by all threads, where Burn's take four
//! passes by one.

use burn::{
    backend::{Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor},
    tensor::{DType, Tensor},
};
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn_ndarray::NdArray;
use conv_block::{Activation, Isa, Tail, activate, tail_gradient};
use rayon::prelude::*;

use super::{
    backend::{HostBackend, has_kernels},
    block::{follow, output_to_keep},
};

/// Values that a task adds.
const PART_LEN: usize = 1 << 14;

/// Returns the sum of two tensors after a tail.
///
/// # Shapes
/// `[batch, channels, height, width]` twice, and out; halved by pooling.
pub(in crate::nn) fn sum(a: Tensor<4>, b: Tensor<4>, tail: Tail) -> Tensor<4> {
    let has_kernel = has_kernels(&a.device())
        && a.dims() == b.dims()
        && [a.dtype(), b.dtype()] == [DType::F32; 2]
        && tail != Tail::ReluPool;
    if !has_kernel {
        return follow(tail, a + b);
    }
    Tensor::from_dispatch(Dispatch::sum_block(
        a.into_dispatch(),
        b.into_dispatch(),
        tail,
    ))
}

/// The sum as an extension of Burn's backends.
#[backend_extension(Flex, NdArray, Autodiff)]
pub(in crate::nn) trait SumOps: Backend {
    /// See [`sum`]; both have the same shape, and `tail` doesn't pool.
    fn sum_block(a: FloatTensor<Self>, b: FloatTensor<Self>, tail: Tail) -> FloatTensor<Self>;
}

macro_rules! on_slices {
    ($($backend:ty)*) => {$(
        impl SumOps for $backend {
            fn sum_block(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                tail: Tail,
            ) -> FloatTensor<Self> {
                let (mut a, b) = (Self::contiguous(a), Self::contiguous(b));
                let function = match tail {
                    Tail::Linear => Activation::Linear,
                    Tail::Relu6 => Activation::Relu6,
                    Tail::Relu | Tail::ReluPool => Activation::Relu,
                };
                let (sums, terms) = (Self::values_mut(&mut a), Self::values(&b));
                let parts = sums.par_chunks_mut(PART_LEN).zip(terms.par_chunks(PART_LEN));
                parts.for_each(|(sums, terms)| {
                    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += *term);
                    activate(Isa::best(), function, sums);
                });
                a
            }
        }
    )*};
}

on_slices!(Flex NdArray);

impl<B: HostBackend + SumOps, C: CheckpointStrategy> SumOps for Autodiff<B, C> {
    fn sum_block(a: FloatTensor<Self>, b: FloatTensor<Self>, tail: Tail) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct SumBlock;

        impl<B: HostBackend> Backward<B, 2> for SumBlock {
            /// The output, if the tail's gradient depends on it, and the tail.
            type State = (FloatTensor<B>, Tail);

            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let mut grad = B::contiguous(grads.consume::<B>(&ops.node));
                let (output, tail) = &ops.state;
                if *tail != Tail::Linear {
                    let grad = B::values_mut(&mut grad);
                    tail_gradient(Isa::best(), *tail, B::values(output), grad);
                }
                for node in ops.parents.into_iter().flatten() {
                    grads.register::<B>(node.id, grad.clone());
                }
            }
        }

        let nodes = [a.node(), b.node()];
        let output = B::sum_block(a.into_primitive(), b.into_primitive(), tail);
        match SumBlock.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((output_to_keep::<B>(&output, tail), tail), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn sums_and_their_gradients_are_those_of_burn() {
        for device in [Device::flex(), Device::ndarray()].map(Device::autodiff) {
            for tail in [Tail::Linear, Tail::Relu, Tail::Relu6] {
                let [a, b, factors] = [0, 1, 2].map(|_| {
                    let uniform = Distribution::Uniform(-8.0, 8.0);
                    Tensor::<4>::random([3, 5, 37, 61], uniform, &device)
                });
                let (a, b) = (a.require_grad(), b.require_grad());
                // The first is used once more, as a residual block's input is.
                let ours = sum(a.clone(), b.clone(), tail);
                let burns = follow(tail, a.clone() + b.clone());
                assert_eq!(
                    ours.clone().into_data(),
                    burns.clone().into_data(),
                    "{tail:?}"
                );
                let grads = [ours, burns].map(|out| {
                    let again = a.clone() * 0.5;
                    ((out + again) * factors.clone()).sum().backward()
                });
                for tensor in [&a, &b] {
                    let [ours, burns] = grads
                        .each_ref()
                        .map(|grads| tensor.grad(grads).expect("tracked").into_data());
                    assert_eq!(ours, burns, "{tail:?}");
                }
            }
        }
    }

    #[test]
    fn a_channel_may_be_broadcast() {
        let device = Device::flex();
        let (a, b) = (
            Tensor::<4>::ones([2, 3, 4, 5], &device),
            Tensor::<4>::ones([2, 3, 1, 1], &device),
        );
        assert_eq!(sum(a, b, Tail::Relu).max().into_scalar::<f32>(), 2.0);
    }
}
