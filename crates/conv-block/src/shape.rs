//! What is convolved with what: the shape of a convolution, checked once, and of what comes out.

/// A square convolution over `[images, inputs, height, width]` with weights `[outputs, inputs, kernel, kernel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Pictures in the batch.
    pub images: usize,
    /// Channels in.
    pub inputs: usize,
    /// Rows in.
    pub height: usize,
    /// Columns in.
    pub width: usize,
    /// Channels out.
    pub outputs: usize,
    /// Rows and columns of the kernel: 1 or 3.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Zeros around the picture.
    pub padding: usize,
}

/// What follows the convolution and its bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Linear,
    /// ReLU.
    Relu,
    /// ReLU, then the largest of each 2x2 cell; an odd last row or column is dropped.
    ReluPool,
}

impl Conv {
    /// Whether the kernels do this shape; callers do others by other means.
    pub fn is_supported(&self) -> bool {
        let fits = |side: usize| side + 2 * self.padding >= self.kernel;
        matches!(self.kernel, 1 | 3)
            && matches!(self.stride, 1 | 2)
            && self.images * self.inputs * self.outputs > 0
            && self.padding < 16
            && fits(self.height)
            && fits(self.width)
    }

    /// Rows and columns of the convolution's result.
    pub fn result_size(&self) -> (usize, usize) {
        let side = |side: usize| (side + 2 * self.padding - self.kernel) / self.stride + 1;
        (side(self.height), side(self.width))
    }

    /// Rows and columns after the tail.
    pub fn output_size(&self, tail: Tail) -> (usize, usize) {
        let (height, width) = self.result_size();
        match tail {
            Tail::Linear | Tail::Relu => (height, width),
            Tail::ReluPool => (height / 2, width / 2),
        }
    }

    /// Values in.
    pub fn input_len(&self) -> usize {
        self.images * self.inputs * self.height * self.width
    }

    /// Weights.
    pub fn weight_len(&self) -> usize {
        self.outputs * self.inputs * self.kernel * self.kernel
    }

    /// Values out.
    pub fn output_len(&self, tail: Tail) -> usize {
        let (height, width) = self.output_size(tail);
        self.images * self.outputs * height * width
    }
}
