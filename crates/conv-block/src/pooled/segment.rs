//! Multiplies the nonzero gradients of a segment with one block of inputs.

use super::lists::Lists;
use crate::{
    simd::{Simd, per_isa},
    tile::{load_rows, store_rows},
};

/// The nonzero gradients of all outputs, to be multiplied with one block of inputs.
pub(super) struct Segment<'a> {
    pub(super) lists: &'a Lists,
    /// Packed image, from the segment's first pixel to the end of the block.
    pub(super) x: &'a [f32],
    /// Number of values in a row.
    pub(super) pitch: usize,
    /// Number of vectors in a run.
    pub(super) vectors: usize,
    /// Weights of this block; empty if the input's gradient isn't requested.
    pub(super) runs: &'a [f32],
}

per_isa! {
    /// Adds a segment to the gradient of the weights, `[output][kernel row][run]`, and to that of
    /// the input unless `dx` is empty.
    pub(super) fn add_segment(
        segment: &Segment<'_>,
        dx: &mut [f32],
        sums: &mut [f32],
    ) = segment_kernel
}

/// Adds each listed gradient, times the three runs of the image that it meets, to `sums`,
/// `[output][kernel row][run]`, and, times the weights, to the same runs of `dx` unless that is
/// empty.
///
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
    let lists = segment.lists;
    for (output, count) in lists.counts.iter().enumerate() {
        let values = &lists.values[output * lists.capacity..][..*count];
        let offsets = &lists.offsets[output * lists.capacity..][..*count];
        for first in (0..3).step_by(ROWS) {
            let start = (output * 3 + first) * VECTORS * S::LANES;
            // SAFETY: as promised by the caller; the lengths are checked in `segment_kernel`.
            unsafe {
                let at = sums.as_mut_ptr().add(start);
                let mut acc: [[S::V; VECTORS]; ROWS] = load_rows::<S, ROWS, VECTORS>(at);
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
                store_rows::<S, ROWS, VECTORS>(at, &acc);
                if dx.is_empty() {
                    continue;
                }
                let weights: [[S::V; VECTORS]; ROWS] =
                    load_rows::<S, ROWS, VECTORS>(segment.runs.as_ptr().add(start));
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
