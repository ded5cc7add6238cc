//! SqueezeNet 1.1 without its classifier (Iandola et al. 2016, arXiv 1602.07360), in torchvision's
//! layout.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use conv_block::Tail;

use super::{
    conv_layer::{ConvLayer, ConvShape, Planned},
    groups::{ForeignName, Groups, LayerName, LayerShape},
};
use crate::nn::cpu::max_pool::{max_pool, pooled};

/// Channels of each fire module, by layer group: those of the squeeze layer and of each expand
/// layer.
const FIRES: [&[[usize; 2]]; 4] = [&[], &[[16, 64], [16, 64]], &[[32, 128], [32, 128]], &[[48, 192], [48, 192], [64, 256], [64, 256]]];

/// Index of each fire module in torchvision's `features`, by layer group.
const POSITIONS: [&[usize]; 4] = [&[], &[3, 4], &[6, 7], &[9, 10, 11, 12]];

/// The SqueezeNet 1.1 backbone. All layer groups but the last end with max-pooling.
#[derive(Module, Debug)]
pub(in crate::nn) struct SqueezeNet {
    blocks: Vec<Stage>,
}

/// A layer group: the first convolution, or fire modules.
#[derive(Module, Debug)]
struct Stage {
    stem: Option<ConvLayer>,
    fires: Vec<Fire>,
}

/// A fire module: a 1x1 convolution to few channels, then a 1x1 and a 3x3 one side by side.
#[derive(Module, Debug)]
struct Fire {
    squeeze: ConvLayer,
    expand1x1: ConvLayer,
    expand3x3: ConvLayer,
}

impl Fire {
    /// Creates the module with zero kernels and biases.
    fn new(inputs: usize, channels: [usize; 2], device: &Device) -> Self {
        let [squeeze, expand1x1, expand3x3] = Self::shapes(inputs, channels).map(|shape| ConvLayer::new(shape, device));
        Self { squeeze, expand1x1, expand3x3 }
    }

    /// Returns the squeeze, 1x1 expand and 3x3 expand convolutions.
    fn shapes(inputs: usize, [squeezed, expanded]: [usize; 2]) -> [ConvShape; 3] {
        let shape = |inputs, outputs, kernel| ConvShape { inputs, outputs, kernel, stride: 1, padding: kernel / 2, batch_norm: false };
        [shape(inputs, squeezed, 1), shape(squeezed, expanded, 1), shape(squeezed, expanded, 3)]
    }

    /// Runs the module.
    ///
    /// # Shapes
    /// `[batch, inputs, height, width]` to `[batch, 2 * expanded, height, width]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.squeeze.forward(x, Tail::Relu);
        Tensor::cat(vec![self.expand1x1.forward(x.clone(), Tail::Relu), self.expand3x3.forward(x, Tail::Relu)], 1)
    }

    /// Returns the convolutions with their names.
    fn layers(&self) -> [(&'static str, &ConvLayer); 3] {
        [("squeeze", &self.squeeze), ("expand1x1", &self.expand1x1), ("expand3x3", &self.expand3x3)]
    }
}

impl SqueezeNet {
    /// Creates the backbone with zero kernels and biases.
    pub(in crate::nn) fn new(inputs: usize, device: &Device) -> Self {
        let stem = stem(inputs);
        let mut inputs = stem.outputs;
        let mut fire = |channels: &[usize; 2]| {
            let fire = Fire::new(inputs, *channels, device);
            inputs = 2 * channels[1];
            fire
        };
        let stage = |(index, fires): (usize, &&[[usize; 2]])| Stage {
            stem: (index == 0).then(|| ConvLayer::new(stem, device)),
            fires: fires.iter().map(&mut fire).collect(),
        };
        Self { blocks: FIRES.iter().enumerate().map(stage).collect() }
    }

    /// Lists the layers that [`Self::new`] would create. The pooling between them has no weights.
    pub(in crate::nn) fn plan(inputs: usize, size: [usize; 2]) -> Vec<Planned> {
        let first = Planned::new("blocks.0.stem".to_owned(), 0, stem(inputs), size, false);
        let (mut inputs, mut size) = (first.conv.outputs, first.sizes[2]);
        let mut layers = vec![first];
        for (group, fires) in FIRES.iter().enumerate().skip(1) {
            size = size.map(pooled);
            for (at, channels) in fires.iter().enumerate() {
                let names = ["squeeze", "expand1x1", "expand3x3"].map(|name| format!("blocks.{group}.fires.{at}.{name}"));
                let shapes = names.into_iter().zip(Fire::shapes(inputs, *channels));
                layers.extend(shapes.map(|(name, shape)| Planned::new(name, group, shape, size, false)));
                inputs = 2 * channels[1];
            }
        }
        layers
    }
}

/// The first convolution: stride 2 and no padding, as in torchvision.
fn stem(inputs: usize) -> ConvShape {
    ConvShape { inputs, outputs: 64, kernel: 3, stride: 2, padding: 0, batch_norm: false }
}

impl Groups for SqueezeNet {
    fn num_groups(&self) -> usize {
        self.blocks.len()
    }

    fn forward_group(&self, index: usize, x: Tensor<4>) -> Tensor<4> {
        let stage = &self.blocks[index];
        let x = match &stage.stem {
            Some(stem) => stem.forward(x, Tail::Relu),
            None => x,
        };
        let x = stage.fires.iter().fold(x, |x, fire| fire.forward(x));
        if index + 1 < self.blocks.len() { max_pool(x) } else { x }
    }

    fn layers(&self, [mut last, mut height, mut width]: [usize; 3]) -> Vec<LayerShape> {
        let mut layers = Vec::new();
        for (index, stage) in self.blocks.iter().enumerate() {
            if let Some(stem) = &stage.stem {
                (last, height, width) = (stem.outputs(), stem.side(height), stem.side(width));
                layers.push((format!("blocks.{index}.stem.conv"), [last, height, width]));
            }
            for (at, fire) in stage.fires.iter().enumerate() {
                let path = format!("blocks.{index}.fires.{at}");
                layers.extend(fire.layers().map(|(name, layer)| (format!("{path}.{name}.conv"), [layer.outputs(), height, width])));
                last = fire.expand1x1.outputs() + fire.expand3x3.outputs();
                layers.push((path, [last, height, width]));
            }
            if index + 1 < self.blocks.len() {
                (height, width) = (pooled(height), pooled(width));
                layers.push((format!("blocks.{index}.pool"), [last, height, width]));
            }
        }
        layers
    }

    fn names(&self) -> Vec<LayerName> {
        // Keras has no SqueezeNet, and version 1.1 has no batch norm.
        let name = |ours: String, torch: String| LayerName { ours, elsewhere: Some(ForeignName { torch, torch_norm: None, keras: None }) };
        let mut names = vec![name("blocks.0.stem".to_owned(), "0".to_owned())];
        for (index, (stage, positions)) in self.blocks.iter().zip(POSITIONS).enumerate() {
            for (at, (fire, position)) in stage.fires.iter().zip(positions).enumerate() {
                let path = format!("blocks.{index}.fires.{at}");
                names.extend(fire.layers().map(|(layer, _)| name(format!("{path}.{layer}"), format!("{position}.{layer}"))));
            }
        }
        names
    }
}
