//! A checkpoint as the model of the page's engine.

use page_engine::{Channel, Filter, Fit, Linear, Model, Normalize, Output, Own, Step, Weights};
use safetensors::SafeTensors;

use super::network::Steps;
use crate::{
    architecture::Shape,
    checkpoint::Meta,
    config::{Interpolation, Resize},
    data::batches::normalize::{Normalizer, STD_EPSILON},
    nn::networks::classifier,
};

/// Returns the model of a checkpoint from its metadata and the weights of its network. With `half`,
/// kernels and matrices are stored in 16 bits a value.
pub(super) fn model(meta: &Meta, tensors: &SafeTensors<'_>, half: bool) -> Model {
    let input @ [channels, height, width] = meta.design.input;
    let network = meta.design.model.network(channels);
    let layers = Steps { tensors, half };
    let mut steps = whitening(&meta.normalize, input);
    let (mut map_after, mut shape) = (0, input);
    let groups_before_map = network.groups_before_map([height, width]);
    for (index, group) in network.groups.iter().enumerate() {
        let (found, output) = layers.of_layers(group, shape);
        steps.extend(found);
        shape = output;
        if index + 1 == groups_before_map {
            map_after = steps.len();
        }
    }
    steps.extend(layers.of_head(&meta.design.model, shape));
    Model {
        channels,
        size: [height, width],
        fit: match meta.resize {
            Resize::Stretch => Fit::Stretch,
            Resize::Pad => Fit::Pad,
            Resize::Crop => Fit::Crop,
        },
        filter: match meta.interpolation {
            Interpolation::Nearest => Filter::Nearest,
            Interpolation::Bilinear => Filter::Bilinear,
            Interpolation::Bicubic => Filter::Bicubic,
            Interpolation::Lanczos => Filter::Lanczos,
            Interpolation::Box => Filter::Box,
            Interpolation::Hamming => Filter::Hamming,
        },
        normalize: normalize(&meta.normalize, channels),
        steps,
        map_after,
        output: match meta.design.output {
            classifier::Output::Softmax => Output::Softmax,
            classifier::Output::Sigmoid => Output::Sigmoid,
            classifier::Output::Image => unreachable!("autoencoders aren't exported"),
        },
        temperature: meta.temperature,
    }
}

fn normalize(normalizer: &Normalizer, channels: usize) -> Normalize {
    let own = normalizer.is_samplewise().then(|| Own {
        rescale: normalizer.rescale as f32,
        deviation: normalizer.samplewise_std.then_some(STD_EPSILON),
    });
    let affine = normalizer.affine();
    let channel = |output: usize| {
        let plane = if normalizer.blue_first {
            channels - 1 - output
        } else {
            output
        };
        let pixel_sampling::Channel { scale, offset, .. } = affine.channels[plane];
        Channel {
            plane,
            scale,
            offset,
        }
    };
    Normalize {
        own,
        channels: (0..channels).map(channel).collect(),
    }
}

/// Returns the steps of whitening, if there is any.
fn whitening(normalizer: &Normalizer, shape: Shape) -> Vec<Step> {
    let size = shape.iter().product();
    let steps = |whitening: &crate::data::Whitening| {
        let weight = Weights::full(whitening.matrix.clone());
        let bias = Weights::full(vec![0.0; size]);
        [Step::Linear(Linear { weight, bias }), Step::Reshape(shape)]
    };
    normalizer.whitening.iter().flat_map(steps).collect()
}
