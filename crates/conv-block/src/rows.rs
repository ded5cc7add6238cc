//! Where the rows of a picture come from: memory, or a gradient computed while it is read, so that it is never stored.

use crate::simd::{Isa, Simd, per_isa};

/// `[images, channels, height, width]` values, one row at a time.
pub(crate) trait Rows: Sync {
    /// Fills `out` with the row.
    fn row(&self, isa: Isa, image: usize, channel: usize, row: usize, out: &mut [f32]);
}

/// Rows of a tensor.
pub(crate) struct Plain<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Rows for Plain<'_> {
    #[inline]
    fn row(&self, _: Isa, image: usize, channel: usize, row: usize, out: &mut [f32]) {
        let start = ((image * self.channels + channel) * self.height + row) * self.width;
        out.copy_from_slice(&self.values[start..start + self.width]);
    }
}

/// The gradient before a ReLU: what came back where something went out.
pub(crate) struct ReluGrad<'a> {
    pub(crate) grad: Plain<'a>,
    pub(crate) output: &'a [f32],
}

impl Rows for ReluGrad<'_> {
    #[inline]
    fn row(&self, isa: Isa, image: usize, channel: usize, row: usize, out: &mut [f32]) {
        let Plain { values, channels, height, width } = self.grad;
        let start = ((image * channels + channel) * height + row) * width;
        let (grad, output) = (&values[start..start + width], &self.output[start..start + width]);
        pass_relu(isa, grad, output, out);
    }
}

per_isa! {
    /// The gradient where something went out. A NaN went out as it came, so its gradient passes too.
    fn pass_relu(grad: &[f32], output: &[f32], out: &mut [f32]) = relu_kernel
}

#[inline(always)]
unsafe fn relu_kernel<S: Simd, const NV: usize>(grad: &[f32], output: &[f32], out: &mut [f32]) {
    for ((out, grad), output) in out.iter_mut().zip(grad).zip(output) {
        *out = if *output <= 0.0 { 0.0 } else { *grad };
    }
}

/// The gradient before ReLU and 2x2 pooling: each pooled value goes back to where it was found, unless the code says dead.
pub(crate) struct PoolGrad<'a> {
    /// Of the pooled values.
    pub(crate) grad: Plain<'a>,
    /// Of the pooled values: 0 to 3 for the place in the cell, or [`crate::DEAD`].
    pub(crate) codes: &'a [u8],
}

impl Rows for PoolGrad<'_> {
    #[inline]
    fn row(&self, isa: Isa, image: usize, channel: usize, row: usize, out: &mut [f32]) {
        let Plain { values, channels, height, width } = self.grad;
        if row / 2 >= height {
            return out.fill(0.0);
        }
        let start = ((image * channels + channel) * height + row / 2) * width;
        let (grad, codes) = (&values[start..start + width], &self.codes[start..start + width]);
        spread(isa, grad, codes, 2 * (row % 2) as u8, out);
    }
}

per_isa! {
    /// One row of cells: pooled gradients to where they were found, if that is this row, whose left code is given.
    fn spread(grad: &[f32], codes: &[u8], left: u8, out: &mut [f32]) = spread_kernel
}

#[inline(always)]
unsafe fn spread_kernel<S: Simd, const NV: usize>(grad: &[f32], codes: &[u8], left: u8, out: &mut [f32]) {
    let (cells, rest) = out.as_chunks_mut::<2>();
    for ((cell, grad), code) in cells.iter_mut().zip(grad).zip(codes) {
        *cell = [if *code == left { *grad } else { 0.0 }, if *code == left + 1 { *grad } else { 0.0 }];
    }
    rest.fill(0.0);
}
