//! EfficientNet (Tan and Le 2019, arXiv 1905.11946) and EfficientNet-Lite (without gates, with
//! ReLU6; TensorFlow's repository `tpu/models`).

use super::inverted_residual::{Block, BlockNames, Gate, Stages};
use crate::architecture::{
    builder::{Names, divisible, foreign_names, names, unit},
    entry::{Dialect, Entry, Input, Published, Source, Traits, Variant, about},
    layer::Activation::{Relu6, Sigmoid, Silu},
    network::Network,
};

/// Expansion, kernel, stride of the first block, output channels and number of blocks, by stage.
const STAGES: [[usize; 5]; 7] = [
    [1, 3, 1, 16, 1],
    [6, 3, 2, 24, 2],
    [6, 5, 2, 40, 2],
    [6, 3, 2, 80, 3],
    [6, 5, 1, 112, 3],
    [6, 5, 2, 192, 4],
    [6, 3, 1, 320, 1],
];

/// Probability of stochastic depth after the last block; it grows evenly from 0 at the first.
const DROP_PATH: f64 = 0.2;

/// How a network is scaled, and whether it is a Lite.
#[derive(Clone, Copy)]
struct Scale {
    width: f64,
    depth: f64,
    is_lite: bool,
}

/// timm's weights of TensorFlow expect ImageNet's mean and standard deviation here.
const DIALECTS: &[(Dialect, Traits)] = &[
    (Dialect::Torchvision, Traits::TORCH),
    (Dialect::Timm, Traits::TORCH),
    (
        Dialect::TimmTf,
        Traits {
            input: Input::Imagenet,
            ..Traits::TENSORFLOW
        },
    ),
    // Keras's network normalizes its input itself, by ImageNet's mean and standard deviation.
    (
        Dialect::Keras,
        Traits {
            input: Input::Imagenet,
            ..Traits::TENSORFLOW
        },
    ),
];

/// The Lites were published by TensorFlow; timm has trained some anew.
const LITE_DIALECTS: &[(Dialect, Traits)] = &[
    (Dialect::TimmTf, Traits::TENSORFLOW),
    (Dialect::Timm, Traits::TORCH),
];

macro_rules! entries {
    ($(
        $entry:ident $name:literal $width:literal $depth:literal $lite:literal $side:literal
            $gflop:literal $top1:literal $published:expr, $about:literal;
    )*) => {$(
        #[doc = $about]
        pub(super) static $entry: Entry = Entry {
            name: $name,
            about: $about,
            source: Source::Table(|variant| {
                let scale = Scale { width: $width, depth: $depth, is_lite: $lite };
                efficientnet(variant, scale)
            }),
            dialects: if $lite { LITE_DIALECTS } else { DIALECTS },
            side: $side,
            gflop: $gflop,
            top1: $top1,
            published: Some($published),
        };
    )*};
}

entries! {
    B0 "efficientnet_b0" 1.0 1.0 false 224 0.39 77.692
        Published::torchvision(
            "https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth",
            about(21_444_428),
            "7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
        ),
        "EfficientNet-B0 without its top (Tan and Le 2019, arXiv 1905.11946), made for images of \
         224 pixels; 4.0 million parameters.";
    B1 "efficientnet_b1" 1.0 1.1 false 240 0.69 78.642
        Published::torchvision(
            "https://download.pytorch.org/models/efficientnet_b1_rwightman-bac287d4.pth",
            about(31_597_789),
            "bac287d4",
        ),
        "EfficientNet-B1 without its top, made for images of 240 pixels; 6.5 million parameters.";
    B2 "efficientnet_b2" 1.1 1.2 false 260 1.0 80.608
        Published::torchvision(
            "https://download.pytorch.org/models/efficientnet_b2_rwightman-c35c1473.pth",
            about(36_882_612),
            "c35c1473",
        ),
        "EfficientNet-B2 without its top, made for images of 260 pixels; 7.7 million parameters.";
    B3 "efficientnet_b3" 1.2 1.4 false 300 1.8 82.008
        Published::torchvision(
            "https://download.pytorch.org/models/efficientnet_b3_rwightman-b3899882.pth",
            about(49_476_010),
            "b3899882",
        ),
        "EfficientNet-B3 without its top, made for images of 300 pixels; 10.7 million parameters.";
    B4 "efficientnet_b4" 1.4 1.8 false 380 4.2 83.384
        Published::torchvision(
            "https://download.pytorch.org/models/efficientnet_b4_rwightman-23ab8bcd.pth",
            about(78_107_378),
            "23ab8bcd",
        ),
        "EfficientNet-B4 without its top, made for images of 380 pixels; 17.5 million parameters.";
    LITE0 "efficientnet_lite0" 1.0 1.0 true 224 0.4 75.1
        Published::timm_tf(
            "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights/tf_efficientnet_lite0-0aa007d2.pth",
            18_600_000..=19_200_000,
            "0aa007d2",
        ),
        "EfficientNet-Lite0 without its top: B0 without gates and with ReLU6; 3.4 million \
         parameters.";
    LITE1 "efficientnet_lite1" 1.0 1.1 true 240 0.62 76.7
        Published::timm_tf(
            "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights/tf_efficientnet_lite1-bde8b488.pth",
            21_600_000..=22_300_000,
            "bde8b488",
        ),
        "EfficientNet-Lite1 without its top, made for images of 240 pixels; 4.1 million \
         parameters.";
    LITE2 "efficientnet_lite2" 1.1 1.2 true 260 0.89 77.5
        Published::timm_tf(
            "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights/tf_efficientnet_lite2-dcccb7df.pth",
            24_200_000..=25_000_000,
            "dcccb7df",
        ),
        "EfficientNet-Lite2 without its top, made for images of 260 pixels; 4.8 million \
         parameters.";
}

fn efficientnet(variant: &Variant, scale: Scale) -> Network {
    let is_lite = scale.is_lite;
    let function = if is_lite { Relu6 } else { Silu };
    let scaled = |channels: usize| divisible(channels as f64 * scale.width);
    // A Lite's stem, its last convolution and the number of blocks in its first and last stage are
    // those of Lite0.
    let ends = |channels: usize| if is_lite { channels } else { scaled(channels) };
    let repeats = |stage: usize, count: usize| match count {
        _ if is_lite && (stage == 0 || stage + 1 == STAGES.len()) => count,
        _ => (count as f64 * scale.depth).ceil() as usize,
    };
    let total: usize = STAGES
        .iter()
        .enumerate()
        .map(|(stage, [.., count])| repeats(stage, *count))
        .sum();
    let mut inputs = ends(32);
    let stem = names(
        ["features.0.0", "features.0.1"],
        ["conv_stem", "bn1"],
        ["stem_conv", "stem_bn"],
    );
    let stem = unit(
        "blocks.0.stem",
        &stem,
        variant.traits.conv(inputs, 3, 2),
        variant,
        Some(function),
    );
    let mut stages = Stages::new(stem);
    let mut done = 0;
    for (stage, [expansion, kernel, stride, channels, count]) in STAGES.into_iter().enumerate() {
        for at in 0..repeats(stage, count) {
            // The gate narrows to a quarter of the block's input, not of its expanded channels.
            let gate = Gate {
                reduced: (inputs / 4).max(1),
                functions: [Silu, Sigmoid],
            };
            let block = Block {
                inputs,
                expanded: inputs * expansion,
                outputs: scaled(channels),
                kernel,
                stride: if at == 0 { stride } else { 1 },
                function,
                gate: (!is_lite).then_some(gate),
                drop_path: DROP_PATH * done as f64 / total as f64,
            };
            stages.push(block, &block_names(&block, stage, at), variant);
            (inputs, done) = (block.outputs, done + 1);
        }
    }
    let last = names(
        ["features.8.0", "features.8.1"],
        ["conv_head", "bn2"],
        ["top_conv", "top_bn"],
    );
    Network {
        inputs: variant.inputs,
        groups: stages.finish(&last, ends(1280), function, variant),
    }
}

/// Returns the names of the layers of a stage's block, which Keras denotes by a letter.
fn block_names(block: &Block, stage: usize, at: usize) -> BlockNames {
    let letter = char::from(b'a' + at as u8);
    let keras = format!("block{}{letter}", stage + 1);
    let keras_gate = ["se_reduce", "se_expand"].map(|name| format!("{keras}_{name}"));
    let keras = [
        ["expand_conv", "expand_bn"],
        ["dwconv", "bn"],
        ["project_conv", "project_bn"],
    ]
    .map(|names| names.map(|name| format!("{keras}_{name}")));
    let torch = format!("features.{}.{at}.block", stage + 1);
    let timm = format!("blocks.{stage}.{at}");
    gated_names(block, &torch, &timm, keras, keras_gate)
}

/// Returns the names of the layers of a block at `torch` and `timm`, as in EfficientNet and
/// MobileNetV3. `keras` are those of the first, the depthwise and the last convolution.
pub(super) fn gated_names(
    block: &Block,
    torch: &str,
    timm: &str,
    keras: [[String; 2]; 3],
    keras_gate: [String; 2],
) -> BlockNames {
    let is_expanded = block.expanded != block.inputs;
    let [expand, depthwise, project] = keras;
    // torchvision counts what is there.
    let first = usize::from(is_expanded);
    let last = first + 1 + usize::from(block.gate.is_some());
    // timm's blocks without a first convolution call the last one `conv_pw`.
    let [of_depthwise, of_project] = if is_expanded {
        [["conv_dw", "bn2"], ["conv_pwl", "bn3"]]
    } else {
        [["conv_dw", "bn1"], ["conv_pw", "bn2"]]
    };
    let part = |position: usize, timm_names: [&str; 2], keras: [String; 2]| Names {
        torchvision: [
            format!("{torch}.{position}.0"),
            format!("{torch}.{position}.1"),
        ],
        timm: timm_names.map(|name| format!("{timm}.{name}")),
        keras,
    };
    let [reduce, widen] = keras_gate;
    BlockNames {
        expand: if is_expanded {
            part(0, ["conv_pw", "bn1"], expand)
        } else {
            Names::default()
        },
        depthwise: part(first, of_depthwise, depthwise),
        gate: [
            foreign_names(
                format!("{torch}.{}.fc1", first + 1),
                format!("{timm}.se.conv_reduce"),
                reduce,
            ),
            foreign_names(
                format!("{torch}.{}.fc2", first + 1),
                format!("{timm}.se.conv_expand"),
                widen,
            ),
        ],
        project: part(last, of_project, project),
    }
}
