//! The shape of a convolution and of its result.

/// A square convolution of `[images, inputs, height, width]` with weights
/// `[outputs, inputs, kernel, kernel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Number of images in the batch.
    pub images: usize,
    /// Number of input channels.
    pub inputs: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Number of output channels.
    pub outputs: usize,
    /// Rows and columns of the kernel: 1, 3, 5 or 7.
    pub kernel: usize,
    /// Step of the kernel, 1 or 2.
    pub stride: usize,
    /// Zeros on each side of the image, less than 16.
    pub padding: usize,
    /// How it is computed.
    pub algorithm: Algorithm,
}

/// How convolutions are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// As the sum that defines them.
    Direct,
    /// By Winograd's algorithm where that is faster, whose rounding errors are two to three times
    /// as large.
    Fastest,
}

/// What follows the convolution and its bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Linear,
    /// ReLU.
    Relu,
    /// ReLU, and 6 at most.
    Relu6,
    /// ReLU, then 2x2 max-pooling. An odd last row or column is dropped.
    ReluPool,
}

/// The code of a pooled value whose cell has nothing above zero. The other codes are the position
/// of the maximum in its cell: 0 and 1 in the upper row, 2 and 3 in the lower. The first of equal
/// values counts, as in PyTorch.
pub const DEAD: u8 = 4;

impl Tail {
    /// Returns the least and the largest value that it leaves.
    pub(crate) fn range(self) -> [f32; 2] {
        match self {
            Self::Linear => [f32::NEG_INFINITY, f32::INFINITY],
            Self::Relu | Self::ReluPool => [0.0, f32::INFINITY],
            Self::Relu6 => [0.0, 6.0],
        }
    }

    /// Returns the rows and columns that it leaves.
    pub fn output_size(self, height: usize, width: usize) -> (usize, usize) {
        match self {
            Self::Linear | Self::Relu | Self::Relu6 => (height, width),
            Self::ReluPool => (height / 2, width / 2),
        }
    }

    /// Returns the value from which on it passes no gradient, NaN if there is none.
    pub(crate) fn most(self) -> f32 {
        if self == Self::Relu6 { 6.0 } else { f32::NAN }
    }
}

impl Conv {
    /// Whether the kernels support this shape.
    pub fn is_supported(&self) -> bool {
        // Gathers have 32-bit offsets within a few rows.
        let fits = |side: usize| side <= 1 << 24 && side + 2 * self.padding >= self.kernel;
        matches!(self.kernel, 1 | 3 | 5 | 7)
            && matches!(self.stride, 1 | 2)
            && self.images * self.inputs * self.outputs > 0
            && self.padding < 16
            && fits(self.height)
            && fits(self.width)
    }

    /// Returns the rows and columns of the convolution's result.
    pub fn result_size(&self) -> (usize, usize) {
        let side = |side: usize| (side + 2 * self.padding - self.kernel) / self.stride + 1;
        (side(self.height), side(self.width))
    }

    /// Returns the rows and columns after the tail.
    pub fn output_size(&self, tail: Tail) -> (usize, usize) {
        let (height, width) = self.result_size();
        tail.output_size(height, width)
    }

    /// Returns the number of input values.
    pub fn input_len(&self) -> usize {
        self.images * self.inputs * self.height * self.width
    }

    /// Returns the number of weights.
    pub fn weight_len(&self) -> usize {
        self.outputs * self.inputs * self.kernel * self.kernel
    }

    /// Returns the number of output values after the tail.
    pub fn output_len(&self, tail: Tail) -> usize {
        let (height, width) = self.output_size(tail);
        self.images * self.outputs * height * width
    }
}
