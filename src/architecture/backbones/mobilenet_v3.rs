//! MobileNetV3 (Howard et al. 2019, arXiv 1905.02244), up to the last feature map.

use super::inverted_residual::{Block, BlockNames, Gate, Stages};
use crate::architecture::{
    backbones::efficientnet::gated_names,
    builder::{divisible, names, unit},
    entry::{Dialect, Entry, Published, Source, Traits, Variant, about},
    layer::Activation::{self, HardSigmoid, HardSwish, Relu},
    network::Network,
};

/// Kernel, expanded channels, output channels, whether there is a gate, activation, and stride.
type Row = (usize, usize, usize, bool, Activation, usize);

const SMALL_ROWS: [Row; 11] = [
    (3, 16, 16, true, Relu, 2),
    (3, 72, 24, false, Relu, 2),
    (3, 88, 24, false, Relu, 1),
    (5, 96, 40, true, HardSwish, 2),
    (5, 240, 40, true, HardSwish, 1),
    (5, 240, 40, true, HardSwish, 1),
    (5, 120, 48, true, HardSwish, 1),
    (5, 144, 48, true, HardSwish, 1),
    (5, 288, 96, true, HardSwish, 2),
    (5, 576, 96, true, HardSwish, 1),
    (5, 576, 96, true, HardSwish, 1),
];

const LARGE_ROWS: [Row; 15] = [
    (3, 16, 16, false, Relu, 1),
    (3, 64, 24, false, Relu, 2),
    (3, 72, 24, false, Relu, 1),
    (5, 72, 40, true, Relu, 2),
    (5, 120, 40, true, Relu, 1),
    (5, 120, 40, true, Relu, 1),
    (3, 240, 80, false, HardSwish, 2),
    (3, 200, 80, false, HardSwish, 1),
    (3, 184, 80, false, HardSwish, 1),
    (3, 184, 80, false, HardSwish, 1),
    (3, 480, 112, true, HardSwish, 1),
    (3, 672, 112, true, HardSwish, 1),
    (5, 672, 160, true, HardSwish, 2),
    (5, 960, 160, true, HardSwish, 1),
    (5, 960, 160, true, HardSwish, 1),
];

/// torchvision's norms have TensorFlow's epsilon, timm's own networks PyTorch's.
const DIALECTS: &[(Dialect, Traits)] = &[
    (
        Dialect::Torchvision,
        Traits {
            epsilon: 1e-3,
            ..Traits::TORCH
        },
    ),
    (Dialect::Timm, Traits::TORCH),
    (Dialect::TimmTf, Traits::TENSORFLOW),
    (Dialect::Keras, Traits::TENSORFLOW),
];

/// MobileNetV3 small.
pub(super) static SMALL: Entry = Entry {
    name: "mobilenet_v3_small",
    about: "MobileNetV3 small without its top (Howard et al. 2019, arXiv 1905.02244); 0.9 million \
            parameters, a 270th of VGG16's work.",
    source: Source::Table(|variant| mobilenet(variant, &SMALL_ROWS)),
    dialects: DIALECTS,
    side: 224,
    gflop: 0.057,
    top1: 67.668,
    published: Some(Published::torchvision(
        "https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth",
        10_306_551..=10_306_551,
        "047dcff4addef86ea5bc2eff13c9614dc11f47ab1160d0a71a25e7db994f4e1f",
    )),
};

/// MobileNetV3 large.
pub(super) static LARGE: Entry = Entry {
    name: "mobilenet_v3_large",
    about: "MobileNetV3 large without its top; 3.0 million parameters, a 70th of VGG16's work.",
    source: Source::Table(|variant| mobilenet(variant, &LARGE_ROWS)),
    dialects: DIALECTS,
    side: 224,
    gflop: 0.217,
    top1: 74.042,
    published: Some(Published::torchvision(
        "https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth",
        about(22_139_634),
        "8738ca79",
    )),
};

fn mobilenet(variant: &Variant, rows: &[Row]) -> Network {
    let mut inputs = 16;
    let stem = names(
        ["features.0.0", "features.0.1"],
        ["conv_stem", "bn1"],
        ["conv", "conv_bn"],
    );
    let stem = unit(
        "blocks.0.stem",
        &stem,
        variant.traits.conv(inputs, 3, 2),
        variant,
        Some(HardSwish),
    );
    let mut stages = Stages::new(stem);
    // timm's stages end where the number of channels changes.
    let (mut stage, mut at) = (0, 0);
    for (index, (kernel, expanded, outputs, is_gated, function, stride)) in
        rows.iter().copied().enumerate()
    {
        if index > 0 && outputs != inputs {
            (stage, at) = (stage + 1, 0);
        }
        let reduced = divisible(expanded as f64 / 4.0);
        let gate = is_gated.then_some(Gate {
            reduced,
            functions: [Relu, HardSigmoid],
        });
        let block = Block {
            inputs,
            expanded,
            outputs,
            kernel,
            stride,
            function,
            gate,
            drop_path: 0.0,
        };
        let names = block_names(&block, index, &format!("blocks.{stage}.{at}"));
        stages.push(block, &names, variant);
        (inputs, at) = (outputs, at + 1);
    }
    let torch = format!("features.{}", rows.len() + 1);
    let timm = format!("blocks.{}.0", stage + 1);
    let last = names(
        [&format!("{torch}.0"), &format!("{torch}.1")],
        [&format!("{timm}.conv"), &format!("{timm}.bn1")],
        ["conv_1", "conv_1_bn"],
    );
    Network {
        inputs: variant.inputs,
        groups: stages.finish(&last, 6 * inputs, HardSwish, variant),
    }
}

/// Returns the names of the layers of a block, which only timm counts by stage.
fn block_names(block: &Block, index: usize, timm: &str) -> BlockNames {
    let keras = match index {
        0 => "expanded_conv".to_owned(),
        _ => format!("expanded_conv_{index}"),
    };
    let keras_gate =
        ["squeeze_excite_conv", "squeeze_excite_conv_1"].map(|name| format!("{keras}_{name}"));
    let part = |name: &str| [format!("{keras}_{name}"), format!("{keras}_{name}_bn")];
    let keras = [part("expand"), part("depthwise"), part("project")];
    let torch = format!("features.{}.block", index + 1);
    gated_names(block, &torch, timm, keras, keras_gate)
}
