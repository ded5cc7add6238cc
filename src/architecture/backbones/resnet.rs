//! ResNet without its classifier (He et al. 2016, arXiv 1512.03385). Its stem and its four stages
//! are layer groups.

use crate::architecture::{
    builder::{Names, activation, branches, names, pool, unit},
    entry::{Dialect, Entry, Input, Published, Source, Traits, Variant, about},
    layer::{Activation, Join, Layer, Padding, Pool, PoolKind},
    network::Network,
};

/// Channels of the 3x3 convolutions of each stage.
const WIDTHS: [usize; 4] = [64, 128, 256, 512];

/// Ratio of a bottleneck's output channels to those of its other convolutions.
const EXPANSION: usize = 4;

const TORCH: &[(Dialect, Traits)] = &[
    (Dialect::Torchvision, Traits::TORCH),
    (Dialect::Timm, Traits::TORCH),
];

/// Keras has the paper's strides, a bias before each norm, which moves its mean, and Caffe's input.
const WITH_KERAS: &[(Dialect, Traits)] = &[
    (Dialect::Torchvision, Traits::TORCH),
    (Dialect::Timm, Traits::TORCH),
    (
        Dialect::Keras,
        Traits {
            epsilon: 1.001e-5,
            has_stride_first: true,
            input: Input::Caffe,
            ..Traits::TORCH
        },
    ),
];

const fn entry(
    name: &'static str,
    about: &'static str,
    [gflop, top1]: [f64; 2],
    source: Source,
    dialects: &'static [(Dialect, Traits)],
    published: Published,
) -> Entry {
    Entry {
        name,
        about,
        source,
        dialects,
        side: 224,
        gflop,
        top1,
        published: Some(published),
    }
}

/// ResNet-18.
pub(super) static RESNET18: Entry = entry(
    "resnet18",
    "ResNet-18 without its top (He et al. 2016, arXiv 1512.03385); 11.2 million parameters, an \
     eighth of VGG16's work.",
    [1.81, 69.758],
    Source::Table(|variant| resnet(variant, [2, 2, 2, 2], false)),
    TORCH,
    Published::torchvision(
        "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        46_830_571..=46_830_571,
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    ),
);

/// ResNet-34.
pub(super) static RESNET34: Entry = entry(
    "resnet34",
    "ResNet-34 without its top; 21.3 million parameters, a quarter of VGG16's work.",
    [3.66, 73.314],
    Source::Table(|variant| resnet(variant, [3, 4, 6, 3], false)),
    TORCH,
    Published::torchvision(
        "https://download.pytorch.org/models/resnet34-b627a593.pth",
        about(87_320_166),
        "b627a593",
    ),
);

/// ResNet-50.
pub(super) static RESNET50: Entry = entry(
    "resnet50",
    "ResNet-50 without its top, with torchvision's or Keras's strides; 23.5 million parameters, a \
     quarter of VGG16's work.",
    [4.09, 76.13],
    Source::Table(|variant| resnet(variant, [3, 4, 6, 3], true)),
    WITH_KERAS,
    Published::torchvision(
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        102_530_333..=102_530_333,
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    ),
);

/// ResNet-101.
pub(super) static RESNET101: Entry = entry(
    "resnet101",
    "ResNet-101 without its top, with torchvision's or Keras's strides; 42.5 million parameters, \
     half of VGG16's work.",
    [7.8, 77.374],
    Source::Table(|variant| resnet(variant, [3, 4, 23, 3], true)),
    WITH_KERAS,
    Published::torchvision(
        "https://download.pytorch.org/models/resnet101-63fe2227.pth",
        about(178_793_742),
        "63fe2227",
    ),
);

fn resnet(variant: &Variant, blocks: [usize; 4], is_bottleneck: bool) -> Network {
    let names = same_in_torch("conv1", "bn1", "conv1_conv", "conv1_bn");
    let mut stem = unit(
        "blocks.0.stem",
        &names,
        variant.traits.conv(64, 7, 2),
        variant,
        Some(Activation::Relu),
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
    let mut inputs = 64;
    for (stage, (count, width)) in blocks.into_iter().zip(WIDTHS).enumerate() {
        let outputs = if is_bottleneck {
            width * EXPANSION
        } else {
            width
        };
        let mut layers = Vec::new();
        for index in 0..count {
            let stride = if index == 0 && stage > 0 { 2 } else { 1 };
            layers.extend(block(
                variant,
                stage,
                index,
                [inputs, width, outputs],
                stride,
            ));
            inputs = outputs;
        }
        groups.push(layers);
    }
    Network {
        inputs: variant.inputs,
        groups,
    }
}

/// Returns a residual block: its convolutions, and what they are added to: the input or a 1x1
/// convolution of it.
fn block(
    variant: &Variant,
    stage: usize,
    index: usize,
    [inputs, width, outputs]: [usize; 3],
    stride: usize,
) -> [Layer; 2] {
    let path = format!("blocks.{}.{index}", stage + 1);
    let torch = format!("layer{}.{index}", stage + 1);
    let keras = format!("conv{}_block{}", stage + 2, index + 1);
    let traits = variant.traits;
    let conv = |at: usize, outputs: usize, kernel: usize, stride: usize, function| {
        let names = same_in_torch(
            &format!("{torch}.conv{at}"),
            &format!("{torch}.bn{at}"),
            &format!("{keras}_{at}_conv"),
            &format!("{keras}_{at}_bn"),
        );
        unit(
            &format!("{path}.{at}"),
            &names,
            traits.conv(outputs, kernel, stride),
            variant,
            function,
        )
    };
    let relu = Some(Activation::Relu);
    let main = if outputs == width {
        [conv(1, width, 3, stride, relu), conv(2, width, 3, 1, None)].concat()
    } else {
        let [first, middle] = if traits.has_stride_first {
            [stride, 1]
        } else {
            [1, stride]
        };
        [
            conv(1, width, 1, first, relu),
            conv(2, width, 3, middle, relu),
            conv(3, outputs, 1, 1, None),
        ]
        .concat()
    };
    let shortcut = if stride == 1 && inputs == outputs {
        Vec::new()
    } else {
        let names = same_in_torch(
            &format!("{torch}.downsample.0"),
            &format!("{torch}.downsample.1"),
            &format!("{keras}_0_conv"),
            &format!("{keras}_0_bn"),
        );
        unit(
            &format!("{path}.shortcut"),
            &names,
            traits.conv(outputs, 1, stride),
            variant,
            None,
        )
    };
    [
        branches(path, Join::Add, vec![main, shortcut]),
        activation(Activation::Relu),
    ]
}

/// Returns the names of a convolution and its norm that torchvision and timm share, with Keras's.
fn same_in_torch(conv: &str, norm: &str, keras_conv: &str, keras_norm: &str) -> Names {
    names([conv, norm], [conv, norm], [keras_conv, keras_norm])
}
