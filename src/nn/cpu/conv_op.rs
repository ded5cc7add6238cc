//! Convolution, ReLU and pooling as one differentiable operation on the CPU backends
//! (`crates/conv-block`), and as Burn's own operations on other devices and for shapes that the
//! kernels don't support. With fixed statistics a batch norm is part of it; one that learns is an
//! operation of its own ([`super::norm`]).
//!
//! What lies between these steps is never kept, which makes a training step of the brain recipe
//! take 0.27 to 0.47 s where burn-flex takes 2.5 s on the same two cores.

use std::sync::Arc;

use burn::{
    backend::{
        Backend, Dispatch, Flex, TensorMetadata as _, backend_extension, tensor::FloatTensor,
    },
    nn::BatchNorm,
    tensor::{Shape, Tensor},
};
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn_ndarray::NdArray;
use conv_block::{Saved, Tail};

use super::{
    backend::{HostBackend, has_kernels},
    block::{Block, output_to_keep},
    norm::{is_learning, norm_block, scale_and_shift},
};

/// Runs a convolution with a bias, and the tail of `block`.
///
/// # Shapes
/// `x` `[batch, inputs, height, width]`, `weight` `[outputs, inputs, kernel, kernel]` and `bias`
/// `[outputs]` to `[batch, outputs, rows, columns]`, with rows and columns halved (rounded down) by
/// pooling.
pub(in crate::nn) fn conv_block(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    block: Block,
) -> Tensor<4> {
    let (x, block) = block.evenly_padded(x);
    if !block.has_kernel(&x, &weight) {
        return block.follow(block.convolve(x, weight, bias));
    }
    // The operation has a fixed list of tensors, so a missing bias becomes zeros.
    let bias = bias.unwrap_or_else(|| Tensor::zeros([weight.dims()[0]], &x.device()));
    Tensor::from_dispatch(Dispatch::conv_block(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        block,
    ))
}

/// Runs a convolution, batch norm, and the tail of `block`, with the semantics of Burn's
/// [`BatchNorm`]: on an autodiff device, unless the norm is frozen, it normalizes by the batch's
/// statistics and updates the running ones; otherwise it normalizes by the running ones.
///
/// # Shapes
/// As [`conv_block()`].
pub(in crate::nn) fn conv_norm_block(
    x: Tensor<4>,
    weight: Tensor<4>,
    norm: &BatchNorm,
    block: Block,
) -> Tensor<4> {
    let device = x.device();
    if !has_kernels(&device) || is_learning(norm, &device) {
        let result = conv_block(
            x,
            weight,
            None,
            Block {
                tail: Tail::Linear,
                ..block
            },
        );
        return norm_block(result, norm, block.tail);
    }
    let (weight, bias) = folded(weight, norm);
    conv_block(x, weight, Some(bias), block)
}

/// Returns the weights and bias of a convolution and a norm behind it that uses its running
/// statistics. The norm is then linear in the weights, and folding it into them saves its pass.
///
/// # Shapes
/// `[outputs, inputs, kernel, kernel]`, and `[outputs]` for the bias.
pub(in crate::nn) fn folded(weight: Tensor<4>, norm: &BatchNorm) -> (Tensor<4>, Tensor<1>) {
    let (scale, bias) = scale_and_shift(norm, &weight.device());
    let outputs = weight.dims()[0];
    (weight * scale.reshape([outputs, 1, 1, 1]), bias)
}

/// The block as an extension of Burn's backends.
#[backend_extension(Flex, NdArray, Autodiff)]
pub(in crate::nn) trait BlockOps: Backend {
    /// See [`conv_block()`].
    fn conv_block(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        block: Block,
    ) -> FloatTensor<Self>;
}

macro_rules! on_slices {
    ($($backend:ty)*) => {$(
        impl BlockOps for $backend {
            fn conv_block(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                block: Block,
            ) -> FloatTensor<Self> {
                let [x, weight, bias] = [x, weight, bias].map(Self::contiguous);
                let values = [Self::values(&x), Self::values(&weight), Self::values(&bias)];
                let (output, shape) = block.infer(x.shape().dims(), weight.shape().dims(), values);
                Self::tensor(output, Shape::new(shape))
            }
        }
    )*};
}

on_slices!(Flex NdArray);

/// The tensors that a block keeps for its backward pass. The input is shared with the layer that
/// produced it.
#[derive(Clone, Debug)]
struct Kept<B: HostBackend> {
    block: Block,
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    output: FloatTensor<B>,
    codes: Arc<[u8]>,
}

/// Runs the kernels on contiguous copies or views of the tensors `[x, weight, bias]`.
///
/// # Shapes
/// As [`conv_block()`].
fn run_forward<B: HostBackend>(tensors: [FloatTensor<B>; 3], block: Block) -> Kept<B> {
    let [x, weight, bias] = tensors.map(B::contiguous);
    let values = [B::values(&x), B::values(&weight), B::values(&bias)];
    let (output, codes, shape) = block.forward(x.shape().dims(), weight.shape().dims(), values);
    Kept {
        block,
        output: B::tensor(output, Shape::new(shape)),
        codes: codes.into(),
        x,
        weight,
    }
}

impl<B: HostBackend + BlockOps, C: CheckpointStrategy> BlockOps for Autodiff<B, C> {
    fn conv_block(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        block: Block,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct ConvBlock;

        impl<B: HostBackend> Backward<B, 3> for ConvBlock {
            type State = Kept<B>;

            fn backward(self, ops: Ops<Kept<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let mut grad = B::contiguous(grads.consume::<B>(&ops.node));
                let Kept {
                    block,
                    x,
                    weight,
                    output,
                    codes,
                } = &ops.state;
                let saved = Saved {
                    input: B::values(x),
                    weight: B::values(weight),
                    output: B::values(output),
                    codes,
                };
                let [input_node, weight_node, bias_node] = ops.parents;
                let found = block.backward(
                    x.shape().dims(),
                    weight.shape().dims(),
                    saved,
                    B::values_mut(&mut grad),
                    input_node.is_some(),
                );
                if let (Some(node), Some(values)) = (input_node, found.input) {
                    grads.register::<B>(node.id, B::tensor(values, x.shape()));
                }
                if let Some(node) = weight_node {
                    grads.register::<B>(node.id, B::tensor(found.weight, weight.shape()));
                }
                if let Some(node) = bias_node {
                    grads.register::<B>(
                        node.id,
                        B::tensor(found.bias, Shape::new([weight.shape()[0]])),
                    );
                }
            }
        }

        let nodes = [x.node(), weight.node(), bias.node()];
        let mut kept = run_forward::<B>(
            [
                x.into_primitive(),
                weight.into_primitive(),
                bias.into_primitive(),
            ],
            block,
        );
        let output = kept.output.clone();
        kept.output = output_to_keep::<B>(&output, block.tail);
        match ConvBlock.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(kept, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Gradients};

    use super::*;

    const TAILS: [Tail; 4] = [Tail::Linear, Tail::Relu, Tail::Relu6, Tail::ReluPool];

    /// An image with odd sides, weights for five outputs, and a factor for each output value.
    fn tensors(device: &Device, block: Block) -> [Tensor<4>; 3] {
        let random = |shape: [usize; 4]| {
            Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), device)
        };
        let tracked = |tensor: Tensor<4>| {
            if device.is_autodiff() {
                tensor.require_grad()
            } else {
                tensor
            }
        };
        let (x, weight) = (
            tracked(random([2, 3, 9, 14])),
            tracked(random([5, 3, 3, 3])),
        );
        let [_, _, rows, columns] = block.convolve(x.clone(), weight.clone(), None).dims();
        let (rows, columns) = block.tail.output_size(rows, columns);
        [x, weight, random([2, 5, rows, columns])]
    }

    fn vector(values: [f32; 5], device: &Device) -> Tensor<1> {
        Tensor::from_floats(values, device).require_grad()
    }

    #[track_caller]
    fn assert_same<const D: usize>(what: &str, ours: Tensor<D>, burns: Tensor<D>) {
        let difference = (ours - burns).abs().max().into_scalar::<f32>();
        assert!(difference < 2e-4, "{what} differs by {difference}");
    }

    fn assert_same_grads<const D: usize>(
        what: &str,
        of: &Tensor<D>,
        [ours, burns]: [&Gradients; 2],
    ) {
        assert_same(
            what,
            of.grad(ours).expect(what),
            of.grad(burns).expect(what),
        );
    }

    fn devices() -> [Device; 2] {
        [Device::flex().autodiff(), Device::ndarray().autodiff()]
    }

    #[test]
    fn a_block_equals_the_operations_of_burn() {
        for device in devices() {
            let forms = [(1, [[1, 1]; 2]), (2, [[1, 1]; 2]), (2, [[0, 1], [2, 0]])];
            for (tail, (stride, padding)) in TAILS
                .into_iter()
                .flat_map(|tail| forms.map(|form| (tail, form)))
            {
                let block = Block {
                    stride,
                    padding,
                    groups: 1,
                    tail,
                };
                let [x, weight, factors] = tensors(&device, block);
                let bias = vector([0.3, -0.2, 0.0, 0.1, -0.4], &device);
                let ours = conv_block(x.clone(), weight.clone(), Some(bias.clone()), block);
                let burns =
                    block.follow(block.convolve(x.clone(), weight.clone(), Some(bias.clone())));
                assert_same("output", ours.clone(), burns.clone());
                let (ours, burns) = (
                    (ours * factors.clone()).sum().backward(),
                    (burns * factors).sum().backward(),
                );
                assert_same_grads("input", &x, [&ours, &burns]);
                assert_same_grads("weight", &weight, [&ours, &burns]);
                assert_same_grads("bias", &bias, [&ours, &burns]);
            }
        }
    }

    #[test]
    fn a_depthwise_block_equals_the_operations_of_burn() {
        for device in devices() {
            for (tail, stride, kernel) in [
                (Tail::Linear, 1, 3),
                (Tail::Relu, 2, 5),
                (Tail::Relu6, 2, 3),
                (Tail::ReluPool, 1, 3),
            ] {
                let padding = [[kernel / 2 - 1, kernel / 2], [kernel / 2; 2]];
                let block = Block {
                    stride,
                    padding,
                    groups: 4,
                    tail,
                };
                let random = |shape: [usize; 4]| {
                    Tensor::<4>::random(shape, Distribution::Uniform(-4.0, 4.0), &device)
                        .require_grad()
                };
                let (x, weight) = (random([2, 4, 9, 14]), random([4, 1, kernel, kernel]));
                let bias = Tensor::<1>::from_floats([0.3, -0.2, 0.0, 0.1], &device).require_grad();
                assert_eq!(block.has_kernel(&x, &weight), tail != Tail::ReluPool);
                let ours = conv_block(x.clone(), weight.clone(), Some(bias.clone()), block);
                let burns =
                    block.follow(block.convolve(x.clone(), weight.clone(), Some(bias.clone())));
                assert_same("output", ours.clone(), burns.clone());
                let factors =
                    Tensor::random(ours.dims(), Distribution::Uniform(-1.0, 1.0), &device);
                let (ours, burns) = (
                    (ours * factors.clone()).sum().backward(),
                    (burns * factors).sum().backward(),
                );
                assert_same_grads("input", &x, [&ours, &burns]);
                assert_same_grads("weight", &weight, [&ours, &burns]);
                assert_same_grads("bias", &bias, [&ours, &burns]);
            }
        }
    }

    #[test]
    fn an_input_that_is_a_view_and_a_kernel_that_is_not_ours_give_the_same_too() {
        let device = Device::flex();
        let block = Block {
            stride: 1,
            padding: [[1, 1]; 2],
            groups: 1,
            tail: Tail::ReluPool,
        };
        let [x, weight, _] = tensors(&device, block);
        let view = x.swap_dims(2, 3).narrow(2, 1, 12);
        let whole = Tensor::from_data(view.clone().into_data(), &device);
        assert_same(
            "view",
            conv_block(view, weight.clone(), None, block),
            block.follow(block.convolve(whole, weight, None)),
        );
        let wide = Tensor::<4>::ones([2, 3, 5, 5], &device);
        let x = Tensor::<4>::ones([1, 3, 8, 6], &device);
        assert_eq!(
            conv_block(
                x,
                wide,
                None,
                Block {
                    stride: 1,
                    padding: [[2, 2]; 2],
                    groups: 1,
                    tail: Tail::Relu
                }
            )
            .dims(),
            [1, 2, 8, 6]
        );
    }
}
