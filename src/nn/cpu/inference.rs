//! Operations on the CPU backends for networks that don't learn.

use std::sync::Arc;

use burn::{
    backend::{
        Backend, Dispatch, Flex, TensorMetadata as _, backend_extension, tensor::FloatTensor,
    },
    tensor::{DType, Device, Shape, Tensor},
};
use burn_ndarray::NdArray;
use conv_block::{
    Activation, Algorithm, Before, Conv, Images, Isa, Norm, PackedInverted, Tail, activate,
    attention, infer_normed, layer_norm, scale_and_activate,
};
use rayon::prelude::*;

use super::backend::{HostBackend, has_kernels};

/// Number of values that a thread takes at a time.
const PART_LEN: usize = 1 << 16;

/// Whether these operations run on a device: it has our kernels, and asks for no gradients.
pub(in crate::nn) fn is_for_inference(device: &Device) -> bool {
    has_kernels(device) && !device.is_autodiff()
}

/// Runs an inverted residual; `padding` is that of its depthwise convolution. Returns `None` for
/// shapes that the kernel doesn't support.
///
/// # Shapes
/// `[batch, inputs, height, width]` to `[batch, outputs, rows, columns]`.
pub(in crate::nn) fn inverted(
    x: &Tensor<4>,
    block: &Arc<PackedInverted>,
    padding: [[usize; 2]; 2],
) -> Option<Tensor<4>> {
    let [count, _, height, width] = x.dims();
    let images = Images {
        count,
        size: [height, width],
        padding,
    };
    let is_supported = x.dtype() == DType::F32 && block.shape().is_supported(&images);
    is_supported.then(|| {
        Tensor::from_dispatch(Dispatch::inverted(
            x.clone().into_dispatch(),
            block.clone(),
            images,
        ))
    })
}

/// Applies a function to each value, in place where nobody else has the tensor.
///
/// # Shapes
/// `[batch, channels, height, width]` in and out.
pub(in crate::nn) fn activated(x: Tensor<4>, function: Activation) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::activated(x.into_dispatch(), function))
}

/// Multiplies each channel by its factor, adds its offset and applies a function; `scales` are the
/// factors and the offsets.
///
/// # Shapes
/// `[batch, channels, height, width]` in and out.
pub(in crate::nn) fn scaled(
    x: Tensor<4>,
    scales: &Arc<[Vec<f32>; 2]>,
    function: Activation,
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::scaled(
        x.into_dispatch(),
        scales.clone(),
        function,
    ))
}

/// The parameters of a layer norm.
#[derive(Debug)]
pub(in crate::nn) struct LayerNorm {
    /// The factor and the offset of each channel.
    pub(in crate::nn) scales: [Vec<f32>; 2],
    pub(in crate::nn) epsilon: f64,
}

/// Runs a layer norm over the channels of each position, in place where nobody else has the tensor.
///
/// # Shapes
/// `[batch, channels, height, width]` in and out.
pub(in crate::nn) fn layer_normed(x: Tensor<4>, norm: &Arc<LayerNorm>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::layer_normed(x.into_dispatch(), norm.clone()))
}

/// Runs self-attention of so many heads.
///
/// # Shapes
/// `[batch, 3 * channels, height, width]`, the queries, keys and values of all heads, to `[batch,
/// channels, height, width]`.
pub(in crate::nn) fn attended(x: Tensor<4>, heads: usize) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::attended(x.into_dispatch(), heads))
}

/// A norm by its running statistics, what follows it, and a 1x1 convolution behind.
#[derive(Debug)]
pub(in crate::nn) struct NormedConv {
    /// The factor and the offset of each input channel.
    pub(in crate::nn) scales: [Vec<f32>; 2],
    pub(in crate::nn) before: Tail,
    /// `[outputs, inputs]`, and `[outputs]`.
    pub(in crate::nn) weight: Vec<f32>,
    pub(in crate::nn) bias: Vec<f32>,
    pub(in crate::nn) tail: Tail,
}

/// Runs a norm and a convolution.
///
/// # Shapes
/// `[batch, inputs, height, width]` to `[batch, outputs, height, width]`.
pub(in crate::nn) fn normed_conv(x: Tensor<4>, block: &Arc<NormedConv>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::normed_conv(x.into_dispatch(), block.clone()))
}

impl NormedConv {
    fn run(&self, [images, inputs, height, width]: [usize; 4], input: &[f32]) -> Vec<f32> {
        let conv = Conv {
            images,
            inputs,
            height,
            width,
            outputs: self.bias.len(),
            kernel: 1,
            stride: 1,
            padding: 0,
            algorithm: Algorithm::Direct,
        };
        let [scale, shift] = &self.scales;
        let before = Before {
            scale,
            shift,
            tail: self.before,
        };
        let tensors = [&self.weight[..], &self.bias];
        infer_normed(Isa::best(), &conv, self.tail, before, input, tensors)
    }
}

/// The operations as an extension of Burn's backends.
#[backend_extension(Flex, NdArray)]
trait InferenceOps: Backend {
    /// See [`inverted`].
    fn inverted(
        x: FloatTensor<Self>,
        block: Arc<PackedInverted>,
        images: Images,
    ) -> FloatTensor<Self>;

    /// See [`activated`].
    fn activated(x: FloatTensor<Self>, function: Activation) -> FloatTensor<Self>;

    /// See [`scaled`].
    fn scaled(
        x: FloatTensor<Self>,
        scales: Arc<[Vec<f32>; 2]>,
        function: Activation,
    ) -> FloatTensor<Self>;

    /// See [`layer_normed`].
    fn layer_normed(x: FloatTensor<Self>, norm: Arc<LayerNorm>) -> FloatTensor<Self>;

    /// See [`attended`].
    fn attended(x: FloatTensor<Self>, heads: usize) -> FloatTensor<Self>;

    /// See [`normed_conv`].
    fn normed_conv(x: FloatTensor<Self>, block: Arc<NormedConv>) -> FloatTensor<Self>;
}

macro_rules! on_slices {
    ($($backend:ty)*) => {$(
        impl InferenceOps for $backend {
            fn inverted(
                x: FloatTensor<Self>,
                block: Arc<PackedInverted>,
                images: Images,
            ) -> FloatTensor<Self> {
                let x = Self::contiguous(x);
                let [rows, columns] = block.shape().result_size(&images);
                let shape = Shape::new([images.count, block.shape().outputs, rows, columns]);
                Self::tensor(block.run(&images, Self::values(&x)), shape)
            }

            fn activated(x: FloatTensor<Self>, function: Activation) -> FloatTensor<Self> {
                let mut x = Self::contiguous(x);
                let values = Self::values_mut(&mut x);
                let parts = values.par_chunks_mut(PART_LEN);
                parts.for_each(|values| activate(Isa::best(), function, values));
                x
            }

            fn scaled(
                x: FloatTensor<Self>,
                scales: Arc<[Vec<f32>; 2]>,
                function: Activation,
            ) -> FloatTensor<Self> {
                let mut x = Self::contiguous(x);
                let [_, channels, height, width] = x.shape().dims();
                let [scale, shift] = &*scales;
                let planes = Self::values_mut(&mut x).par_chunks_mut((height * width).max(1));
                planes.enumerate().for_each(|(index, plane)| {
                    let channel = index % channels;
                    let (scale, shift) = (scale[channel], shift[channel]);
                    scale_and_activate(Isa::best(), scale, shift, function, plane);
                });
                x
            }

            fn layer_normed(x: FloatTensor<Self>, norm: Arc<LayerNorm>) -> FloatTensor<Self> {
                let mut x = Self::contiguous(x);
                let [_, _, height, width] = x.shape().dims();
                let [gamma, beta] = &norm.scales;
                let norm = Norm { gamma, beta, epsilon: norm.epsilon };
                layer_norm(Isa::best(), norm, height * width, Self::values_mut(&mut x));
                x
            }

            fn attended(x: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
                let x = Self::contiguous(x);
                let [images, channels, height, width] = x.shape().dims();
                let channels = channels / 3;
                let shape = [images, heads, channels / heads, height * width];
                let means = attention(Isa::best(), shape, Self::values(&x));
                Self::tensor(means, Shape::new([images, channels, height, width]))
            }

            fn normed_conv(x: FloatTensor<Self>, block: Arc<NormedConv>) -> FloatTensor<Self> {
                let x = Self::contiguous(x);
                let dims @ [images, _, height, width] = x.shape().dims();
                let shape = Shape::new([images, block.bias.len(), height, width]);
                Self::tensor(block.run(dims, Self::values(&x)), shape)
            }
        }
    )*};
}

on_slices!(Flex NdArray);
