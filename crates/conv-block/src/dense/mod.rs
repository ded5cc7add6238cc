//! Dense convolution by register tiles. A strip of rows is packed so that neighbors in a row are
//! neighbors in memory; each tile then runs over the kernel's rows and the channels, and applies
//! the tail (bias, ReLU, pooling) before anything is stored.
//!
//! The input's gradient is the same convolution, with rotated weights and the output's gradient as
//! the image.

mod tiles;

use std::mem::MaybeUninit;

use rayon::prelude::*;

use self::tiles::{Pair, row_pair};
use crate::{
    rows::Rows,
    scratch::{STRIP_LEN, SharedMut, filled, with_scratch},
    shape::Tail,
    simd::{Isa, Simd, copy_strided, copy_strided_bytes, per_isa},
};

/// A convolution in general form.
pub(crate) struct Dense<'a> {
    pub(crate) images: usize,
    pub(crate) inputs: usize,
    /// Rows and columns of `source`.
    pub(crate) in_size: (usize, usize),
    pub(crate) outputs: usize,
    /// Rows and columns to compute; even if they are pooled.
    pub(crate) out_size: (usize, usize),
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Zeros before the first row and the first column. A negative value leaves some out.
    pub(crate) padding: [isize; 2],
    pub(crate) source: &'a dyn Rows,
    /// Packed by [`pack_weights`].
    pub(crate) weights: &'a [f32],
    /// One value per output channel, padded with zeros to whole blocks.
    pub(crate) bias: &'a [f32],
    pub(crate) tail: Tail,
}

/// Packs weights in the order in which tiles read them:
/// `[block of outputs][kernel row][input][kernel column][output in block]`, with zeros for missing
/// outputs; the last block is a single vector if that holds its outputs. `at(output, input, row,
/// column)` returns a weight.
pub(crate) fn pack_weights(
    isa: Isa,
    [outputs, inputs, kernel]: [usize; 3],
    at: impl Fn(usize, usize, usize, usize) -> f32 + Sync,
) -> Vec<f32> {
    let block = isa.block();
    let len = inputs * kernel * kernel;
    let mut packed = vec![0.0; outputs.next_multiple_of(isa.lanes()) * len];
    packed
        .par_chunks_mut(block * len)
        .enumerate()
        .for_each(|(b, packed)| {
            let width = packed.len() / len;
            for (index, vector) in packed.chunks_exact_mut(width).enumerate() {
                let (column, input, row) = (
                    index % kernel,
                    index / kernel % inputs,
                    index / kernel / inputs,
                );
                for (lane, value) in vector.iter_mut().enumerate().take(outputs - b * block) {
                    *value = at(b * block + lane, input, row, column);
                }
            }
        });
    packed
}

/// Computes the convolution and its tail, `[images, outputs, rows, columns]`, and the `codes` if it
/// pools.
pub(crate) fn run(isa: Isa, dense: &Dense<'_>, codes: &mut [u8]) -> Vec<f32> {
    let (rows, columns) = match (dense.out_size, dense.tail) {
        ((rows, columns), Tail::ReluPool) => (rows / 2, columns / 2),
        (size, _) => size,
    };
    // SAFETY: strips cover all rows, and each stores its rows of every output whole.
    unsafe {
        filled(dense.images * dense.outputs * rows * columns, |out| {
            fill(isa, dense, out, codes);
        })
    }
}

fn fill(isa: Isa, dense: &Dense<'_>, out: &mut [MaybeUninit<f32>], codes: &mut [u8]) {
    let (rows, columns) = dense.out_size;
    if rows * columns == 0 {
        return;
    }
    let row_len = dense.inputs * packed_width(dense);
    let strip_rows = (STRIP_LEN / (row_len * dense.stride))
        .saturating_sub(dense.kernel - 1)
        .max(2)
        & !1;
    // A small batch gets shorter strips, so that every thread has work. The division doesn't change
    // the values.
    let strip_rows = strip_rows
        .min((rows * dense.images).div_ceil(32).next_multiple_of(2))
        .max(2);
    let strips = rows.div_ceil(strip_rows);
    let (out, codes) = (SharedMut::new(out), SharedMut::new(codes));
    (0..dense.images * strips).into_par_iter().for_each(|task| {
        let first = task % strips * strip_rows;
        let strip = Strip {
            dense,
            image: task / strips,
            first,
            rows: strip_rows.min(rows - first),
            out,
            codes,
        };
        let in_rows = (strip.rows.next_multiple_of(2) - 1) * dense.stride + dense.kernel;
        with_scratch(in_rows * row_len, |packed| {
            pack_strip(isa, dense, strip.image, first, packed);
            with_scratch(2 * columns.next_multiple_of(2) * isa.block(), |sums| {
                run_strip(isa, &strip, packed, sums)
            });
        });
    });
}

/// Returns the columns of a packed row. It is never a multiple of 256 bytes, which would map the
/// rows of many channels to few cache sets.
fn packed_width(dense: &Dense<'_>) -> usize {
    let needed = (dense.out_size.1.next_multiple_of(2) - 1) * dense.stride + dense.kernel;
    let width = needed.next_multiple_of(4);
    if width.is_multiple_of(64) {
        width + 4
    } else {
        width
    }
}

/// Some rows of one image's result.
struct Strip<'a> {
    dense: &'a Dense<'a>,
    image: usize,
    first: usize,
    rows: usize,
    out: SharedMut<MaybeUninit<f32>>,
    codes: SharedMut<u8>,
}

per_isa! {
    /// Computes a packed strip; `sums` is working memory.
    fn run_strip(strip: &Strip<'_>, packed: &[f32], sums: &mut [f32]) = strip_kernel
}

/// Computes a strip's rows of all outputs, block by block, from `packed`, `[row][input][column]`,
/// and stores them in their planes; `sums` is working memory.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn strip_kernel<S: Simd, const NV: usize>(
    strip: &Strip<'_>,
    packed: &[f32],
    sums: &mut [f32],
) {
    let d = strip.dense;
    let (width, block) = (packed_width(d), NV * S::LANES);
    assert!(
        packed.len()
            >= ((strip.rows.next_multiple_of(2) - 1) * d.stride + d.kernel) * d.inputs * width
    );
    assert!(sums.len() >= 2 * d.out_size.1.next_multiple_of(2) * block);
    for first in (0..d.outputs).step_by(block) {
        // SAFETY: the caller promises the instruction set; the lengths are checked above.
        unsafe {
            if d.outputs - first > S::LANES {
                outputs_kernel::<S, NV>(strip, first, packed, sums);
            } else {
                outputs_kernel::<S, 1>(strip, first, packed, sums);
            }
        }
    }
}

/// Computes the block of outputs that begins with `first`.
///
/// # Safety
/// The CPU must have the instruction set, and the lengths be those that [`strip_kernel`] checks.
#[inline(always)]
unsafe fn outputs_kernel<S: Simd, const NV: usize>(
    strip: &Strip<'_>,
    first: usize,
    packed: &[f32],
    sums: &mut [f32],
) {
    let (d, block) = (strip.dense, NV * S::LANES);
    let len = d.inputs * d.kernel * d.kernel;
    for row in (0..strip.rows).step_by(2) {
        let pair = Pair {
            inputs: d.inputs,
            columns: d.out_size.1,
            tail: d.tail,
            packed,
            width: packed_width(d),
            row,
            weights: &d.weights[first * len..][..block * len],
            bias: &d.bias[first..][..block],
        };
        // SAFETY: as promised by the caller; `row_pair` fills `sums` for all columns.
        unsafe {
            match (d.kernel, d.stride) {
                (2, _) => row_pair::<S, NV, 2, 1>(&pair, sums),
                (3, 1) => row_pair::<S, NV, 3, 1>(&pair, sums),
                (3, _) => row_pair::<S, NV, 3, 2>(&pair, sums),
                (4, _) => row_pair::<S, NV, 4, 1>(&pair, sums),
                (5, 1) => row_pair::<S, NV, 5, 1>(&pair, sums),
                (5, _) => row_pair::<S, NV, 5, 2>(&pair, sums),
                (7, 1) => row_pair::<S, NV, 7, 1>(&pair, sums),
                (7, _) => row_pair::<S, NV, 7, 2>(&pair, sums),
                (_, 1) => row_pair::<S, NV, 1, 1>(&pair, sums),
                (_, _) => row_pair::<S, NV, 1, 2>(&pair, sums),
            }
            let outputs = block.min(d.outputs - first);
            strip.store::<S>(sums, [first, outputs, block], row);
        }
    }
}

/// Packs rows of the source as `[row][input][column]`, with padding.
fn pack_strip(isa: Isa, d: &Dense<'_>, image: usize, first: usize, packed: &mut [f32]) {
    let (height, columns) = d.in_size;
    let width = packed_width(d);
    let [above, left] = d.padding;
    for (index, out) in packed.chunks_exact_mut(width).enumerate() {
        let (row, channel) = (index / d.inputs, index % d.inputs);
        let row = (first * d.stride + row) as isize - above;
        if row < 0 || row >= height as isize {
            out.fill(0.0);
        } else if left >= 0 && left as usize + columns <= width {
            let left = left as usize;
            out[..left].fill(0.0);
            d.source.row(
                isa,
                image,
                channel,
                row as usize,
                &mut out[left..left + columns],
            );
            out[left + columns..].fill(0.0);
        } else {
            with_scratch(columns, |values| {
                d.source.row(isa, image, channel, row as usize, values);
                out.fill(0.0);
                for (column, value) in values.iter().enumerate() {
                    let at = column as isize + left;
                    if at >= 0 && (at as usize) < width {
                        out[at as usize] = *value;
                    }
                }
            });
        }
    }
}

impl Strip<'_> {
    /// Copies two rows of results to their places in the output, channel by channel.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and `sums` must be filled by [`row_pair`]. No other
    /// task may hold a strip of the same rows.
    #[inline(always)]
    unsafe fn store<S: Simd>(
        &self,
        sums: &[f32],
        [first_output, outputs, block]: [usize; 3],
        row: usize,
    ) {
        let (height, width) = self.dense.out_size;
        let is_pooled = self.dense.tail == Tail::ReluPool;
        let (height, columns) = if is_pooled {
            (height / 2, width / 2)
        } else {
            (height, width)
        };
        for output in 0..outputs {
            let plane = (self.image * self.dense.outputs + first_output + output) * height;
            // SAFETY: strips have rows of their own in each plane, an even number each, so that no
            // two share a row of cells; `sums` holds a block for each column.
            unsafe {
                let sums = sums.as_ptr().add(output);
                if is_pooled {
                    let start = (plane + (self.first + row) / 2) * columns;
                    copy_strided::<S>(sums, block, self.out.slice(start, columns));
                    copy_strided_bytes::<S>(
                        sums.add(columns * block),
                        block,
                        self.codes.slice(start, columns),
                    );
                } else {
                    for r in 0..2.min(self.rows - row) {
                        let out = self
                            .out
                            .slice((plane + self.first + row + r) * columns, columns);
                        copy_strided::<S>(
                            sums.add(r * columns.next_multiple_of(2) * block),
                            block,
                            out,
                        );
                    }
                }
            }
        }
    }
}
