//! MobileNet (Howard et al. 2017, arXiv 1704.04861): depthwise and 1x1 convolutions in turn.

use crate::architecture::{
    builder::{Names, divisible, names, unit},
    entry::{Dialect, Entry, Source, Strided, Traits, Variant},
    layer::Activation,
    network::Network,
};

/// Output channels and stride of each pair of convolutions.
const PAIRS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

/// Channels of the first convolution.
const STEM: f64 = 32.0;

/// MobileNet.
pub(super) static MOBILENET_V1: Entry = Entry {
    name: "mobilenet_v1",
    about: "MobileNet without its top (Howard et al. 2017, arXiv 1704.04861), with `model.width`; \
            3.2 million parameters, a 27th of VGG16's work.",
    source: Source::Scaled(mobilenet),
    dialects: &[
        (
            Dialect::Keras,
            Traits {
                padding: Strided::After,
                ..Traits::TENSORFLOW
            },
        ),
        (Dialect::Timm, Traits::TORCH),
        (Dialect::TimmTf, Traits::TENSORFLOW),
    ],
    side: 224,
    gflop: 0.57,
    top1: 70.9,
    published: None,
};

fn mobilenet(variant: &Variant) -> Network {
    let (traits, relu6) = (variant.traits, Some(Activation::Relu6));
    // Keras cuts fractions off; timm rounds to multiples of 8. At the usual widths they agree.
    let scaled = |channels: usize| divisible(channels as f64 * variant.width);
    let stem = names(["", ""], ["conv_stem", "bn1"], ["conv1", "conv1_bn"]);
    let mut groups = vec![unit(
        "blocks.0.stem",
        &stem,
        traits.conv(divisible(STEM * variant.width), 3, 2),
        variant,
        relu6,
    )];
    let mut inputs = divisible(STEM * variant.width);
    let [mut stage, mut at, mut in_group] = [0; 3];
    for (index, (outputs, stride)) in PAIRS.into_iter().enumerate() {
        if stride > 1 {
            groups.push(Vec::new());
            (stage, at, in_group) = (stage + 1, 0, 0);
        }
        let group = groups.len() - 1;
        let (path, timm, keras) = (
            format!("blocks.{group}.{in_group}"),
            format!("blocks.{stage}.{at}"),
            index + 1,
        );
        let part = |conv: &str, norm: &str, keras_name: &str| {
            let keras = [
                format!("{keras_name}_{keras}"),
                format!("{keras_name}_{keras}_bn"),
            ];
            Names {
                timm: [format!("{timm}.{conv}"), format!("{timm}.{norm}")],
                keras,
                ..Names::default()
            }
        };
        let depthwise = part("conv_dw", "bn1", "conv_dw");
        groups[group].extend(unit(
            &format!("{path}.depthwise"),
            &depthwise,
            traits.depthwise(inputs, 3, stride),
            variant,
            relu6,
        ));
        inputs = scaled(outputs);
        let pointwise = part("conv_pw", "bn2", "conv_pw");
        groups[group].extend(unit(
            &format!("{path}.pointwise"),
            &pointwise,
            traits.conv(inputs, 1, 1),
            variant,
            relu6,
        ));
        (at, in_group) = (at + 1, in_group + 1);
    }
    Network {
        inputs: variant.inputs,
        groups,
    }
}
