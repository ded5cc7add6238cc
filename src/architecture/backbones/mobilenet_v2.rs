//! MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381).

use super::inverted_residual::{Block, BlockNames, Stages};
use crate::architecture::{
    builder::{Names, divisible, names, unit},
    entry::{Dialect, Entry, Published, Source, Traits, Variant, about},
    layer::{Activation, ForeignNames},
    network::Network,
};

/// Expansion, output channels, number of blocks and stride of the first, for each stage.
const STAGES: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

/// Channels of the last convolution, which narrow networks keep.
const LAST: f64 = 1280.0;

/// MobileNetV2.
pub(super) static MOBILENET_V2: Entry = Entry {
    name: "mobilenet_v2",
    about: "MobileNetV2 without its top (Sandler et al. 2018, arXiv 1801.04381), with \
            `model.width`; 2.2 million parameters, a fiftieth of VGG16's work.",
    source: Source::Scaled(mobilenet),
    dialects: &[
        (Dialect::Torchvision, Traits::TORCH),
        (Dialect::Timm, Traits::TORCH),
        (Dialect::TimmTf, Traits::TENSORFLOW),
        (Dialect::Keras, Traits::TENSORFLOW),
    ],
    side: 224,
    gflop: 0.3,
    top1: 71.878,
    published: Some(Published::torchvision(
        "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
        about(14_213_448),
        "b0353104",
    )),
};

fn mobilenet(variant: &Variant) -> Network {
    let relu6 = Activation::Relu6;
    let scaled = |channels: usize| divisible(channels as f64 * variant.width);
    let mut inputs = scaled(32);
    let stem = unit(
        "blocks.0.stem",
        &names(
            ["features.0.0", "features.0.1"],
            ["conv_stem", "bn1"],
            ["Conv1", "bn_Conv1"],
        ),
        variant.traits.conv(inputs, 3, 2),
        variant,
        Some(relu6),
    );
    let mut stages = Stages::new(stem);
    let mut index = 0;
    for (stage, [expansion, channels, count, stride]) in STAGES.into_iter().enumerate() {
        for at in 0..count {
            let block = Block {
                inputs,
                expanded: inputs * expansion,
                outputs: scaled(channels),
                kernel: 3,
                stride: if at == 0 { stride } else { 1 },
                function: relu6,
                gate: None,
                drop_path: 0.0,
            };
            stages.push(block, &block_names(index, stage, at), variant);
            (inputs, index) = (block.outputs, index + 1);
        }
    }
    let last = names(
        ["features.18.0", "features.18.1"],
        ["conv_head", "bn2"],
        ["Conv_1", "Conv_1_bn"],
    );
    let outputs = divisible(LAST * variant.width.max(1.0));
    Network {
        inputs: variant.inputs,
        groups: stages.finish(&last, outputs, relu6, variant),
    }
}

/// Returns the names of a block's layers. The first block has no expanding convolution, so that the
/// others are counted from one less in it.
fn block_names(index: usize, stage: usize, at: usize) -> BlockNames {
    let torch = format!("features.{}.conv", index + 1);
    let timm = format!("blocks.{stage}.{at}");
    let keras = if index == 0 {
        "expanded_conv".to_owned()
    } else {
        format!("block_{index}")
    };
    let part = |position: usize, timm_names: [&str; 2], keras_name: &str| {
        // The last convolution and its norm stand by themselves, the others within a sequence.
        let torchvision = if timm_names[0] == "conv_pwl" || index == 0 && timm_names[0] == "conv_pw"
        {
            [
                format!("{torch}.{position}"),
                format!("{torch}.{}", position + 1),
            ]
        } else {
            [
                format!("{torch}.{position}.0"),
                format!("{torch}.{position}.1"),
            ]
        };
        let keras = [
            format!("{keras}_{keras_name}"),
            format!("{keras}_{keras_name}_BN"),
        ];
        Names {
            torchvision,
            timm: timm_names.map(|name| format!("{timm}.{name}")),
            keras,
        }
    };
    let gate = [ForeignNames::default(), ForeignNames::default()];
    if index == 0 {
        let (depthwise, project) = (
            part(0, ["conv_dw", "bn1"], "depthwise"),
            part(1, ["conv_pw", "bn2"], "project"),
        );
        return BlockNames {
            expand: Names::default(),
            depthwise,
            gate,
            project,
        };
    }
    BlockNames {
        expand: part(0, ["conv_pw", "bn1"], "expand"),
        depthwise: part(1, ["conv_dw", "bn2"], "depthwise"),
        gate,
        project: part(2, ["conv_pwl", "bn3"], "project"),
    }
}
