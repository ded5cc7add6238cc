//! SqueezeNet 1.1 without its classifier (Iandola et al. 2016, arXiv 1602.07360), in torchvision's
//! layout.

use crate::architecture::{
    builder::{activation, branches, conv, foreign_names, pool},
    entry::{Dialect, Entry, Published, Source, Traits},
    layer::{Activation, Conv, Join, Layer, Padding, Pool, PoolKind},
    network::Network,
};

/// Fire modules by layer group: their index in torchvision's `features`, the channels of the
/// squeeze layer and those of each expand layer. The first group is the first convolution.
const FIRES: [&[(usize, [usize; 2])]; 4] = [
    &[],
    &[(3, [16, 64]), (4, [16, 64])],
    &[(6, [32, 128]), (7, [32, 128])],
    &[
        (9, [48, 192]),
        (10, [48, 192]),
        (11, [64, 256]),
        (12, [64, 256]),
    ],
];

/// Max pooling that keeps a last window beyond the edge, as in torchvision.
const POOL: Pool = Pool {
    kind: PoolKind::Max,
    kernel: 3,
    stride: 2,
    padding: Padding::Valid,
    ceil: true,
};

/// SqueezeNet 1.1.
pub(super) static SQUEEZENET1_1: Entry = Entry {
    name: "squeezenet1_1",
    about: "SqueezeNet 1.1 without its top (Iandola et al. 2016, arXiv 1602.07360), in \
            torchvision's layout; 0.7 million parameters, a fortieth of VGG16's work.",
    source: Source::Table(|variant| squeezenet(variant.inputs)),
    dialects: &[(Dialect::Torchvision, Traits::TORCH)],
    side: 224,
    gflop: 0.35,
    top1: 58.178,
    published: Some(Published::torchvision(
        "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
        4_958_839..=4_958_839,
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    )),
};

fn squeezenet(inputs: usize) -> Network {
    let group = |(index, fires): (usize, &&[(usize, [usize; 2])])| {
        let mut layers: Vec<Layer> = Vec::new();
        if index == 0 {
            let stem = Conv {
                stride: 2,
                padding: Padding::Valid,
                bias: true,
                ..Conv::new(64, 3)
            };
            layers.push(conv(
                "blocks.0.stem.conv".to_owned(),
                foreign_names("features.0", "", ""),
                stem,
            ));
            layers.push(activation(Activation::Relu));
        }
        for (at, (position, channels)) in fires.iter().enumerate() {
            layers.extend(fire(
                &format!("blocks.{index}.fires.{at}"),
                &format!("features.{position}"),
                *channels,
            ));
        }
        if index + 1 < FIRES.len() {
            layers.push(pool(format!("blocks.{index}.pool"), POOL));
        }
        layers
    };
    Network {
        inputs,
        groups: FIRES.iter().enumerate().map(group).collect(),
    }
}

/// Returns a fire module: a 1x1 convolution to few channels, then a 1x1 and a 3x3 one in parallel.
fn fire(path: &str, torch: &str, [squeezed, expanded]: [usize; 2]) -> Vec<Layer> {
    let unit = |name: &str, outputs, kernel| {
        let names = foreign_names(format!("{torch}.{name}"), "", "");
        let layer = conv(
            format!("{path}.{name}.conv"),
            names,
            Conv {
                bias: true,
                ..Conv::new(outputs, kernel)
            },
        );
        vec![layer, activation(Activation::Relu)]
    };
    let mut layers = unit("squeeze", squeezed, 1);
    let expand = vec![
        unit("expand1x1", expanded, 1),
        unit("expand3x3", expanded, 3),
    ];
    layers.push(branches(path.to_owned(), Join::Concat, expand));
    layers
}
