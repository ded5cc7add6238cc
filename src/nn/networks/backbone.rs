//! The backbones behind one enum. A new backbone is a file that implements [`Groups`], a variant
//! with its arm in each `match` here, and an [`Architecture`] in the configuration; its published
//! weights are described in `nn::pretrained`.

use super::groups::Groups;
use std::ops::Range;

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::{
    conv_layer::Planned,
    small_cnn::SmallCnn,
    squeezenet::SqueezeNet,
    vgg::{VGG16, Vgg},
};
use crate::config::{Architecture, Model};

/// A network without its classification head.
#[derive(Module, Debug)]
pub(in crate::nn) enum Backbone {
    /// Blocks of one convolution and pooling, with configurable channels.
    SmallCnn(SmallCnn),
    /// VGG16, with or without batch norm.
    Vgg(Vgg),
    /// SqueezeNet 1.1.
    SqueezeNet(SqueezeNet),
}

impl Backbone {
    /// Creates the backbone for images of `inputs` channels, with zero kernels and biases.
    pub(in crate::nn) fn new(settings: &Model, inputs: usize, device: &Device) -> Self {
        match settings.architecture {
            Architecture::SmallCnn => Self::SmallCnn(SmallCnn::new(inputs, &settings.channels(), settings.batch_norm(), device)),
            Architecture::Vgg16 => Self::Vgg(Vgg::new(inputs, &VGG16, false, device)),
            Architecture::Vgg16Bn => Self::Vgg(Vgg::new(inputs, &VGG16, true, device)),
            Architecture::Squeezenet1_1 => Self::SqueezeNet(SqueezeNet::new(inputs, device)),
        }
    }

    /// Lists the convolutions that [`Self::new`] would create, with their shapes for images of
    /// `size` (height and width), without allocating any weights.
    pub(in crate::nn) fn plan(settings: &Model, inputs: usize, size: [usize; 2]) -> Vec<Planned> {
        match settings.architecture {
            Architecture::SmallCnn => SmallCnn::plan(inputs, &settings.channels(), settings.batch_norm(), size),
            Architecture::Vgg16 => Vgg::plan(inputs, &VGG16, false, size),
            Architecture::Vgg16Bn => Vgg::plan(inputs, &VGG16, true, size),
            Architecture::Squeezenet1_1 => SqueezeNet::plan(inputs, size),
        }
    }

    /// Returns the network's layer groups.
    pub(in crate::nn) fn groups(&self) -> &dyn Groups {
        match self {
            Self::SmallCnn(network) => network,
            Self::Vgg(network) => network,
            Self::SqueezeNet(network) => network,
        }
    }

    /// Runs the given layer groups, counted from the input, one after the other.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub(in crate::nn) fn forward(&self, groups: Range<usize>, x: Tensor<4>) -> Tensor<4> {
        groups.fold(x, |x, index| self.groups().forward_group(index, x))
    }
}
