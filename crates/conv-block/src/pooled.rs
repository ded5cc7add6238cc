//! Gradients behind ReLU and 2x2 pooling. At most one of the four values of a cell has a gradient,
//! and an inactive cell has none. Only nonzero gradients are multiplied, which is at most a quarter
//! of the dense work (the idea of SparseTrain, arXiv 1911.10175, applied to zeros in a known
//! pattern).
//!
//! Image and input gradient are packed as `[row][column][input]`, where one row of the kernel
//! covers a contiguous run of values for all inputs of a block. A cell of one output with gradient
//! `g` at offset `o` then contributes `weight gradient += g * image[o..]` and
//! `input gradient[o..] += g * weight`, for three runs each.

use rayon::prelude::*;

use crate::{
    groups::sum_over_images,
    rows::{Plain, Rows},
    scratch::{SharedMut, with_scratch},
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

/// The blocks of inputs that are processed at a time; the last one may be smaller.
struct Blocks {
    lanes: usize,
    size: usize,
    inputs: usize,
}

impl Blocks {
    /// Divides the inputs into blocks for an instruction set.
    fn new(isa: Isa, inputs: usize) -> Self {
        let lanes = isa.lanes();
        // At most twelve vectors per run, which is what `segment_kernel` has code for.
        Self {
            lanes,
            size: inputs.min(if lanes == 4 { 16 } else { 32 }),
            inputs,
        }
    }

    /// Returns the number of blocks.
    fn count(&self) -> usize {
        self.inputs.div_ceil(self.size)
    }

    /// Returns the number of inputs in a block.
    fn size_of(&self, block: usize) -> usize {
        self.size.min(self.inputs - block * self.size)
    }

    /// Returns the number of vectors in a run of a block.
    fn vectors(&self, block: usize) -> usize {
        (3 * self.size_of(block)).div_ceil(self.lanes)
    }

    /// Returns the number of values in the three runs of one output and block.
    fn runs_len(&self, block: usize) -> usize {
        3 * self.vectors(block) * self.lanes
    }

    /// Returns the index at which a block starts among the runs of all blocks and outputs:
    /// `[block][output][kernel row][run]`.
    fn runs_start(&self, block: usize, outputs: usize) -> usize {
        (0..block).map(|b| self.runs_len(b) * outputs).sum()
    }
}

/// Computes the gradients of weights and bias, and writes that of the input to `input_grad` if it
/// is given. `input_grad` must be zero.
pub(crate) fn run(
    isa: Isa,
    pooled: &Pooled<'_>,
    input_grad: Option<&mut [f32]>,
) -> (Vec<f32>, Vec<f32>) {
    let conv = pooled.conv;
    let blocks = Blocks::new(isa, conv.inputs);
    let runs_len = blocks.runs_start(blocks.count(), conv.outputs);
    let runs = if input_grad.is_some() {
        pack_runs(conv, &blocks, pooled.weight, runs_len)
    } else {
        Vec::new()
    };
    let input_grad = input_grad.map(SharedMut::new);
    let sums = sum_over_images(conv.images, runs_len + conv.outputs, |images, sums| {
        for image in images {
            Image {
                isa,
                pooled,
                blocks: &blocks,
                runs: &runs,
                image,
            }
            .add(sums, input_grad);
        }
    });
    let (runs, bias) = sums.split_at(runs_len);
    let mut weight = vec![0.0; conv.weight_len()];
    weight
        .par_chunks_mut(conv.inputs * 9)
        .enumerate()
        .for_each(|(output, weight)| {
            for (index, value) in weight.iter_mut().enumerate() {
                *value = runs[run_index(conv, &blocks, output, index)];
            }
        });
    (weight, bias.to_vec())
}

/// Returns the index of the weight `[output][index]` among the runs.
fn run_index(conv: &Conv, blocks: &Blocks, output: usize, index: usize) -> usize {
    let (input, row, column) = (index / 9, index % 9 / 3, index % 3);
    let block = input / blocks.size;
    let run = column * blocks.size_of(block) + input % blocks.size;
    blocks.runs_start(block, conv.outputs)
        + output * blocks.runs_len(block)
        + row * blocks.runs_len(block) / 3
        + run
}

/// Packs the weights as runs.
fn pack_runs(conv: &Conv, blocks: &Blocks, weight: &[f32], len: usize) -> Vec<f32> {
    let mut runs = vec![0.0; len];
    for (output, weight) in weight.chunks_exact(conv.inputs * 9).enumerate() {
        for (index, value) in weight.iter().enumerate() {
            runs[run_index(conv, blocks, output, index)] = *value;
        }
    }
    runs
}

/// One image of the batch.
struct Image<'a> {
    isa: Isa,
    pooled: &'a Pooled<'a>,
    blocks: &'a Blocks,
    runs: &'a [f32],
    image: usize,
}

impl Image<'_> {
    /// Adds the image's gradients to `sums` and writes that of its input, which must be zero.
    fn add(&self, sums: &mut [f32], input_grad: Option<SharedMut<f32>>) {
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
                let plane = &mut out
                    [(block * self.blocks.size + input) * conv.height * conv.width..]
                    [..conv.height * conv.width];
                let seen = columns.saturating_sub(conv.padding).min(conv.width);
                for (row, out) in plane
                    .chunks_exact_mut(conv.width)
                    .enumerate()
                    .take(rows.saturating_sub(conv.padding))
                {
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
        let size = self.blocks.size;
        // As many whole rows of cells as fit, or a part of one row.
        let height = (SEGMENT_LEN / (2 * columns * size))
            .saturating_sub(1)
            .max(1);
        let width = if height > 1 {
            cell_columns
        } else {
            (SEGMENT_LEN / (8 * size))
                .saturating_sub(1)
                .clamp(1, cell_columns)
        };
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
                            image: self,
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

per_isa! {
    /// Copies `out[i] = from[i * stride]`.
    fn gather(from: &[f32], stride: usize, out: &mut [f32]) = gather_kernel
}

/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn gather_kernel<S: Simd, const NV: usize>(from: &[f32], stride: usize, out: &mut [f32]) {
    assert!(out.is_empty() || (out.len() - 1) * stride < from.len());
    // SAFETY: the caller promises the instruction set; the last value read is checked above, and
    // `stride` is a block's number of inputs.
    unsafe { copy_strided::<S>(from.as_ptr(), stride, out) };
}

/// The nonzero gradients of a segment, output by output, each with the offset of its first run from
/// the segment's start.
struct Lists {
    values: Vec<f32>,
    offsets: Vec<u32>,
    /// Number of gradients of each output.
    counts: Vec<usize>,
    /// Room for one output: one vector more than there are cells, as whole vectors are written.
    capacity: usize,
}

impl Lists {
    /// Makes room for `cells` gradients of each output.
    fn new(outputs: usize, cells: usize) -> Self {
        let capacity = cells + 16;
        Self {
            values: vec![0.0; outputs * capacity],
            offsets: vec![0; outputs * capacity],
            counts: vec![0; outputs],
            capacity,
        }
    }

    /// Adds the sum of each output's gradients to its bias, in sixteen lanes.
    fn add_sums(&self, bias: &mut [f32]) {
        for (output, bias) in bias.iter_mut().enumerate() {
            let mut lanes = [0.0f32; 16];
            for values in self.values[output * self.capacity..][..self.counts[output]].chunks(16) {
                for (lane, value) in lanes.iter_mut().zip(values) {
                    *lane += value;
                }
            }
            *bias += lanes.iter().sum::<f32>();
        }
    }
}

/// A rectangle of cells.
#[derive(Clone, Copy)]
struct Cells {
    /// First row and the row after the last.
    rows: [usize; 2],
    /// First column and the column after the last.
    columns: [usize; 2],
}

/// The cells to search, and the layout of the packed image that their offsets refer to.
struct Find<'a> {
    image: &'a Image<'a>,
    cells: Cells,
    columns: usize,
    size: usize,
}

per_isa! {
    /// Lists the nonzero gradients of the cells.
    fn find_lives(find: &Find<'_>, lists: &mut Lists) = find_kernel
}

/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn find_kernel<S: Simd, const NV: usize>(find: &Find<'_>, lists: &mut Lists) {
    let Find {
        image,
        cells:
            Cells {
                rows: [top, bottom],
                columns: [left, right],
            },
        columns,
        size,
    } = *find;
    let Pooled {
        conv, grad, codes, ..
    } = *image.pooled;
    let (cell_rows, cell_columns) = (conv.result_size().0 / 2, conv.result_size().1 / 2);
    let mut places = [0; 16];
    places[..4].copy_from_slice(
        &[0, size, columns * size, (columns + 1) * size].map(|place| place as u32),
    );
    assert!(lists.capacity >= (bottom - top) * (right - left) + 16);
    for output in 0..conv.outputs {
        let plane = (image.image * conv.outputs + output) * cell_rows * cell_columns;
        let mut count = 0;
        for row in top..bottom {
            let range = plane + row * cell_columns + left..plane + row * cell_columns + right;
            let first = (2 * (row - top) * columns * size) as u32;
            let at = output * lists.capacity + count;
            // SAFETY: the caller promises the instruction set; both slices have the same range, and
            // a list has room for all cells and a vector more.
            unsafe {
                let to = (
                    lists.values.as_mut_ptr().add(at),
                    lists.offsets.as_mut_ptr().add(at),
                );
                count += S::list_lives(
                    &grad[range.clone()],
                    &codes[range],
                    [first, 2 * size as u32],
                    &places,
                    to,
                );
            }
        }
        lists.counts[output] = count;
    }
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

/// The nonzero gradients of all outputs, to be multiplied with one block of inputs.
struct Segment<'a> {
    lists: &'a Lists,
    /// Packed image, from the segment's first pixel to the end of the block.
    x: &'a [f32],
    /// Number of values in a row.
    pitch: usize,
    /// Number of vectors in a run.
    vectors: usize,
    /// Weights of this block; empty if the input's gradient isn't requested.
    runs: &'a [f32],
}

per_isa! {
    /// Adds a segment to the gradient of the weights, `[output][kernel row][run]`, and to that of
    /// the input unless `dx` is empty.
    fn add_segment(segment: &Segment<'_>, dx: &mut [f32], sums: &mut [f32]) = segment_kernel
}

/// # Safety
/// The CPU must have the instruction set, and the lists must come from [`find_lives`] for this
/// segment and block size.
#[inline(always)]
unsafe fn segment_kernel<S: Simd, const NV: usize>(
    segment: &Segment<'_>,
    dx: &mut [f32],
    sums: &mut [f32],
) {
    assert!(dx.is_empty() || (dx.len() == segment.x.len() && segment.runs.len() == sums.len()));
    assert!(sums.len() >= segment.lists.counts.len() * 3 * segment.vectors * S::LANES);
    // SAFETY: the caller promises the instruction set. The lists name cells of the segment, and
    // three runs from there, a kernel row apart, end within the block and its slack.
    unsafe {
        macro_rules! with_vectors {
            ($rows:literal: $($vectors:literal)*) => {
                match segment.vectors {
                    $($vectors => add_runs::<S, $rows, $vectors>(segment, dx, sums),)*
                    vectors => unreachable!("{vectors} vectors a run"),
                }
            };
        }
        if S::LANES == 16 {
            with_vectors!(3: 1 2 3 4 5 6);
        } else {
            with_vectors!(1: 1 2 3 4 5 6 7 8 9 10 11 12);
        }
    }
}

/// Processes `ROWS` of the three kernel rows at a time, with `VECTORS` vectors per run, all in
/// registers.
///
/// # Safety
/// As for [`segment_kernel`], with `segment.vectors` equal to `VECTORS`.
#[inline(always)]
unsafe fn add_runs<S: Simd, const ROWS: usize, const VECTORS: usize>(
    segment: &Segment<'_>,
    dx: &mut [f32],
    sums: &mut [f32],
) {
    let run_len = VECTORS * S::LANES;
    let lists = segment.lists;
    for (output, count) in lists.counts.iter().enumerate() {
        let values = &lists.values[output * lists.capacity..][..*count];
        let offsets = &lists.offsets[output * lists.capacity..][..*count];
        for first in (0..3).step_by(ROWS) {
            let start = (output * 3 + first) * run_len;
            // SAFETY: as promised by the caller; the lengths are checked in `segment_kernel`.
            unsafe {
                let at = sums.as_mut_ptr().add(start);
                let mut acc = [[S::splat(0.0); VECTORS]; ROWS];
                for (r, row) in acc.iter_mut().enumerate() {
                    for (v, vector) in row.iter_mut().enumerate() {
                        *vector = S::load(at.add(r * run_len + v * S::LANES));
                    }
                }
                for (value, offset) in values.iter().zip(offsets) {
                    let grad = S::splat(*value);
                    let x = segment
                        .x
                        .as_ptr()
                        .add(*offset as usize + first * segment.pitch);
                    for r in 0..ROWS {
                        for v in 0..VECTORS {
                            acc[r][v] = S::fma(
                                grad,
                                S::load(x.add(r * segment.pitch + v * S::LANES)),
                                acc[r][v],
                            );
                        }
                    }
                }
                for (r, row) in acc.iter().enumerate() {
                    for (v, vector) in row.iter().enumerate() {
                        S::store(at.add(r * run_len + v * S::LANES), *vector);
                    }
                }
                if dx.is_empty() {
                    continue;
                }
                let runs = segment.runs.as_ptr().add(start);
                let mut weights = [[S::splat(0.0); VECTORS]; ROWS];
                for (r, row) in weights.iter_mut().enumerate() {
                    for (v, vector) in row.iter_mut().enumerate() {
                        *vector = S::load(runs.add(r * run_len + v * S::LANES));
                    }
                }
                for (value, offset) in values.iter().zip(offsets) {
                    let grad = S::splat(*value);
                    let dx = dx
                        .as_mut_ptr()
                        .add(*offset as usize + first * segment.pitch);
                    for r in 0..ROWS {
                        for v in 0..VECTORS {
                            let at = dx.add(r * segment.pitch + v * S::LANES);
                            S::store(at, S::fma(grad, weights[r][v], S::load(at)));
                        }
                    }
                }
            }
        }
    }
}
