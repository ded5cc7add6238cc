//! `[data]`: which images to read, how to split them, and how to prepare them once.

use regex_lite::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Normalize;

/// Value of `data.train` that selects the synthetic images drawn by this program.
pub const PHANTOM: &str = "phantom";

/// The images and how they are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Training images: a folder with one folder per class; or a CSV with the columns
    /// `path,label[,split][,group][,weight]`, paths relative to the CSV (semicolons, tabs and other
    /// usual names, such as `filename,class`, are read too, and reported); or tar files: one, a
    /// folder of them, or a pattern such as `"shards/train-{000000..000009}.tar"`, also on a
    /// server (`https://`) or in a bucket (`s3://`, `gs://`); or `"phantom"`, which draws synthetic
    /// images into `datasets/phantom`.
    pub train: String,
    /// Test images, evaluated once after training and never seen before: a folder, a CSV, tar
    /// files, or a fraction of the training images, which is held out in the same way as validation
    /// images and before them. A CSV with a `split` column and `"phantom"` bring their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Source>,
    /// Validation images: a fraction of the training images (stratified by class and seeded; images
    /// of one `group` and copies stay on one side), a folder, a CSV, or tar files. A CSV with
    /// `split` rows `val` brings its own. Keras's name `validation_split` works too.
    #[serde(default = "default_validation", alias = "validation_split")]
    #[schemars(extend("aliases" = ["validation_split"]))]
    pub validation: Source,
    /// Which images belong together (such as those of a patient). They stay on one side of a split,
    /// and intervals resample them together. `"regex:^(patient\\d+)"` takes the first capture group
    /// in the file's name. A CSV's `group` column takes precedence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Files and folders to leave out: glob patterns relative to the data's folder (for a CSV, its
    /// own), such as `"drafts"`, `"*/thumbs"` or `"**/*_mask.png"`. `*` and `?` stay within a name,
    /// `**` spans folders. System folders (`lost+found`, `@eaDir`, `__MACOSX`, ...), hidden files
    /// and what this program wrote are always left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Height and width in pixels of the network's input; its channels are set by `data.color`.
    #[serde(default = "default_image_size")]
    pub image_size: [usize; 2],
    /// Channels of the network's input. Gray images are repeated in three channels, color images
    /// are converted to gray by ITU-R 601 luma. Keras's name `color_mode` works too.
    #[serde(default, alias = "color_mode")]
    #[schemars(extend("aliases" = ["color_mode"]))]
    pub color: Color,
    /// How an image is brought to `image_size`.
    #[serde(default)]
    pub resize: Resize,
    /// Filter for resizing, Pillow's of the same name: antialiased, except for `nearest`.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// How pixel values from 0 to 255 are normalized for the network.
    #[serde(default)]
    pub normalize: Normalize,
    /// Where decoded and resized images are kept between epochs.
    #[serde(default)]
    pub cache: Cache,
    /// MiB of decoded images that `cache = "auto"` keeps in memory. If there are more, all of them
    /// are written to a file in the user's cache folder, and those beyond the limit are streamed
    /// from there.
    #[serde(default = "default_cache_memory_mb")]
    pub cache_memory_mb: usize,
    /// MiB of memory that all threads together may take to decode images. A thread waits for its
    /// share, and an image that needs more than all of it counts as a bad one. By default a
    /// fortieth of the machine's memory, but 512 to 768; the environment variable
    /// `EMBERLENS_DECODE_MEMORY_MB` sets another default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_memory_mb: Option<usize>,
    /// What to do with an image that can't be decoded, and with a link or a line of a CSV that
    /// leads to no file.
    #[serde(default)]
    pub on_bad_image: OnBadImage,
    /// What to do if test or validation images are copies of training images: equal pixels, or the
    /// same image saved again, resized, brighter, cropped a little, mirrored or rotated.
    #[serde(default)]
    pub on_leak: OnLeak,
    /// Whether images need no class, which is so for an autoencoder. No key of a recipe.
    #[serde(skip)]
    pub takes_unlabeled: bool,
}

impl Data {
    /// Returns the settings for these training images, with all other options at their defaults.
    pub fn of(train: String) -> Self {
        Self {
            train,
            test: None,
            validation: default_validation(),
            group: None,
            exclude: Vec::new(),
            image_size: default_image_size(),
            color: Color::default(),
            resize: Resize::default(),
            interpolation: Interpolation::default(),
            normalize: Normalize::default(),
            cache: Cache::default(),
            cache_memory_mb: default_cache_memory_mb(),
            decode_memory_mb: None,
            on_bad_image: OnBadImage::default(),
            on_leak: OnLeak::default(),
            takes_unlabeled: false,
        }
    }

    /// Returns the patterns of `exclude`.
    ///
    /// # Errors
    /// Returns the message for a pattern that isn't valid.
    pub fn exclude_patterns(&self) -> Result<Vec<glob::Pattern>, String> {
        let pattern = |text: &String| {
            let trimmed = text
                .strip_prefix("./")
                .unwrap_or(text)
                .trim_end_matches('/');
            if trimmed.is_empty() {
                return Err(format!(
                    "found `{text}`, expected a glob pattern, such as \"drafts\" or \
                     \"**/*_mask.png\""
                ));
            }
            glob::Pattern::new(trimmed).map_err(|error| {
                format!(
                    "found `{text}`, which isn't a valid pattern at character {}: {}",
                    error.pos + 1,
                    error.msg
                )
            })
        };
        self.exclude.iter().map(pattern).collect()
    }

    /// Returns the pattern of `group`, if there is one.
    ///
    /// # Errors
    /// Returns a message that says what was expected, if the text isn't a valid pattern.
    pub fn group_pattern(&self) -> Result<Option<Regex>, String> {
        let Some(group) = &self.group else {
            return Ok(None);
        };
        let pattern = group.strip_prefix("regex:").ok_or_else(|| {
            format!("found `{group}`, expected `regex:` and a pattern, as regex:^(patient\\d+)")
        })?;
        let pattern = Regex::new(pattern)
            .map_err(|error| format!("found the pattern `{pattern}`: {error}"))?;
        if pattern.captures_len() < 2 {
            return Err(format!(
                "found the pattern `{pattern}`, expected one with a capture group"
            ));
        }
        Ok(Some(pattern))
    }
}

fn default_image_size() -> [usize; 2] {
    [150, 150]
}

fn default_validation() -> Source {
    Source::Share(0.2)
}

fn default_cache_memory_mb() -> usize {
    1024
}

/// Where validation or test images come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Source {
    /// A fraction of the training images, above 0 and below 1.
    Share(f64),
    /// A folder with one folder per class, or a CSV.
    Path(String),
}

impl Source {
    /// Returns the fraction of the training images, if it is one.
    pub fn share(&self) -> Option<f64> {
        if let Self::Share(share) = self {
            Some(*share)
        } else {
            None
        }
    }

    /// Returns the folder or CSV, if it is one.
    pub fn path(&self) -> Option<&str> {
        if let Self::Path(path) = self {
            Some(path)
        } else {
            None
        }
    }
}

/// Channels of the network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// Three channels: red, green, blue.
    #[default]
    Rgb,
    /// One channel.
    Grayscale,
}

impl Color {
    /// Returns the number of channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Grayscale => 1,
        }
    }
}

/// How an image is brought to the network's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Each side is scaled by itself: the aspect ratio changes, and nothing is lost.
    #[default]
    Stretch,
    /// The whole image is scaled to fit, and black bars fill the rest.
    Pad,
    /// The largest centered part with the right aspect ratio is scaled.
    Crop,
}

/// Filter for resizing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// The nearest pixel, without antialiasing: Keras's default.
    Nearest,
    /// Linear interpolation.
    #[default]
    Bilinear,
    /// Cubic interpolation with a = -0.5.
    Bicubic,
    /// Lanczos filter with three lobes.
    Lanczos,
    /// Mean of the covered pixels.
    Box,
    /// Hamming filter: as smooth as bilinear, and sharper.
    Hamming,
}

/// Where decoded and resized images are kept between epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cache {
    /// In memory up to `cache_memory_mb`, in a file beyond.
    #[default]
    Auto,
    /// In memory, whatever they need.
    Memory,
    /// In a file in the user's cache folder, which later runs on the same images use again.
    Disk,
    /// Nowhere: each image is decoded in each epoch.
    Off,
}

/// What to do with an image that can't be opened or decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadImage {
    /// Leave it out, count it, and list it with the reason in `skipped.csv`.
    #[default]
    Skip,
    /// Take what libjpeg makes of a damaged JPEG (what there is, and gray for the rest), count it,
    /// and list it with the damage in `damaged.csv`; skip what can't be read even so.
    Repair,
    /// Stop before the first epoch.
    Error,
}

/// What to do about copies in different parts of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLeak {
    /// Report how many there are.
    #[default]
    Warn,
    /// Leave out training and validation images that are copies of test images, and training images
    /// that are copies of validation images.
    Exclude,
    /// Refuse to train.
    Error,
}
