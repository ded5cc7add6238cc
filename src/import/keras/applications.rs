//! The networks of `keras.applications`, and the architecture that a recipe has for each.

/// What the weights of a network expect pixel values to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pixels {
    /// The mean of ImageNet subtracted, channels in the order blue, green, red.
    Caffe,
    /// From -1 to 1.
    Tf,
    /// Divided by 255, then standardized.
    Torch,
    /// 0 to 255: the network has layers for the rest.
    Levels,
}

impl Pixels {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Caffe => "0 to 255 with ImageNet's mean subtracted, blue first",
            Self::Tf => "-1 to 1",
            Self::Torch => "0 to 1, standardized by ImageNet's mean and deviation",
            Self::Levels => "0 to 255",
        }
    }
}

/// The names of networks with the same counterpart.
#[derive(Debug)]
enum Names {
    One(&'static str),
    Several(&'static [&'static str]),
}

/// A network of `keras.applications`.
#[derive(Debug)]
pub(super) struct Application {
    /// Its name there.
    names: Names,
    /// The module that has its `preprocess_input`.
    pub(super) module: &'static str,
    pub(super) pixels: Pixels,
    /// The architecture here.
    pub(super) architecture: &'static str,
    /// Whether that is the same network.
    pub(super) is_same: bool,
    /// Number of Keras's layers up to the end of each layer group.
    pub(super) groups: &'static [usize],
}

const fn same(
    name: &'static str,
    module: &'static str,
    pixels: Pixels,
    architecture: &'static str,
    groups: &'static [usize],
) -> Application {
    Application {
        names: Names::One(name),
        module,
        pixels,
        architecture,
        is_same: true,
        groups,
    }
}

/// A network that isn't here, with the one that is nearest to it.
const fn instead(
    names: &'static [&'static str],
    module: &'static str,
    pixels: Pixels,
    architecture: &'static str,
) -> Application {
    Application {
        names: Names::Several(names),
        module,
        pixels,
        architecture,
        is_same: false,
        groups: &[],
    }
}

use Pixels::{Caffe, Levels, Tf, Torch};

// Layers are counted as in `base.layers` of Keras 3.15, activations and padding included.
static APPLICATIONS: &[Application] = &[
    same("VGG16", "vgg16", Caffe, "vgg16", &[4, 7, 11, 15, 19]),
    same("VGG19", "vgg19", Caffe, "vgg19", &[4, 7, 12, 17, 22]),
    same(
        "ResNet50",
        "resnet",
        Caffe,
        "resnet50",
        &[7, 39, 81, 143, 175],
    ),
    same(
        "ResNet101",
        "resnet",
        Caffe,
        "resnet101",
        &[7, 39, 81, 313, 345],
    ),
    same(
        "MobileNet",
        "mobilenet",
        Tf,
        "mobilenet_v1",
        &[11, 24, 37, 74, 86],
    ),
    same(
        "MobileNetV2",
        "mobilenet_v2",
        Tf,
        "mobilenet_v2",
        &[9, 27, 54, 116, 151, 154],
    ),
    same(
        "MobileNetV3Small",
        "mobilenet_v3",
        Levels,
        "mobilenet_v3_small",
        &[6, 17, 35, 109, 154, 157],
    ),
    same(
        "MobileNetV3Large",
        "mobilenet_v3",
        Levels,
        "mobilenet_v3_large",
        &[11, 29, 74, 139, 184, 187],
    ),
    same(
        "EfficientNetB0",
        "efficientnet",
        Levels,
        "efficientnet_b0",
        &[17, 46, 75, 162, 234, 237],
    ),
    same(
        "EfficientNetB1",
        "efficientnet",
        Levels,
        "efficientnet_b1",
        &[29, 73, 117, 234, 336, 339],
    ),
    same(
        "EfficientNetB2",
        "efficientnet",
        Levels,
        "efficientnet_b2",
        &[29, 73, 117, 234, 336, 339],
    ),
    same(
        "EfficientNetB3",
        "efficientnet",
        Levels,
        "efficientnet_b3",
        &[29, 73, 117, 264, 381, 384],
    ),
    same(
        "EfficientNetB4",
        "efficientnet",
        Levels,
        "efficientnet_b4",
        &[29, 88, 147, 324, 471, 474],
    ),
    same(
        "DenseNet121",
        "densenet",
        Torch,
        "densenet121",
        &[7, 53, 141, 313, 427],
    ),
    same(
        "ConvNeXtTiny",
        "convnext",
        Levels,
        "convnext_tiny",
        &[24, 46, 110, 133],
    ),
    same(
        "InceptionV3",
        "inception_v3",
        Tf,
        "inception_v3",
        &[11, 18, 87, 229, 311],
    ),
    instead(&["ResNet152"], "resnet", Caffe, "resnet101"),
    instead(&["ResNet50V2"], "resnet_v2", Tf, "resnet50"),
    instead(
        &["ResNet101V2", "ResNet152V2"],
        "resnet_v2",
        Tf,
        "resnet101",
    ),
    instead(&["Xception"], "xception", Tf, "inception_v3"),
    instead(
        &["InceptionResNetV2"],
        "inception_resnet_v2",
        Tf,
        "inception_v3",
    ),
    instead(
        &["DenseNet169", "DenseNet201"],
        "densenet",
        Torch,
        "densenet121",
    ),
    instead(
        &["EfficientNetB5", "EfficientNetB6", "EfficientNetB7"],
        "efficientnet",
        Levels,
        "efficientnet_b4",
    ),
    instead(
        &["EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2"],
        "efficientnet_v2",
        Levels,
        "efficientnet_b1",
    ),
    instead(
        &["EfficientNetV2B3", "EfficientNetV2S"],
        "efficientnet_v2",
        Levels,
        "efficientnet_b3",
    ),
    instead(
        &["EfficientNetV2M", "EfficientNetV2L"],
        "efficientnet_v2",
        Levels,
        "efficientnet_b4",
    ),
    instead(&["NASNetMobile"], "nasnet", Tf, "mobilenet_v2"),
    instead(&["NASNetLarge"], "nasnet", Tf, "efficientnet_b4"),
    instead(
        &[
            "ConvNeXtSmall",
            "ConvNeXtBase",
            "ConvNeXtLarge",
            "ConvNeXtXLarge",
        ],
        "convnext",
        Levels,
        "convnext_tiny",
    ),
];

/// Returns the network of this name.
pub(super) fn find(name: &str) -> Option<&'static Application> {
    APPLICATIONS.iter().find(|known| match known.names {
        Names::One(own) => own == name,
        Names::Several(names) => names.contains(&name),
    })
}

/// Returns what the `preprocess_input` of a module makes of pixel values.
pub(super) fn of_module(module: &str) -> Option<Pixels> {
    let module = match module {
        "resnet50" => "resnet",
        module => module,
    };
    let found = APPLICATIONS.iter().find(|known| known.module == module);
    found.map(|known| known.pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, Dialect, Source, Variant};

    #[test]
    fn each_network_has_an_architecture_and_as_many_groups() {
        for known in APPLICATIONS {
            let architecture = Architecture::find(known.architecture).expect("known");
            let (Source::Table(build) | Source::Scaled(build)) = architecture.entry().source else {
                panic!("{} is of the recipe", known.architecture);
            };
            let traits = architecture.traits(Some(Dialect::Keras));
            let network = build(&Variant {
                inputs: 3,
                width: 1.0,
                traits,
            });
            assert!(
                known.groups.is_empty() || known.groups.len() == network.groups.len(),
                "{}: {} groups",
                known.architecture,
                network.groups.len()
            );
        }
    }
}
