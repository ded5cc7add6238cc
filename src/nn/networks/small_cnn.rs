//! `small_cnn`: blocks of a 3x3 convolution, optional batch norm, ReLU and 2x2 max-pooling.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use conv_block::Tail;

use super::{
    conv_layer::{ConvLayer, ConvShape, Planned},
    groups::{Groups, LayerName, LayerShape},
};

/// The `small_cnn` backbone; each block is a layer group.
#[derive(Module, Debug)]
pub(in crate::nn) struct SmallCnn {
    blocks: Vec<ConvLayer>,
}

impl SmallCnn {
    /// Creates the backbone with zero kernels and biases; `channels` are the output channels of
    /// each block.
    pub(in crate::nn) fn new(inputs: usize, channels: &[usize], batch_norm: bool, device: &Device) -> Self {
        Self { blocks: shapes(inputs, channels, batch_norm).map(|shape| ConvLayer::new(shape, device)).collect() }
    }

    /// Lists the layers that [`Self::new`] would create.
    pub(in crate::nn) fn plan(inputs: usize, channels: &[usize], batch_norm: bool, mut size: [usize; 2]) -> Vec<Planned> {
        let layer = |(index, shape)| {
            let layer = Planned::new(format!("blocks.{index}"), index, shape, size, true);
            size = layer.sizes[2];
            layer
        };
        shapes(inputs, channels, batch_norm).enumerate().map(layer).collect()
    }
}

/// Returns the convolution of each block.
fn shapes(inputs: usize, channels: &[usize], batch_norm: bool) -> impl Iterator<Item = ConvShape> {
    let inputs = std::iter::once(inputs).chain(channels.iter().copied());
    inputs.zip(channels).map(move |(inputs, outputs)| ConvShape { inputs, outputs: *outputs, kernel: 3, stride: 1, padding: 1, batch_norm })
}

impl Groups for SmallCnn {
    fn num_groups(&self) -> usize {
        self.blocks.len()
    }

    fn forward_group(&self, index: usize, x: Tensor<4>) -> Tensor<4> {
        self.blocks[index].forward(x, Tail::ReluPool)
    }

    fn layers(&self, [_, mut height, mut width]: [usize; 3]) -> Vec<LayerShape> {
        let mut layers = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            let channels = block.outputs();
            layers.push((format!("blocks.{index}.conv"), [channels, height, width]));
            if block.has_norm() {
                layers.push((format!("blocks.{index}.norm"), [channels, height, width]));
            }
            (height, width) = (height / 2, width / 2);
            layers.push((format!("blocks.{index}.pool"), [channels, height, width]));
        }
        layers
    }

    fn names(&self) -> Vec<LayerName> {
        // No library publishes weights for this network.
        (0..self.blocks.len()).map(|index| LayerName { ours: format!("blocks.{index}"), elsewhere: None }).collect()
    }
}
