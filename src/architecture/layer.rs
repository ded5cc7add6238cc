//! The layers that describe a network, and the shapes of their outputs.

/// Channels, height and width of an image or feature map.
pub type Shape = [usize; 3];

/// A layer of a network, or layers side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Path below `backbone.`, such as `blocks.0.conv`; empty for layers without weights that the
    /// summary leaves out.
    pub name: String,
    /// Names in other libraries' weight files.
    pub foreign_names: ForeignNames,
    /// Entry of the recipe's list that the layer comes from, counted from 1; `None` for other
    /// networks.
    pub entry: Option<usize>,
    /// The operation of the layer.
    pub kind: Kind,
}

/// The full names of a layer in the weight files of other libraries, if they have this network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignNames {
    /// Name in torchvision.
    pub torchvision: Option<String>,
    /// Name in timm.
    pub timm: Option<String>,
    /// Name in Keras.
    pub keras: Option<String>,
}

/// The operation of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A convolution.
    Conv(Conv),
    /// Batch norm.
    BatchNorm {
        /// Value added to the variance.
        epsilon: f64,
        /// Weight of a batch in the running statistics, as PyTorch counts it; Keras's is 1 minus
        /// this.
        momentum: f64,
    },
    /// Layer norm over the channels of each position.
    LayerNorm {
        /// Value added to the variance.
        epsilon: f64,
    },
    /// A learned factor for each channel (ConvNeXt's layer scale).
    Scale,
    /// The positions of a feature map, row by row, as the rows of a single column behind a learned
    /// class token, with learned embeddings of their positions added (Dosovitskiy et al. 2021,
    /// arXiv 2010.11929).
    Tokens {
        /// Rows and columns that the embeddings were learned for. For other sizes they are
        /// resampled as by timm: bicubically, with antialiasing.
        grid: [usize; 2],
    },
    /// Self-attention among all positions (Vaswani et al. 2017, arXiv 1706.03762). The channels of
    /// its input are the queries, keys and values of all heads, in this order.
    Attention {
        /// Number of heads.
        heads: usize,
    },
    /// The class token alone.
    ClassToken,
    /// An activation function.
    Activation(Activation),
    /// Max or average pooling.
    Pool(Pool),
    /// Global average pooling: the mean of each channel over all positions, which leaves one row
    /// and one column.
    GlobalAverage,
    /// Nearest-neighbor upsampling: each row and each column twice (Keras's `UpSampling2D`).
    Upsample,
    /// Parallel paths with the same input, and how their outputs are joined. An empty path passes
    /// its input on.
    Branches(Join, Vec<Vec<Layer>>),
    /// Stochastic depth (Huang et al. 2016, arXiv 1603.09382): in training, sets an image to zero
    /// with this probability, and scales up the others to keep the mean.
    DropPath(f64),
    /// Dropout of single values with this probability, in training.
    Dropout(f64),
}

/// A convolution. The number of input channels follows from its position in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Number of output channels.
    pub outputs: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Step of the kernel in pixels.
    pub stride: usize,
    /// Padding around the image.
    pub padding: Padding,
    /// Number of groups that the channels are divided into.
    pub groups: Groups,
    /// Whether a bias is added.
    pub bias: bool,
}

/// The groups of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Every output depends on every input channel.
    One,
    /// Each output channel depends on one input channel.
    Depthwise,
}

/// Padding before a convolution, with zeros, or before a pool, with values that are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// None: the window stays inside (Keras's `valid`).
    Valid,
    /// None, and sides must be multiples of the stride (the patches of vision transformers).
    Exact,
    /// As much as makes the output `ceil(side / stride)` long, an odd row or column after the image
    /// (TensorFlow's `SAME`).
    Same,
    /// The given number of rows above and below, and of columns left and right (PyTorch's).
    Each([usize; 2]),
    /// The given number of rows below and columns on the right.
    After(usize),
}

/// A pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The largest value or the mean.
    pub kind: PoolKind,
    /// Height and width of the window.
    pub kernel: usize,
    /// Step of the window in pixels.
    pub stride: usize,
    /// How far windows may reach beyond the edge. Padding never wins a maximum and, except in
    /// PyTorch's mean, is never counted.
    pub padding: Padding,
    /// Whether a last window that reaches beyond the edge is kept (PyTorch's `ceil_mode`).
    pub ceil: bool,
}

/// The operation of a pool on a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest value.
    Max,
    /// The mean of the window, padding counted as zeros (PyTorch's default).
    Average,
    /// The mean of the values of the window that lie inside (TensorFlow's rule).
    AverageInside,
}

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` above 0, `0.01 * x` below; Keras's default slope is 0.3, PyTorch's this one.
    LeakyRelu,
    /// `x` above 0, `exp(x) - 1` below.
    Elu,
    /// Half of `x * (1 + erf(x / sqrt(2)))`.
    Gelu,
    /// `x / (1 + exp(-x))`, also known as swish.
    Silu,
    /// `x * relu6(x + 3) / 6`.
    HardSwish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
}

/// How the outputs of parallel paths are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Their sum.
    Add,
    /// Their channels, concatenated.
    Concat,
    /// Their product; a single row or column is repeated (squeeze-and-excitation).
    Multiply,
}

impl Padding {
    /// Returns padding of half the kernel on all sides, which keeps the size at stride 1.
    pub fn half(kernel: usize) -> Self {
        Self::Each([kernel / 2; 2])
    }

    /// Returns the zeros before and after a side of `side` pixels, of the height (`axis` 0) or
    /// width (`axis` 1).
    pub fn of_side(self, axis: usize, side: usize, kernel: usize, stride: usize) -> [usize; 2] {
        match self {
            Self::Valid | Self::Exact => [0; 2],
            Self::Each(padding) => [padding[axis]; 2],
            Self::After(padding) => [0, padding],
            Self::Same => {
                let total = (side.div_ceil(stride).saturating_sub(1) * stride + kernel)
                    .saturating_sub(side);
                [total / 2, total - total / 2]
            }
        }
    }
}

impl Conv {
    /// Returns a dense convolution of stride 1 without bias, padded by half its kernel.
    pub fn new(outputs: usize, kernel: usize) -> Self {
        Self {
            outputs,
            kernel: [kernel; 2],
            stride: 1,
            padding: Padding::half(kernel),
            groups: Groups::One,
            bias: false,
        }
    }

    /// Returns height and width of the output, or `None` if the window doesn't fit.
    pub fn output(&self, [height, width]: [usize; 2]) -> Option<[usize; 2]> {
        let side = |axis: usize, side: usize| {
            let [before, after] = self
                .padding
                .of_side(axis, side, self.kernel[axis], self.stride);
            if self.padding == Padding::Exact && !side.is_multiple_of(self.stride) {
                return None;
            }
            Some(
                (side
                    .checked_add(before + after)?
                    .checked_sub(self.kernel[axis])?)
                    / self.stride
                    + 1,
            )
        };
        Some([side(0, height)?, side(1, width)?])
    }

    /// Returns the shape of the kernel, `[outputs, inputs, height, width]` as PyTorch counts it.
    pub fn weight_shape(&self, inputs: usize) -> [usize; 4] {
        let inputs = if self.groups == Groups::Depthwise {
            1
        } else {
            inputs
        };
        [self.outputs, inputs, self.kernel[0], self.kernel[1]]
    }
}

impl Pool {
    /// Max pooling that halves height and width, rounded down.
    pub const HALVE: Self = Self {
        kind: PoolKind::Max,
        kernel: 2,
        stride: 2,
        padding: Padding::Valid,
        ceil: false,
    };

    /// Returns height and width of the output, or `None` if the window doesn't fit.
    pub fn output(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let side = |axis: usize, side: usize| {
            let [before, after] = self.padding.of_side(axis, side, self.kernel, self.stride);
            let steps = side.checked_add(before + after)?.checked_sub(self.kernel)?;
            Some(
                if self.ceil {
                    steps.div_ceil(self.stride)
                } else {
                    steps / self.stride
                } + 1,
            )
        };
        Some([side(0, size[0])?, side(1, size[1])?])
    }
}

impl Kind {
    /// Returns the shape of the output. Returns `None` if the input is too small or doesn't divide
    /// into patches, or if the outputs of paths don't fit each other.
    pub fn output(&self, input: Shape) -> Option<Shape> {
        let [channels, height, width] = input;
        let sized = |channels: usize, [height, width]: [usize; 2]| [channels, height, width];
        match self {
            Self::Conv(conv) => conv
                .output([height, width])
                .map(|size| sized(conv.outputs, size)),
            Self::Pool(pool) => pool
                .output([height, width])
                .map(|size| sized(channels, size)),
            Self::GlobalAverage | Self::ClassToken => Some([channels, 1, 1]),
            Self::Tokens { .. } => Some([channels, height.checked_mul(width)?.checked_add(1)?, 1]),
            Self::Attention { .. } => Some([channels / 3, height, width]),
            Self::Upsample => Some([channels, 2 * height, 2 * width]),
            Self::Branches(join, paths) => {
                let through = |path: &Vec<Layer>| {
                    path.iter()
                        .try_fold(input, |shape, layer| layer.kind.output(shape))
                };
                let shapes = paths.iter().map(through).collect::<Option<Vec<_>>>()?;
                join.output(&shapes)
            }
            _ => Some(input),
        }
    }

    /// Returns the side of the patches that a layer divides images into, if it does.
    pub(super) fn patch(&self) -> Option<usize> {
        match self {
            Self::Conv(conv) if conv.padding == Padding::Exact => Some(conv.stride),
            _ => None,
        }
    }

    /// Describes the operation as a recipe does, such as `conv 32 (kernel 3)`.
    pub fn words(&self) -> String {
        match self {
            Self::Conv(conv) if conv.groups == Groups::Depthwise => {
                format!("depthwise conv (kernel {})", conv.kernel[0])
            }
            Self::Conv(conv) => format!("conv {} (kernel {})", conv.outputs, conv.kernel[0]),
            Self::Pool(Pool {
                kind: PoolKind::Max,
                kernel,
                ..
            }) => format!("max_pool {kernel}"),
            Self::Pool(pool) => format!("average_pool {}", pool.kernel),
            Self::Branches(..) => "branches".to_owned(),
            Self::Attention { heads } => format!("attention ({heads} heads)"),
            Self::Tokens { .. } => "tokens".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        }
    }
}

impl Join {
    /// Returns the shape of the joined outputs, or `None` if they don't fit each other.
    fn output(self, shapes: &[Shape]) -> Option<Shape> {
        let first = *shapes.first()?;
        let are_alike = match self {
            Self::Add => shapes.iter().all(|shape| *shape == first),
            Self::Concat => shapes.iter().all(|shape| shape[1..] == first[1..]),
            Self::Multiply => shapes
                .iter()
                .all(|shape| *shape == first || shape[0] == first[0] && shape[1..] == [1; 2]),
        };
        let channels = if self == Self::Concat {
            shapes.iter().map(|shape| shape[0]).sum()
        } else {
            first[0]
        };
        are_alike.then_some([channels, first[1], first[2]])
    }
}
