//! Backbones behind one seam: layer groups from input to output, and what others call their layers. The next backbone is one file that
//! implements [`Groups`], an arm in each `match` here, and its published weights in [`super::pretrained`].

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

/// A network without its head.
#[derive(Module, Debug)]
pub(in crate::nn) enum Backbone {
    /// See [`SmallCnn`].
    SmallCnn(SmallCnn),
    /// See [`Vgg`].
    Vgg(Vgg),
    /// See [`SqueezeNet`].
    SqueezeNet(SqueezeNet),
}

impl Backbone {
    /// With all parameters zero.
    pub(in crate::nn) fn new(settings: &Model, inputs: usize, device: &Device) -> Self {
        match settings.architecture {
            Architecture::SmallCnn => Self::SmallCnn(SmallCnn::new(inputs, &settings.channels(), settings.batch_norm(), device)),
            Architecture::Vgg16 => Self::Vgg(Vgg::new(inputs, &VGG16, false, device)),
            Architecture::Vgg16Bn => Self::Vgg(Vgg::new(inputs, &VGG16, true, device)),
            Architecture::Squeezenet1_1 => Self::SqueezeNet(SqueezeNet::new(inputs, device)),
        }
    }

    /// The layers that [`Self::new`] would have, for pictures of this size.
    pub(in crate::nn) fn plan(settings: &Model, inputs: usize, size: [usize; 2]) -> Vec<Planned> {
        match settings.architecture {
            Architecture::SmallCnn => SmallCnn::plan(inputs, &settings.channels(), settings.batch_norm(), size),
            Architecture::Vgg16 => Vgg::plan(inputs, &VGG16, false, size),
            Architecture::Vgg16Bn => Vgg::plan(inputs, &VGG16, true, size),
            Architecture::Squeezenet1_1 => SqueezeNet::plan(inputs, size),
        }
    }

    pub(in crate::nn) fn groups(&self) -> &dyn Groups {
        match self {
            Self::SmallCnn(network) => network,
            Self::Vgg(network) => network,
            Self::SqueezeNet(network) => network,
        }
    }

    /// These layer groups, one after the other.
    pub(in crate::nn) fn forward(&self, groups: Range<usize>, x: Tensor<4>) -> Tensor<4> {
        groups.fold(x, |x, index| self.groups().forward_group(index, x))
    }
}
