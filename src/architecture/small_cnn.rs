//! `small_cnn`: blocks of a 3x3 convolution, optional batch norm, ReLU and 2x2 max-pooling.

use super::{
    builder::{activation, conv, norm, pool},
    layer::{Activation, Conv, ForeignNames, Layer, Pool},
    network::Network,
};

/// Describes a 3x3 convolution at `path`, optional batch norm and ReLU.
pub(super) fn convolution(path: &str, outputs: usize, batch_norm: bool) -> Vec<Layer> {
    let shape = Conv {
        bias: !batch_norm,
        ..Conv::new(outputs, 3)
    };
    let mut layers = vec![conv(format!("{path}.conv"), ForeignNames::default(), shape)];
    layers.extend(batch_norm.then(|| norm(format!("{path}.norm"), ForeignNames::default(), 1e-5)));
    layers.push(activation(Activation::Relu));
    layers
}

/// Describes a `small_cnn` for images of `inputs` channels; each of `channels` is a block and a
/// layer group.
pub fn small_cnn(inputs: usize, channels: &[usize], batch_norm: bool) -> Network {
    let block = |(index, outputs): (usize, &usize)| {
        let path = format!("blocks.{index}");
        let mut layers = convolution(&path, *outputs, batch_norm);
        layers.push(pool(format!("{path}.pool"), Pool::HALVE));
        layers
    };
    Network {
        inputs,
        groups: channels.iter().enumerate().map(block).collect(),
    }
}
