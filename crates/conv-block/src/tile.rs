//! The register tile of all dense work: two rows of `Q` positions by `NV` vectors of channels.

use crate::{shape::Tail, simd::Simd};

/// Sums of two rows of `Q` positions, each of `NV` vectors of channels.
pub(crate) type Tile<S, const NV: usize, const Q: usize> = [[[<S as Simd>::V; NV]; Q]; 2];

/// Returns the most positions in a row of a tile, 6 or 3: two rows of vectors fill the registers.
pub(crate) const fn positions<S: Simd, const NV: usize>() -> usize {
    if S::SUMS >= 2 * 6 * NV { 6 } else { 3 }
}

/// Computes `tile[r][q] += a[r][k * a_step + t + q * STEP] * b[(k * T + t) * NV * LANES..]` for all
/// `k < count` and `t < T`. Each value of `a` is broadcast to a vector; each vector of `b` holds
/// channels.
///
/// # Safety
/// The CPU must have the instruction set, and all values named above must be readable.
#[inline(always)]
pub(crate) unsafe fn multiply<
    S: Simd,
    const NV: usize,
    const Q: usize,
    const T: usize,
    const STEP: usize,
>(
    tile: &mut Tile<S, NV, Q>,
    a: [*const f32; 2],
    a_step: usize,
    b: *const f32,
    count: usize,
) {
    // A local copy whose address is never taken stays in registers.
    let mut sums = *tile;
    let (mut a0, mut a1, mut b) = (a[0], a[1], b);
    for _ in 0..count {
        for t in 0..T {
            // Otherwise the compiler loads values of `a` early and keeps them in registers that the
            // sums need.
            (a0, a1) = (S::hide(a0), S::hide(a1));
            // SAFETY: the caller promises the instruction set and that these values can be read.
            unsafe {
                let mut vectors = [S::splat(0.0); NV];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    *vector = S::load(b.add((t * NV + v) * S::LANES));
                }
                for q in 0..Q {
                    let x = S::splat(*a0.add(t + q * STEP));
                    for v in 0..NV {
                        sums[0][q][v] = S::fma(x, vectors[v], sums[0][q][v]);
                    }
                    let x = S::splat(*a1.add(t + q * STEP));
                    for v in 0..NV {
                        sums[1][q][v] = S::fma(x, vectors[v], sums[1][q][v]);
                    }
                }
            }
        }
        // The last step may leave the buffers, where `add` would be undefined; nothing is read from
        // there.
        (a0, a1, b) = (
            a0.wrapping_add(a_step),
            a1.wrapping_add(a_step),
            b.wrapping_add(T * NV * S::LANES),
        );
    }
    *tile = sums;
}

/// Applies ReLU, and the limit of ReLU6, to the vectors of a tile.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
pub(crate) unsafe fn apply_tail<S: Simd>(vectors: &mut [S::V], tail: Tail) {
    if tail == Tail::Linear {
        return;
    }
    for value in vectors {
        // SAFETY: as promised by the caller.
        unsafe {
            *value = S::relu(*value, *value, *value).0;
            if tail == Tail::Relu6 {
                *value = S::at_most(*value, S::splat(6.0));
            }
        }
    }
}

/// Loads rows of vectors that lie one after the other.
///
/// # Safety
/// The CPU must have the instruction set, and `from` must point to all values.
#[inline(always)]
pub(crate) unsafe fn load_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(
    from: *const f32,
) -> [[S::V; VECTORS]; ROWS] {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut rows = [[S::splat(0.0); VECTORS]; ROWS];
        for (r, row) in rows.iter_mut().enumerate() {
            for (v, vector) in row.iter_mut().enumerate() {
                *vector = S::load(from.add((r * VECTORS + v) * S::LANES));
            }
        }
        rows
    }
}

/// Stores rows of vectors one after the other.
///
/// # Safety
/// The CPU must have the instruction set, and `to` must have room for all values.
#[inline(always)]
pub(crate) unsafe fn store_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(
    to: *mut f32,
    rows: &[[S::V; VECTORS]; ROWS],
) {
    for (r, row) in rows.iter().enumerate() {
        for (v, vector) in row.iter().enumerate() {
            // SAFETY: as promised by the caller.
            unsafe { S::store(to.add((r * VECTORS + v) * S::LANES), *vector) };
        }
    }
}
