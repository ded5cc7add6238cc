//! Convolution, ReLU and pooling as one operation on the CPU backends (`crates/conv-block`), with its own backward pass, and
//! as Burn's own operations everywhere else. `EMBERLENS_KERNELS=off` takes Burn's everywhere, to compare.

use std::sync::{Arc, OnceLock};

use burn::{
    backend::{Backend, Dispatch, DispatchDevice, Flex, TensorMetadata as _, backend_extension, tensor::FloatTensor},
    tensor::{DType, Device, Shape, Tensor, TensorData, activation::relu, module, ops::{ConvOptions, MaxPoolOptions}},
};
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn_flex::FlexTensor;
#[expect(deprecated, reason = "Burn 0.23 removes the backend; until then it is part of what this program promises")]
use burn_ndarray::{NdArray, NdArrayTensor};
use conv_block::{Conv, Isa, Saved, Tail, backward, forward};

/// Convolution with a bias and what follows it.
///
/// # Shapes
/// `x` `[batch, inputs, height, width]`, `weight` `[outputs, inputs, kernel, kernel]`, `bias` `[outputs]`; out comes
/// `[batch, outputs, rows, columns]`, rows and columns halved (rounded down) by pooling.
pub fn conv_block(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, [stride, padding]: [usize; 2], tail: Tail) -> Tensor<4> {
    let device = x.device();
    let conv = shape(x.dims(), weight.dims(), [stride, padding]);
    let is_square = weight.dims()[2] == weight.dims()[3];
    if is_square && conv.is_supported() && x.dtype() == DType::F32 && has_kernels(&device) {
        let bias = bias.unwrap_or_else(|| Tensor::zeros([conv.outputs], &device));
        let block = Block { stride, padding, tail };
        return Tensor::from_dispatch(Dispatch::conv_block(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch(), block));
    }
    let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
    let x = module::conv2d(x, weight, bias, options);
    match tail {
        Tail::Linear => x,
        Tail::Relu => relu(x),
        Tail::ReluPool => relu_pool(x),
    }
}

/// ReLU and 2x2 max-pooling by Burn's operations.
pub fn relu_pool(x: Tensor<4>) -> Tensor<4> {
    module::max_pool2d(relu(x), MaxPoolOptions::new([2, 2]))
}

/// Whether tensors of this device are memory that our kernels can read.
fn has_kernels(device: &Device) -> bool {
    static IS_ON: OnceLock<bool> = OnceLock::new();
    let is_on = *IS_ON.get_or_init(|| std::env::var_os("EMBERLENS_KERNELS").is_none_or(|value| value != "off"));
    is_on && matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_) | DispatchDevice::NdArray(_))
}

/// What a block does beside its tensors.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    stride: usize,
    padding: usize,
    tail: Tail,
}

fn shape([images, inputs, height, width]: [usize; 4], [outputs, _, kernel, _]: [usize; 4], [stride, padding]: [usize; 2]) -> Conv {
    Conv { images, inputs, height, width, outputs, kernel, stride, padding }
}

fn conv_of(x: &Shape, weight: &Shape, block: Block) -> Conv {
    shape(x.dims(), weight.dims(), [block.stride, block.padding])
}

/// The operation as Burn's dispatch knows it.
#[backend_extension(Flex, NdArray, Autodiff)]
pub trait BlockOps: Backend {
    /// See [`conv_block`].
    fn conv_block(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>, block: Block) -> FloatTensor<Self>;
}

/// A backend whose tensors are slices in this process.
pub trait HostBackend: Backend {
    /// The same tensor with its values in order.
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The values of a tensor that is [`Self::contiguous`] and holds `f32`.
    fn values(tensor: &FloatTensor<Self>) -> &[f32];

    /// A tensor that takes over the values.
    fn tensor(values: Vec<f32>, shape: Shape) -> FloatTensor<Self>;
}

impl HostBackend for Flex {
    fn contiguous(tensor: FlexTensor) -> FlexTensor {
        tensor.to_contiguous()
    }

    fn values(tensor: &FlexTensor) -> &[f32] {
        tensor.as_slice().expect("contiguous by contract")
    }

    fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
        FlexTensor::from_data(TensorData::new(values, shape))
    }
}

#[expect(deprecated, reason = "Burn 0.23 removes the backend; until then it is part of what this program promises")]
impl HostBackend for NdArray {
    fn contiguous(tensor: NdArrayTensor) -> NdArrayTensor {
        match tensor {
            NdArrayTensor::F32(values) if values.view().is_standard_layout() => NdArrayTensor::F32(values),
            NdArrayTensor::F32(values) => values.into_shared().as_standard_layout().into_owned().into_shared().into(),
            other => other,
        }
    }

    fn values(tensor: &NdArrayTensor) -> &[f32] {
        match tensor {
            NdArrayTensor::F32(values) => values.view().to_slice().expect("contiguous by contract"),
            _ => unreachable!("holds f32 by contract"),
        }
    }

    fn tensor(values: Vec<f32>, shape: Shape) -> NdArrayTensor {
        NdArrayTensor::from_data(TensorData::new(values, shape))
    }
}

impl BlockOps for Flex {
    fn conv_block(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>, block: Block) -> FloatTensor<Self> {
        run_forward::<Self>([x, weight, bias], block).output
    }
}

#[expect(deprecated, reason = "Burn 0.23 removes the backend; until then it is part of what this program promises")]
impl BlockOps for NdArray {
    fn conv_block(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>, block: Block) -> FloatTensor<Self> {
        run_forward::<Self>([x, weight, bias], block).output
    }
}

/// What a block leaves for its backward pass. The input is shared with whoever made it; the output too, and kept only where it is
/// needed.
#[derive(Clone, Debug)]
struct Kept<B: HostBackend> {
    block: Block,
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    output: FloatTensor<B>,
    codes: Arc<[u8]>,
}

fn run_forward<B: HostBackend>(tensors: [FloatTensor<B>; 3], block: Block) -> Kept<B> {
    let [x, weight, bias] = tensors.map(B::contiguous);
    let conv = conv_of(&x.shape(), &weight.shape(), block);
    let found = forward(Isa::best(), &conv, block.tail, B::values(&x), B::values(&weight), Some(B::values(&bias)));
    let (rows, columns) = conv.output_size(block.tail);
    let output = B::tensor(found.output, Shape::new([conv.images, conv.outputs, rows, columns]));
    Kept { block, x, weight, output, codes: found.codes.into() }
}

impl<B: HostBackend + BlockOps, C: CheckpointStrategy> BlockOps for Autodiff<B, C> {
    fn conv_block(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>, block: Block) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct ConvBlock;

        impl<B: HostBackend> Backward<B, 3> for ConvBlock {
            type State = Kept<B>;

            fn backward(self, ops: Ops<Kept<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = B::contiguous(grads.consume::<B>(&ops.node));
                let Kept { block, x, weight, output, codes } = &ops.state;
                let conv = conv_of(&x.shape(), &weight.shape(), *block);
                let saved = Saved { input: B::values(x), weight: B::values(weight), output: B::values(output), codes };
                let [input_node, weight_node, bias_node] = ops.parents;
                let found = backward(Isa::best(), &conv, block.tail, saved, B::values(&grad), input_node.is_some());
                if let (Some(node), Some(values)) = (input_node, found.input) {
                    grads.register::<B>(node.id, B::tensor(values, x.shape()));
                }
                if let Some(node) = weight_node {
                    grads.register::<B>(node.id, B::tensor(found.weight, weight.shape()));
                }
                if let Some(node) = bias_node {
                    grads.register::<B>(node.id, B::tensor(found.bias, Shape::new([conv.outputs])));
                }
            }
        }

        let nodes = [x.node(), weight.node(), bias.node()];
        let mut kept = run_forward::<B>([x.into_primitive(), weight.into_primitive(), bias.into_primitive()], block);
        let output = kept.output.clone();
        if block.tail != Tail::Relu {
            kept.output = B::tensor(Vec::new(), Shape::new([0]));
        }
        match ConvBlock.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(kept, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}
