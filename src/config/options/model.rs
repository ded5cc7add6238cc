//! `[model]`: the network, where its weights come from, and what of it is trained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Freeze, Weights};

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Which network.
    pub architecture: Architecture,
    /// Where the backbone's first weights come from: `"none"` (drawn from the seed), `"imagenet"` (the published ones, see
    /// `emberlens weights list`) or the path of a `.pth`, `.safetensors` or Keras `.h5` or `.keras` file. `"imagenet"` by default, `"none"` for
    /// `small_cnn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// What keeps its weights: `"none"`, `"backbone"` (all but the head) or `"blocks:N"` (the N layer groups nearest the input). Frozen
    /// batch norm uses its stored statistics. `"backbone"` by default, `"none"` for `small_cnn`. With `train.phases` each phase says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// `small_cnn` only: output channels of each convolution block, `[32, 64, 128, 128]` by default; each block halves height and width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<usize>>,
    /// `small_cnn` only: batch normalisation after each convolution (which then has no bias). Off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_norm: Option<bool>,
    /// How the last feature map becomes a vector.
    pub pooling: Pooling,
    /// Width of the hidden layer after pooling, or a list of widths; 0 leaves it out.
    pub hidden: Hidden,
    /// Share of the vector before the last layer that is set to zero in each training step; of the output of every hidden layer where there
    /// are several.
    pub dropout: f64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            architecture: Architecture::default(),
            weights: None,
            freeze: None,
            channels: None,
            batch_norm: None,
            pooling: Pooling::default(),
            hidden: Hidden::One(512),
            dropout: 0.5,
        }
    }
}

impl Model {
    /// Where the first weights come from.
    pub fn weights(&self) -> Weights {
        let default = if self.architecture == Architecture::SmallCnn { Weights::None } else { Weights::Imagenet };
        self.weights.clone().unwrap_or(default)
    }

    /// What keeps its weights, where there are no phases.
    pub fn freeze(&self) -> Freeze {
        let default = if self.architecture == Architecture::SmallCnn { Freeze::None } else { Freeze::Backbone };
        self.freeze.unwrap_or(default)
    }

    /// `small_cnn`'s channels.
    pub fn channels(&self) -> Vec<usize> {
        self.channels.clone().unwrap_or_else(|| vec![32, 64, 128, 128])
    }

    /// Does `small_cnn` have batch norm?
    pub fn batch_norm(&self) -> bool {
        self.batch_norm.unwrap_or(false)
    }

    /// Layer groups of the backbone, from input to output.
    pub fn num_groups(&self) -> usize {
        match self.architecture {
            Architecture::SmallCnn => self.channels().len(),
            Architecture::Vgg16 | Architecture::Vgg16Bn => 5,
            Architecture::Squeezenet1_1 => 4,
        }
    }

    /// How many layer groups `freeze` freezes.
    pub fn frozen_groups(&self, freeze: Freeze) -> usize {
        match freeze {
            Freeze::None => 0,
            Freeze::Backbone => self.num_groups(),
            Freeze::Blocks(count) => count.min(self.num_groups()),
        }
    }

    /// Channels, height and width of the last feature map for images of this size; `None` where nothing would be left of them.
    pub fn feature_shape(&self, [height, width]: [usize; 2]) -> Option<[usize; 3]> {
        let halved = |side: usize, times: usize| if times < usize::BITS as usize { side >> times } else { 0 };
        let (channels, side): (usize, Box<dyn Fn(usize) -> usize>) = match self.architecture {
            Architecture::SmallCnn => {
                let channels = self.channels();
                (*channels.last()?, Box::new(move |side| halved(side, channels.len())))
            }
            Architecture::Vgg16 | Architecture::Vgg16Bn => (512, Box::new(|side| halved(side, 5))),
            // A convolution of 3 in steps of 2, then three poolings of 3 in steps of 2 that round up.
            Architecture::Squeezenet1_1 => {
                let step = |side: usize| side.saturating_sub(3).div_ceil(2) + 1;
                (512, Box::new(move |side| step(step(step((side.saturating_sub(3)) / 2 + 1)))))
            }
        };
        let (height, width) = (side(height), side(width));
        (height > 0 && width > 0).then_some([channels, height, width])
    }
}

/// Which network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Blocks of 3x3 convolution, optional batch norm, ReLU and 2x2 max-pooling, then a small head; trained from scratch.
    #[default]
    SmallCnn,
    /// VGG16 without its top (Simonyan and Zisserman 2015, arXiv 1409.1556), in torchvision's layout; 14.7 million parameters.
    Vgg16,
    /// The same with batch norm after each convolution.
    Vgg16Bn,
    /// SqueezeNet 1.1 without its top (Iandola et al. 2016, arXiv 1602.07360), in torchvision's layout; 0.7 million parameters, a fortieth
    /// of VGG16's work.
    #[serde(rename = "squeezenet1_1")]
    Squeezenet1_1,
}

impl Architecture {
    /// As it is written in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::SmallCnn => "small_cnn",
            Self::Vgg16 => "vgg16",
            Self::Vgg16Bn => "vgg16_bn",
            Self::Squeezenet1_1 => "squeezenet1_1",
        }
    }
}

/// How the last feature map becomes a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// All of it, position by position (the classic Keras notebook).
    #[default]
    Flatten,
    /// The mean of each channel (global average pooling): fewer parameters.
    Average,
}

/// The layers between the vector and the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected the width of the hidden layer, or a list of widths")]
pub enum Hidden {
    /// One layer; 0 is none.
    One(usize),
    /// From pooling to output.
    Many(Vec<usize>),
}

impl Hidden {
    /// The width of each layer, from pooling to output.
    pub fn widths(&self) -> Vec<usize> {
        match self {
            Self::One(0) => Vec::new(),
            Self::One(width) => vec![*width],
            Self::Many(widths) => widths.clone(),
        }
    }
}
