//! The layers that a network consists of, and the networks of `keras.applications`.

use super::{KerasArgument, KerasCall, fixed, keys, missing};

/// The layers of networks, and `keras.applications`.
pub const KERAS_NETWORKS: &[KerasCall] = &[
    KerasCall {
        name: "Conv2D",
        arguments: CONV,
    },
    KerasCall {
        name: "SeparableConv2D",
        arguments: SEPARABLE_CONV,
    },
    KerasCall {
        name: "MaxPooling2D",
        arguments: &[
            keys("pool_size", &["model.layers"], "`max_pool`; square only"),
            POOL_STRIDES,
            POOL_PADDING,
            DATA_FORMAT,
        ],
    },
    KerasCall {
        name: "AveragePooling2D",
        arguments: &[
            keys(
                "pool_size",
                &["model.layers"],
                "`average_pool`; square only",
            ),
            POOL_STRIDES,
            POOL_PADDING,
            DATA_FORMAT,
        ],
    },
    KerasCall {
        name: "BatchNormalization",
        arguments: BATCH_NORMALIZATION,
    },
    KerasCall {
        name: "Activation",
        arguments: &[ACTIVATION],
    },
    KerasCall {
        name: "ReLU",
        arguments: &[
            keys("max_value", &["model.layers"], "6 is `\"relu6\"`"),
            missing("negative_slope", "`\"leaky_relu\"` has 0.01"),
            missing("threshold", ""),
        ],
    },
    KerasCall {
        name: "LeakyReLU",
        arguments: &[missing("negative_slope", "0.01; Keras's default is 0.3")],
    },
    KerasCall {
        name: "ELU",
        arguments: &[missing("alpha", "1, Keras's default")],
    },
    KerasCall {
        name: "Dropout",
        arguments: &[
            keys(
                "rate",
                &["model.layers", "model.dropout"],
                "between convolutions and in the head",
            ),
            missing("noise_shape", ""),
            fixed("seed", "one for the whole run"),
        ],
    },
    KerasCall {
        name: "Flatten",
        arguments: &[DATA_FORMAT],
    },
    KerasCall {
        name: "GlobalAveragePooling2D",
        arguments: &[DATA_FORMAT, fixed("keepdims", "what follows is dense")],
    },
    KerasCall {
        name: "Dense",
        arguments: DENSE,
    },
    KerasCall {
        name: "keras.applications",
        arguments: APPLICATION,
    },
];

const CONV: &[KerasArgument] = &[
    keys("filters", &["model.layers"], "`conv`"),
    KERNEL_SIZE,
    STRIDES,
    PADDING,
    DATA_FORMAT,
    DILATION,
    missing("groups", ""),
    ACTIVATION,
    USE_BIAS,
    INITIALIZER,
    BIAS_INITIALIZER,
    REGULARIZER,
    missing("bias_regularizer", "biases are never decayed"),
    missing("activity_regularizer", ""),
    missing("kernel_constraint", ""),
    missing("bias_constraint", ""),
];

const SEPARABLE_CONV: &[KerasArgument] = &[
    keys("filters", &["model.layers"], "`separable_conv`"),
    KERNEL_SIZE,
    STRIDES,
    PADDING,
    DATA_FORMAT,
    DILATION,
    missing("depth_multiplier", "1, Keras's default"),
    ACTIVATION,
    USE_BIAS,
    keys(
        "depthwise_initializer",
        &["model.init"],
        "one for all layers",
    ),
    keys(
        "pointwise_initializer",
        &["model.init"],
        "one for all layers",
    ),
    BIAS_INITIALIZER,
    keys(
        "depthwise_regularizer",
        &["train.optimizer.weight_decay"],
        "one for all layers",
    ),
    keys(
        "pointwise_regularizer",
        &["train.optimizer.weight_decay"],
        "one for all layers",
    ),
];

const BATCH_NORMALIZATION: &[KerasArgument] = &[
    fixed("axis", "channels"),
    keys(
        "momentum",
        &["model.norm_momentum"],
        "1 minus it; one for all norms",
    ),
    keys(
        "epsilon",
        &["model.norm_epsilon"],
        "1e-5 by default; Keras's is 1e-3. One for all norms",
    ),
    missing("center", ""),
    missing("scale", ""),
    fixed("beta_initializer", "0"),
    fixed("gamma_initializer", "1"),
];

const DENSE: &[KerasArgument] = &[
    keys(
        "units",
        &["model.hidden"],
        "the last layer isn't set: it has an output for each class",
    ),
    keys(
        "activation",
        &["model.hidden"],
        "ReLU in hidden layers; none of the last layer is set",
    ),
    USE_BIAS,
    INITIALIZER,
    BIAS_INITIALIZER,
    REGULARIZER,
    missing("bias_regularizer", "biases are never decayed"),
    missing("activity_regularizer", ""),
    missing("kernel_constraint", ""),
    missing("bias_constraint", ""),
];

const APPLICATION: &[KerasArgument] = &[
    fixed("include_top", "the head is always new"),
    keys(
        "weights",
        &["model.weights"],
        "`\"imagenet\"` fetches torchvision's; Keras's own are read from their file",
    ),
    fixed("input_tensor", "images of `data.image_size`"),
    keys("input_shape", &["data.image_size"], ""),
    keys(
        "pooling",
        &["model.pooling"],
        "`\"avg\"` is `\"average\"`; no maximum alone",
    ),
    fixed("classes", "the folders of the images"),
    fixed("classifier_activation", "by the loss"),
    keys("alpha", &["model.width"], "MobileNet and MobileNetV2"),
    missing("depth_multiplier", ""),
    fixed("include_preprocessing", "`data.normalize`"),
    missing("minimalistic", ""),
];

const KERNEL_SIZE: KerasArgument = keys(
    "kernel_size",
    &["model.layers"],
    "`kernel`, 1 to 7; square only",
);

const STRIDES: KerasArgument = keys("strides", &["model.layers"], "`stride`, 1 to 7");

const PADDING: KerasArgument = keys(
    "padding",
    &["model.layers"],
    "`\"same\"` by default; Keras's is `\"valid\"`",
);

const POOL_STRIDES: KerasArgument = keys("strides", &["model.layers"], "`stride`");

const POOL_PADDING: KerasArgument = keys("padding", &["model.layers"], "`padding`");

const DATA_FORMAT: KerasArgument = fixed("data_format", "images are read as they are");

const DILATION: KerasArgument = missing("dilation_rate", "");

const ACTIVATION: KerasArgument = keys(
    "activation",
    &["model.layers"],
    "`\"relu\"` by default; Keras's is none",
);

const USE_BIAS: KerasArgument = fixed("use_bias", "always, except before a norm");

const INITIALIZER: KerasArgument = keys(
    "kernel_initializer",
    &["model.init"],
    "`\"he\"` by default; Keras's is `\"glorot_uniform\"`. One for all layers",
);

const BIAS_INITIALIZER: KerasArgument = fixed("bias_initializer", "0");

const REGULARIZER: KerasArgument = keys(
    "kernel_regularizer",
    &["train.optimizer.weight_decay"],
    "twice the factor of L2, for all layers; no L1",
);
