//! The shapes of an inverted residual and of its images.

use crate::activation::Activation;

/// The shape of an inverted residual, without that of its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvertedResidual {
    /// Number of input channels.
    pub inputs: usize,
    /// Number of channels of the depthwise convolution.
    pub expanded: usize,
    /// Number of output channels.
    pub outputs: usize,
    /// Rows and columns of the depthwise kernel, 1 to 7.
    pub kernel: usize,
    /// Its step, 1 or 2.
    pub stride: usize,
    /// What follows the first two convolutions.
    pub activation: Activation,
    /// What follows the last convolution.
    pub tail: Activation,
    /// Whether the input is added to the result.
    pub is_residual: bool,
}

/// The images that a block takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    /// Number of images in the batch.
    pub count: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// Zeros above and below, and left and right of what the depthwise convolution takes, less
    /// than its kernel each.
    pub padding: [[usize; 2]; 2],
}

impl InvertedResidual {
    /// Whether the kernels support this shape.
    pub fn is_supported(&self, images: &Images) -> bool {
        let fits = |axis: usize| {
            let (side, [before, after]) = (images.size[axis], images.padding[axis]);
            (1..=1 << 16).contains(&side)
                && before.max(after) < self.kernel
                && side + before + after >= self.kernel
        };
        (1..=7).contains(&self.kernel)
            && matches!(self.stride, 1 | 2)
            && self.inputs * self.expanded * self.outputs > 0
            // Functions of the padding, which is zero, must be zero.
            && !matches!(self.activation, Activation::Sigmoid | Activation::HardSigmoid)
            && fits(0)
            && fits(1)
            && (!self.is_residual
                || self.inputs == self.outputs && self.result_size(images) == images.size)
    }

    /// Returns the rows and columns of the result.
    pub fn result_size(&self, images: &Images) -> [usize; 2] {
        [0, 1].map(|axis| {
            let [before, after] = images.padding[axis];
            (images.size[axis] + before + after - self.kernel) / self.stride + 1
        })
    }
}
