//! Where images come from: ImageDataGenerator and the functions that list folders and tables.

use super::{KerasArgument, KerasCall, command, fixed, keys};

/// The calls that read and augment images.
pub const KERAS_SOURCES: &[KerasCall] = &[
    KerasCall {
        name: "ImageDataGenerator",
        arguments: GENERATOR,
    },
    KerasCall {
        name: "flow_from_directory",
        arguments: FLOW_FROM_DIRECTORY,
    },
    KerasCall {
        name: "flow_from_dataframe",
        arguments: FLOW_FROM_DATAFRAME,
    },
    KerasCall {
        name: "image_dataset_from_directory",
        arguments: DATASET_FROM_DIRECTORY,
    },
];

const GENERATOR: &[KerasArgument] = &[
    keys(
        "featurewise_center",
        &["data.normalize.featurewise_center"],
        "no `fit(x)`: the mean is that of all training images",
    ),
    keys(
        "samplewise_center",
        &["data.normalize.samplewise_center"],
        "",
    ),
    keys(
        "featurewise_std_normalization",
        &["data.normalize.featurewise_std_normalization"],
        "includes the center, as in Keras; `\"dataset\"` does both after a division by 255",
    ),
    keys(
        "samplewise_std_normalization",
        &["data.normalize.samplewise_std_normalization"],
        "includes the center, as in Keras",
    ),
    keys(
        "zca_whitening",
        &["data.normalize.zca_whitening"],
        "small images only",
    ),
    keys("zca_epsilon", &["data.normalize.zca_epsilon"], ""),
    keys("rotation_range", &["augment.rotation_range"], "degrees"),
    keys(
        "width_shift_range",
        &["augment.width_shift_range"],
        "sideways, as documented; Keras's code moves up and down, and so does \
         `augment.semantics = \"keras\"`",
    ),
    keys(
        "height_shift_range",
        &["augment.height_shift_range"],
        "up and down, as documented; see `width_shift_range`",
    ),
    keys(
        "brightness_range",
        &["augment.brightness_range"],
        "fractions are kept; Keras truncates to whole levels",
    ),
    keys("shear_range", &["augment.shear_range"], "degrees"),
    keys(
        "zoom_range",
        &["augment.zoom_range"],
        "below 1 magnifies, as in Keras",
    ),
    keys(
        "channel_shift_range",
        &["augment.channel_shift_range"],
        "the same for all channels, as in Keras",
    ),
    keys("fill_mode", &["augment.fill_mode"], ""),
    keys(
        "cval",
        &["augment.cval"],
        "with `fill_mode = \"constant\"` only",
    ),
    keys("horizontal_flip", &["augment.horizontal_flip"], ""),
    keys("vertical_flip", &["augment.vertical_flip"], ""),
    keys(
        "rescale",
        &["data.normalize.rescale"],
        "`data.normalize = \"unit\"` is `1/255`",
    ),
    keys(
        "preprocessing_function",
        &["data.normalize"],
        "`preprocess_input` of `keras.applications` is `\"caffe\"` (VGG, ResNet), `\"tf\"` \
         (MobileNet, Inception) or `\"imagenet\"` (DenseNet), and `\"auto\"` chooses the one that \
         belongs to the weights; no other function",
    ),
    fixed("data_format", "images are read as they are"),
    keys(
        "validation_split",
        &["data.validation"],
        "drawn by the seed, each class in proportion, copies and groups on one side, never \
         augmented; Keras takes the first files of each class and augments them",
    ),
    fixed("interpolation_order", "1, Keras's default"),
    fixed("dtype", "float32"),
];

const FLOW_FROM_DIRECTORY: &[KerasArgument] = &[
    keys(
        "directory",
        &["data.train", "data.validation", "data.test"],
        "one key for each generator",
    ),
    TARGET_SIZE,
    COLOR_MODE,
    keys(
        "classes",
        &["data.exclude"],
        "all folders are classes, in the order of their names; `exclude` leaves some out",
    ),
    CLASS_MODE,
    keys("batch_size", &["train.batch_size"], ""),
    keys(
        "shuffle",
        &["train.sampler"],
        "training images always are, validation and test images never",
    ),
    SEED,
    SAVE_TO_DIR,
    fixed("save_prefix", "copies are named after their images"),
    command("save_format", "augment --format", ""),
    fixed("follow_links", "links are followed, except in a circle"),
    SUBSET,
    INTERPOLATION,
    keys("keep_aspect_ratio", &["data.resize"], "`\"crop\"`"),
];

const FLOW_FROM_DATAFRAME: &[KerasArgument] = &[
    keys(
        "dataframe",
        &["data.train"],
        "a CSV: `dataframe.to_csv(\"list.csv\", index=False)`",
    ),
    fixed("directory", "paths are relative to the CSV"),
    fixed(
        "x_col",
        "a column `path`, `filename` or another usual name; which one is reported",
    ),
    fixed("y_col", "a column `label`, `class` or another usual name"),
    fixed("weight_col", "a column `weight`"),
    TARGET_SIZE,
    COLOR_MODE,
    fixed(
        "classes",
        "all labels of the column, in the order of their names",
    ),
    CLASS_MODE,
    keys("batch_size", &["train.batch_size"], ""),
    keys(
        "shuffle",
        &["train.sampler"],
        "training images always are, validation and test images never",
    ),
    SEED,
    SAVE_TO_DIR,
    fixed("save_prefix", "copies are named after their images"),
    command("save_format", "augment --format", ""),
    SUBSET,
    INTERPOLATION,
    keys(
        "validate_filenames",
        &["data.on_bad_image"],
        "a missing or unreadable file is always found before the first epoch, and named",
    ),
];

const DATASET_FROM_DIRECTORY: &[KerasArgument] = &[
    keys(
        "directory",
        &["data.train", "data.validation", "data.test"],
        "one key for each data set",
    ),
    keys(
        "labels",
        &["data.train"],
        "`\"inferred\"` is what folders do; a list of labels is a column of a CSV",
    ),
    keys(
        "label_mode",
        &["train.loss"],
        "`\"int\"` and `\"categorical\"` are `\"cross_entropy\"`, `\"binary\"` is \
         `\"binary_cross_entropy\"`",
    ),
    keys(
        "class_names",
        &["data.exclude"],
        "all folders are classes, in the order of their names; `exclude` leaves some out",
    ),
    COLOR_MODE,
    keys("batch_size", &["train.batch_size"], ""),
    keys(
        "image_size",
        &["data.image_size"],
        "Keras's default is 256 x 256",
    ),
    keys(
        "shuffle",
        &["train.sampler"],
        "training images always are, over the whole set, validation and test images never",
    ),
    SEED,
    keys(
        "validation_split",
        &["data.validation"],
        "drawn for each class in proportion, copies and groups on one side; Keras draws from all \
         files together",
    ),
    SUBSET,
    keys(
        "interpolation",
        &["data.interpolation"],
        "antialiased, where Keras's isn't; `\"area\"` is nearest to `\"box\"`, and \
         `\"lanczos3\"` is `\"lanczos\"`",
    ),
    fixed("follow_links", "links are followed, except in a circle"),
    keys("crop_to_aspect_ratio", &["data.resize"], "`\"crop\"`"),
    keys("pad_to_aspect_ratio", &["data.resize"], "`\"pad\"`"),
    fixed("data_format", "images are read as they are"),
    fixed("format", "batches come from our own loader"),
    fixed("verbose", "what was found is always reported"),
];

const TARGET_SIZE: KerasArgument = keys(
    "target_size",
    &["data.image_size"],
    "height and width, as in Keras, whose default is 256 x 256",
);

const COLOR_MODE: KerasArgument = keys(
    "color_mode",
    &["data.color"],
    "`\"rgb\"` or `\"grayscale\"`; transparent images are blended over white",
);

const CLASS_MODE: KerasArgument = keys(
    "class_mode",
    &["train.loss", "model.architecture"],
    "`\"categorical\"` and `\"sparse\"` are `\"cross_entropy\"`, `\"binary\"` is \
     `\"binary_cross_entropy\"`; `\"input\"` and `None` are `\"autoencoder\"`, which needs no \
     labels; `\"raw\"` has no counterpart",
);

const SEED: KerasArgument = keys(
    "seed",
    &["seed"],
    "one for the whole run: the same seed gives the same weights on the CPU",
);

const SAVE_TO_DIR: KerasArgument = command(
    "save_to_dir",
    "augment --out",
    "writes images before training; `preview` draws them without",
);

const SUBSET: KerasArgument = fixed("subset", "one recipe makes both sides of the split");

const INTERPOLATION: KerasArgument = keys(
    "interpolation",
    &["data.interpolation"],
    "`\"bilinear\"` by default; Keras's is `\"nearest\"`. Each filter gives Pillow's pixels",
);
