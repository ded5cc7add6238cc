//! Convolutions of one pixel: a product of matrices, of the weights and of the pixels of all
//! images.
//!
//! Vectors hold pixels rather than outputs, as planes do in memory: nothing is turned round,
//! neither what is read nor what is written, which would take longer than the products where
//! channels are few. The terms of a sum are added in the order of [`crate::dense`], to the same
//! bits.

mod weight;

use std::{borrow::Cow, mem::MaybeUninit};

use rayon::prelude::*;

use crate::{
    depthwise::every,
    scratch::{STRIP_LEN, SharedMut, filled, with_scratch},
    shape::{Conv, Tail},
    simd::{Isa, Simd, per_isa},
    tile::{Tile, apply_tail, multiply},
};

/// Number of outputs that a tile computes at most, in two rows; half as many where there are few
/// registers (see [`Isa::positions`]).
const OUTPUTS: usize = 12;

/// Number of tasks that a batch is divided into at least, so that every thread has work.
const TASKS: usize = 32;

/// Whether a convolution and its tail are computed here.
pub(crate) fn is_supported(conv: &Conv, tail: Tail) -> bool {
    (conv.kernel, conv.padding) == (1, 0) && tail != Tail::ReluPool
}

/// A factor and an offset for each input channel, and a tail without pooling: what is made of the
/// input before the convolution.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// The factors.
    pub scale: &'a [f32],
    /// The offsets.
    pub shift: &'a [f32],
    /// What follows.
    pub tail: Tail,
}

/// Computes a norm by fixed statistics, ReLU and a 1x1 convolution, the layers of DenseNet, for
/// networks that don't learn.
///
/// # Shapes
/// `input` `[images, inputs, height, width]`, `weight` `[outputs, inputs]`, `bias` `[outputs]`,
/// factors and offsets `[inputs]`; returns `[images, outputs, height, width]` after the tail.
///
/// # Panics
/// Panics unless the convolution has one pixel, stride 1 and no padding, neither tail pools, and
/// slices have the lengths of the shape.
pub fn infer_normed(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    before: Before<'_>,
    input: &[f32],
    [weight, bias]: [&[f32]; 2],
) -> Vec<f32> {
    let is_one = is_supported(conv, tail) && is_supported(conv, before.tail);
    assert!(
        is_one && conv.stride == 1 && conv.is_supported(),
        "{conv:?}"
    );
    assert_eq!(input.len(), conv.input_len(), "input of {conv:?}");
    assert_eq!(weight.len(), conv.weight_len(), "weight of {conv:?}");
    assert_eq!(bias.len(), conv.outputs, "bias of {conv:?}");
    assert_eq!([before.scale.len(), before.shift.len()], [conv.inputs; 2]);
    let weight = |output: usize, input: usize| weight[output * conv.inputs + input];
    let blocks = Block::all(isa, conv, weight, bias);
    run_blocks(isa, conv, tail, Some(before), input, &blocks)
}

/// Computes the convolution and its tail, `[images, outputs, rows, columns]`, of any stride.
/// `weight(output, input)` returns a weight; `bias` may be empty.
pub(crate) fn run(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    input: &[f32],
    weight: impl Fn(usize, usize) -> f32,
    bias: &[f32],
) -> Vec<f32> {
    let blocks = Block::all(isa, conv, weight, bias);
    let (conv, input) = met(isa, conv, input);
    run_blocks(isa, &conv, tail, None, &input, &blocks)
}

/// Computes the gradients of weights and bias from that of the convolution's result.
pub(crate) fn weight_gradients(
    isa: Isa,
    conv: &Conv,
    input: &[f32],
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (conv, input) = met(isa, conv, input);
    weight::gradients(isa, &conv, &input, grad)
}

/// Returns the convolution with stride 1 of the pixels that this one meets, and these pixels.
fn met<'a>(isa: Isa, conv: &Conv, input: &'a [f32]) -> (Conv, Cow<'a, [f32]>) {
    if conv.stride == 1 {
        return (*conv, Cow::Borrowed(input));
    }
    let (height, width) = conv.result_size();
    let mut met = vec![0.0; conv.images * conv.inputs * height * width];
    let planes = input.par_chunks_exact(conv.height * conv.width);
    met.par_chunks_exact_mut(height * width)
        .zip(planes)
        .for_each(|(met, plane)| {
            let rows = plane.chunks_exact(conv.width).step_by(conv.stride);
            for (met, row) in met.chunks_exact_mut(width).zip(rows) {
                every(isa, row, conv.stride, met);
            }
        });
    let conv = Conv {
        height,
        width,
        stride: 1,
        ..*conv
    };
    (conv, Cow::Owned(met))
}

/// Computes a convolution of stride 1 and its tail, `[images, outputs, rows, columns]`, with the
/// weights of all outputs.
fn run_blocks(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    before: Option<Before<'_>>,
    input: &[f32],
    blocks: &[Block],
) -> Vec<f32> {
    let plane = conv.height * conv.width;
    let (vector, pixels) = (isa.block(), conv.images * plane);
    let tiles = pixels.div_ceil(vector);
    // Panels that stay in the second-level cache. The division doesn't change the values.
    let tiles_per_panel = (STRIP_LEN / 2 / (conv.inputs * vector))
        .min(tiles.div_ceil(TASKS))
        .max(1);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let out = SharedMut::new(out);
        let panels = tiles.div_ceil(tiles_per_panel);
        (0..panels).into_par_iter().for_each(|task| {
            let first = task * tiles_per_panel * vector;
            let count = pixels.min(first + tiles_per_panel * vector) - first;
            let panel = Panel {
                conv,
                tail,
                before,
                blocks,
                first,
                count,
                plane,
                out,
            };
            let len = count.next_multiple_of(vector) * conv.inputs;
            with_scratch(len, |packed| run_panel(isa, &panel, input, packed));
        });
    };
    // SAFETY: panels cover all pixels, and each stores its pixels of every output.
    unsafe { filled(conv.output_len(tail), fill) }
}

/// The weights of some outputs.
struct Block {
    /// First output, and their number.
    first: usize,
    count: usize,
    /// Outputs in each of the two rows of a tile; the last may be missing.
    width: usize,
    /// `[input][row][output in row]`, with zeros for missing outputs.
    weights: Vec<f32>,
    /// One value per output of the tile.
    bias: [f32; OUTPUTS],
}

impl Block {
    /// Divides the outputs evenly, because small tiles are slow.
    fn all(isa: Isa, conv: &Conv, weight: impl Fn(usize, usize) -> f32, bias: &[f32]) -> Vec<Self> {
        let most = 2 * isa.positions();
        let size = conv.outputs.div_ceil(conv.outputs.div_ceil(most));
        let block = |first: usize| {
            let count = size.min(conv.outputs - first);
            let width = count.div_ceil(2);
            let mut weights = vec![0.0; conv.inputs * 2 * width];
            for (input, weights) in weights.chunks_exact_mut(2 * width).enumerate() {
                let outputs = weights.iter_mut().take(count).enumerate();
                outputs.for_each(|(output, value)| *value = weight(first + output, input));
            }
            let bias = std::array::from_fn(|at| {
                let value = bias.get(first + at).filter(|_| at < count);
                value.copied().unwrap_or(0.0)
            });
            Self {
                first,
                count,
                width,
                weights,
                bias,
            }
        };
        (0..conv.outputs).step_by(size).map(block).collect()
    }
}

/// Some pixels with all their channels.
struct Panel<'a> {
    conv: &'a Conv,
    tail: Tail,
    before: Option<Before<'a>>,
    blocks: &'a [Block],
    /// First pixel, counted through all images, and their number.
    first: usize,
    count: usize,
    /// Pixels of an image.
    plane: usize,
    out: SharedMut<MaybeUninit<f32>>,
}

per_isa! {
    /// Computes a panel; `packed` is working memory.
    fn run_panel(panel: &Panel<'_>, input: &[f32], packed: &mut [f32]) = panel_kernel
}

/// Computes a panel's pixels of all outputs, block by block, and stores them in their planes;
/// `packed` is working memory for the pixels as `[tile][input][pixel]`.
///
/// # Safety
/// The CPU must have the instruction set, and no other task may hold a panel of the same pixels.
#[inline(always)]
unsafe fn panel_kernel<S: Simd, const NV: usize>(
    panel: &Panel<'_>,
    input: &[f32],
    packed: &mut [f32],
) {
    let vector = NV * S::LANES;
    let tile_len = panel.conv.inputs * vector;
    assert!(packed.len() == panel.count.div_ceil(vector) * tile_len);
    // SAFETY: the caller promises the instruction set; the length is checked above.
    unsafe { pack::<S, NV>(panel, input, packed) };
    for block in panel.blocks {
        assert!(block.weights.len() == panel.conv.inputs * 2 * block.width);
        for (index, packed) in packed.chunks_exact(tile_len).enumerate() {
            // SAFETY: the caller promises the instruction set and that the pixels are this task's
            // alone; the lengths are checked above.
            unsafe {
                match block.width {
                    1 => tile_at::<S, NV, 1>(panel, block, index, packed),
                    2 => tile_at::<S, NV, 2>(panel, block, index, packed),
                    3 => tile_at::<S, NV, 3>(panel, block, index, packed),
                    4 => tile_at::<S, NV, 4>(panel, block, index, packed),
                    5 => tile_at::<S, NV, 5>(panel, block, index, packed),
                    _ => tile_at::<S, NV, { OUTPUTS / 2 }>(panel, block, index, packed),
                }
            }
        }
    }
}

/// Packs the pixels as `[tile][input][pixel]`. What lies behind the last pixel is never stored.
///
/// # Safety
/// The CPU must have the instruction set, and `packed` have room for all tiles.
#[inline(always)]
unsafe fn pack<S: Simd, const NV: usize>(panel: &Panel<'_>, input: &[f32], packed: &mut [f32]) {
    let (inputs, plane, vector) = (panel.conv.inputs, panel.plane, NV * S::LANES);
    for channel in 0..inputs {
        let (mut image, mut at) = (panel.first / plane, panel.first % plane);
        for (index, start) in (0..panel.count).step_by(vector).enumerate() {
            let to = &mut packed[(index * inputs + channel) * vector..][..vector];
            let from = &input[(image * inputs + channel) * plane + at..];
            if at + vector <= plane {
                for v in (0..vector).step_by(S::LANES) {
                    // SAFETY: as promised by the caller; this vector lies in the plane, and `to`
                    // has whole vectors.
                    unsafe { S::store(to.as_mut_ptr().add(v), S::load(from.as_ptr().add(v))) };
                }
            } else {
                let pixels = panel.first + start..panel.first + panel.count;
                to.fill(0.0);
                for (to, pixel) in to.iter_mut().zip(pixels) {
                    *to = input[(pixel / plane * inputs + channel) * plane + pixel % plane];
                }
            }
            if let Some(before) = &panel.before {
                // SAFETY: as promised by the caller; `to` has whole vectors.
                unsafe { before.apply::<S>(channel, to) };
            }
            at += vector;
            while at >= plane {
                (image, at) = (image + 1, at - plane);
            }
        }
    }
}

impl Before<'_> {
    /// Replaces whole vectors of a channel's values.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    unsafe fn apply<S: Simd>(&self, channel: usize, values: &mut [f32]) {
        for vector in values.chunks_exact_mut(S::LANES) {
            // SAFETY: as promised by the caller.
            unsafe {
                let (scale, shift) = (S::splat(self.scale[channel]), S::splat(self.shift[channel]));
                let mut value = [S::fma(S::load(vector.as_ptr()), scale, shift)];
                apply_tail::<S>(&mut value, self.tail);
                S::store(vector.as_mut_ptr(), value[0]);
            }
        }
    }
}

/// Computes one vector of pixels of a block of outputs.
///
/// # Safety
/// The CPU must have the instruction set, `Q` be the block's width, `packed` and the block's
/// weights hold all inputs, and the pixels be this task's alone.
#[inline(always)]
unsafe fn tile_at<S: Simd, const NV: usize, const Q: usize>(
    panel: &Panel<'_>,
    block: &Block,
    index: usize,
    packed: &[f32],
) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut tile: Tile<S, NV, Q> = [[[S::splat(0.0); NV]; Q]; 2];
        for (r, row) in tile.iter_mut().enumerate() {
            for (q, vectors) in row.iter_mut().enumerate() {
                *vectors = [S::splat(block.bias[r * Q + q]); NV];
            }
        }
        let weights = block.weights.as_ptr();
        multiply::<S, NV, Q, 1, 1>(
            &mut tile,
            [weights, weights.add(Q)],
            2 * Q,
            packed.as_ptr(),
            panel.conv.inputs,
        );
        apply_tail::<S>(tile.as_flattened_mut().as_flattened_mut(), panel.tail);
        let outputs = tile.as_flattened().iter().enumerate().take(block.count);
        let start = index * NV * S::LANES;
        let len = (NV * S::LANES).min(panel.count - start);
        let Some(place) = panel.place(start, len).filter(|_| len == NV * S::LANES) else {
            for (at, vectors) in outputs {
                panel.store_parts::<S, NV>(block.first + at, start, vectors);
            }
            return;
        };
        for (at, vectors) in outputs {
            let place = place + (block.first + at) * panel.plane;
            let out = panel.out.slice(place, len).as_mut_ptr();
            for (v, vector) in vectors.iter().enumerate() {
                S::store(out.add(v * S::LANES).cast(), *vector);
            }
        }
    }
}

impl Panel<'_> {
    /// Returns where the pixels from `start` on, counted from the panel's first, lie in the first
    /// output of their image; `None` if they belong to two images.
    #[inline(always)]
    fn place(&self, start: usize, len: usize) -> Option<usize> {
        let (image, at) = (
            (self.first + start) / self.plane,
            (self.first + start) % self.plane,
        );
        (at + len <= self.plane).then_some(image * self.conv.outputs * self.plane + at)
    }

    /// Stores one output of the pixels from `start` on, counted from the panel's first, image by
    /// image.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and the pixels be this task's alone.
    #[inline(always)]
    unsafe fn store_parts<S: Simd, const NV: usize>(
        &self,
        output: usize,
        start: usize,
        vectors: &[S::V; NV],
    ) {
        let mut values = [0.0f32; 32];
        assert!(NV * S::LANES <= values.len());
        for (v, vector) in vectors.iter().enumerate() {
            // SAFETY: as promised by the caller; there is room for all vectors.
            unsafe { S::store(values.as_mut_ptr().add(v * S::LANES), *vector) };
        }
        let end = self.count.min(start + NV * S::LANES);
        for (pixel, value) in (self.first + start..self.first + end).zip(values) {
            let image = pixel / self.plane;
            let place = (image * self.conv.outputs + output) * self.plane + pixel % self.plane;
            // SAFETY: the pixel is this task's alone.
            let out = unsafe { self.out.slice(place, 1) };
            out[0].write(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, forward, forward_dense, tests::values};

    #[test]
    fn a_norm_before_the_convolution_is_applied_to_each_channel() {
        let conv = Conv {
            images: 3,
            inputs: 7,
            height: 5,
            width: 9,
            outputs: 20,
            kernel: 1,
            stride: 1,
            padding: 0,
            algorithm: Algorithm::Direct,
        };
        let (input, weight) = (values(conv.input_len(), 1), values(conv.weight_len(), 2));
        let (scale, shift, bias) = (values(7, 3), values(7, 4), values(20, 5));
        for before in [Tail::Linear, Tail::Relu, Tail::Relu6] {
            let normed = input.iter().enumerate().map(|(at, value)| {
                let channel = at / 45 % 7;
                let [least, most] = before.range();
                (value * scale[channel] + shift[channel]).clamp(least, most)
            });
            let normed: Vec<f32> = normed.collect();
            for isa in Isa::available() {
                let expected = forward(isa, &conv, Tail::Relu, &normed, &weight, Some(&bias));
                let before = Before {
                    scale: &scale,
                    shift: &shift,
                    tail: before,
                };
                let tensors = [&weight[..], &bias];
                let found = infer_normed(isa, &conv, Tail::Relu, before, &input, tensors);
                for (found, expected) in found.iter().zip(&expected.output) {
                    assert!((found - expected).abs() < 1e-5, "{isa:?} {before:?}");
                }
            }
        }
    }

    /// Few and many channels, vectors that belong to several images, and all widths of blocks.
    #[test]
    fn the_bytes_are_those_of_the_general_convolution() {
        for (images, inputs, [height, width], outputs, stride) in [
            (1, 1, [1, 1], 1, 1),
            (3, 5, [3, 7], 2, 1),
            (2, 24, [9, 8], 13, 1),
            (5, 7, [7, 7], 40, 1),
            (2, 9, [11, 6], 25, 2),
            (1, 33, [5, 16], 12, 1),
            (4, 3, [2, 3], 5, 2),
            (2, 8, [14, 17], 6, 2),
        ] {
            let conv = Conv {
                images,
                inputs,
                height,
                width,
                outputs,
                kernel: 1,
                stride,
                padding: 0,
                algorithm: Algorithm::Direct,
            };
            let (input, weight) = (values(conv.input_len(), 1), values(conv.weight_len(), 2));
            let bias = values(outputs, 3);
            for tail in [Tail::Linear, Tail::Relu, Tail::Relu6] {
                for isa in Isa::available() {
                    let found = forward(isa, &conv, tail, &input, &weight, Some(&bias));
                    let expected = forward_dense(isa, &conv, tail, &input, &weight, Some(&bias));
                    assert_eq!(found, expected, "{conv:?} {tail:?} {isa:?}");
                }
            }
        }
    }
}
