//! Short forms for the tables of backbones.

use super::{
    entry::{Strided, Traits, Variant},
    layer::{Activation, Conv, ForeignNames, Groups, Join, Kind, Layer, Padding, Pool},
};

/// Momentum of batch norms in training, PyTorch's default. Keras's backbones have 0.01 and 0.001
/// here, which follow the statistics of another data set too slowly.
const MOMENTUM: f64 = 0.1;

/// Names of a convolution and of its norm in each library; an empty text where a library lacks it.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// torchvision's.
    pub(super) torchvision: [String; 2],
    /// timm's.
    pub(super) timm: [String; 2],
    /// Keras's.
    pub(super) keras: [String; 2],
}

impl Names {
    /// Returns the names of the convolution (0) or of the norm (1).
    fn of(&self, part: usize) -> ForeignNames {
        let name = |names: &[String; 2]| (!names[part].is_empty()).then(|| names[part].clone());
        ForeignNames {
            torchvision: name(&self.torchvision),
            timm: name(&self.timm),
            keras: name(&self.keras),
        }
    }
}

/// Names of a convolution and of its norm, in torchvision, timm and Keras.
pub(super) fn names(torchvision: [&str; 2], timm: [&str; 2], keras: [&str; 2]) -> Names {
    let owned = |names: [&str; 2]| names.map(str::to_owned);
    Names {
        torchvision: owned(torchvision),
        timm: owned(timm),
        keras: owned(keras),
    }
}

/// Names of a single layer.
pub(super) fn foreign_names(
    torchvision: impl Into<String>,
    timm: impl Into<String>,
    keras: impl Into<String>,
) -> ForeignNames {
    let some = |name: String| (!name.is_empty()).then_some(name);
    ForeignNames {
        torchvision: some(torchvision.into()),
        timm: some(timm.into()),
        keras: some(keras.into()),
    }
}

/// Returns a convolution at `path`.
pub(super) fn conv(path: String, foreign_names: ForeignNames, shape: Conv) -> Layer {
    Layer {
        name: path,
        foreign_names,
        entry: None,
        kind: Kind::Conv(shape),
    }
}

/// Returns a batch norm at `path`.
pub(super) fn norm(path: String, foreign_names: ForeignNames, epsilon: f64) -> Layer {
    Layer {
        name: path,
        foreign_names,
        entry: None,
        kind: Kind::BatchNorm {
            epsilon,
            momentum: MOMENTUM,
        },
    }
}

/// Returns a layer without weights that the summary leaves out.
pub(super) fn unnamed(kind: Kind) -> Layer {
    Layer {
        name: String::new(),
        foreign_names: ForeignNames::default(),
        entry: None,
        kind,
    }
}

/// Returns an activation.
pub(super) fn activation(function: Activation) -> Layer {
    unnamed(Kind::Activation(function))
}

/// Returns a pool at `path`.
pub(super) fn pool(path: String, pool: Pool) -> Layer {
    Layer {
        name: path,
        foreign_names: ForeignNames::default(),
        entry: None,
        kind: Kind::Pool(pool),
    }
}

/// Returns parallel paths whose outputs are joined, at `path`.
pub(super) fn branches(path: String, join: Join, paths: Vec<Vec<Layer>>) -> Layer {
    Layer {
        name: path,
        foreign_names: ForeignNames::default(),
        entry: None,
        kind: Kind::Branches(join, paths),
    }
}

/// Returns a convolution without bias, its norm and an activation, at `path`.
pub(super) fn unit(
    path: &str,
    names: &Names,
    shape: Conv,
    variant: &Variant,
    function: Option<Activation>,
) -> Vec<Layer> {
    let mut layers = vec![
        conv(format!("{path}.conv"), names.of(0), shape),
        norm(format!("{path}.norm"), names.of(1), variant.traits.epsilon),
    ];
    layers.extend(function.map(activation));
    layers
}

/// Returns a squeeze-and-excitation gate, which scales each channel by a function of all channels'
/// means (Hu et al. 2018, arXiv 1709.01507): two 1x1 convolutions with bias, the first to `reduced`
/// channels, each followed by its activation.
pub(super) fn squeeze_excite(
    path: &str,
    [reduce, expand]: [ForeignNames; 2],
    [reduced, channels]: [usize; 2],
    functions: [Activation; 2],
) -> Layer {
    let shape = |outputs| Conv {
        bias: true,
        ..Conv::new(outputs, 1)
    };
    let gate = vec![
        unnamed(Kind::GlobalAverage),
        conv(format!("{path}.reduce"), reduce, shape(reduced)),
        activation(functions[0]),
        conv(format!("{path}.expand"), expand, shape(channels)),
        activation(functions[1]),
    ];
    branches(path.to_owned(), Join::Multiply, vec![Vec::new(), gate])
}

impl Traits {
    /// Returns a convolution without bias, padded as the weights expect.
    pub(super) fn conv(self, outputs: usize, kernel: usize, stride: usize) -> Conv {
        let padding = match self.padding {
            Strided::Same if stride > 1 => Padding::Same,
            Strided::After if stride > 1 => Padding::After(kernel - 2),
            _ => Padding::half(kernel),
        };
        Conv {
            stride,
            padding,
            ..Conv::new(outputs, kernel)
        }
    }

    /// Returns a depthwise convolution without bias, padded as the weights expect.
    pub(super) fn depthwise(self, channels: usize, kernel: usize, stride: usize) -> Conv {
        Conv {
            groups: Groups::Depthwise,
            ..self.conv(channels, kernel, stride)
        }
    }
}

/// Rounds a scaled number of channels to a multiple of 8, by at most a tenth downwards (Sandler et
/// al. 2018, arXiv 1801.04381, and all later networks).
pub(super) fn divisible(channels: f64) -> usize {
    let rounded = (((channels + 4.0) / 8.0) as usize * 8).max(8);
    if (rounded as f64) < 0.9 * channels {
        rounded + 8
    } else {
        rounded
    }
}
