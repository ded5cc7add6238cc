//! `small_cnn`: blocks of 3x3 convolution, optional batch norm, ReLU and 2x2 max-pooling; then a vector, a hidden layer, logits.

use burn::{
    module::{Module, Param},
    nn::{
        BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Initializer, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};

use conv_block::Tail;

use super::kernels::{Block, conv_block, conv_norm_block};
use crate::config::{Model, Pooling};

/// The network.
#[derive(Module, Debug)]
pub struct SmallCnn {
    blocks: Vec<ConvBlock>,
    hidden: Option<Linear>,
    dropout: Dropout,
    output: Linear,
    #[module(skip)]
    pooling: Pooling,
}

/// Convolution, optional batch norm, ReLU and 2x2 max-pooling.
#[derive(Module, Debug)]
struct ConvBlock {
    conv: Conv2d,
    norm: Option<BatchNorm>,
}

impl SmallCnn {
    /// With all parameters zero; [`super::build`] fills them.
    pub fn new(settings: &Model, [channels, height, width]: [usize; 3], num_outputs: usize, device: &Device) -> Self {
        let mut inputs = channels;
        let blocks = settings.channels.iter().map(|outputs| {
            let block = ConvBlock::new(inputs, *outputs, settings.batch_norm, device);
            inputs = *outputs;
            block
        });
        let blocks: Vec<_> = blocks.collect();
        let halved = |side: usize| side >> settings.channels.len();
        let features = match settings.pooling {
            Pooling::Flatten => inputs * halved(height) * halved(width),
            Pooling::Average => inputs,
        };
        let linear = |from, to| LinearConfig::new(from, to).with_initializer(Initializer::Zeros).init(device);
        let hidden = (settings.hidden > 0).then(|| linear(features, settings.hidden));
        Self {
            blocks,
            output: linear(if settings.hidden > 0 { settings.hidden } else { features }, num_outputs),
            hidden,
            dropout: DropoutConfig::new(settings.dropout).init(),
            pooling: settings.pooling,
        }
    }

    /// The last feature map.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, last channels, height / 2^blocks, width / 2^blocks]`.
    pub fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        self.blocks.iter().fold(images, |x, block| block.forward(x))
    }

    /// Logits from a feature map.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, outputs]`.
    pub fn forward_head(&self, features: Tensor<4>) -> Tensor<2> {
        let [batch, channels, height, width] = features.dims();
        let x = match self.pooling {
            Pooling::Flatten => features.reshape([batch, channels * height * width]),
            Pooling::Average => features.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels]),
        };
        let x = match &self.hidden {
            Some(hidden) => relu(hidden.forward(x)),
            None => x,
        };
        self.output.forward(self.dropout.forward(x))
    }

    /// Layers with their output shapes, for the summary.
    pub fn layers(&self, [channels, height, width]: [usize; 3]) -> Vec<(String, Vec<usize>)> {
        let mut layers = vec![("input".to_owned(), vec![channels, height, width])];
        let (mut height, mut width, mut last) = (height, width, channels);
        for (index, block) in self.blocks.iter().enumerate() {
            last = block.conv.weight.dims()[0];
            layers.push((format!("blocks.{index}.conv"), vec![last, height, width]));
            if block.norm.is_some() {
                layers.push((format!("blocks.{index}.norm"), vec![last, height, width]));
            }
            (height, width) = (height / 2, width / 2);
            layers.push((format!("blocks.{index}.pool"), vec![last, height, width]));
        }
        let vector = match self.pooling {
            Pooling::Flatten => ("flatten", last * height * width),
            Pooling::Average => ("average", last),
        };
        layers.push((vector.0.to_owned(), vec![vector.1]));
        if let Some(hidden) = &self.hidden {
            layers.push(("hidden".to_owned(), vec![hidden.weight.dims()[1]]));
        }
        layers.push(("output".to_owned(), vec![self.output.weight.dims()[1]]));
        layers
    }
}

impl ConvBlock {
    fn new(inputs: usize, outputs: usize, batch_norm: bool, device: &Device) -> Self {
        let conv = Conv2dConfig::new([inputs, outputs], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(!batch_norm)
            .with_initializer(Initializer::Zeros)
            .init(device);
        Self { conv, norm: batch_norm.then(|| BatchNormConfig::new(outputs).init(device)) }
    }

    /// # Shapes
    /// `[batch, inputs, height, width]` to `[batch, outputs, height / 2, width / 2]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let block = Block { stride: 1, padding: 1, tail: Tail::ReluPool };
        match &self.norm {
            Some(norm) => conv_norm_block(x, self.conv.weight.val(), norm, block),
            None => conv_block(x, self.conv.weight.val(), self.conv.bias.as_ref().map(Param::val), block),
        }
    }
}
