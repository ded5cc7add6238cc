//! What is known of an architecture, and what its published weights expect.

use std::{fmt, ops::RangeInclusive};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::network::Network;

/// What is known of an architecture.
#[derive(Debug)]
pub struct Entry {
    /// Name in recipes.
    pub name: &'static str,
    /// What it is, its paper and its size, for the documentation.
    pub about: &'static str,
    /// Where its layers come from.
    pub source: Source,
    /// How the libraries that publish weights have it, the usual one first; empty if none does.
    pub dialects: &'static [(Dialect, Traits)],
    /// Height and width of the images that the published weights were trained on.
    pub side: usize,
    /// Work of one such image, in billions of multiplications and additions counted as one each.
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
    /// The recipe says how wide its blocks are (`model.channels`).
    Blocks,
    /// The recipe lists them one by one (`model.layers`).
    List,
    /// A table, built for a variant.
    Table(fn(&Variant) -> Network),
    /// The same, with a width factor (`model.width`).
    Scaled(fn(&Variant) -> Network),
}

/// What distinguishes networks of one architecture.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Number of channels of the images.
    pub inputs: usize,
    /// Factor on the channels of all layers.
    pub width: f64,
    /// What the weights expect of the layers.
    pub traits: Traits,
}

/// A library whose weights a network is built for. The same network exists with other padding,
/// norms and normalization of pixel values elsewhere, and weights lose most of their accuracy under
/// another library's.
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

/// How a library has a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traits {
    /// How convolutions with a stride are padded.
    pub padding: Strided,
    /// Added to the variance by norms.
    pub epsilon: f64,
    /// Whether a bottleneck has its stride in the first convolution (the paper) rather than in the
    /// 3x3 one.
    pub has_stride_first: bool,
    /// What is done to pixel values.
    pub input: Input,
}

/// How convolutions with a stride are padded. At a stride of 1 all pad by half the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strided {
    /// By half the kernel on all sides (PyTorch).
    Even,
    /// By TensorFlow's `SAME` rule, which depends on the side.
    Same,
    /// By a kernel less 2 after the image, whatever its side (Keras's MobileNet).
    After,
}

/// What weights expect of pixel values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Divided by 255, then ImageNet's mean and standard deviation.
    Imagenet,
    /// ImageNet's mean subtracted, blue first.
    Caffe,
    /// From -1 to 1.
    Tf,
}

/// A file that its publisher offers for download.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The publisher's own address.
    pub url: &'static str,
    /// Length in bytes; a range where only its megabytes are published.
    pub bytes: RangeInclusive<u64>,
    /// SHA-256 in hexadecimal; its first eight digits, which the file's name has, where no more are
    /// published.
    pub sha256: &'static str,
    /// Whose layers, norms and pixel values they are for.
    pub dialect: Dialect,
    /// Who trained it on what.
    pub about: &'static str,
    /// License.
    pub license: &'static str,
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

    /// Returns the file's name, as the publisher calls it.
    pub fn file(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

/// Returns the lengths in bytes of a file whose length is published in MiB with three decimals.
pub(super) const fn about(bytes: u64) -> RangeInclusive<u64> {
    bytes - 600..=bytes + 600
}

impl Traits {
    /// PyTorch's: even padding, an epsilon of 1e-5, ImageNet's mean and standard deviation.
    pub const TORCH: Self = Self {
        padding: Strided::Even,
        epsilon: 1e-5,
        has_stride_first: false,
        input: Input::Imagenet,
    };

    /// TensorFlow's: `SAME` padding, an epsilon of 1e-3, values from -1 to 1.
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
