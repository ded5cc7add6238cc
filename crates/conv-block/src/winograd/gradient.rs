//! The weights' gradient by F(3x3, 4x4): where the forward pass multiplies a tile's patch with a
//! kernel, this one multiplies it with the gradient of the tile's results. The transforms are those
//! of the forward pass, transposed.
//!
//! Tiles pass in strips. Their patches and gradients are transformed for some strips at a time, and
//! then multiplied at each of the 36 places, as matrices whose sums run over the tiles.

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use super::{
    PATCH, PLACES, SIDE,
    patches::{Patches, transform_patches},
    place, tiles,
    transforms::{of_gradient, of_products},
};
use crate::{
    scratch::{SharedMut, filled, with_scratch},
    shape::{Algorithm, Conv},
    simd::{Isa, Simd, per_isa},
    tile::{Tile, load_rows, multiply, positions, store_rows},
};

/// Tiles in a strip: a cache line of values, and of lanes.
const STRIP: usize = 16;
/// Values that are transformed for a pass, unless a pass would have too few strips: then the sums
/// are read and written more often than is good.
const PASS_LEN: usize = 2 * 1024 * 1024;
/// Strips of a pass. The gradients of the most, at one place and for one block of outputs, fit the
/// first-level cache.
const PASS_STRIPS: [usize; 2] = [8, 16];
/// Inputs that a task multiplies with a block of outputs, and that another transforms.
const TASK_INPUTS: usize = 48;
/// Products for which a value's transforms and its way through memory take as long, as measured.
const TRANSFORM: usize = 80;

/// Returns whether the algorithm may compute the gradient of these weights and is faster than the
/// direct sum.
pub(crate) fn is_faster(conv: &Conv) -> bool {
    if conv.algorithm == Algorithm::Direct
        || conv.kernel != 3
        || conv.stride != 1
        || conv.padding > 1
    {
        return false;
    }
    let (rows, columns) = conv.result_size();
    let products = conv.inputs * conv.outputs;
    let tiles = tiles(conv).next_multiple_of(STRIP);
    tiles * PLACES * (products + TRANSFORM * (conv.inputs + conv.outputs))
        < conv.images * rows * columns * 9 * products
}

/// Computes the gradients of weights and bias; `grad` is that of the convolution's result.
pub(crate) fn weight_gradients(
    isa: Isa,
    conv: &Conv,
    input: &[f32],
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    // SAFETY: the tasks of the last pass cover all inputs and outputs, and each stores its weights.
    let weight = unsafe { filled(conv.weight_len(), |out| fill(isa, conv, [input, grad], out)) };
    let (rows, columns) = conv.result_size();
    let planes = || grad.chunks_exact(rows * columns);
    let bias = (0..conv.outputs).into_par_iter().map(|output| {
        let planes = planes().skip(output).step_by(conv.outputs);
        planes.map(total).sum()
    });
    (weight, bias.collect())
}

/// Returns the sum of a plane, of sums in as many lanes as any vector has.
fn total(plane: &[f32]) -> f32 {
    let mut lanes = [0.0; 16];
    for values in plane.chunks(16) {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    lanes.iter().sum()
}

/// Where values lie.
#[derive(Clone, Copy)]
struct Layout<'a> {
    conv: &'a Conv,
    /// Outputs in a block.
    block: usize,
    /// Strips of a pass.
    strips: usize,
    /// Inputs that are multiplied together.
    rows: usize,
}

impl<'a> Layout<'a> {
    fn new(isa: Isa, conv: &'a Conv, strips: usize) -> Self {
        let of_strip = PLACES * STRIP * (conv.inputs + conv.outputs);
        let [fewest, most] = PASS_STRIPS;
        Self {
            conv,
            block: isa.block(),
            strips: (PASS_LEN / of_strip).clamp(fewest, most).min(strips),
            rows: 2 * isa.positions(),
        }
    }

    fn blocks(&self) -> usize {
        self.conv.outputs.div_ceil(self.block)
    }

    /// Returns the number of inputs, rounded up to whole rows.
    fn inputs(&self) -> usize {
        self.conv.inputs.next_multiple_of(self.rows)
    }

    /// Returns the inputs of each task.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let inputs = self.inputs();
        (0..inputs)
            .step_by(TASK_INPUTS)
            .map(move |first| first..(first + TASK_INPUTS).min(inputs))
    }

    /// Returns the distance between the patches of two places, each `[strip][input][tile]`. It is a
    /// cache line more than they take, because all places of a power of two would fall into the
    /// same cache set.
    fn patches_pitch(&self) -> usize {
        self.strips * self.inputs() * STRIP + 16
    }

    /// Returns the distance between the gradients of two places, each `[block of
    /// outputs][strip][tile][output in block]`.
    fn grads_pitch(&self) -> usize {
        self.blocks() * self.strips * STRIP * self.block + 16
    }

    /// Returns the number of a task's sums, `[place][input][output in block]`.
    fn sums_len(&self) -> usize {
        PLACES * TASK_INPUTS * self.block
    }
}

fn fill(isa: Isa, conv: &Conv, tensors: [&[f32]; 2], out: &mut [MaybeUninit<f32>]) {
    let tiles = tiles(conv);
    let strips = tiles.div_ceil(STRIP);
    let layout = Layout::new(isa, conv, strips);
    let ranges: Vec<_> = layout.ranges().collect();
    let passes = strips.div_ceil(layout.strips);
    // A single pass needs no sums but those of the running tasks.
    let kept = if passes == 1 {
        0
    } else {
        layout.blocks() * ranges.len() * layout.sums_len()
    };
    let out = SharedMut::new(out);
    with_scratch(kept, |sums| {
        with_scratch(PLACES * layout.patches_pitch(), |patches| {
            with_scratch(PLACES * layout.grads_pitch(), |grads| {
                let sums = SharedMut::new(sums);
                for pass in 0..passes {
                    let first = pass * layout.strips;
                    let strips = first..(first + layout.strips).min(strips);
                    transform(isa, &layout, tensors, strips.clone(), [patches, grads]);
                    let tasks = (0..layout.blocks() * ranges.len()).into_par_iter();
                    tasks.for_each(|task| {
                        let product = Product {
                            layout,
                            patches,
                            grads,
                            strips: strips.len(),
                            inputs: ranges[task % ranges.len()].clone(),
                            block: task / ranges.len(),
                            is_first: pass == 0,
                            is_last: pass + 1 == passes,
                            out,
                        };
                        if passes == 1 {
                            with_scratch(layout.sums_len(), |sums| add_up(isa, &product, sums));
                        } else {
                            let len = layout.sums_len();
                            // SAFETY: each task has sums of its own, which outlive it.
                            add_up(isa, &product, unsafe { sums.slice(task * len, len) });
                        }
                    });
                }
            });
        });
    });
}

/// Transforms the patches and gradients of some strips.
fn transform(
    isa: Isa,
    layout: &Layout<'_>,
    [input, grad]: [&[f32]; 2],
    strips: Range<usize>,
    [patches, grads]: [&mut [f32]; 2],
) {
    let conv = layout.conv;
    let tiles = tiles(conv);
    let (patches, grads) = (SharedMut::new(patches), SharedMut::new(grads));
    let ranges: Vec<_> = layout.ranges().collect();
    let per_strip = ranges.len() + layout.blocks();
    let tasks = (0..strips.len() * per_strip).into_par_iter();
    tasks.for_each(|task| {
        let (strip, part) = (task / per_strip, task % per_strip);
        let first = (strips.start + strip) * STRIP;
        let piece = |out| Piece {
            layout,
            tiles: first..(first + STRIP).min(tiles),
            strip,
            out,
        };
        if let Some(inputs) = ranges.get(part) {
            let piece = piece(patches);
            let scratch = 2 * PLACES * STRIP + piece.patches(input).line_len();
            with_scratch(scratch, |scratch| {
                transform_inputs(isa, &piece, input, inputs.clone(), scratch);
            });
        } else {
            with_scratch(SIDE * SIDE * layout.block, |scratch| {
                transform_grads(isa, &piece(grads), grad, part - ranges.len(), scratch);
            });
        }
    });
}

/// A strip that is transformed.
struct Piece<'a> {
    layout: &'a Layout<'a>,
    /// Counted through all images.
    tiles: Range<usize>,
    /// Number of the strip in the pass.
    strip: usize,
    out: SharedMut<f32>,
}

impl<'a> Piece<'a> {
    fn patches(&self, input: &'a [f32]) -> Patches<'a> {
        Patches::new(self.layout.conv, input, self.tiles.clone())
    }
}

per_isa! {
    /// Transforms the patches of some inputs; `scratch` is working memory.
    fn transform_inputs(
        piece: &Piece<'_>,
        input: &[f32],
        inputs: Range<usize>,
        scratch: &mut [f32],
    ) = inputs_kernel
}

/// # Safety
/// The CPU must have the instruction set. No other task may transform the same inputs of the strip.
#[inline(always)]
unsafe fn inputs_kernel<S: Simd, const NV: usize>(
    piece: &Piece<'_>,
    input: &[f32],
    inputs: Range<usize>,
    scratch: &mut [f32],
) {
    let layout = piece.layout;
    let patches = piece.patches(input);
    let (values, scratch) = scratch.split_at_mut(PLACES * STRIP);
    let (transformed, line) = scratch.split_at_mut(PLACES * STRIP);
    // Behind the last tile nothing is laid out.
    values.fill(0.0);
    for input in inputs {
        if input < layout.conv.inputs {
            patches.lay_out(input, values, STRIP, line);
        } else {
            values.fill(0.0);
        }
        for lane in (0..STRIP).step_by(S::LANES) {
            // SAFETY: the caller promises the instruction set.
            unsafe {
                transform_patches::<S>(&values[lane..], &mut transformed[lane..], [STRIP; 2]);
            }
        }
        for (place, transformed) in transformed.chunks_exact(STRIP).enumerate() {
            let at = piece.strip * layout.inputs() + input;
            let at = place * layout.patches_pitch() + at * STRIP;
            // SAFETY: the caller promises that this part is this task's alone.
            unsafe { piece.out.slice(at, STRIP) }.copy_from_slice(transformed);
        }
    }
}

per_isa! {
    /// Transforms the gradients of the results of one block of outputs; `values` is working memory.
    fn transform_grads(
        piece: &Piece<'_>,
        grad: &[f32],
        block: usize,
        values: &mut [f32],
    ) = grads_kernel
}

/// # Safety
/// The CPU must have the instruction set. No other task may transform the same block of the strip.
#[inline(always)]
unsafe fn grads_kernel<S: Simd, const NV: usize>(
    piece: &Piece<'_>,
    grad: &[f32],
    block: usize,
    values: &mut [f32],
) {
    let (layout, len) = (piece.layout, NV * S::LANES);
    assert!(values.len() == SIDE * SIDE * len && layout.block == len);
    let at = (block * layout.strips + piece.strip) * STRIP * len;
    for index in 0..STRIP {
        // Behind the last tile all is zero, and so are missing outputs.
        values.fill(0.0);
        if index < piece.tiles.len() {
            let tile = piece.tiles.start + index;
            cut_tile(layout.conv, grad, tile, block * len, values);
        }
        for lane in (0..len).step_by(S::LANES) {
            // SAFETY: the caller promises the instruction set and that this part is this task's
            // alone; the length of `values` is checked above.
            unsafe {
                let mut half = [[S::splat(0.0); SIDE]; PATCH];
                for c in 0..SIDE {
                    let mut column = [S::splat(0.0); SIDE];
                    for (r, value) in column.iter_mut().enumerate() {
                        *value = S::load(values.as_ptr().add((r * SIDE + c) * len + lane));
                    }
                    for (row, value) in half.iter_mut().zip(of_gradient::<S>(column)) {
                        row[c] = value;
                    }
                }
                for (r, row) in half.into_iter().enumerate() {
                    for (c, value) in of_gradient::<S>(row).into_iter().enumerate() {
                        let place = (r * PATCH + c) * layout.grads_pitch();
                        let out = place + at + index * len + lane;
                        S::store(piece.out.slice(out, S::LANES).as_mut_ptr(), value);
                    }
                }
            }
        }
    }
}

/// Copies a tile of the gradient as `[row][column][output]`, for the outputs from `first` on that
/// `values` have room for.
#[inline(always)]
fn cut_tile(conv: &Conv, grad: &[f32], tile: usize, first: usize, values: &mut [f32]) {
    let (height, width) = conv.result_size();
    let (image, [row, column]) = place(conv, tile);
    let (row, column) = (row * SIDE, column * SIDE);
    let (rows, columns) = (SIDE.min(height - row), SIDE.min(width - column));
    let len = values.len() / (SIDE * SIDE);
    for lane in 0..len.min(conv.outputs - first) {
        let plane = (image * conv.outputs + first + lane) * height * width;
        for r in 0..rows {
            let grad = &grad[plane + (row + r) * width + column..][..columns];
            for (c, grad) in grad.iter().enumerate() {
                values[(r * SIDE + c) * len + lane] = *grad;
            }
        }
    }
}

/// The products of some inputs with a block of outputs over the strips of a pass.
struct Product<'a> {
    layout: Layout<'a>,
    patches: &'a [f32],
    grads: &'a [f32],
    strips: usize,
    inputs: Range<usize>,
    block: usize,
    is_first: bool,
    is_last: bool,
    /// Gradient of the weights, `[outputs, inputs, 3, 3]`.
    out: SharedMut<MaybeUninit<f32>>,
}

per_isa! {
    /// Adds the products to the sums, and after the last pass writes the weights' gradient.
    fn add_up(product: &Product<'_>, sums: &mut [f32]) = product_kernel
}

/// # Safety
/// The CPU must have the instruction set, and no other task may have the same inputs and outputs.
#[inline(always)]
unsafe fn product_kernel<S: Simd, const NV: usize>(product: &Product<'_>, sums: &mut [f32]) {
    // SAFETY: as promised by the caller.
    unsafe {
        if positions::<S, NV>() == 6 {
            multiply_places::<S, NV, 6>(product, sums);
        } else {
            multiply_places::<S, NV, 3>(product, sums);
        }
        if product.is_last {
            transform_sums::<S, NV>(product, sums);
        }
    }
}

/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn multiply_places<S: Simd, const NV: usize, const Q: usize>(
    product: &Product<'_>,
    sums: &mut [f32],
) {
    let (layout, len) = (&product.layout, NV * S::LANES);
    assert!(layout.block == len && layout.rows == 2 * Q && sums.len() == layout.sums_len());
    for place in 0..PLACES {
        let patches = &product.patches[place * layout.patches_pitch()..];
        let grads = &product.grads[place * layout.grads_pitch()..];
        let grads = &grads[product.block * layout.strips * STRIP * len..];
        for first in product.inputs.clone().step_by(2 * Q) {
            let at = (place * TASK_INPUTS + first - product.inputs.start) * len;
            let sums = &mut sums[at..][..2 * Q * len];
            // SAFETY: the caller promises the instruction set; slices have the lengths read.
            unsafe {
                let [near, far] = [sums.as_mut_ptr(), sums.as_mut_ptr().add(Q * len)];
                let mut tile: Tile<S, NV, Q> = if product.is_first {
                    [[[S::splat(0.0); NV]; Q]; 2]
                } else {
                    [load_rows::<S, Q, NV>(near), load_rows::<S, Q, NV>(far)]
                };
                for strip in 0..product.strips {
                    let patches = &patches[(strip * layout.inputs() + first) * STRIP..];
                    let patches = patches[..2 * Q * STRIP].as_ptr();
                    let grads = &grads[strip * STRIP * len..][..STRIP * len];
                    let rows = [patches, patches.add(Q * STRIP)];
                    multiply::<S, NV, Q, 1, STRIP>(&mut tile, rows, 1, grads.as_ptr(), STRIP);
                }
                store_rows::<S, Q, NV>(near, &tile[0]);
                store_rows::<S, Q, NV>(far, &tile[1]);
            }
        }
    }
}

/// Transforms the sums to the gradient of the weights.
///
/// # Safety
/// The CPU must have the instruction set, and no other task may have the same inputs and outputs.
#[inline(always)]
unsafe fn transform_sums<S: Simd, const NV: usize>(product: &Product<'_>, sums: &[f32]) {
    let Conv {
        inputs, outputs, ..
    } = *product.layout.conv;
    let len = NV * S::LANES;
    for input in product.inputs.start..product.inputs.end.min(inputs) {
        for lane in (0..len).step_by(S::LANES) {
            let sums = &sums[(input - product.inputs.start) * len + lane..];
            let mut results = [[0.0f32; 16]; 9];
            assert!(sums.len() >= (PLACES - 1) * TASK_INPUTS * len + S::LANES);
            // SAFETY: the caller promises the instruction set; the length is checked above, and a
            // vector has at most sixteen lanes.
            unsafe {
                let mut half = [[S::splat(0.0); PATCH]; 3];
                for c in 0..PATCH {
                    let mut column = [S::splat(0.0); PATCH];
                    for (r, value) in column.iter_mut().enumerate() {
                        let place = r * PATCH + c;
                        *value = S::load(sums.as_ptr().add(place * TASK_INPUTS * len));
                    }
                    for (row, value) in half.iter_mut().zip(of_products::<S>(column)) {
                        row[c] = value;
                    }
                }
                for (r, row) in half.into_iter().enumerate() {
                    for (c, value) in of_products::<S>(row).into_iter().enumerate() {
                        S::store(results[r * 3 + c].as_mut_ptr(), value);
                    }
                }
            }
            let first = product.block * len + lane;
            for (lane, output) in (first..outputs.min(first + S::LANES)).enumerate() {
                // SAFETY: the caller promises that these weights are this task's alone.
                let out = unsafe { product.out.slice((output * inputs + input) * 9, 9) };
                for (out, values) in out.iter_mut().zip(&results) {
                    out.write(values[lane]);
                }
            }
        }
    }
}
