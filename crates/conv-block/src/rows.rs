//! Sources of an image's rows: memory, or a gradient that is computed while it is read, so that it
//! is never stored.

use rayon::prelude::*;

use crate::{
    Tail,
    simd::{Isa, Simd, per_isa},
};

/// `[images, channels, height, width]` values that are read one row at a time.
pub(crate) trait Rows: Sync {
    /// Fills `out` with a row.
    fn row(&self, isa: Isa, image: usize, channel: usize, row: usize, out: &mut [f32]);

    /// Returns all values if they are in memory.
    fn values(&self) -> Option<&[f32]> {
        None
    }
}

/// Rows of a tensor in memory.
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

    fn values(&self) -> Option<&[f32]> {
        Some(self.values)
    }
}

/// Replaces the gradient of an output by that before its ReLU. [`Tail::Linear`] leaves it, and so
/// does [`Tail::ReluPool`], whose gradient has another shape.
///
/// # Shapes
/// `output` and `grad` have the same, with any number of dimensions.
///
/// # Panics
/// Panics if `output` has another length than `grad`; read behind a ReLU only.
pub fn tail_gradient(isa: Isa, tail: Tail, output: &[f32], grad: &mut [f32]) {
    const PART: usize = 1 << 14;
    if matches!(tail, Tail::Relu | Tail::Relu6) {
        assert_eq!(output.len(), grad.len(), "output for {tail:?}");
        let parts = grad.par_chunks_mut(PART).zip(output.par_chunks(PART));
        parts.for_each(|(grad, output)| pass_tail(isa, output, tail.most(), grad));
    }
}

per_isa! {
    /// Passes the gradient where the output is above zero and isn't `most`. NaN outputs pass it
    /// too, as ReLU passes a NaN.
    pub(crate) fn pass_tail(output: &[f32], most: f32, grad: &mut [f32]) = relu_kernel
}

/// Sets a gradient to zero if its output is zero or less, or equal to `most`.
///
/// # Safety
/// None of its own; unsafe like the kernels of other sets, which [`per_isa!`] calls alike.
#[inline(always)]
unsafe fn relu_kernel<S: Simd, const NV: usize>(output: &[f32], most: f32, grad: &mut [f32]) {
    for (grad, output) in grad.iter_mut().zip(output) {
        *grad = if (*output <= 0.0) | (*output == most) {
            0.0
        } else {
            *grad
        };
    }
}

/// The gradient before ReLU and 2x2 pooling: each pooled gradient goes to the position that its
/// code names, or nowhere for [`crate::DEAD`].
pub(crate) struct PoolGrad<'a> {
    /// Gradient of the pooled values.
    pub(crate) grad: Plain<'a>,
    /// Codes of the pooled values: 0 to 3 for the position in the cell, or [`crate::DEAD`].
    pub(crate) codes: &'a [u8],
}

impl Rows for PoolGrad<'_> {
    #[inline]
    fn row(&self, isa: Isa, image: usize, channel: usize, row: usize, out: &mut [f32]) {
        let Plain {
            values,
            channels,
            height,
            width,
        } = self.grad;
        // An odd last row is in no cell.
        if row / 2 >= height {
            return out.fill(0.0);
        }
        let start = ((image * channels + channel) * height + row / 2) * width;
        let (grad, codes) = (
            &values[start..start + width],
            &self.codes[start..start + width],
        );
        spread(isa, grad, codes, 2 * (row % 2) as u8, out);
    }
}

per_isa! {
    /// Writes one row of cells: each pooled gradient whose code is `left` or `left + 1`, the codes
    /// of this row, goes to its position.
    fn spread(grad: &[f32], codes: &[u8], left: u8, out: &mut [f32]) = spread_kernel
}

/// Writes two values for each cell of a row: its gradient where the code is `left` or `left + 1`,
/// in this order, and zero elsewhere. An odd last column becomes zero.
///
/// # Safety
/// None of its own, as for [`relu_kernel`].
#[inline(always)]
unsafe fn spread_kernel<S: Simd, const NV: usize>(
    grad: &[f32],
    codes: &[u8],
    left: u8,
    out: &mut [f32],
) {
    let (cells, rest) = out.as_chunks_mut::<2>();
    for ((cell, grad), code) in cells.iter_mut().zip(grad).zip(codes) {
        *cell = [
            if *code == left { *grad } else { 0.0 },
            if *code == left + 1 { *grad } else { 0.0 },
        ];
    }
    rest.fill(0.0);
}
