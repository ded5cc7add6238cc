//! The architectures, one file per family.

mod convnext;
mod densenet;
mod dinov2;
mod efficientnet;
mod inception;
mod inverted_residual;
mod mobilenet_v1;
mod mobilenet_v2;
mod mobilenet_v3;
mod resnet;
mod squeezenet;
pub(super) mod vgg;

use super::entry::{Entry, Source};

/// Every architecture that a recipe can name.
pub const ARCHITECTURES: [&Entry; 27] = [
    &SMALL_CNN,
    &LAYERS,
    &AUTOENCODER,
    &vgg::VGG16,
    &vgg::VGG16_BN,
    &vgg::VGG19,
    &squeezenet::SQUEEZENET1_1,
    &resnet::RESNET18,
    &resnet::RESNET34,
    &resnet::RESNET50,
    &resnet::RESNET101,
    &mobilenet_v1::MOBILENET_V1,
    &mobilenet_v2::MOBILENET_V2,
    &mobilenet_v3::SMALL,
    &mobilenet_v3::LARGE,
    &efficientnet::B0,
    &efficientnet::B1,
    &efficientnet::B2,
    &efficientnet::B3,
    &efficientnet::B4,
    &efficientnet::LITE0,
    &efficientnet::LITE1,
    &efficientnet::LITE2,
    &densenet::DENSENET121,
    &convnext::CONVNEXT_TINY,
    &inception::INCEPTION_V3,
    &dinov2::DINOV2_S,
];

/// The small convolutional network of many Keras notebooks.
static SMALL_CNN: Entry = Entry {
    name: "small_cnn",
    about: "Blocks of 3x3 convolution, optional batch norm, ReLU and 2x2 max-pooling, then a small \
            head; trained from scratch.",
    source: Source::Blocks,
    dialects: &[],
    side: 150,
    gflop: 0.0,
    top1: 0.0,
    published: None,
};

/// A network whose layers the recipe lists.
static LAYERS: Entry = Entry {
    name: "layers",
    about: "The convolutions, pools and dropouts that the recipe lists in `[[model.layers]]`, then \
            the head; trained from scratch.",
    source: Source::List,
    dialects: &[],
    side: 150,
    gflop: 0.0,
    top1: 0.0,
    published: None,
};

/// The convolutional autoencoder of Keras's tutorials.
static AUTOENCODER: Entry = Entry {
    name: "autoencoder",
    about: "The blocks of `small_cnn` down to a code, and 3x3 convolutions with upsampling back to \
            the image: trained to give the image itself, with or without labels; its error tells \
            images unlike those it was trained on.",
    source: Source::Mirrored,
    dialects: &[],
    side: 96,
    gflop: 0.0,
    top1: 0.0,
    published: None,
};
