//! Sums over a batch that don't depend on the number of threads. The images are divided into groups
//! by the shape alone; each group is summed in order, and so are the groups.

use std::ops::Range;

use rayon::prelude::*;

/// Largest number of values in the partial sums of all groups together.
const SUMS_LEN: usize = 16 * 1024 * 1024;

/// Runs `work` on each group of images with `len` zeroed sums of its own, and returns the total of
/// all groups' sums.
pub(crate) fn sum_over_images(
    images: usize,
    len: usize,
    work: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let groups = (SUMS_LEN / len.max(1)).clamp(2, 16).min(images);
    let mut sums = vec![0.0; groups * len];
    sums.par_chunks_mut(len)
        .enumerate()
        .for_each(|(group, sums)| {
            work(group * images / groups..(group + 1) * images / groups, sums);
        });
    total(sums, len)
}

/// Returns the total of groups of `len` sums each, added in order.
pub(crate) fn total(mut sums: Vec<f32>, len: usize) -> Vec<f32> {
    let (total, others) = sums.split_at_mut(len);
    total
        .par_chunks_mut(4096)
        .enumerate()
        .for_each(|(part, total)| {
            for other in others.chunks_exact(len) {
                for (total, value) in total.iter_mut().zip(&other[part * 4096..]) {
                    *total += value;
                }
            }
        });
    sums.truncate(len);
    sums
}
