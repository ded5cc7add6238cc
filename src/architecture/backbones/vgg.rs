//! VGG without its classifier (Simonyan and Zisserman 2015, arXiv 1409.1556), with or without batch
//! norm, in torchvision's layout. Each block of 3x3 convolutions, which ends with 2x2 max-pooling,
//! is a layer group.

use crate::architecture::{
    builder::{activation, conv, foreign_names, norm, pool},
    entry::{Dialect, Entry, Input, Published, Source, Traits, about},
    layer::{Activation, Conv, Layer, Pool},
    network::Network,
};

/// Output channels of each convolution, block by block.
type Channels = [&'static [usize]; 5];

const CHANNELS16: Channels = [&[64; 2], &[128; 2], &[256; 3], &[512; 3], &[512; 3]];
const CHANNELS19: Channels = [&[64; 2], &[128; 2], &[256; 4], &[512; 4], &[512; 4]];

/// Keras's weights are Oxford's own, trained on BGR values without division.
const DIALECTS: &[(Dialect, Traits)] = &[
    (Dialect::Torchvision, Traits::TORCH),
    (Dialect::Timm, Traits::TORCH),
    (
        Dialect::Keras,
        Traits {
            input: Input::Caffe,
            ..Traits::TORCH
        },
    ),
];

/// VGG16.
pub(super) static VGG16: Entry = Entry {
    name: "vgg16",
    about: "VGG16 without its top (Simonyan and Zisserman 2015, arXiv 1409.1556), in torchvision's \
            layout; 14.7 million parameters.",
    source: Source::Table(|variant| vgg(variant.inputs, &CHANNELS16, false)),
    dialects: DIALECTS,
    side: 224,
    gflop: 15.47,
    top1: 71.592,
    published: Some(Published::torchvision(
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        553_433_881..=553_433_881,
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    )),
};

/// VGG16 with batch norm.
pub(super) static VGG16_BN: Entry = Entry {
    name: "vgg16_bn",
    about: "The same with batch norm after each convolution.",
    source: Source::Table(|variant| vgg(variant.inputs, &CHANNELS16, true)),
    dialects: &[
        (Dialect::Torchvision, Traits::TORCH),
        (Dialect::Timm, Traits::TORCH),
    ],
    side: 224,
    gflop: 15.47,
    top1: 73.36,
    published: Some(Published::torchvision(
        "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
        553_507_836..=553_507_836,
        "6c64b3138f2f4fcb3bcc4cafde11619c4f440eb1631787e93a682fd88305888a",
    )),
};

/// VGG19.
pub(super) static VGG19: Entry = Entry {
    name: "vgg19",
    about: "VGG19 without its top (Simonyan and Zisserman 2015, arXiv 1409.1556), in torchvision's \
            layout; 20.0 million parameters.",
    source: Source::Table(|variant| vgg(variant.inputs, &CHANNELS19, false)),
    dialects: DIALECTS,
    side: 224,
    gflop: 19.63,
    top1: 72.376,
    published: Some(Published::torchvision(
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        about(574_673_125),
        "dcbb9e9d",
    )),
};

/// Describes a VGG with these channels.
pub(crate) fn vgg(inputs: usize, channels: &[&[usize]], batch_norm: bool) -> Network {
    // torchvision's indices count every layer, ReLU and pooling included; Keras counts the
    // convolutions within a block. Keras has no VGG with batch norm.
    let mut position = 0;
    let mut block = |(index, channels): (usize, &&[usize])| {
        let mut layers: Vec<Layer> = Vec::new();
        for (at, outputs) in channels.iter().enumerate() {
            let (path, torch) = (format!("blocks.{index}.{at}"), |position: usize| {
                format!("features.{position}")
            });
            let keras = if batch_norm {
                String::new()
            } else {
                format!("block{}_conv{}", index + 1, at + 1)
            };
            let shape = Conv {
                bias: !batch_norm,
                ..Conv::new(*outputs, 3)
            };
            layers.push(conv(
                format!("{path}.conv"),
                foreign_names(torch(position), torch(position), keras),
                shape,
            ));
            if batch_norm {
                let name = torch(position + 1);
                layers.push(norm(
                    format!("{path}.norm"),
                    foreign_names(name.clone(), name, ""),
                    1e-5,
                ));
            }
            layers.push(activation(Activation::Relu));
            position += if batch_norm { 3 } else { 2 };
        }
        position += 1;
        layers.push(pool(format!("blocks.{index}.pool"), Pool::HALVE));
        layers
    };
    Network {
        inputs,
        groups: channels.iter().enumerate().map(&mut block).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::entry::Variant;

    #[test]
    fn five_pools_halve_an_image_and_the_one_that_finds_too_little_is_named() {
        let Source::Table(build) = VGG19.source else {
            panic!("a table")
        };
        let network = build(&Variant {
            inputs: 3,
            width: 1.0,
            traits: Traits::TORCH,
        });
        assert_eq!(
            network.features([100, 64]).expect("large enough"),
            [512, 3, 2]
        );
        let too_small = network
            .features([16, 64])
            .expect_err("four halvings leave one row");
        assert_eq!(
            too_small.to_string(),
            "layer 37, max_pool 2: 1 x 4 is left of 16 x 64"
        );
    }
}
