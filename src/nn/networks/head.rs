//! The classification head: turns a feature map into a vector by pooling or flattening, and the
//! vector into logits.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Initializer, Linear, LinearConfig},
    tensor::{Device, Tensor, activation::relu},
};

use crate::config::{Model, Pooling};

/// The classification head.
#[derive(Module, Debug)]
pub(in crate::nn) struct Head {
    hidden: Vec<Linear>,
    dropout: Dropout,
    output: Linear,
    #[module(skip)]
    pooling: Pooling,
}

/// Global average pooling: computes the mean of each channel.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, 1, 1]`.
pub fn average(features: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = features.dims();
    features.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels, 1, 1])
}

impl Head {
    /// Creates the head for features of `[channels, height, width]`, with zero weights and biases.
    pub(in crate::nn) fn new(settings: &Model, [channels, height, width]: [usize; 3], num_outputs: usize, device: &Device) -> Self {
        let mut inputs = match settings.pooling {
            Pooling::Flatten => channels * height * width,
            Pooling::Average => channels,
        };
        let mut linear = |outputs| {
            let layer = LinearConfig::new(inputs, outputs).with_initializer(Initializer::Zeros).init(device);
            inputs = outputs;
            layer
        };
        Self {
            hidden: settings.hidden.widths().into_iter().map(&mut linear).collect(),
            output: linear(num_outputs),
            dropout: DropoutConfig::new(settings.dropout).init(),
            pooling: settings.pooling,
        }
    }

    /// Computes the logits.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, outputs]`.
    pub(in crate::nn) fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let [batch, channels, height, width] = features.dims();
        let mut x = match self.pooling {
            Pooling::Flatten => features.reshape([batch, channels * height * width]),
            Pooling::Average => average(features).reshape([batch, channels]),
        };
        // Without hidden layers, dropout acts on the features, or `model.dropout` would do nothing.
        if self.hidden.is_empty() {
            x = self.dropout.forward(x);
        }
        for hidden in &self.hidden {
            x = self.dropout.forward(relu(hidden.forward(x)));
        }
        self.output.forward(x)
    }

    /// Lists the layers with their output shapes, for features of `[channels, height, width]`.
    pub(in crate::nn) fn layers(&self, [channels, height, width]: [usize; 3]) -> Vec<(String, Vec<usize>)> {
        let mut layers = vec![match self.pooling {
            Pooling::Flatten => ("flatten".to_owned(), vec![channels * height * width]),
            Pooling::Average => ("average".to_owned(), vec![channels]),
        }];
        layers.extend(self.hidden.iter().enumerate().map(|(index, layer)| (format!("hidden.{index}"), vec![layer.weight.dims()[1]])));
        layers.push(("output".to_owned(), vec![self.output.weight.dims()[1]]));
        layers
    }
}
