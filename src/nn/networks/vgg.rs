//! VGG without its classifier (Simonyan and Zisserman 2015, arXiv 1409.1556), with or without batch
//! norm, in torchvision's layout.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use conv_block::Tail;

use super::{
    conv_layer::{ConvLayer, ConvShape, Planned},
    groups::{ForeignName, Groups, LayerName, LayerShape},
};

/// Output channels of each convolution of VGG16, block by block.
pub(in crate::nn) const VGG16: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];

/// The VGG backbone. Each block of 3x3 convolutions, which ends with 2x2 max-pooling, is a layer
/// group.
#[derive(Module, Debug)]
pub(in crate::nn) struct Vgg {
    blocks: Vec<Vec<ConvLayer>>,
}

impl Vgg {
    /// Creates the backbone with zero kernels and biases; `channels` are the output channels of
    /// each convolution, block by block.
    pub(in crate::nn) fn new(inputs: usize, channels: &[&[usize]], batch_norm: bool, device: &Device) -> Self {
        let layer = |shape| ConvLayer::new(shape, device);
        Self { blocks: shapes(inputs, channels, batch_norm).into_iter().map(|block| block.into_iter().map(layer).collect()).collect() }
    }

    /// Lists the layers that [`Self::new`] would create.
    pub(in crate::nn) fn plan(inputs: usize, channels: &[&[usize]], batch_norm: bool, mut size: [usize; 2]) -> Vec<Planned> {
        let mut layers = Vec::new();
        for (group, block) in shapes(inputs, channels, batch_norm).into_iter().enumerate() {
            for (at, shape) in block.iter().enumerate() {
                let layer = Planned::new(format!("blocks.{group}.{at}"), group, *shape, size, at + 1 == block.len());
                size = layer.sizes[2];
                layers.push(layer);
            }
        }
        layers
    }
}

/// Returns the convolutions, block by block.
fn shapes(mut inputs: usize, channels: &[&[usize]], batch_norm: bool) -> Vec<Vec<ConvShape>> {
    let mut shape = |outputs: &usize| {
        let shape = ConvShape { inputs, outputs: *outputs, kernel: 3, stride: 1, padding: 1, batch_norm };
        inputs = *outputs;
        shape
    };
    channels.iter().map(|block| block.iter().map(&mut shape).collect()).collect()
}

impl Groups for Vgg {
    fn num_groups(&self) -> usize {
        self.blocks.len()
    }

    fn forward_group(&self, index: usize, x: Tensor<4>) -> Tensor<4> {
        let last = self.blocks[index].len() - 1;
        let forward = |x, (at, layer): (usize, &ConvLayer)| layer.forward(x, if at == last { Tail::ReluPool } else { Tail::Relu });
        self.blocks[index].iter().enumerate().fold(x, forward)
    }

    fn layers(&self, [_, mut height, mut width]: [usize; 3]) -> Vec<LayerShape> {
        let mut layers = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            for (at, layer) in block.iter().enumerate() {
                layers.push((format!("blocks.{index}.{at}.conv"), [layer.outputs(), height, width]));
                if layer.has_norm() {
                    layers.push((format!("blocks.{index}.{at}.norm"), [layer.outputs(), height, width]));
                }
            }
            (height, width) = (height / 2, width / 2);
            layers.extend(block.last().map(|layer| (format!("blocks.{index}.pool"), [layer.outputs(), height, width])));
        }
        layers
    }

    // torchvision's indices count every layer, ReLU and pooling included; Keras counts the
    // convolutions within a block. Keras has no VGG with batch norm.
    fn names(&self) -> Vec<LayerName> {
        let mut names = Vec::new();
        let mut position = 0;
        for (index, block) in self.blocks.iter().enumerate() {
            for (at, layer) in block.iter().enumerate() {
                let torch_norm = layer.has_norm().then(|| (position + 1).to_string());
                let keras = (!layer.has_norm()).then(|| format!("block{}_conv{}", index + 1, at + 1));
                let elsewhere = Some(ForeignName { torch: position.to_string(), torch_norm, keras });
                names.push(LayerName { ours: format!("blocks.{index}.{at}"), elsewhere });
                position += if layer.has_norm() { 3 } else { 2 };
            }
            position += 1;
        }
        names
    }
}
