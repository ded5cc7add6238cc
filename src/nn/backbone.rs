//! Backbones behind one seam: layer groups from input to output, and what others call their layers. The next backbone is one file that
//! implements [`Groups`], an arm in each `match` here, and its published weights in [`super::pretrained`].

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

/// A layer's name and output shape, `[channels, height, width]`.
pub(super) type LayerShape = (String, [usize; 3]);

/// A convolution (with its norm) by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LayerName {
    /// In this network, as `blocks.0.1`; its parameters are under `conv` and `norm`.
    pub(super) ours: String,
    /// In files that others wrote, where there are any.
    pub(super) elsewhere: Option<Elsewhere>,
}

/// What others call a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// torchvision and timm, after `features.`.
    pub(super) torch: String,
    /// Its batch norm there.
    pub(super) torch_norm: Option<String>,
    /// Keras, where it has this network.
    pub(super) keras: Option<String>,
}

/// What a backbone is to the rest of the program. Its parameters lie in a field `blocks`, one element a layer group.
pub(super) trait Groups {
    /// How many layer groups there are.
    fn num_groups(&self) -> usize;

    /// One group, counted from the input.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    fn forward_group(&self, index: usize, x: Tensor<4>) -> Tensor<4>;

    /// The layers for pictures of `[channels, height, width]`, the last with the shape of the features.
    fn layers(&self, input: [usize; 3]) -> Vec<LayerShape>;

    /// The convolutions by their names.
    fn names(&self) -> Vec<LayerName>;
}

/// A network without its head.
#[derive(Module, Debug)]
pub(super) enum Backbone {
    /// See [`SmallCnn`].
    SmallCnn(SmallCnn),
    /// See [`Vgg`].
    Vgg(Vgg),
    /// See [`SqueezeNet`].
    SqueezeNet(SqueezeNet),
}

impl Backbone {
    /// With all parameters zero.
    pub(super) fn new(settings: &Model, inputs: usize, device: &Device) -> Self {
        match settings.architecture {
            Architecture::SmallCnn => Self::SmallCnn(SmallCnn::new(inputs, &settings.channels(), settings.batch_norm(), device)),
            Architecture::Vgg16 => Self::Vgg(Vgg::new(inputs, &VGG16, false, device)),
            Architecture::Vgg16Bn => Self::Vgg(Vgg::new(inputs, &VGG16, true, device)),
            Architecture::Squeezenet1_1 => Self::SqueezeNet(SqueezeNet::new(inputs, device)),
        }
    }

    /// The layers that [`Self::new`] would have, for pictures of this size.
    pub(super) fn plan(settings: &Model, inputs: usize, size: [usize; 2]) -> Vec<Planned> {
        match settings.architecture {
            Architecture::SmallCnn => SmallCnn::plan(inputs, &settings.channels(), settings.batch_norm(), size),
            Architecture::Vgg16 => Vgg::plan(inputs, &VGG16, false, size),
            Architecture::Vgg16Bn => Vgg::plan(inputs, &VGG16, true, size),
            Architecture::Squeezenet1_1 => SqueezeNet::plan(inputs, size),
        }
    }

    pub(super) fn groups(&self) -> &dyn Groups {
        match self {
            Self::SmallCnn(network) => network,
            Self::Vgg(network) => network,
            Self::SqueezeNet(network) => network,
        }
    }

    /// These layer groups, one after the other.
    pub(super) fn forward(&self, groups: Range<usize>, x: Tensor<4>) -> Tensor<4> {
        groups.fold(x, |x, index| self.groups().forward_group(index, x))
    }
}
