//! The register tiles of two rows of results, with their tails.

use crate::{
    shape::{DEAD, Tail},
    simd::Simd,
    tile::{Tile, apply_tail, multiply, positions},
};

/// Two rows of results to compute for one block of outputs.
pub(super) struct Pair<'a> {
    pub(super) inputs: usize,
    /// Columns to compute.
    pub(super) columns: usize,
    pub(super) tail: Tail,
    pub(super) packed: &'a [f32],
    /// Columns of a packed row.
    pub(super) width: usize,
    /// The first row, counted from the strip's.
    pub(super) row: usize,
    pub(super) weights: &'a [f32],
    pub(super) bias: &'a [f32],
}

/// Computes two rows into `sums`: values of `[row][column][output]`, or pooled values and then
/// codes.
///
/// # Safety
/// The CPU must have the instruction set. `packed` must hold the rows of the strip, `weights` and
/// `bias` a whole block, and `sums` two rows of an even number of columns with a block each.
#[inline(always)]
pub(super) unsafe fn row_pair<S: Simd, const NV: usize, const T: usize, const STEP: usize>(
    pair: &Pair<'_>,
    sums: &mut [f32],
) {
    let columns = pair.columns.next_multiple_of(2);
    let most = match (positions::<S, NV>(), pair.tail) {
        // Cells have two columns.
        (3, Tail::ReluPool) => 2,
        (most, _) => most,
    };
    let mut column = 0;
    while column < columns {
        let left = columns - column;
        // Four columns are two tiles of two, as a tile of one would take as long.
        let width = if left < most || (left, most) == (4, 3) {
            most.min(left) & !1
        } else {
            most
        };
        // SAFETY: as promised by the caller; a tile ends at the last column at most.
        unsafe {
            match width {
                2 => tile_at::<S, NV, 2, T, STEP>(pair, column, sums),
                3 => tile_at::<S, NV, 3, T, STEP>(pair, column, sums),
                4 => tile_at::<S, NV, 4, T, STEP>(pair, column, sums),
                _ => tile_at::<S, NV, 6, T, STEP>(pair, column, sums),
            }
        }
        column += width;
    }
}

/// Computes one tile of two rows by `Q` columns.
///
/// # Safety
/// As for [`row_pair`]; the tile must end at the last column at most.
#[inline(always)]
unsafe fn tile_at<S: Simd, const NV: usize, const Q: usize, const T: usize, const STEP: usize>(
    pair: &Pair<'_>,
    column: usize,
    sums: &mut [f32],
) {
    let (inputs, columns) = (pair.inputs, pair.columns);
    let row_len = inputs * pair.width;
    // SAFETY: as promised by the caller, all values of the tile's rows, weights and bias can be
    // read.
    unsafe {
        let mut tile: Tile<S, NV, Q> = [[[S::splat(0.0); NV]; Q]; 2];
        for v in 0..NV {
            let bias = S::load(pair.bias.as_ptr().add(v * S::LANES));
            for q in 0..Q {
                tile[0][q][v] = bias;
                tile[1][q][v] = bias;
            }
        }
        for k in 0..T {
            let a0 = pair
                .packed
                .as_ptr()
                .add((pair.row * STEP + k) * row_len + column * STEP);
            let a1 = a0.add(STEP * row_len);
            let weights = pair.weights.as_ptr().add(k * inputs * T * NV * S::LANES);
            multiply::<S, NV, Q, T, STEP>(&mut tile, [a0, a1], pair.width, weights, inputs);
        }
        match pair.tail {
            Tail::Linear | Tail::Relu | Tail::Relu6 => {
                apply_tail::<S>(tile.as_flattened_mut().as_flattened_mut(), pair.tail);
                store_tile::<S, NV, Q>(&tile, columns, column, sums);
            }
            Tail::ReluPool => pool_tile::<S, NV, Q>(&tile, columns / 2, column / 2, sums),
        }
    }
}

/// Stores a tile as `[row][column][output]`.
///
/// # Safety
/// As for [`tile_at`].
#[inline(always)]
unsafe fn store_tile<S: Simd, const NV: usize, const Q: usize>(
    tile: &Tile<S, NV, Q>,
    columns: usize,
    column: usize,
    sums: &mut [f32],
) {
    let columns = columns.next_multiple_of(2);
    for (r, row) in tile.iter().enumerate() {
        for (q, position) in row.iter().enumerate() {
            for (v, vector) in position.iter().enumerate() {
                // SAFETY: as promised by the caller, `sums` has room for both rows.
                unsafe {
                    S::store(
                        sums.as_mut_ptr()
                            .add(((r * columns + column + q) * NV + v) * S::LANES),
                        *vector,
                    )
                };
            }
        }
    }
}

/// Stores the largest value of each cell, and its code behind all values, as `[cell][output]` each.
///
/// # Safety
/// As for [`tile_at`].
#[inline(always)]
unsafe fn pool_tile<S: Simd, const NV: usize, const Q: usize>(
    tile: &Tile<S, NV, Q>,
    cells: usize,
    cell: usize,
    sums: &mut [f32],
) {
    // SAFETY: as promised by the caller; values and codes of a row of cells take as much room as
    // one row of results each.
    unsafe {
        let code = [S::splat(0.0), S::splat(1.0), S::splat(2.0), S::splat(3.0)];
        let dead = S::splat(f32::from(DEAD));
        for c in 0..Q / 2 {
            for v in 0..NV {
                let (best, found) = (tile[0][2 * c][v], code[0]);
                let (best, found) = S::keep_max(best, found, tile[0][2 * c + 1][v], code[1]);
                let (best, found) = S::keep_max(best, found, tile[1][2 * c][v], code[2]);
                let (best, found) = S::keep_max(best, found, tile[1][2 * c + 1][v], code[3]);
                let (best, found) = S::relu(best, found, dead);
                let at = sums.as_mut_ptr().add(((cell + c) * NV + v) * S::LANES);
                S::store(at, best);
                S::store(at.add(cells * NV * S::LANES), found);
            }
        }
    }
}
