//! The shape of a depthwise convolution.

use crate::shape::Tail;

/// Rows and columns of the largest kernel.
pub(super) const LARGEST: usize = 7;

/// A depthwise convolution of `[images, channels, height, width]` with weights
/// `[channels, 1, kernel, kernel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depthwise {
    /// Number of images in the batch.
    pub images: usize,
    /// Number of channels.
    pub channels: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Rows and columns of the kernel, 1 to 7.
    pub kernel: usize,
    /// Step of the kernel, 1 to 7.
    pub stride: usize,
    /// Zeros above and below, and left and right of the image, less than 16 each.
    pub padding: [[usize; 2]; 2],
}

impl Depthwise {
    /// Whether the kernels support this shape.
    pub fn is_supported(&self) -> bool {
        let fits = |(side, [before, after]): (usize, [usize; 2])| {
            side > 0
                && side <= 1 << 24
                && before < 16
                && after < 16
                && side + before + after >= self.kernel
        };
        let sides = [
            (self.height, self.padding[0]),
            (self.width, self.padding[1]),
        ];
        (1..=LARGEST).contains(&self.kernel)
            && (1..=7).contains(&self.stride)
            && self.images * self.channels > 0
            && sides.into_iter().all(fits)
    }

    /// Returns the rows and columns of the result.
    pub fn result_size(&self) -> (usize, usize) {
        let side = |side: usize, [before, after]: [usize; 2]| {
            (side + before + after - self.kernel) / self.stride + 1
        };
        (
            side(self.height, self.padding[0]),
            side(self.width, self.padding[1]),
        )
    }

    /// Returns the number of input values.
    pub fn input_len(&self) -> usize {
        self.images * self.channels * self.height * self.width
    }

    /// Returns the number of weights.
    pub fn weight_len(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// Returns the number of output values.
    pub fn output_len(&self) -> usize {
        let (rows, columns) = self.result_size();
        self.images * self.channels * rows * columns
    }

    /// Panics unless the kernels support the shape with this tail.
    pub(super) fn check(&self, tail: Tail) {
        assert!(
            self.is_supported() && tail != Tail::ReluPool,
            "{self:?} with {tail:?} is not supported"
        );
    }
}
