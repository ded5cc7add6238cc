//! ConvNeXt-Tiny (Liu et al. 2022, arXiv 2201.03545). Its four stages, each with what comes before
//! it, are layer groups.

use crate::architecture::{
    builder::{activation, branches, conv, foreign_names, unnamed},
    entry::{Dialect, Entry, Published, Source, Traits, Variant, about},
    layer::{Activation, Conv, ForeignNames, Groups, Join, Kind, Layer, Padding},
    network::Network,
};

/// Number of blocks and channels of each stage.
const STAGES: [(usize, usize); 4] = [(3, 96), (3, 192), (9, 384), (3, 768)];

/// Epsilon of the layer norms.
const EPSILON: f64 = 1e-6;

/// Probability of stochastic depth after the last block; it grows evenly from 0 at the first.
const DROP_PATH: f64 = 0.1;

/// ConvNeXt-Tiny.
pub(super) static CONVNEXT_TINY: Entry = Entry {
    name: "convnext_tiny",
    about: "ConvNeXt-Tiny without its top (Liu et al. 2022, arXiv 2201.03545); 27.8 million \
            parameters, a third of VGG16's work.",
    source: Source::Table(convnext),
    dialects: &[
        (Dialect::Torchvision, Traits::TORCH),
        (Dialect::Timm, Traits::TORCH),
        (Dialect::Keras, Traits::TORCH),
    ],
    side: 224,
    gflop: 4.46,
    top1: 82.52,
    published: Some(Published::torchvision(
        "https://download.pytorch.org/models/convnext_tiny-983f1562.pth",
        about(114_419_565),
        "983f1562",
    )),
};

fn convnext(variant: &Variant) -> Network {
    let total: usize = STAGES.iter().map(|(count, _)| count).sum();
    let mut done = 0;
    let mut groups = Vec::new();
    for (stage, (count, channels)) in STAGES.into_iter().enumerate() {
        let path = format!("blocks.{stage}");
        let mut layers = between(&path, stage, channels);
        for index in 0..count {
            let drop_path = DROP_PATH * done as f64 / (total - 1) as f64;
            layers.push(block(
                &format!("{path}.{index}"),
                stage,
                index,
                channels,
                drop_path,
            ));
            done += 1;
        }
        groups.push(layers);
    }
    Network {
        inputs: variant.inputs,
        groups,
    }
}

/// Returns the stem, or the layers that halve height and width before a later stage. A kernel as
/// large as its stride reads each pixel once.
fn between(path: &str, stage: usize, channels: usize) -> Vec<Layer> {
    let patch = |kernel: usize| Conv {
        stride: kernel,
        padding: Padding::Valid,
        bias: true,
        ..Conv::new(channels, kernel)
    };
    let torch = format!("features.{}", 2 * stage);
    if stage == 0 {
        return vec![
            conv(
                format!("{path}.stem.conv"),
                foreign_names(format!("{torch}.0"), "stem.0", "convnext_tiny_stem_conv"),
                patch(4),
            ),
            layer_norm(
                format!("{path}.stem.norm"),
                foreign_names(
                    format!("{torch}.1"),
                    "stem.1",
                    "convnext_tiny_stem_layernorm",
                ),
            ),
        ];
    }
    let timm = format!("stages.{stage}.downsample");
    let keras = |name: &str| format!("convnext_tiny_downsampling_{name}_{}", stage - 1);
    vec![
        layer_norm(
            format!("{path}.downsample.norm"),
            foreign_names(
                format!("{torch}.0"),
                format!("{timm}.0"),
                keras("layernorm"),
            ),
        ),
        conv(
            format!("{path}.downsample.conv"),
            foreign_names(format!("{torch}.1"), format!("{timm}.1"), keras("conv")),
            patch(2),
        ),
    ]
}

/// Returns a block: a depthwise 7x7 convolution, a norm, two 1x1 convolutions and a learned scale,
/// added to the input.
fn block(path: &str, stage: usize, index: usize, channels: usize, drop_path: f64) -> Layer {
    let torch = format!("features.{}.{index}", 2 * stage + 1);
    let timm = format!("stages.{stage}.blocks.{index}");
    let keras = format!("convnext_tiny_stage_{stage}_block_{index}");
    let names = |at: usize, timm_name: &str, keras_name: &str| {
        foreign_names(
            format!("{torch}.block.{at}"),
            format!("{timm}.{timm_name}"),
            format!("{keras}_{keras_name}"),
        )
    };
    let depthwise = Conv {
        groups: Groups::Depthwise,
        bias: true,
        ..Conv::new(channels, 7)
    };
    // Dense layers over the channels of each position elsewhere, which is the same.
    let pointwise = |outputs: usize| Conv {
        bias: true,
        ..Conv::new(outputs, 1)
    };
    let mut layers = vec![
        conv(
            format!("{path}.depthwise"),
            names(0, "conv_dw", "depthwise_conv"),
            depthwise,
        ),
        layer_norm(format!("{path}.norm"), names(2, "norm", "layernorm")),
        conv(
            format!("{path}.expand"),
            names(3, "mlp.fc1", "pointwise_conv_1"),
            pointwise(4 * channels),
        ),
        activation(Activation::Gelu),
        conv(
            format!("{path}.project"),
            names(5, "mlp.fc2", "pointwise_conv_2"),
            pointwise(channels),
        ),
        Layer {
            name: format!("{path}.scale"),
            foreign_names: foreign_names(
                format!("{torch}.layer_scale"),
                format!("{timm}.gamma"),
                format!("{keras}_layer_scale"),
            ),
            entry: None,
            kind: Kind::Scale,
        },
    ];
    if drop_path > 0.0 {
        layers.push(unnamed(Kind::DropPath(drop_path)));
    }
    branches(path.to_owned(), Join::Add, vec![layers, Vec::new()])
}

fn layer_norm(path: String, foreign_names: ForeignNames) -> Layer {
    Layer {
        name: path,
        foreign_names,
        entry: None,
        kind: Kind::LayerNorm { epsilon: EPSILON },
    }
}
