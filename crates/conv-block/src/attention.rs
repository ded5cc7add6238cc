//! Self-attention of networks that don't learn (Vaswani et al. 2017, arXiv 1706.03762).
//!
//! A task is a head of an image. It takes a block of queries at a time, whose products with all
//! keys stay in the cache until the values are weighted by their softmax.

use rayon::prelude::*;

use crate::{
    activation::exp,
    scratch::with_scratch,
    simd::{Isa, Simd, per_isa},
};

/// Keys, or channels of values, of a tile.
const ROWS: usize = 4;

/// Returns the mean of the values, weighted by the softmax of the products of a position's query
/// and all keys, which are divided by the root of a head's number of channels.
///
/// # Shapes
/// `parts` is `[images, 3, heads, channels of a head, positions]`: queries, keys and values.
/// Returns `[images, heads, channels of a head, positions]`.
///
/// # Panics
/// Panics if `parts` has another length than its shape says.
pub fn attention(
    isa: Isa,
    [images, heads, channels, positions]: [usize; 4],
    parts: &[f32],
) -> Vec<f32> {
    let of_head = channels * positions;
    assert_eq!(parts.len(), images * 3 * heads * of_head, "parts");
    let mut means = vec![0.0; images * heads * of_head];
    let each = means.par_chunks_mut(of_head.max(1)).enumerate();
    each.for_each(|(index, means)| {
        let (image, head) = (index / heads, index % heads);
        let part = |part: usize| &parts[((image * 3 + part) * heads + head) * of_head..][..of_head];
        // Taken out here, because a closure is compiled without the instruction set.
        let len = (2 * channels + positions + 1) * isa.block();
        with_scratch(len, |scratch| {
            attend(isa, positions, [0, 1, 2].map(part), scratch, means)
        });
    });
    means
}

per_isa! {
    /// Computes the means of a head from queries, keys and values, `[channels, positions]` each.
    fn attend(positions: usize, parts: [&[f32]; 3], scratch: &mut [f32], means: &mut [f32]) =
        attend_kernel
}

/// Computes the means of a head, `[channels, positions]`, from queries, keys and values of the same
/// shape, a block of queries at a time; `scratch` is working memory.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn attend_kernel<S: Simd, const NV: usize>(
    positions: usize,
    [queries, keys, values]: [&[f32]; 3],
    scratch: &mut [f32],
    means: &mut [f32],
) {
    let width = NV * S::LANES;
    let channels = means.len() / positions;
    let scale = 1.0 / (channels as f32).sqrt();
    let (block, rest) = scratch.split_at_mut(channels * width);
    let (mean, rest) = rest.split_at_mut(channels * width);
    let (sums, rest) = rest.split_at_mut(width);
    let products = &mut rest[..positions * width];
    for first in (0..positions).step_by(width) {
        let count = width.min(positions - first);
        block.fill(0.0);
        for (row, queries) in block
            .chunks_exact_mut(width)
            .zip(queries.chunks_exact(positions))
        {
            let queries = &queries[first..first + count];
            row.iter_mut()
                .zip(queries)
                .for_each(|(to, from)| *to = from * scale);
        }
        // SAFETY: as promised by the caller.
        unsafe { multiply::<S, NV>(keys, [1, positions], block, products) };
        exponentials(products, sums);
        // SAFETY: as promised by the caller.
        unsafe { multiply::<S, NV>(values, [positions, 1], products, mean) };
        for (means, mean) in means
            .chunks_exact_mut(positions)
            .zip(mean.chunks_exact(width))
        {
            let means = &mut means[first..first + count];
            for ((to, mean), sum) in means.iter_mut().zip(mean).zip(&*sums) {
                *to = mean / sum;
            }
        }
    }
}

/// Replaces the products of each query by the exponentials of their distances from the largest, and
/// writes their sums. A row of `products` has those of a key with all queries of the block.
#[inline(always)]
fn exponentials(products: &mut [f32], sums: &mut [f32]) {
    let width = sums.len();
    // The largest products, in the place of the sums.
    sums.fill(f32::NEG_INFINITY);
    for row in products.chunks_exact(width) {
        for (most, product) in sums.iter_mut().zip(row) {
            *most = if *product > *most { *product } else { *most };
        }
    }
    for row in products.chunks_exact_mut(width) {
        for (product, most) in row.iter_mut().zip(&*sums) {
            *product = exp(*product - most);
        }
    }
    sums.fill(0.0);
    for row in products.chunks_exact(width) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, product)| *sum += product);
    }
}

/// Computes the product of a matrix and a block of `NV` vectors a row. `strides` are the distances
/// of the matrix's rows and columns.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn multiply<S: Simd, const NV: usize>(
    matrix: &[f32],
    strides: [usize; 2],
    block: &[f32],
    product: &mut [f32],
) {
    let width = NV * S::LANES;
    let (depth, rows) = (block.len() / width, product.len() / width);
    assert_eq!(matrix.len(), rows * depth, "a matrix of this many rows");
    let whole = rows - rows % ROWS;
    for row in (0..whole).step_by(ROWS) {
        // SAFETY: the CPU is as promised, and the rows lie within the matrix and the product.
        unsafe { tile::<S, NV, ROWS>(matrix, strides, block, row, product) };
    }
    for row in whole..rows {
        // SAFETY: as above.
        unsafe { tile::<S, NV, 1>(matrix, strides, block, row, product) };
    }
}

/// Computes `R` rows of a product from `row` on.
///
/// # Safety
/// The CPU must have the instruction set, and the rows lie within the matrix and the product.
#[inline(always)]
unsafe fn tile<S: Simd, const NV: usize, const R: usize>(
    matrix: &[f32],
    [down, across]: [usize; 2],
    block: &[f32],
    row: usize,
    product: &mut [f32],
) {
    let width = NV * S::LANES;
    // SAFETY: the caller promises the CPU, and that the rows lie within the matrix and the product;
    // columns are as many as the block has rows.
    unsafe {
        let mut sums = [[S::splat(0.0); NV]; R];
        for column in 0..block.len() / width {
            let mut vectors = [S::splat(0.0); NV];
            for vector in 0..NV {
                vectors[vector] = S::load(block.as_ptr().add(column * width + vector * S::LANES));
            }
            for at in 0..R {
                let factor = *matrix.get_unchecked((row + at) * down + column * across);
                let factor = S::splat(factor);
                for vector in 0..NV {
                    sums[at][vector] = S::fma(factor, vectors[vector], sums[at][vector]);
                }
            }
        }
        for at in 0..R {
            for vector in 0..NV {
                let to = product.as_mut_ptr();
                S::store(
                    to.add((row + at) * width + vector * S::LANES),
                    sums[at][vector],
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_weighted_by_the_softmax_of_products() {
        for [images, heads, channels, positions] in
            [[1, 1, 1, 1], [2, 3, 5, 17], [1, 2, 8, 33], [1, 1, 6, 70]]
        {
            let of_head = channels * positions;
            let value = |at: usize| ((at * 7919 + at * at % 83 * 31) % 251) as f32 / 60.0 - 2.0;
            let parts: Vec<f32> = (0..images * 3 * heads * of_head).map(value).collect();
            let at = |image: usize, part: usize, head: usize, channel: usize, position: usize| {
                let head = (image * 3 + part) * heads + head;
                f64::from(parts[(head * channels + channel) * positions + position])
            };
            let mut expected = Vec::new();
            for (image, head) in (0..images).flat_map(|i| (0..heads).map(move |h| (i, h))) {
                for channel in 0..channels {
                    for query in 0..positions {
                        let product = |key: usize| {
                            let each = (0..channels).map(|channel| {
                                at(image, 0, head, channel, query)
                                    * at(image, 1, head, channel, key)
                            });
                            (each.sum::<f64>() / (channels as f64).sqrt()).exp()
                        };
                        let sum: f64 = (0..positions).map(product).sum();
                        let mean: f64 = (0..positions)
                            .map(|key| product(key) / sum * at(image, 2, head, channel, key))
                            .sum();
                        expected.push(mean);
                    }
                }
            }
            for isa in Isa::available() {
                let found = attention(isa, [images, heads, channels, positions], &parts);
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(
                        (f64::from(*found) - expected).abs() < 2e-6,
                        "{isa:?}: {found}, not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_nan_reaches_what_depends_on_it() {
        let mut parts = vec![0.5; 3 * 2 * 4 * 9];
        // A key of the first of two heads.
        parts[2 * 4 * 9] = f32::NAN;
        for isa in Isa::available() {
            let found = attention(isa, [1, 2, 4, 9], &parts);
            let (first, second) = found.split_at(4 * 9);
            assert!(first.iter().all(|value| value.is_nan()), "{isa:?}");
            assert!(second.iter().all(|value| *value == 0.5), "{isa:?}");
        }
    }
}
