//! Tiles of pixels by one or two vectors of channels, whose sums stay in registers.

use super::super::weights::Panel;
use crate::{activation::Activation, shape::Tail, simd::Simd, tile::apply_tail};

/// Number of pixels of a tile of one vector of channels.
pub(super) const PIXELS: usize = 12;

/// Strides of the values that a tile multiplies, in values.
pub(super) struct Steps {
    /// From one pixel to the next.
    pub(super) pixel: usize,
    /// From one channel of a block to the next, and from one block of channels to the next.
    pub(super) channel: usize,
    pub(super) block: usize,
    /// Blocks, and channels of each.
    pub(super) blocks: usize,
    pub(super) channels: usize,
}

/// Computes `sums[p] += a[p * pixel + k * channel + b * block] * weights[b, k]` over all blocks
/// `b` and their channels `k`, with a vector of outputs to each weight.
///
/// # Safety
/// The CPU must have the instruction set, and all values named above must be readable.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, const V: usize, const P: usize>(
    sums: &mut [[S::V; V]; P],
    a: *const f32,
    steps: &Steps,
    weights: *const f32,
) {
    // A local copy whose address is never taken stays in registers.
    let mut tile = *sums;
    let (mut block, mut weights) = (a, weights);
    for _ in 0..steps.blocks {
        let mut a = block;
        for _ in 0..steps.channels {
            // Otherwise the compiler loads values early, into registers that the sums need.
            a = S::hide(a);
            // SAFETY: the caller promises the instruction set and that these values can be read.
            unsafe {
                let mut vectors = [S::splat(0.0); V];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    *vector = S::load(weights.add(v * S::LANES));
                }
                for (p, sums) in tile.iter_mut().enumerate() {
                    let x = S::splat(*a.add(p * steps.pixel));
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        *sum = S::fma(x, vector, *sum);
                    }
                }
            }
            // The last step may leave the buffers; nothing is read from there.
            a = a.wrapping_add(steps.channel);
            weights = weights.wrapping_add(V * S::LANES);
        }
        block = block.wrapping_add(steps.block);
    }
    *sums = tile;
}

/// Returns where the tiles of `P` pixels begin; the last reaches back into the one before. A strip
/// of fewer pixels has tiles of one.
///
/// Loops over it are written out, as vector operations in a closure aren't inlined.
#[inline(always)]
pub(super) fn tiles<const P: usize>(num_pixels: usize) -> impl Iterator<Item = usize> {
    let step = if num_pixels < P { 1 } else { P };
    let last = num_pixels.saturating_sub(step);
    (0..num_pixels)
        .step_by(step)
        .map(move |start| start.min(last))
}

/// Whether tiles apply the function before they are stored; others take a pass of their own.
#[inline(always)]
pub(super) fn is_of_registers(function: Activation) -> bool {
    tail_of(function).is_some()
}

#[inline(always)]
fn tail_of(function: Activation) -> Option<Tail> {
    match function {
        Activation::Linear => Some(Tail::Linear),
        Activation::Relu => Some(Tail::Relu),
        Activation::Relu6 => Some(Tail::Relu6),
        _ => None,
    }
}

/// Applies a function to the vectors of a tile, if it is one of [`tail_of`].
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
pub(super) unsafe fn limit<S: Simd>(vectors: &mut [S::V], function: Activation) {
    if let Some(tail) = tail_of(function) {
        // SAFETY: as promised by the caller.
        unsafe { apply_tail::<S>(vectors, tail) };
    }
}

/// Loads a panel's bias.
///
/// # Safety
/// The CPU must have the instruction set, and the panel have `V` vectors.
#[inline(always)]
pub(super) unsafe fn bias_of<S: Simd, const V: usize>(panel: &Panel) -> [S::V; V] {
    assert!(panel.bias.len() == V * S::LANES);
    // SAFETY: as promised by the caller; the length was checked above.
    unsafe {
        let mut vectors = [S::splat(0.0); V];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = S::load(panel.bias.as_ptr().add(v * S::LANES));
        }
        vectors
    }
}
