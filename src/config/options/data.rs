//! `[data]`: which images, how they are split, and what is done to each once.

use regex_lite::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Normalize;

/// The value of `data.train` that asks for the images that the program draws itself.
pub const PHANTOM: &str = "phantom";

/// The images and how they are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Training images: a folder with one folder a class; or a CSV with the columns
    /// `path,label[,split][,group][,weight]`, paths relative to the CSV (semicolons, tabs and the
    /// names that others use, as `filename,class`, are read as well, and said); or `"phantom"`,
    /// drawn by the program itself into `datasets/phantom`.
    pub train: String,
    /// Test images, evaluated once at the end and never seen before: a folder, or a CSV, or a share
    /// of the training images, held out before validation images are held back and in the same way.
    /// A CSV with a `split` column and `"phantom"` bring their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Source>,
    /// Validation images: a share of the training images (stratified by class and seeded; images of
    /// one `group` and copies stay on one side), or a folder, or a CSV. A CSV with `split` rows
    /// `val` brings its own. Keras's name `validation_split` does as well.
    #[serde(default = "default_validation", alias = "validation_split")]
    #[schemars(extend("aliases" = ["validation_split"]))]
    pub validation: Source,
    /// Which images belong together (a patient's, say), so that they stay on one side when
    /// validation images are held back and intervals draw them together: `"regex:^(patient\\d+)"`
    /// takes what the first bracket finds in the file's name. A CSV's `group` column goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Files and folders that are left out: patterns of paths relative to the data's folder (of a
    /// CSV, its own), as `"drafts"`, `"*/thumbs"` or `"**/*_mask.png"`. `*` and `?` stay within a
    /// name, `**` goes through folders. Folders of the system (`lost+found`, `@eaDir`, `__MACOSX`,
    /// ...), hidden files and what this program wrote are left out anyway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Height and width in pixels that the network sees; its colors are `data.color`.
    #[serde(default = "default_image_size")]
    pub image_size: [usize; 2],
    /// Colors that the network sees. Gray images become color by repetition, color images gray
    /// by ITU-R 601 luma. Keras's name `color_mode` does as well.
    #[serde(default, alias = "color_mode")]
    #[schemars(extend("aliases" = ["color_mode"]))]
    pub color: Color,
    /// How an image gets to `image_size`.
    #[serde(default)]
    pub resize: Resize,
    /// The filter of that, Pillow's of the same name: antialiased, but for `nearest`.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// How gray levels 0 to 255 become the network's input.
    #[serde(default)]
    pub normalize: Normalize,
    /// Where decoded, resized images are kept between epochs.
    #[serde(default)]
    pub cache: Cache,
    /// So many MiB of decoded images `cache = "auto"` keeps in memory. Where there are more, all of
    /// them are in a file in the user's cache folder, and those beyond are streamed from there.
    #[serde(default = "default_cache_memory_mb")]
    pub cache_memory_mb: usize,
    /// So many MiB of memory all threads together may take to decode images; a thread waits for it,
    /// and an image that needs more is a bad one. By default a fortieth of the machine's memory,
    /// from 512 to 768; the environment's `EMBERLENS_DECODE_MEMORY_MB` is another default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_memory_mb: Option<usize>,
    /// What to do with an image that can't be decoded, and with a link or a line of a CSV that
    /// leads to no file.
    #[serde(default)]
    pub on_bad_image: OnBadImage,
    /// What to do where test or validation images are copies of training images: equal pixels, or
    /// the same image saved again, resized, brighter, cropped a little, mirrored or turned.
    #[serde(default)]
    pub on_leak: OnLeak,
}

impl Data {
    /// These training images, everything else as by default.
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
        }
    }

    /// The patterns of `exclude`.
    ///
    /// # Errors
    /// In words, which is none and why.
    pub fn exclude_patterns(&self) -> Result<Vec<glob::Pattern>, String> {
        let pattern = |text: &String| {
            let trimmed = text
                .strip_prefix("./")
                .unwrap_or(text)
                .trim_end_matches('/');
            if trimmed.is_empty() {
                return Err(format!(
                    "found `{text}`, expected a pattern of paths, as \"drafts\" or \
                     \"**/*_mask.png\""
                ));
            }
            glob::Pattern::new(trimmed).map_err(|error| {
                format!(
                    "found `{text}`, which is no pattern at its character {}: {}",
                    error.pos + 1,
                    error.msg
                )
            })
        };
        self.exclude.iter().map(pattern).collect()
    }

    /// The pattern of `group`, where there is one.
    ///
    /// # Errors
    /// In words, what it was expected to be.
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
                "found the pattern `{pattern}`, expected one with a bracket around what tells the \
                 group"
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
    /// A share of the training images, above 0 and below 1.
    Share(f64),
    /// A folder with one folder a class, or a CSV.
    Path(String),
}

impl Source {
    /// Returns the share of the training images, if it is one.
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

/// Colors that the network sees.
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
    /// Channels a pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Grayscale => 1,
        }
    }
}

/// How an image gets to the network's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Each side on its own; the aspect ratio changes, nothing is lost.
    #[default]
    Stretch,
    /// The whole image fits, black bars fill the rest.
    Pad,
    /// The largest centered part with the right aspect ratio.
    Crop,
}

/// The filter that an image is resized with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// One pixel for each, without antialiasing: the default of Keras.
    Nearest,
    /// Linear.
    #[default]
    Bilinear,
    /// Cubic, a = -0.5.
    Bicubic,
    /// Lanczos, three lobes.
    Lanczos,
    /// The mean of the pixels.
    Box,
    /// Like bilinear and sharper.
    Hamming,
}

/// Where decoded, resized images are kept between epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cache {
    /// Memory up to `cache_memory_mb`, disk beyond.
    #[default]
    Auto,
    /// Memory, however much.
    Memory,
    /// A file in the user's cache folder, used again by the next run on the same images.
    Disk,
    /// Nowhere: each image is decoded each epoch.
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
    /// and list it with the damage in `damaged.csv`; skip what it can't read either.
    Repair,
    /// Stop before the first epoch.
    Error,
}

/// What to do about copies across the parts of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLeak {
    /// Say how many there are.
    #[default]
    Warn,
    /// Leave out training and validation copies of test images, and training copies of validation
    /// images.
    Exclude,
    /// Don't train.
    Error,
}
