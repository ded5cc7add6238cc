//! The properties of an architecture, and what its published weights expect.

use std::{fmt, ops::RangeInclusive};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::network::Network;

/// The properties of an architecture.
#[derive(Debug)]
pub struct Entry {
    /// Name in recipes.
    pub name: &'static str,
    /// Description for the documentation, with paper and size.
    pub about: &'static str,
    /// Where its layers come from.
    pub source: Source,
    /// The libraries that publish weights, the usual one first, each with its variant of the
    /// network; empty if there is none.
    pub dialects: &'static [(Dialect, Traits)],
    /// Height and width of the images that the published weights were trained on.
    pub side: usize,
    /// Work of one such image, in billions of multiply-adds.
    pub gflop: f64,
    /// Top-1 accuracy of its usual weights on ImageNet's validation images in percent, as
    /// published; 0 without any.
    pub top1: f64,
    /// Weights that can be downloaded.
    pub published: Option<Published>,
}

/// Where an architecture's layers come from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// From the widths of its blocks in the recipe (`model.channels`).
    Blocks,
    /// From the widths of its blocks, there and back to an image.
    Mirrored,
    /// From the recipe's own list (`model.layers`).
    List,
    /// From a table, built for a variant.
    Table(fn(&Variant) -> Network),
    /// From a table, built for a variant with a width multiplier (`model.width`).
    Scaled(fn(&Variant) -> Network),
}

/// The properties that distinguish networks of one architecture.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Number of channels of the images.
    pub inputs: usize,
    /// Factor on the channels of all layers.
    pub width: f64,
    /// What the weights expect of the layers and of pixel values.
    pub traits: Traits,
}

/// The library whose weights a network is built for. The same network exists in several libraries
/// with different padding, norms and normalization, and weights lose most of their accuracy under
/// those of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// torchvision's.
    Torchvision,
    /// timm's own, which mostly agrees with torchvision's.
    Timm,
    /// timm's networks with TensorFlow's weights (`tf_...`).
    TimmTf,
    /// Keras's.
    Keras,
}

/// The properties of a network that depend on the library.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traits {
    /// How convolutions with a stride are padded.
    pub padding: Strided,
    /// Value that norms add to the variance.
    pub epsilon: f64,
    /// Whether a bottleneck has its stride in the first convolution (the paper) rather than in the
    /// 3x3 one.
    pub has_stride_first: bool,
    /// Normalization of pixel values.
    pub input: Input,
}

/// How convolutions with a stride are padded. At a stride of 1, all libraries pad by half the
/// kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strided {
    /// By half the kernel on all sides (PyTorch).
    Even,
    /// By TensorFlow's `SAME` rule, which depends on the side.
    Same,
    /// By the kernel's side less 2, after the image, whatever its side (Keras's MobileNet).
    After,
}

/// The normalization of pixel values that weights expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Divided by 255, then standardized by ImageNet's mean and standard deviation.
    Imagenet,
    /// ImageNet's mean subtracted, with channels in the order blue, green, red.
    Caffe,
    /// From -1 to 1.
    Tf,
}

/// A file that its publisher offers for download.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Address at the publisher.
    pub url: &'static str,
    /// Length in bytes; a range if it is published in megabytes only.
    pub bytes: RangeInclusive<u64>,
    /// SHA-256 in hexadecimal; only its first eight digits, which are part of the file's name, if
    /// no more are published.
    pub sha256: &'static str,
    /// The library whose layers, norms and normalization the weights are for.
    pub dialect: Dialect,
    /// Who trained the weights, and on which data.
    pub about: &'static str,
    /// License of the weights.
    pub license: &'static str,
}

impl Entry {
    /// Returns the network for color images, with PyTorch's traits; `None` if the recipe determines
    /// its layers.
    pub fn network(&self) -> Option<Network> {
        let (Source::Table(build) | Source::Scaled(build)) = self.source else {
            return None;
        };
        Some(build(&Variant {
            inputs: 3,
            width: 1.0,
            traits: Traits::TORCH,
        }))
    }
}

impl Published {
    /// Returns torchvision's usual weights for a network.
    pub(super) const fn torchvision(
        url: &'static str,
        bytes: RangeInclusive<u64>,
        sha256: &'static str,
    ) -> Self {
        let (dialect, about) = (Dialect::Torchvision, "torchvision, ImageNet-1K");
        Self {
            url,
            bytes,
            sha256,
            dialect,
            about,
            license: "BSD-3-Clause",
        }
    }

    /// Returns timm's copy of TensorFlow's weights for a network.
    pub(super) const fn timm_tf(
        url: &'static str,
        bytes: RangeInclusive<u64>,
        sha256: &'static str,
    ) -> Self {
        let (dialect, about) = (Dialect::TimmTf, "TensorFlow's by timm, ImageNet-1K");
        Self {
            url,
            bytes,
            sha256,
            dialect,
            about,
            license: "Apache-2.0",
        }
    }

    /// Returns the name of the file at the publisher.
    pub fn file(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

/// Returns the lengths in bytes of a file whose length is published in MiB with three decimals.
pub(super) const fn about(bytes: u64) -> RangeInclusive<u64> {
    bytes - 600..=bytes + 600
}

impl Traits {
    /// PyTorch's properties: even padding, an epsilon of 1e-5, ImageNet's mean and standard
    /// deviation.
    pub const TORCH: Self = Self {
        padding: Strided::Even,
        epsilon: 1e-5,
        has_stride_first: false,
        input: Input::Imagenet,
    };

    /// TensorFlow's properties: `SAME` padding, an epsilon of 1e-3, values from -1 to 1.
    pub const TENSORFLOW: Self = Self {
        padding: Strided::Same,
        epsilon: 1e-3,
        has_stride_first: false,
        input: Input::Tf,
    };
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torchvision => "torchvision",
            Self::Timm => "timm",
            Self::TimmTf => "timm_tf",
            Self::Keras => "keras",
        })
    }
}
