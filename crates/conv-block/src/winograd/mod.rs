//! 3x3 convolution with stride 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2015,
//! arXiv 1509.09308): 36 products for 16 results instead of 144. Its rounding errors are two to
//! three times those of the direct sum.
//!
//! The image is divided into tiles of 4x4 results. The 6x6 patch under each is transformed, channel
//! by channel; at each of the 36 places of a transformed patch, a matrix product over the channels
//! follows; its results are transformed back. Groups of tiles pass all three stages, so that what
//! lies between fits the caches.

mod gradient;
mod patches;
mod results;
mod tiling;
mod transforms;
mod weights;

use std::mem::MaybeUninit;

use rayon::prelude::*;

pub(crate) use self::{
    gradient::{is_faster as is_faster_for_weights, weight_gradients},
    weights::Weights,
};
use self::{
    patches::{Patches, transform_patches},
    results::{Results, transform_sums},
    tiling::{GROUP, PLACES, SIDE, is_possible, pitch, tiles},
    weights::transform_weights,
};
use crate::{
    scratch::{SharedMut, filled, with_scratch},
    shape::{Conv, Tail},
    simd::{Isa, Simd, per_isa},
    tile::{Tile, multiply, positions},
};

/// Most groups that pass the stages together. More would leave the second-level cache, fewer would
/// read the weights more often.
const GROUPS: usize = 8;

/// Images that [`is_faster`] assumes where an image must have the same results in any batch.
pub(crate) const BATCH: usize = 8;

/// Returns whether the algorithm may compute this convolution and is faster than the direct sum, by
/// the operations for an image in a batch of `images`, weighed as measured.
pub(crate) fn is_faster(conv: &Conv, images: usize) -> bool {
    if !is_possible(conv) {
        return false;
    }
    let (rows, columns) = conv.result_size();
    let tiles = (rows.div_ceil(SIDE) * columns.div_ceil(SIDE)) as f64;
    let (inputs, outputs) = (conv.inputs as f64, conv.outputs as f64);
    let places = PLACES as f64;
    let products = tiles * places * inputs * outputs;
    let patches = tiles * places * 32.0 * (inputs + outputs);
    let weights = 24.0 * places * inputs * outputs / images as f64;
    products + patches + weights < 9.0 * (rows * columns) as f64 * inputs * outputs
}

/// Computes the convolution and its tail, `[images, outputs, rows, columns]`.
pub(crate) fn run(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    input: &[f32],
    weights: Weights<'_>,
    bias: &[f32],
) -> Vec<f32> {
    let mut padded_bias = bias.to_vec();
    padded_bias.resize(conv.outputs.next_multiple_of(isa.block()), 0.0);
    let tensors = [input, &padded_bias];
    // SAFETY: tiles cover the result, and each stores its part of every output.
    unsafe {
        filled(conv.output_len(tail), |out| {
            fill(isa, conv, tail, tensors, weights, out);
        })
    }
}

fn fill(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    [input, bias]: [&[f32]; 2],
    weights: Weights<'_>,
    out: &mut [MaybeUninit<f32>],
) {
    let tiles = tiles(conv);
    let outputs = conv.outputs.next_multiple_of(isa.block());
    // Few tiles are divided so that every thread has work. The division doesn't change the values.
    let groups = tiles
        .div_ceil(2 * GROUP * rayon::current_num_threads())
        .clamp(1, GROUPS);
    let out = SharedMut::new(out);
    // Scratch, because clearing fresh memory would take as long as the transform.
    with_scratch(
        PLACES * pitch(conv.inputs * isa.block()) * outputs / isa.block(),
        |transformed| {
            transform_weights(isa, conv, weights, transformed);
            (0..tiles.div_ceil(groups * GROUP))
                .into_par_iter()
                .for_each(|task| {
                    let first = task * groups * GROUP;
                    let tiles = first..(first + groups * GROUP).min(tiles);
                    let groups = tiles.len().div_ceil(GROUP);
                    let strip = Strip {
                        input,
                        weights: transformed,
                        results: Results {
                            conv,
                            tail,
                            bias,
                            tiles,
                            groups,
                            out,
                        },
                    };
                    with_scratch(groups * PLACES * pitch(conv.inputs * GROUP), |patches| {
                        with_scratch(groups * PLACES * GROUP * outputs, |sums| {
                            with_scratch(
                                PLACES * pitch(groups * GROUP)
                                    + Patches::new(conv, input, strip.results.tiles.clone())
                                        .line_len(),
                                |values| run_strip(isa, &strip, values, patches, sums),
                            );
                        });
                    });
                });
        },
    );
}

/// Some tiles with all their channels.
struct Strip<'a> {
    input: &'a [f32],
    /// From [`transform_weights`].
    weights: &'a [f32],
    results: Results<'a>,
}

per_isa! {
    /// Computes some tiles; `values`, `patches` and `sums` are working memory.
    fn run_strip(
        strip: &Strip<'_>,
        values: &mut [f32],
        patches: &mut [f32],
        sums: &mut [f32],
    ) = strip_kernel
}

/// Computes the results of a strip's tiles for all outputs, and stores them in their planes;
/// `values`, `patches` and `sums` are working memory.
///
/// # Safety
/// The CPU must have the instruction set. No other task may hold a strip with the same tiles.
#[inline(always)]
unsafe fn strip_kernel<S: Simd, const NV: usize>(
    strip: &Strip<'_>,
    values: &mut [f32],
    patches: &mut [f32],
    sums: &mut [f32],
) {
    let (conv, groups) = (strip.results.conv, strip.results.groups);
    let patches_of = Patches::new(conv, strip.input, strip.results.tiles.clone());
    let pitches = [pitch(groups * GROUP), pitch(conv.inputs * GROUP)];
    let (values, line) = values.split_at_mut(values.len() - patches_of.line_len());
    // Behind the last tile nothing is laid out.
    values.fill(0.0);
    for input in 0..conv.inputs {
        patches_of.lay_out(input, values, pitches[0], line);
        for (group, patches) in patches.chunks_exact_mut(PLACES * pitches[1]).enumerate() {
            for part in 0..GROUP.div_ceil(S::LANES) {
                // The last vector overlaps the one before, or reaches beyond the group: into the
                // next channel, which is written later, or the room behind the last.
                let first = (part * S::LANES).min(GROUP.saturating_sub(S::LANES));
                // SAFETY: the caller promises the instruction set; the function checks the lengths.
                unsafe {
                    transform_patches::<S>(
                        &values[group * GROUP + first..],
                        &mut patches[input * GROUP + first..],
                        pitches,
                    );
                }
            }
        }
    }
    // SAFETY: the caller promises the instruction set and that the tiles are this task's alone; the
    // functions check the lengths.
    unsafe {
        multiply_places::<S, NV>(strip, patches, sums);
        transform_sums::<S, NV>(&strip.results, sums);
    }
}

/// Multiplies the transformed patches, `[group][place][input][tile]`, with the weights at each
/// place into `sums`, `[block of outputs][group][place][tile][output in block]`.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn multiply_places<S: Simd, const NV: usize>(
    strip: &Strip<'_>,
    patches: &[f32],
    sums: &mut [f32],
) {
    let (conv, groups) = (strip.results.conv, strip.results.groups);
    let (block, inputs) = (NV * S::LANES, conv.inputs);
    let blocks = conv.outputs.div_ceil(block);
    assert_eq!(patches.len(), groups * PLACES * pitch(inputs * GROUP));
    assert_eq!(strip.weights.len(), blocks * PLACES * pitch(inputs * block));
    assert_eq!(sums.len(), blocks * groups * PLACES * GROUP * block);
    for place in 0..PLACES {
        for b in 0..blocks {
            let weights =
                &strip.weights[(b * PLACES + place) * pitch(inputs * block)..][..inputs * block];
            for group in 0..groups {
                let patches =
                    &patches[(group * PLACES + place) * pitch(inputs * GROUP)..][..inputs * GROUP];
                let sums = &mut sums[((b * groups + group) * PLACES + place) * GROUP * block..]
                    [..GROUP * block];
                // SAFETY: the caller promises the instruction set; each slice has the length that
                // its part of the product needs.
                unsafe {
                    if positions::<S, NV>() == GROUP / 2 {
                        multiply_tiles::<S, NV, { GROUP / 2 }>(patches, weights, inputs, sums);
                    } else {
                        let half = GROUP / 2;
                        multiply_tiles::<S, NV, { GROUP / 4 }>(patches, weights, inputs, sums);
                        multiply_tiles::<S, NV, { GROUP / 4 }>(
                            &patches[half..],
                            weights,
                            inputs,
                            &mut sums[half * block..],
                        );
                    }
                }
            }
        }
    }
}

/// Multiplies `2 * Q` tiles of a group at one place.
///
/// # Safety
/// The CPU must have the instruction set. From the first of the tiles on, `patches` must hold the
/// values of all inputs, and `sums` a block of outputs for each; `weights` hold a block.
#[inline(always)]
unsafe fn multiply_tiles<S: Simd, const NV: usize, const Q: usize>(
    patches: &[f32],
    weights: &[f32],
    inputs: usize,
    sums: &mut [f32],
) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut tile: Tile<S, NV, Q> = [[[S::splat(0.0); NV]; Q]; 2];
        let rows = [patches.as_ptr(), patches.as_ptr().add(Q)];
        multiply::<S, NV, Q, 1, 1>(&mut tile, rows, GROUP, weights.as_ptr(), inputs);
        for (index, vector) in tile.as_flattened().as_flattened().iter().enumerate() {
            S::store(sums.as_mut_ptr().add(index * S::LANES), *vector);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Saved, backward, forward, tests::values};

    #[test]
    fn equals_the_direct_sum_for_any_shape() {
        let shapes = [
            // images, inputs, height, width, outputs, padding
            [1, 1, 1, 1, 1, 1],
            [1, 3, 3, 5, 2, 0],
            [2, 5, 4, 4, 9, 1],
            [1, 7, 6, 13, 33, 0],
            [3, 40, 14, 9, 17, 1],
            [2, 17, 31, 45, 8, 1],
        ];
        // Miri is ten thousand times slower.
        for [images, inputs, height, width, outputs, padding] in
            shapes.into_iter().take(if cfg!(miri) { 3 } else { 6 })
        {
            let conv = Conv {
                images,
                inputs,
                height,
                width,
                outputs,
                kernel: 3,
                stride: 1,
                padding,
                algorithm: Algorithm::Direct,
            };
            let (input, weight, bias) = (
                values(conv.input_len(), 1),
                values(conv.weight_len(), 2),
                values(outputs, 3),
            );
            let weights = Weights::new(&conv, &weight);
            for isa in Isa::available() {
                for tail in [Tail::Linear, Tail::Relu, Tail::Relu6, Tail::ReluPool] {
                    for bias in [&bias[..], &[]] {
                        let direct = |tail| {
                            forward(
                                isa,
                                &conv,
                                tail,
                                &input,
                                &weight,
                                (!bias.is_empty()).then_some(bias),
                            )
                            .output
                        };
                        let scale = direct(Tail::Linear)
                            .iter()
                            .fold(1.0, |most: f32, value| most.max(value.abs()));
                        let (found, direct) =
                            (run(isa, &conv, tail, &input, weights, bias), direct(tail));
                        assert_eq!(found.len(), direct.len());
                        for (index, (found, direct)) in found.iter().zip(&direct).enumerate() {
                            let what = format!("{isa:?} {conv:?} {tail:?} [{index}]");
                            assert!(
                                (found - direct).abs() < 1e-5 * scale,
                                "{what}: {found}, not {direct}"
                            );
                        }
                    }
                }
            }
        }
    }

    /// Returns the largest magnitude, or one if all are smaller.
    fn largest(values: &[f32]) -> f32 {
        let values = values.iter().map(|value| value.abs());
        values.fold(1.0, f32::max)
    }

    #[test]
    fn a_block_that_learns_has_the_values_and_gradients_of_the_direct_sum() {
        // The last has three passes of strips.
        for [images, inputs, outputs, height, width] in [
            [8, 64, 80, 21, 34],
            [8, 100, 150, 12, 9],
            [3, 70, 80, 43, 61],
        ] {
            let conv = Conv {
                images,
                inputs,
                height,
                width,
                outputs,
                kernel: 3,
                stride: 1,
                padding: 1,
                algorithm: Algorithm::Fastest,
            };
            assert!(
                is_faster(&conv, conv.images) && is_faster_for_weights(&conv),
                "{conv:?}"
            );
            let direct = Conv {
                algorithm: Algorithm::Direct,
                ..conv
            };
            let (input, weight) = (values(conv.input_len(), 1), values(conv.weight_len(), 2));
            let bias = values(outputs, 3);
            for isa in Isa::available() {
                let sums = forward(isa, &direct, Tail::Linear, &input, &weight, Some(&bias)).output;
                for tail in [Tail::Linear, Tail::Relu, Tail::Relu6, Tail::ReluPool] {
                    let results = |conv: &Conv| {
                        let found = forward(isa, conv, tail, &input, &weight, Some(&bias));
                        // Both from the same output, or a value near zero would be learned from in
                        // one only.
                        let direct = forward(isa, &direct, tail, &input, &weight, Some(&bias));
                        let saved = Saved {
                            input: &input,
                            weight: &weight,
                            output: &direct.output,
                            codes: &direct.codes,
                        };
                        let mut grad = values(direct.output.len(), 4);
                        let grads = backward(isa, conv, tail, saved, &mut grad, true);
                        let of_input = grads.input.expect("wanted");
                        [found.output, of_input, grads.weight, grads.bias]
                    };
                    let pairs = results(&conv).into_iter().zip(results(&direct));
                    for (index, (found, direct)) in pairs.enumerate() {
                        let what = format!("{isa:?} {conv:?} {tail:?} [{index}]");
                        let scale = largest(if index == 0 { &sums } else { &direct });
                        // Pooling is direct anyway.
                        let is_same = tail == Tail::ReluPool;
                        assert!(index == 3 || (found == direct) == is_same, "{what}");
                        for (found, direct) in found.iter().zip(&direct) {
                            assert!(
                                (found - direct).abs() < 1e-5 * scale,
                                "{what}: {found}, not {direct}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_nan_reaches_every_result_that_it_belongs_to() {
        let conv = Conv {
            images: 1,
            inputs: 2,
            height: 9,
            width: 10,
            outputs: 3,
            kernel: 3,
            stride: 1,
            padding: 1,
            algorithm: Algorithm::Fastest,
        };
        let (mut input, weight) = (values(conv.input_len(), 1), values(conv.weight_len(), 2));
        input[4 * 10 + 5] = f32::NAN;
        for isa in Isa::available() {
            for (tail, cells) in [
                (Tail::Relu, [34, 45, 46, 56]),
                (Tail::ReluPool, [7, 8, 12, 13]),
            ] {
                let weights = Weights::new(&conv, &weight);
                let found = run(isa, &conv, tail, &input, weights, &[]);
                for output in found.chunks_exact(found.len() / 3) {
                    assert!(
                        cells.iter().all(|cell| output[*cell].is_nan()),
                        "{isa:?} {tail:?}"
                    );
                }
            }
        }
    }

    #[test]
    #[cfg_attr(
        miri,
        ignore = "idle threads of three pools keep Miri busy without end"
    )]
    fn the_bytes_are_the_same_for_any_number_of_threads() {
        let conv = Conv {
            images: 3,
            inputs: 5,
            height: 31,
            width: 45,
            outputs: 33,
            kernel: 3,
            stride: 1,
            padding: 1,
            algorithm: Algorithm::Fastest,
        };
        let (input, weight) = (values(conv.input_len(), 1), values(conv.weight_len(), 2));
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads");
            let weights = Weights::new(&conv, &weight);
            pool.install(|| {
                let results = run(Isa::best(), &conv, Tail::Relu, &input, weights, &[]);
                let gradients = weight_gradients(Isa::best(), &conv, &input, &results);
                (results, gradients)
            })
        };
        assert_eq!(with(1), with(8));
    }

    #[test]
    fn the_layers_of_vgg16_are_faster_and_those_of_few_channels_are_not() {
        let conv = |inputs, outputs, side| Conv {
            images: 8,
            inputs,
            height: side,
            width: side,
            outputs,
            kernel: 3,
            stride: 1,
            padding: 1,
            algorithm: Algorithm::Fastest,
        };
        for (inputs, outputs, side) in [
            (64, 64, 224),
            (128, 256, 56),
            (512, 512, 28),
            (512, 512, 14),
        ] {
            assert!(
                is_faster(&conv(inputs, outputs, side), BATCH),
                "{inputs} to {outputs} at {side}"
            );
        }
        assert!(
            !is_faster(&conv(3, 64, 224), BATCH)
                && !is_faster(&conv(16, 16, 224), BATCH)
                && !is_faster(&conv(512, 512, 2), BATCH)
        );
        // Weights' gradients pay with more channels.
        for (inputs, outputs, side, expected) in [
            (64, 64, 56, true),
            (64, 128, 37, true),
            (512, 512, 4, true),
            (48, 48, 24, false),
            (32, 64, 75, false),
            (512, 512, 1, false),
        ] {
            let conv = conv(inputs, outputs, side);
            assert_eq!(is_faster_for_weights(&conv), expected, "{conv:?}");
        }
        // The weights' transform pays with many images.
        let deep = conv(512, 512, 4);
        assert!(!is_faster(&deep, BATCH) && is_faster(&deep, 32));
        let one = conv(64, 64, 224);
        let others = [
            Conv { stride: 2, ..one },
            Conv { kernel: 1, ..one },
            Conv {
                algorithm: Algorithm::Direct,
                ..one
            },
        ];
        assert!(
            others
                .iter()
                .all(|conv| !is_faster(conv, BATCH) && !is_faster_for_weights(conv))
        );
    }
}
