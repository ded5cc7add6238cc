//! `autoencoder`: the blocks of a `small_cnn` down to a code, and their mirror image back to the
//! image.

use super::{
    builder::{conv, unnamed},
    layer::{Conv, ForeignNames, Kind, Layer},
    network::Network,
    small_cnn::{convolution, small_cnn},
};

/// Describes an autoencoder for images of `inputs` channels. The first `channels.len()` layer
/// groups are those of a [`small_cnn`] with the same names, whose output is the code. Each group
/// after them is a convolution, optional batch norm, ReLU and upsampling, with `channels` in
/// reverse; the last one is a convolution to the channels of the image.
///
/// The sides of images must be multiples of 2 to the number of blocks: otherwise the output is
/// smaller than the image.
pub fn autoencoder(inputs: usize, channels: &[usize], batch_norm: bool) -> Network {
    let mut network = small_cnn(inputs, channels, batch_norm);
    let decoder = |(index, outputs): (usize, &usize)| {
        let path = format!("decoder.{index}");
        let mut layers = convolution(&path, *outputs, batch_norm);
        layers.push(Layer {
            name: format!("{path}.upsample"),
            ..unnamed(Kind::Upsample)
        });
        layers
    };
    network
        .groups
        .extend(channels.iter().rev().enumerate().map(decoder));
    let shape = Conv {
        bias: true,
        ..Conv::new(inputs, 3)
    };
    let path = format!("decoder.{}.conv", channels.len());
    network
        .groups
        .push(vec![conv(path, ForeignNames::default(), shape)]);
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoder_is_a_small_cnn_and_the_output_has_the_shape_of_the_image() {
        for batch_norm in [false, true] {
            let network = autoencoder(3, &[8, 6, 4], batch_norm);
            assert_eq!(
                network.groups[..3],
                small_cnn(3, &[8, 6, 4], batch_norm).groups
            );
            assert_eq!(network.features([48, 40]), Ok([3, 48, 40]));
            assert_eq!(network.features([47, 40]), Ok([3, 40, 40]));
            let shapes = network.walk([48, 40]).expect("large enough");
            let code = shapes.iter().rfind(|placed| placed.group == 2);
            assert_eq!(code.map(|placed| placed.output), Some([4, 6, 5]));
        }
    }
}
