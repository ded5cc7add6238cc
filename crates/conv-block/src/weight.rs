//! Gradients of weights and bias, from any gradient of the convolution's result: register tiles
//! whose sums run over the positions.
//!
//! The image is packed as `[row][column][input]`, where one row of the kernel covers a contiguous
//! run of values for all inputs. A tile row is six neighbors of such a run, and its vectors are a
//! block of outputs.

use std::ops::Range;

use rayon::prelude::*;

use crate::{
    groups::sum_over_images,
    rows::Rows,
    scratch::{STRIP_LEN, as_unfilled, with_scratch},
    shape::Conv,
    simd::{Isa, Simd, copy_strided, per_isa},
    tile::{Tile, load_rows, multiply, positions, store_rows},
};

/// Neighboring values in one row of a tile.
const CHUNK: usize = 6;
/// Positions that a tile sums over before its sums go back to memory.
const POSITIONS: usize = 128;

/// Layout of a group's sums in memory: `[block of outputs][chunk][6][output in block]`, then the
/// bias.
struct Layout {
    /// Outputs in a block.
    block: usize,
    /// Number of blocks.
    blocks: usize,
    /// Chunks of one kernel row.
    row_chunks: usize,
    /// Chunks of all kernel rows, rounded up to an even number.
    chunks: usize,
}

impl Layout {
    fn new(isa: Isa, conv: &Conv) -> Self {
        let row_chunks = (conv.kernel * conv.inputs).div_ceil(CHUNK);
        let chunks = (conv.kernel * row_chunks).next_multiple_of(2);
        // Few outputs are a single vector.
        let block = if conv.outputs > isa.lanes() {
            isa.block()
        } else {
            isa.lanes()
        };
        Self {
            block,
            blocks: conv.outputs.div_ceil(block),
            row_chunks,
            chunks,
        }
    }

    /// Returns the number of sums for the weights.
    fn weights_len(&self) -> usize {
        self.blocks * self.chunks * CHUNK * self.block
    }

    /// Returns the number of sums for weights and bias.
    fn len(&self) -> usize {
        self.weights_len() + self.blocks * self.block
    }

    /// Returns the index of the sum for a position of the run, in a kernel row and for an output.
    fn at(&self, output: usize, kernel_row: usize, run: usize) -> usize {
        let chunk = kernel_row * self.row_chunks + run / CHUNK;
        ((output / self.block * self.chunks + chunk) * CHUNK + run % CHUNK) * self.block
            + output % self.block
    }
}

/// Computes the gradients of weights and bias; `grad` is that of the convolution's result.
pub(crate) fn run(
    isa: Isa,
    conv: &Conv,
    input: &dyn Rows,
    grad: &dyn Rows,
) -> (Vec<f32>, Vec<f32>) {
    let layout = Layout::new(isa, conv);
    let sums = sum_over_images(conv.images, layout.len(), |images, sums| {
        for image in images {
            add_image(isa, conv, &layout, [input, grad], image, sums);
        }
    });
    let taps = conv.kernel * conv.kernel;
    let mut weight = vec![0.0; conv.weight_len()];
    weight
        .par_chunks_mut(conv.inputs * taps)
        .enumerate()
        .for_each(|(output, weight)| {
            for (index, value) in weight.iter_mut().enumerate() {
                let (input, row, column) = (
                    index / taps,
                    index % taps / conv.kernel,
                    index % conv.kernel,
                );
                *value = sums[layout.at(output, row, column * conv.inputs + input)];
            }
        });
    let bias = sums[layout.weights_len()..][..conv.outputs].to_vec();
    (weight, bias)
}

/// Adds the gradients of one image to the sums of its group.
fn add_image(
    isa: Isa,
    conv: &Conv,
    layout: &Layout,
    [input, grad]: [&dyn Rows; 2],
    image: usize,
    sums: &mut [f32],
) {
    let (rows, columns) = conv.result_size();
    let pitch = ((columns - 1) * conv.stride + conv.kernel) * conv.inputs;
    let strip_rows = (STRIP_LEN / (pitch * conv.stride)).clamp(1, rows);
    let (weights, bias) = sums.split_at_mut(layout.weights_len());
    for first in (0..rows).step_by(strip_rows) {
        let count = strip_rows.min(rows - first);
        let in_rows = (count - 1) * conv.stride + conv.kernel;
        // The last chunk of a run may reach beyond the end of the packed rows.
        with_scratch(in_rows * pitch + CHUNK, |x| {
            pack_input(
                isa,
                conv,
                input,
                [image, first * conv.stride],
                &mut x[..in_rows * pitch],
                pitch,
            );
            for block in 0..layout.blocks {
                with_scratch(count * columns * layout.block, |dy| {
                    let outputs =
                        block * layout.block..((block + 1) * layout.block).min(conv.outputs);
                    pack_grad(
                        isa,
                        grad,
                        [image, first, columns],
                        outputs,
                        layout.block,
                        dy,
                    );
                    let len = layout.chunks * CHUNK * layout.block;
                    let strip = Strip {
                        conv,
                        layout,
                        x,
                        dy,
                        rows: count,
                        columns,
                        pitch,
                    };
                    let bias = &mut bias[block * layout.block..(block + 1) * layout.block];
                    add_strip(isa, &strip, &mut weights[block * len..][..len], bias);
                });
            }
        });
    }
}

/// Packs one block of outputs as `[row][column][output]`, with zeros for missing outputs.
fn pack_grad(
    isa: Isa,
    grad: &dyn Rows,
    [image, first, columns]: [usize; 3],
    outputs: Range<usize>,
    block: usize,
    packed: &mut [f32],
) {
    with_scratch(columns * block, |planes| {
        planes.fill(0.0);
        for (row, pixels) in packed.chunks_exact_mut(columns * block).enumerate() {
            for (output, values) in outputs.clone().zip(planes.chunks_exact_mut(columns)) {
                grad.row(isa, image, output, first + row, values);
            }
            turn(isa, planes, columns, pixels);
        }
    });
}

/// Packs an image as `[row][column][input]` with its padding, from row `first` of the padded image
/// on.
pub(crate) fn pack_input(
    isa: Isa,
    conv: &Conv,
    input: &dyn Rows,
    [image, first]: [usize; 2],
    packed: &mut [f32],
    pitch: usize,
) {
    let (rows, columns) = (packed.len() / pitch, pitch / conv.inputs);
    packed.fill(0.0);
    let seen = columns.saturating_sub(conv.padding).min(conv.width);
    with_scratch(conv.width * conv.inputs, |planes| {
        for row in 0..rows {
            let Some(source) = (first + row)
                .checked_sub(conv.padding)
                .filter(|row| *row < conv.height)
            else {
                continue;
            };
            for (channel, values) in planes.chunks_exact_mut(conv.width).enumerate() {
                input.row(isa, image, channel, source, values);
            }
            let start = row * pitch + conv.padding * conv.inputs;
            turn(
                isa,
                planes,
                conv.width,
                &mut packed[start..start + seen * conv.inputs],
            );
        }
    });
}

per_isa! {
    /// Interleaves planes that are `width` apart into pixels.
    fn turn(planes: &[f32], width: usize, pixels: &mut [f32]) = turn_kernel
}

/// Interleaves planes of `width` values, `[input][column]`, into pixels, `[column][input]`.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn turn_kernel<S: Simd, const NV: usize>(planes: &[f32], width: usize, pixels: &mut [f32]) {
    let inputs = planes.len() / width;
    assert!(planes.len() == inputs * width && pixels.len() <= planes.len());
    for (column, pixel) in pixels.chunks_exact_mut(inputs).enumerate() {
        // SAFETY: the caller promises the instruction set; `column` is less than `width`, as
        // `pixels` is no longer than `planes`, so every value read lies in its plane. A stride that
        // a gather's 32-bit offsets can't hold would need rows of 8 GB.
        unsafe { copy_strided::<S>(planes.as_ptr().add(column), width, as_unfilled(pixel)) };
    }
}

/// A packed strip of an image, `x`, and the gradient of its results, `dy`, for one block of
/// outputs.
struct Strip<'a> {
    conv: &'a Conv,
    layout: &'a Layout,
    x: &'a [f32],
    dy: &'a [f32],
    rows: usize,
    columns: usize,
    pitch: usize,
}

per_isa! {
    /// Adds a strip's contribution to the gradients of the weights and the bias of one block of
    /// outputs.
    fn add_strip(strip: &Strip<'_>, sums: &mut [f32], bias: &mut [f32]) = strip_kernel
}

/// Adds a strip's gradients of a block of outputs, which has one vector or `NV`, to those of the
/// weights and the bias.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn strip_kernel<S: Simd, const NV: usize>(
    strip: &Strip<'_>,
    sums: &mut [f32],
    bias: &mut [f32],
) {
    // SAFETY: as promised by the caller.
    unsafe {
        if strip.layout.block == S::LANES {
            block_kernel::<S, 1>(strip, sums, bias);
        } else {
            block_kernel::<S, NV>(strip, sums, bias);
        }
    }
}

/// Adds a strip's gradients of a block of `NV` vectors of outputs to those of the weights,
/// `[chunk][6][output in block]`, and of the bias, `[output in block]`.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn block_kernel<S: Simd, const NV: usize>(
    strip: &Strip<'_>,
    sums: &mut [f32],
    bias: &mut [f32],
) {
    let Strip {
        conv,
        layout,
        x,
        dy,
        rows,
        columns,
        pitch,
    } = *strip;
    let block = NV * S::LANES;
    assert!(sums.len() == layout.chunks * CHUNK * block && dy.len() == rows * columns * block);
    assert!(block == layout.block);
    assert!(x.len() >= ((rows - 1) * conv.stride + conv.kernel) * pitch + CHUNK);
    assert!(bias.len() == block);
    for v in 0..NV {
        // SAFETY: the caller promises the instruction set; the lengths are checked above.
        unsafe {
            let ones = S::splat(1.0);
            let mut sum = S::splat(0.0);
            for position in 0..rows * columns {
                sum = S::fma(
                    ones,
                    S::load(dy.as_ptr().add(position * block + v * S::LANES)),
                    sum,
                );
            }
            let at = bias.as_mut_ptr().add(v * S::LANES);
            S::store(at, S::fma(ones, sum, S::load(at)));
        }
    }
    let last = conv.kernel * layout.row_chunks - 1;
    let offset =
        |chunk: usize| chunk / layout.row_chunks * pitch + chunk % layout.row_chunks * CHUNK;
    let step = (POSITIONS / columns).max(1);
    for first in (0..rows).step_by(step) {
        for chunk in (0..layout.chunks).step_by(2) {
            // Chunks are processed in pairs; the missing partner of an odd last one repeats a
            // chunk, and its sums are never read.
            let pair = ChunkPair {
                strip,
                rows: first..(first + step).min(rows),
                offsets: [offset(chunk), offset((chunk + 1).min(last))],
            };
            let sums = &mut sums[chunk * CHUNK * block..(chunk + 2) * CHUNK * block];
            // SAFETY: the caller promises the instruction set; the lengths are checked above, and
            // `x` has a chunk more than its rows, for the last run.
            unsafe {
                if positions::<S, NV>() == CHUNK {
                    pair.add::<S, NV, CHUNK>(0, sums);
                } else {
                    pair.add::<S, NV, { CHUNK / 2 }>(0, sums);
                    pair.add::<S, NV, { CHUNK / 2 }>(CHUNK / 2, sums);
                }
            }
        }
    }
}

/// Two chunks of neighboring values, and the rows of results that they are summed over.
struct ChunkPair<'a> {
    strip: &'a Strip<'a>,
    rows: Range<usize>,
    /// Where the chunks lie in the image's first row.
    offsets: [usize; 2],
}

impl ChunkPair<'_> {
    /// Adds the products of `Q` values of each chunk from `start` on.
    ///
    /// # Safety
    /// The CPU must have the instruction set, `sums` be those of two chunks, and all values that
    /// the rows meet be in the strip.
    #[inline(always)]
    unsafe fn add<S: Simd, const NV: usize, const Q: usize>(&self, start: usize, sums: &mut [f32]) {
        let Strip {
            conv,
            x,
            dy,
            columns,
            pitch,
            ..
        } = *self.strip;
        let block = NV * S::LANES;
        assert!(sums.len() == 2 * CHUNK * block && start + Q <= CHUNK);
        // SAFETY: as promised by the caller; the length was checked above.
        unsafe {
            let first = sums.as_mut_ptr().add(start * block);
            let second = first.add(CHUNK * block);
            let mut tile: Tile<S, NV, Q> =
                [load_rows::<S, Q, NV>(first), load_rows::<S, Q, NV>(second)];
            for row in self.rows.clone() {
                let x = x.as_ptr().add(row * conv.stride * pitch + start);
                let dy = dy.as_ptr().add(row * columns * block);
                multiply::<S, NV, Q, 1, 1>(
                    &mut tile,
                    self.offsets.map(|offset| x.add(offset)),
                    conv.stride * conv.inputs,
                    dy,
                    columns,
                );
            }
            store_rows::<S, Q, NV>(first, &tile[0]);
            store_rows::<S, Q, NV>(second, &tile[1]);
        }
    }
}
