//! DenseNet-121 (Huang et al. 2017, arXiv 1608.06993): each layer's output is appended to its
//! input. The stem and each block with what follows it are layer groups.

use crate::architecture::{
    builder::{activation, branches, conv, foreign_names, names, norm, pool, unit},
    entry::{Dialect, Entry, Published, Source, Traits, Variant, about},
    layer::{Activation::Relu, Conv, ForeignNames, Join, Layer, Padding, Pool, PoolKind},
    network::Network,
};

/// Number of layers in each block.
const BLOCKS: [usize; 4] = [6, 12, 24, 16];

/// Channels that each layer adds, and those of its first convolution.
const GROWTH: usize = 32;
const BOTTLENECK: usize = 128;

/// DenseNet-121.
pub(super) static DENSENET121: Entry = Entry {
    name: "densenet121",
    about: "DenseNet-121 without its top (Huang et al. 2017, arXiv 1608.06993); 7.0 million \
            parameters, a fifth of VGG16's work.",
    source: Source::Table(densenet),
    dialects: &[
        (Dialect::Torchvision, Traits::TORCH),
        (Dialect::Timm, Traits::TORCH),
        (
            Dialect::Keras,
            Traits {
                epsilon: 1.001e-5,
                ..Traits::TORCH
            },
        ),
    ],
    side: 224,
    gflop: 2.83,
    top1: 74.434,
    published: Some(Published::torchvision(
        "https://download.pytorch.org/models/densenet121-a639ec97.pth",
        about(32_343_327),
        "a639ec97",
    )),
};

fn densenet(variant: &Variant) -> Network {
    let torch = ["features.conv0", "features.norm0"];
    let mut stem = unit(
        "blocks.0.stem",
        &names(torch, torch, ["conv1_conv", "conv1_bn"]),
        variant.traits.conv(64, 7, 2),
        variant,
        Some(Relu),
    );
    let window = Pool {
        kind: PoolKind::Max,
        kernel: 3,
        stride: 2,
        padding: Padding::Each([1; 2]),
        ceil: false,
    };
    stem.push(pool("blocks.0.pool".to_owned(), window));
    let mut groups = vec![stem];
    let mut channels = 64;
    for (block, count) in BLOCKS.into_iter().enumerate() {
        let path = format!("blocks.{}", block + 1);
        let mut layers: Vec<Layer> = (0..count)
            .map(|index| dense_layer(variant, &path, block, index))
            .collect();
        channels += count * GROWTH;
        if block + 1 < BLOCKS.len() {
            channels /= 2;
            layers.extend(transition(variant, &path, block, channels));
        } else {
            layers.push(norm(
                format!("{path}.norm"),
                same_in_torch("features.norm5".to_owned(), "bn".to_owned()),
                variant.traits.epsilon,
            ));
            layers.push(activation(Relu));
        }
        groups.push(layers);
    }
    Network {
        inputs: variant.inputs,
        groups,
    }
}

/// Returns a layer, whose output is appended to its input.
fn dense_layer(variant: &Variant, path: &str, block: usize, index: usize) -> Layer {
    let path = format!("{path}.{index}");
    let torch = format!("features.denseblock{}.denselayer{}", block + 1, index + 1);
    let keras = format!("conv{}_block{}", block + 2, index + 1);
    let names = |torch_name: &str, keras_name: &str| {
        same_in_torch(
            format!("{torch}.{torch_name}"),
            format!("{keras}_{keras_name}"),
        )
    };
    let epsilon = variant.traits.epsilon;
    let layers = vec![
        norm(format!("{path}.norm1"), names("norm1", "0_bn"), epsilon),
        activation(Relu),
        conv(
            format!("{path}.conv1"),
            names("conv1", "1_conv"),
            Conv::new(BOTTLENECK, 1),
        ),
        norm(format!("{path}.norm2"), names("norm2", "1_bn"), epsilon),
        activation(Relu),
        conv(
            format!("{path}.conv2"),
            names("conv2", "2_conv"),
            Conv::new(GROWTH, 3),
        ),
    ];
    branches(path, Join::Concat, vec![Vec::new(), layers])
}

/// Returns the transition between two blocks, which halves channels, height and width.
fn transition(variant: &Variant, path: &str, block: usize, channels: usize) -> [Layer; 4] {
    let torch = format!("features.transition{}", block + 1);
    let keras = format!("pool{}", block + 2);
    let names = |torch_name: &str, keras_name: &str| {
        same_in_torch(
            format!("{torch}.{torch_name}"),
            format!("{keras}_{keras_name}"),
        )
    };
    let window = Pool {
        kind: PoolKind::Average,
        ..Pool::HALVE
    };
    [
        norm(
            format!("{path}.norm"),
            names("norm", "bn"),
            variant.traits.epsilon,
        ),
        activation(Relu),
        conv(
            format!("{path}.conv"),
            names("conv", "conv"),
            Conv::new(channels, 1),
        ),
        pool(format!("{path}.pool"), window),
    ]
}

/// Returns a name that torchvision and timm share, with Keras's.
fn same_in_torch(torch: String, keras: String) -> ForeignNames {
    foreign_names(torch.clone(), torch, keras)
}
