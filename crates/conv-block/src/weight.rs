//! The gradients of weights and bias for a gradient of any kind: register tiles whose sum runs over the positions.
//!
//! The picture is packed `[row][column][input]`, where a kernel row's weights for all inputs see one run of memory; six
//! neighbours of a run make one row of a tile, a block of outputs its vectors.

use std::ops::Range;

use rayon::prelude::*;

use crate::{
    groups::sum_over_images,
    rows::Rows,
    scratch::{STRIP_LEN, with_scratch},
    shape::Conv,
    simd::{Isa, Simd, copy_strided, per_isa},
    tile::{Tile, multiply},
};

/// Neighbours in one row of a tile.
const CHUNK: usize = 6;
/// Positions that a tile sums over before it goes back to memory.
const POSITIONS: usize = 128;

/// How the sums of one group lie in memory: `[block of outputs][chunk][six][output in block]`, then the bias.
struct Layout {
    block: usize,
    blocks: usize,
    /// Of one kernel row.
    row_chunks: usize,
    /// Of all kernel rows, even.
    chunks: usize,
}

impl Layout {
    fn new(isa: Isa, conv: &Conv) -> Self {
        let row_chunks = (conv.kernel * conv.inputs).div_ceil(CHUNK);
        let chunks = (conv.kernel * row_chunks).next_multiple_of(2);
        Self { block: isa.block(), blocks: conv.outputs.div_ceil(isa.block()), row_chunks, chunks }
    }

    fn weights_len(&self) -> usize {
        self.blocks * self.chunks * CHUNK * self.block
    }

    fn len(&self) -> usize {
        self.weights_len() + self.blocks * self.block
    }

    fn at(&self, output: usize, kernel_row: usize, run: usize) -> usize {
        let chunk = kernel_row * self.row_chunks + run / CHUNK;
        ((output / self.block * self.chunks + chunk) * CHUNK + run % CHUNK) * self.block + output % self.block
    }
}

/// Gradients of the weights and the bias; `grad` is that of the convolution's result.
pub(crate) fn run(isa: Isa, conv: &Conv, input: &dyn Rows, grad: &dyn Rows) -> (Vec<f32>, Vec<f32>) {
    let layout = Layout::new(isa, conv);
    let sums = sum_over_images(conv.images, layout.len(), |images, sums| {
        for image in images {
            add_image(isa, conv, &layout, [input, grad], image, sums);
        }
    });
    let taps = conv.kernel * conv.kernel;
    let mut weight = vec![0.0; conv.weight_len()];
    weight.par_chunks_mut(conv.inputs * taps).enumerate().for_each(|(output, weight)| {
        for (index, value) in weight.iter_mut().enumerate() {
            let (input, row, column) = (index / taps, index % taps / conv.kernel, index % conv.kernel);
            *value = sums[layout.at(output, row, column * conv.inputs + input)];
        }
    });
    let bias = sums[layout.weights_len()..][..conv.outputs].to_vec();
    (weight, bias)
}

fn add_image(isa: Isa, conv: &Conv, layout: &Layout, [input, grad]: [&dyn Rows; 2], image: usize, sums: &mut [f32]) {
    let (rows, columns) = conv.result_size();
    let pitch = ((columns - 1) * conv.stride + conv.kernel) * conv.inputs;
    let strip_rows = (STRIP_LEN / (pitch * conv.stride)).clamp(1, rows);
    let (weights, bias) = sums.split_at_mut(layout.weights_len());
    for first in (0..rows).step_by(strip_rows) {
        let count = strip_rows.min(rows - first);
        let in_rows = (count - 1) * conv.stride + conv.kernel;
        // A chunk may reach beyond the last run.
        with_scratch(in_rows * pitch + CHUNK, |x| {
            pack_input(isa, conv, input, [image, first * conv.stride], &mut x[..in_rows * pitch], pitch);
            for block in 0..layout.blocks {
                with_scratch(count * columns * layout.block, |dy| {
                    let outputs = block * layout.block..((block + 1) * layout.block).min(conv.outputs);
                    pack_grad(isa, grad, [image, first, columns], outputs, dy);
                    let len = layout.chunks * CHUNK * layout.block;
                    let strip = Strip { conv, layout, x, dy, rows: count, columns, pitch };
                    let bias = &mut bias[block * layout.block..(block + 1) * layout.block];
                    add_strip(isa, &strip, &mut weights[block * len..][..len], bias);
                });
            }
        });
    }
}

/// `[row][column][output]` for one block of outputs, zeros where there are fewer than a block.
fn pack_grad(isa: Isa, grad: &dyn Rows, [image, first, columns]: [usize; 3], outputs: Range<usize>, packed: &mut [f32]) {
    let block = isa.block();
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

/// `[row][column][input]` with the zeros around the picture, from the padded picture's row `first` on.
pub(crate) fn pack_input(isa: Isa, conv: &Conv, input: &dyn Rows, [image, first]: [usize; 2], packed: &mut [f32], pitch: usize) {
    let (rows, columns) = (packed.len() / pitch, pitch / conv.inputs);
    packed.fill(0.0);
    let seen = columns.saturating_sub(conv.padding).min(conv.width);
    with_scratch(conv.width * conv.inputs, |planes| {
        for row in 0..rows {
            let Some(source) = (first + row).checked_sub(conv.padding).filter(|row| *row < conv.height) else { continue };
            for (channel, values) in planes.chunks_exact_mut(conv.width).enumerate() {
                input.row(isa, image, channel, source, values);
            }
            let start = row * pitch + conv.padding * conv.inputs;
            turn(isa, planes, conv.width, &mut packed[start..start + seen * conv.inputs]);
        }
    });
}

per_isa! {
    /// Pixels from planes that are `width` apart.
    fn turn(planes: &[f32], width: usize, pixels: &mut [f32]) = turn_kernel
}

/// # Safety
/// The CPU has the instruction set.
#[inline(always)]
unsafe fn turn_kernel<S: Simd, const NV: usize>(planes: &[f32], width: usize, pixels: &mut [f32]) {
    let inputs = planes.len() / width;
    assert!(planes.len() == inputs * width && pixels.len() <= planes.len());
    for (column, pixel) in pixels.chunks_exact_mut(inputs).enumerate() {
        // SAFETY: the instruction set is the caller's promise; `column` is less than `width`.
        unsafe { copy_strided::<S>(planes.as_ptr().add(column), width, pixel) };
    }
}

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
    /// Adds what one strip gives to one block of outputs: to the gradients of its weights, and of its bias.
    fn add_strip(strip: &Strip<'_>, sums: &mut [f32], bias: &mut [f32]) = strip_kernel
}

/// # Safety
/// The CPU has the instruction set.
#[inline(always)]
unsafe fn strip_kernel<S: Simd, const NV: usize>(strip: &Strip<'_>, sums: &mut [f32], bias: &mut [f32]) {
    let Strip { conv, layout, x, dy, rows, columns, pitch } = *strip;
    let block = NV * S::LANES;
    assert!(sums.len() == layout.chunks * CHUNK * block && dy.len() == rows * columns * block);
    assert!(x.len() >= ((rows - 1) * conv.stride + conv.kernel) * pitch + CHUNK);
    assert!(bias.len() == block);
    for v in 0..NV {
        // SAFETY: the instruction set is the caller's promise; the lengths are checked above.
        unsafe {
            let ones = S::splat(1.0);
            let mut sum = S::splat(0.0);
            for position in 0..rows * columns {
                sum = S::fma(ones, S::load(dy.as_ptr().add(position * block + v * S::LANES)), sum);
            }
            let at = bias.as_mut_ptr().add(v * S::LANES);
            S::store(at, S::fma(ones, sum, S::load(at)));
        }
    }
    let last = conv.kernel * layout.row_chunks - 1;
    let offset = |chunk: usize| chunk / layout.row_chunks * pitch + chunk % layout.row_chunks * CHUNK;
    let step = (POSITIONS / columns).max(1);
    for first in (0..rows).step_by(step) {
        for chunk in (0..layout.chunks).step_by(2) {
            // The last chunk of an odd number has a neighbour that nobody reads.
            let (even, odd) = (offset(chunk), offset((chunk + 1).min(last)));
            let sums = &mut sums[chunk * CHUNK * block..(chunk + 2) * CHUNK * block];
            // SAFETY: the instruction set is the caller's promise; the lengths are checked above.
            unsafe {
                let mut tile: Tile<S, NV, CHUNK> = [[[S::splat(0.0); NV]; CHUNK]; 2];
                for (r, row) in tile.iter_mut().enumerate() {
                    for (q, position) in row.iter_mut().enumerate() {
                        for (v, vector) in position.iter_mut().enumerate() {
                            *vector = S::load(sums.as_ptr().add((r * CHUNK + q) * block + v * S::LANES));
                        }
                    }
                }
                for row in first..(first + step).min(rows) {
                    let x = x.as_ptr().add(row * conv.stride * pitch);
                    let dy = dy.as_ptr().add(row * columns * block);
                    multiply::<S, NV, CHUNK, 1, 1>(&mut tile, [x.add(even), x.add(odd)], conv.stride * conv.inputs, dy, columns);
                }
                for (r, row) in tile.iter().enumerate() {
                    for (q, position) in row.iter().enumerate() {
                        for (v, vector) in position.iter().enumerate() {
                            S::store(sums.as_mut_ptr().add((r * CHUNK + q) * block + v * S::LANES), *vector);
                        }
                    }
                }
            }
        }
    }
}
