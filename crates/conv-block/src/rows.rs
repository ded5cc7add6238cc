//! Where the rows of a picture come from: memory, or a gradient computed while it is read, so that it is never stored.

/// `[images, channels, height, width]` values, one row at a time.
pub(crate) trait Rows: Sync {
    /// Fills `out` with the row.
    fn row(&self, image: usize, channel: usize, row: usize, out: &mut [f32]);
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
    fn row(&self, image: usize, channel: usize, row: usize, out: &mut [f32]) {
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
    fn row(&self, image: usize, channel: usize, row: usize, out: &mut [f32]) {
        let Plain { values, channels, height, width } = self.grad;
        let start = ((image * channels + channel) * height + row) * width;
        let (grad, output) = (&values[start..start + width], &self.output[start..start + width]);
        for ((out, grad), output) in out.iter_mut().zip(grad).zip(output) {
            // A NaN went out as it came, so its gradient passes too.
            *out = if *output <= 0.0 { 0.0 } else { *grad };
        }
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
    fn row(&self, image: usize, channel: usize, row: usize, out: &mut [f32]) {
        let Plain { values, channels, height, width } = self.grad;
        out.fill(0.0);
        if row / 2 >= height {
            return;
        }
        let start = ((image * channels + channel) * height + row / 2) * width;
        let (grad, codes) = (&values[start..start + width], &self.codes[start..start + width]);
        let left = 2 * (row % 2) as u8;
        for ((pair, grad), code) in out.chunks_exact_mut(2).zip(grad).zip(codes) {
            pair[0] = if *code == left { *grad } else { 0.0 };
            pair[1] = if *code == left + 1 { *grad } else { 0.0 };
        }
    }
}
