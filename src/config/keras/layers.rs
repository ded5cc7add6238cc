//! Preprocessing layers, as notebooks put them into a network or map them over a data set.

use super::{KerasArgument, KerasCall, fixed, keys, missing};

/// The layers that resize, normalize and augment. Arguments that most of them share (`seed`,
/// `data_format`, `value_range`, `interpolation`) stand under the first name alone.
pub const KERAS_LAYERS: &[KerasCall] = &[
    KerasCall {
        name: "every layer",
        arguments: &[
            keys("seed", &["seed"], "one for the whole run"),
            fixed(
                "value_range",
                "levels of 0 to 255; normalization comes last",
            ),
            fixed("data_format", "images are read as they are"),
            fixed(
                "interpolation",
                "linear, and once: all that moves pixels is one map",
            ),
        ],
    },
    KerasCall {
        name: "Resizing",
        arguments: &[
            keys("height", &["data.image_size"], "the first of two"),
            keys("width", &["data.image_size"], "the second of two"),
            keys(
                "interpolation",
                &["data.interpolation"],
                "always antialiased",
            ),
            fixed("antialias", "always, except with `nearest`"),
            keys("crop_to_aspect_ratio", &["data.resize"], "`\"crop\"`"),
            keys("pad_to_aspect_ratio", &["data.resize"], "`\"pad\"`"),
            fixed("fill_mode", "bars are constant"),
            fixed("fill_value", "bars are black"),
        ],
    },
    KerasCall {
        name: "CenterCrop",
        arguments: &[
            keys(
                "height",
                &["data.image_size", "data.resize"],
                "`\"crop\"` scales the largest centered part instead of cutting a fixed one",
            ),
            keys("width", &["data.image_size", "data.resize"], "see `height`"),
        ],
    },
    KerasCall {
        name: "Rescaling",
        arguments: &[
            keys("scale", &["data.normalize"], "`\"unit\"` is 1/255"),
            keys(
                "offset",
                &["data.normalize"],
                "`\"tf\"` is 1/127.5 with an offset of -1; others as `{ mean, std }`",
            ),
        ],
    },
    KerasCall {
        name: "Normalization",
        arguments: &[
            fixed("axis", "channel by channel"),
            keys(
                "mean",
                &["data.normalize.mean"],
                "of levels divided by 255; what `adapt` computes is `\"dataset\"`",
            ),
            keys(
                "variance",
                &["data.normalize.std"],
                "its square root, of levels divided by 255",
            ),
            missing("invert", ""),
        ],
    },
    KerasCall {
        name: "RandomFlip",
        arguments: &[keys(
            "mode",
            &["augment.horizontal_flip", "augment.vertical_flip"],
            "both where no mode is given",
        )],
    },
    KerasCall {
        name: "RandomRotation",
        arguments: &[
            keys(
                "factor",
                &["augment.rotation_range"],
                "degrees: 360 times the factor, either way; no pair of limits",
            ),
            FILL_MODE,
            FILL_VALUE,
        ],
    },
    KerasCall {
        name: "RandomTranslation",
        arguments: &[
            keys(
                "height_factor",
                &["augment.height_shift_range"],
                "either way; no pair of limits",
            ),
            keys(
                "width_factor",
                &["augment.width_shift_range"],
                "either way; no pair of limits",
            ),
            FILL_MODE,
            FILL_VALUE,
        ],
    },
    KerasCall {
        name: "RandomZoom",
        arguments: &[
            keys(
                "height_factor",
                &["augment.zoom_range"],
                "a pair `(a, b)` is `[1 + a, 1 + b]`; below 1 magnifies, as negative factors do",
            ),
            keys(
                "width_factor",
                &["augment.zoom_range"],
                "width and height have the same limits and are drawn apart; without it, Keras \
                 draws once and keeps the aspect ratio",
            ),
            FILL_MODE,
            FILL_VALUE,
        ],
    },
    KerasCall {
        name: "RandomShear",
        arguments: &[
            keys(
                "x_factor",
                &["augment.shear_range"],
                "degrees, either way: 0.3 is 17; Keras shears one way",
            ),
            missing("y_factor", "a rotation and `x_factor` give it"),
            FILL_MODE,
            FILL_VALUE,
        ],
    },
    KerasCall {
        name: "RandomCrop",
        arguments: &[
            keys(
                "height",
                &["augment.random_resized_crop.scale"],
                "as a share of the area; the part is scaled to the network's size",
            ),
            keys(
                "width",
                &["augment.random_resized_crop.scale"],
                "see `height`",
            ),
        ],
    },
    KerasCall {
        name: "RandomPerspective",
        arguments: &[
            keys(
                "factor",
                &["augment.perspective.probability"],
                "half of it: Keras draws the probability between 0 and the factor",
            ),
            keys("scale", &["augment.perspective.range"], "0 to the scale"),
            FILL_VALUE,
        ],
    },
    KerasCall {
        name: "RandomBrightness",
        arguments: &[keys(
            "factor",
            &["augment.channel_shift_range"],
            "255 times the factor: Keras adds here, and `brightness_range` multiplies; clipped \
             to the image's own range",
        )],
    },
    KerasCall {
        name: "RandomContrast",
        arguments: &[keys(
            "factor",
            &["augment.contrast.range"],
            "`[1 - factor, 1 + factor]`; about the image's mean gray, not each channel's mean",
        )],
    },
    KerasCall {
        name: "RandomSaturation",
        arguments: &[keys(
            "factor",
            &["augment.saturation.range"],
            "each limit `f` is `f / (1 - f)`: 0.5 changes nothing",
        )],
    },
    KerasCall {
        name: "RandomHue",
        arguments: &[keys(
            "factor",
            &["augment.hue.range"],
            "degrees: 180 times the factor, either way",
        )],
    },
    KerasCall {
        name: "RandomColorJitter",
        arguments: &[
            keys(
                "brightness_factor",
                &["augment.channel_shift_range"],
                "as `RandomBrightness`",
            ),
            keys(
                "contrast_factor",
                &["augment.contrast.range"],
                "as `RandomContrast`",
            ),
            keys(
                "saturation_factor",
                &["augment.saturation.range"],
                "as `RandomSaturation`",
            ),
            keys("hue_factor", &["augment.hue.range"], "as `RandomHue`"),
        ],
    },
    KerasCall {
        name: "RandomColorDegeneration",
        arguments: &[keys(
            "factor",
            &["augment.saturation.range"],
            "`[1 - factor, 1]`",
        )],
    },
    KerasCall {
        name: "RandomGrayscale",
        arguments: &[keys("factor", &["augment.random_gray.probability"], "")],
    },
    KerasCall {
        name: "RandomSharpness",
        arguments: &[keys(
            "factor",
            &["augment.sharpen.range"],
            "twice the factor: 0.5 is 1, which changes nothing",
        )],
    },
    KerasCall {
        name: "RandomGaussianBlur",
        arguments: &[
            keys(
                "factor",
                &["augment.gaussian_blur.probability"],
                "half of it: Keras draws the probability between 0 and the factor",
            ),
            fixed("kernel_size", "as large as the deviation needs"),
            keys("sigma", &["augment.gaussian_blur.range"], ""),
        ],
    },
    KerasCall {
        name: "RandomErasing",
        arguments: &[
            keys(
                "factor",
                &["augment.random_erasing.probability"],
                "half of it: Keras draws the probability between 0 and the factor",
            ),
            keys(
                "scale",
                &["augment.random_erasing.scale"],
                "the share of the area; the aspect ratio is `ratio`",
            ),
            keys(
                "fill_value",
                &["augment.random_erasing.value"],
                "`\"noise\"` for `None`",
            ),
        ],
    },
    KerasCall {
        name: "RandAugment",
        arguments: &[
            keys("num_ops", &["augment.policy.num_ops"], "2, as in Keras"),
            keys(
                "factor",
                &["augment.policy.magnitude"],
                "30 times the factor; the operations are torchvision's",
            ),
        ],
    },
    KerasCall {
        name: "MixUp",
        arguments: &[keys("alpha", &["augment.mixup.alpha"], "0.2, as in Keras")],
    },
    KerasCall {
        name: "CutMix",
        arguments: &[keys(
            "factor",
            &["augment.cutmix.alpha"],
            "the share is drawn from Beta(alpha, alpha); 1 is nearest to Keras's default",
        )],
    },
    KerasCall {
        name: "AugMix",
        arguments: NONE,
    },
    KerasCall {
        name: "AutoContrast",
        arguments: IN_POLICIES,
    },
    KerasCall {
        name: "Equalization",
        arguments: IN_POLICIES,
    },
    KerasCall {
        name: "RandomPosterization",
        arguments: IN_POLICIES,
    },
    KerasCall {
        name: "Solarization",
        arguments: IN_POLICIES,
    },
    KerasCall {
        name: "RandomInvert",
        arguments: NONE,
    },
    KerasCall {
        name: "RandomElasticTransform",
        arguments: NONE,
    },
    KerasCall {
        name: "ContrastLimitedAdaptiveHistogramEqualization",
        arguments: NONE,
    },
];

const FILL_MODE: KerasArgument = keys(
    "fill_mode",
    &["augment.fill_mode"],
    "`\"nearest\"` by default; Keras's layers have `\"reflect\"`",
);

const FILL_VALUE: KerasArgument = keys(
    "fill_value",
    &["augment.cval"],
    "with `fill_mode = \"constant\"` only",
);

const IN_POLICIES: &[KerasArgument] = &[missing("...", "one of the operations of `policy` only")];

const NONE: &[KerasArgument] = &[missing("...", "")];
