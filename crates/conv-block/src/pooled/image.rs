//! The gradients of one image of the batch.

use super::{
    blocks::Blocks,
    lists::{Cells, Find, Lists, find_lives},
    segment::{Segment, add_segment},
};
use crate::{
    rows::{Plain, Rows},
    scratch::{SharedMut, as_unfilled, with_scratch},
    shape::Conv,
    simd::{Isa, Simd, copy_strided, per_isa},
    weight::pack_input,
};

/// Number of image values that a segment of cells should not exceed, so that they stay in the
/// first-level cache.
const SEGMENT_LEN: usize = 5 * 1024;

/// What the gradients are computed from.
pub(crate) struct Pooled<'a> {
    pub(crate) conv: &'a Conv,
    pub(crate) input: &'a [f32],
    pub(crate) weight: &'a [f32],
    pub(crate) codes: &'a [u8],
    pub(crate) grad: &'a [f32],
}

/// One image of the batch.
pub(super) struct Image<'a> {
    pub(super) isa: Isa,
    pub(super) pooled: &'a Pooled<'a>,
    pub(super) blocks: &'a Blocks,
    pub(super) runs: &'a [f32],
    pub(super) image: usize,
}

impl Image<'_> {
    /// Adds the image's gradients to `sums` and writes that of its input, which must be zero.
    pub(super) fn add(&self, sums: &mut [f32], input_grad: Option<SharedMut<f32>>) {
        let conv = self.pooled.conv;
        let (cell_rows, cell_columns) = (conv.result_size().0 / 2, conv.result_size().1 / 2);
        if cell_rows * cell_columns == 0 {
            return;
        }
        let (rows, columns) = (2 * cell_rows + 2, 2 * cell_columns + 2);
        // A vector may reach beyond the last run of a block.
        let slack = self.blocks.count() * 16;
        let len = rows * columns * conv.inputs + slack;
        with_scratch(len, |x| {
            self.pack(x, [rows, columns]);
            let wanted = input_grad.map_or(0, |_| len);
            with_scratch(wanted, |dx| {
                dx.fill(0.0);
                self.add_segments(x, dx, sums);
                if let Some(input_grad) = input_grad {
                    let plane = conv.inputs * conv.height * conv.width;
                    // SAFETY: each image has its own part of the input gradient, which outlives the
                    // tasks.
                    self.unpack(dx, [rows, columns], unsafe {
                        input_grad.slice(self.image * plane, plane)
                    });
                }
            });
        });
    }

    /// Packs the image block by block, as `[block][row][column][input in block]`.
    fn pack(&self, x: &mut [f32], [rows, columns]: [usize; 2]) {
        let conv = self.pooled.conv;
        let mut rest = x;
        for block in 0..self.blocks.count() {
            let size = self.blocks.size_of(block);
            let (part, others) = rest.split_at_mut(rows * columns * size + 16);
            let source = Channels {
                input: self.pooled.input,
                conv,
                first: block * self.blocks.size,
            };
            let narrow = Conv {
                inputs: size,
                ..*conv
            };
            let (pixels, slack) = part.split_at_mut(rows * columns * size);
            pack_input(
                self.isa,
                &narrow,
                &source,
                [self.image, 0],
                pixels,
                columns * size,
            );
            slack.fill(0.0);
            rest = others;
        }
    }

    /// Unpacks the input's gradient from blocks to planes, without the padding. Rows and columns
    /// that no cell covers stay as they are.
    fn unpack(&self, dx: &[f32], [rows, columns]: [usize; 2], out: &mut [f32]) {
        let conv = self.pooled.conv;
        let mut start = 0;
        for block in 0..self.blocks.count() {
            let size = self.blocks.size_of(block);
            let part = &dx[start..start + rows * columns * size];
            for input in 0..size {
                let plane_len = conv.height * conv.width;
                let channel = block * self.blocks.size + input;
                let plane = &mut out[channel * plane_len..][..plane_len];
                let seen = columns.saturating_sub(conv.padding).min(conv.width);
                let seen_rows = rows.saturating_sub(conv.padding);
                let out_rows = plane.chunks_exact_mut(conv.width).take(seen_rows);
                for (row, out) in out_rows.enumerate() {
                    let pixels =
                        &part[((row + conv.padding) * columns + conv.padding) * size + input..];
                    gather(self.isa, pixels, size, &mut out[..seen]);
                }
            }
            start += rows * columns * size + 16;
        }
    }

    /// Adds the gradients of one image, segment by segment.
    fn add_segments(&self, x: &[f32], dx: &mut [f32], sums: &mut [f32]) {
        let conv = self.pooled.conv;
        let (cell_rows, cell_columns) = (conv.result_size().0 / 2, conv.result_size().1 / 2);
        let (rows, columns) = (2 * cell_rows + 2, 2 * cell_columns + 2);
        let [height, width] = segment_size(cell_columns, self.blocks.size);
        let (runs_sums, bias) = sums.split_at_mut(sums.len() - conv.outputs);
        let mut lists = Lists::new(conv.outputs, height * width);
        for top in (0..cell_rows).step_by(height) {
            for left in (0..cell_columns).step_by(width) {
                let cells = Cells {
                    rows: [top, (top + height).min(cell_rows)],
                    columns: [left, (left + width).min(cell_columns)],
                };
                let mut start = 0;
                for block in 0..self.blocks.count() {
                    let size = self.blocks.size_of(block);
                    // The lists hold offsets for blocks of one size; only a smaller last block
                    // needs others.
                    if block == 0 || size != self.blocks.size {
                        let find = Find {
                            conv,
                            grad: self.pooled.grad,
                            codes: self.pooled.codes,
                            image: self.image,
                            cells,
                            columns,
                            size,
                        };
                        find_lives(self.isa, &find, &mut lists);
                    }
                    if block == 0 {
                        lists.add_sums(bias);
                    }
                    let len = rows * columns * size + 16;
                    let base = start + (2 * top * columns + 2 * left) * size;
                    let runs = self.blocks.runs_start(block, conv.outputs)
                        ..self.blocks.runs_start(block + 1, conv.outputs);
                    let segment = Segment {
                        lists: &lists,
                        x: &x[base..start + len],
                        pitch: columns * size,
                        vectors: self.blocks.vectors(block),
                        runs: self.runs.get(runs.clone()).unwrap_or_default(),
                    };
                    let dx = if dx.is_empty() {
                        &mut []
                    } else {
                        &mut dx[base..start + len]
                    };
                    add_segment(self.isa, &segment, dx, &mut runs_sums[runs]);
                    start += len;
                }
            }
        }
    }
}

/// Returns the rows and columns of cells in a segment: as many whole rows of `cell_columns` as fit
/// for `inputs` inputs, or a part of one row.
fn segment_size(cell_columns: usize, inputs: usize) -> [usize; 2] {
    let columns = 2 * cell_columns + 2;
    let height = (SEGMENT_LEN / (2 * columns * inputs)).saturating_sub(1);
    if height > 1 {
        return [height, cell_columns];
    }
    let width = (SEGMENT_LEN / (8 * inputs)).saturating_sub(1);
    [1, width.clamp(1, cell_columns)]
}

/// The inputs from `first` on.
struct Channels<'a> {
    input: &'a [f32],
    conv: &'a Conv,
    first: usize,
}

impl Rows for Channels<'_> {
    fn row(&self, isa: Isa, image: usize, channel: usize, row: usize, out: &mut [f32]) {
        let Conv {
            inputs: channels,
            height,
            width,
            ..
        } = *self.conv;
        Plain {
            values: self.input,
            channels,
            height,
            width,
        }
        .row(isa, image, self.first + channel, row, out);
    }
}

per_isa! {
    /// Copies `out[i] = from[i * stride]`.
    fn gather(from: &[f32], stride: usize, out: &mut [f32]) = gather_kernel
}

/// Copies `out[i] = from[i * stride]`.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn gather_kernel<S: Simd, const NV: usize>(from: &[f32], stride: usize, out: &mut [f32]) {
    assert!(out.is_empty() || (out.len() - 1) * stride < from.len());
    // SAFETY: the caller promises the instruction set; the last value read is checked above, and
    // `stride` is a block's number of inputs.
    unsafe { copy_strided::<S>(from.as_ptr(), stride, as_unfilled(out)) };
}
