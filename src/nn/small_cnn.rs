//! `small_cnn`: blocks of 3x3 convolution, optional batch norm, ReLU and 2x2 max-pooling.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use conv_block::Tail;

use super::{
    backbone::{Groups, LayerName, LayerShape},
    conv_layer::{ConvLayer, ConvShape},
};

/// The backbone; each block is a layer group.
#[derive(Module, Debug)]
pub(super) struct SmallCnn {
    blocks: Vec<ConvLayer>,
}

impl SmallCnn {
    /// With all parameters zero.
    pub(super) fn new(inputs: usize, channels: &[usize], batch_norm: bool, device: &Device) -> Self {
        let inputs = std::iter::once(inputs).chain(channels.iter().copied());
        let shape = |inputs, outputs| ConvShape { inputs, outputs, kernel: 3, stride: 1, padding: 1, batch_norm };
        Self { blocks: inputs.zip(channels).map(|(inputs, outputs)| ConvLayer::new(shape(inputs, *outputs), device)).collect() }
    }
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
        (0..self.blocks.len()).map(|index| LayerName { ours: format!("blocks.{index}"), elsewhere: None }).collect()
    }
}
