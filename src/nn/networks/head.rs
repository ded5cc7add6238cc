//! The classification head: turns a feature map into a vector by pooling or flattening, and the
//! vector into logits.

use burn::{
    module::Module,
    nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Initializer, Linear, LinearConfig},
    tensor::{Device, Tensor, activation::relu},
};

use crate::config::{Model, Pooling};

/// Value that norms of the head add to the variance.
pub const NORM_EPSILON: f64 = 1e-5;

/// The classification head.
#[derive(Module, Debug)]
pub(in crate::nn) struct Head {
    hidden: Vec<Linear>,
    dropout: Dropout,
    /// Absent where the features themselves are the output: in an autoencoder.
    output: Option<Linear>,
    /// Norms of what enters each hidden layer and the output layer; empty without them.
    norms: Vec<BatchNorm>,
    #[module(skip)]
    pooling: Pooling,
}

/// Global average pooling: computes the mean of each channel.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, 1, 1]`.
pub fn average(features: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = features.dims();
    features
        .reshape([batch, channels, height * width])
        .mean_dim(2)
        .reshape([batch, channels, 1, 1])
}

/// Computes the maximum and the mean of each channel.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, 2 * channels, 1, 1]`, maxima first.
fn max_average(features: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = features.dims();
    let max = features
        .clone()
        .reshape([batch, channels, height * width])
        .max_dim(2)
        .reshape([batch, channels, 1, 1]);
    Tensor::cat(vec![max, average(features)], 1)
}

impl Head {
    /// Creates the head for features of `[channels, height, width]`, with zero weights and biases.
    /// Without outputs, it gives the features.
    pub(in crate::nn) fn new(
        settings: &Model,
        features: [usize; 3],
        num_outputs: usize,
        device: &Device,
    ) -> Self {
        let mut inputs = settings.pooling.width(features);
        let hidden = settings.hidden.widths();
        let norm = |width: usize| {
            BatchNormConfig::new(width)
                .with_epsilon(NORM_EPSILON)
                .init(device)
        };
        let norms = if settings.head_norm {
            std::iter::once(inputs)
                .chain(hidden.iter().copied())
                .map(norm)
                .collect()
        } else {
            Vec::new()
        };
        let mut linear = |outputs| {
            let layer = LinearConfig::new(inputs, outputs)
                .with_initializer(Initializer::Zeros)
                .init(device);
            inputs = outputs;
            layer
        };
        Self {
            hidden: hidden.into_iter().map(&mut linear).collect(),
            output: (num_outputs > 0).then(|| linear(num_outputs)),
            dropout: DropoutConfig::new(settings.dropout).init(),
            norms,
            pooling: settings.pooling,
        }
    }

    /// Lists the norms.
    pub(in crate::nn) fn norms(&self) -> &[BatchNorm] {
        &self.norms
    }

    /// Brings features to the size that the head keeps of them, which is theirs if it flattens
    /// them. The head computes the same from the result as from the features.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, channels, height, width]` or `[batch, values,
    /// 1, 1]`.
    pub(in crate::nn) fn pool(&self, features: Tensor<4>) -> Tensor<4> {
        match self.pooling {
            Pooling::Flatten => features,
            Pooling::Average => average(features),
            // Already pooled: the vector is twice as long as the features have channels.
            Pooling::MaxAverage if Some(features.dims()[1]) == self.inputs() => features,
            Pooling::MaxAverage => max_average(features),
        }
    }

    /// Returns the length of the vector, `None` without a layer that takes it.
    fn inputs(&self) -> Option<usize> {
        let first = self.hidden.first().or(self.output.as_ref());
        first.map(|layer| layer.weight.dims()[0])
    }

    /// Computes the logits from features, pooled or not.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, outputs]`.
    pub(in crate::nn) fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let features = self.pool(features);
        let [batch, channels, height, width] = features.dims();
        let mut x = features.reshape([batch, channels * height * width]);
        let norm = |index: usize, x: Tensor<2>| match self.norms.get(index) {
            Some(norm) => norm.forward(x),
            None => x,
        };
        x = norm(0, x);
        // Without hidden layers, dropout acts on the features, or `model.dropout` would do nothing.
        if self.hidden.is_empty() {
            x = self.dropout.forward(x);
        }
        for (index, hidden) in self.hidden.iter().enumerate() {
            x = self
                .dropout
                .forward(norm(index + 1, relu(hidden.forward(x))));
        }
        match &self.output {
            Some(output) => output.forward(x),
            None => x,
        }
    }

    /// Lists the layers with their output shapes, for features of `[channels, height, width]`; none
    /// where the features themselves are the output.
    pub(in crate::nn) fn layers(&self, features: [usize; 3]) -> Vec<(String, Vec<usize>)> {
        if self.inputs().is_none() {
            return Vec::new();
        }
        let name = match self.pooling {
            Pooling::Flatten => "flatten",
            Pooling::Average => "average",
            Pooling::MaxAverage => "max_average",
        };
        let mut layers = vec![(name.to_owned(), vec![self.pooling.width(features)])];
        let norm = |index: usize, width: usize| {
            (index < self.norms.len()).then(|| (format!("norms.{index}"), vec![width]))
        };
        layers.extend(norm(0, self.pooling.width(features)));
        for (index, layer) in self.hidden.iter().enumerate() {
            let width = layer.weight.dims()[1];
            layers.push((format!("hidden.{index}"), vec![width]));
            layers.extend(norm(index + 1, width));
        }
        if let Some(output) = &self.output {
            layers.push(("output".to_owned(), vec![output.weight.dims()[1]]));
        }
        layers
    }
}
