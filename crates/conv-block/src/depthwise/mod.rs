//! Depthwise convolution: each channel by itself, with a kernel of its own.
//!
//! What such a layer costs is memory, not arithmetic, so that a plane is worked on as a whole while
//! it is in the cache. It is laid out with its padding, and by phases of the stride: what one tap
//! of the kernel meets then lies side by side, from the first result to the last across all rows,
//! and vectors are full however narrow the image is. A few results between two rows belong to
//! nothing and are left out when the rows are copied.

mod kernels;
mod layout;
mod shape;

use std::mem::MaybeUninit;

use rayon::prelude::*;

pub(crate) use self::kernels::every;
pub use self::shape::Depthwise;
use self::{
    kernels::{correlate, multiply},
    layout::Layout,
    shape::LARGEST,
};
use crate::{
    Gradients, Saved, Tail,
    norm::scale_plane,
    scratch::{filled, with_scratch},
    simd::Isa,
};

/// Computes the output of a depthwise convolution.
///
/// # Shapes
/// `input` `[images, channels, height, width]`, `weight` `[channels, 1, kernel, kernel]` and `bias`
/// `[channels]` to `[images, channels, rows, columns]`.
///
/// # Panics
/// Panics if the shape is not supported (see [`Depthwise::is_supported`]), for [`Tail::ReluPool`],
/// and if a slice has another length than the shape says.
pub fn depthwise_forward(
    isa: Isa,
    shape: &Depthwise,
    tail: Tail,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    shape.check(tail);
    assert_eq!(input.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(weight.len(), shape.weight_len(), "weight of {shape:?}");
    assert!(
        bias.is_none_or(|bias| bias.len() == shape.channels),
        "bias of {shape:?}"
    );
    let layout = Layout::of(isa, shape);
    let of_plane = |index: usize, output: &mut [MaybeUninit<f32>]| {
        let channel = index % shape.channels;
        let mut taps = [(0, 0.0); LARGEST * LARGEST];
        let taps = layout.taps(weight, channel, &mut taps);
        let bias = bias.map_or(0.0, |bias| bias[channel]);
        with_scratch(layout.source_len + layout.results, |scratch| {
            let (source, results) = scratch.split_at_mut(layout.source_len);
            layout.deal(isa, layout.plane(input, index), source);
            correlate(isa, taps, bias, source, results);
            for (row, output) in output.chunks_exact_mut(layout.columns).enumerate() {
                let results = &results[row * layout.pitch..][..layout.columns];
                scale_plane(isa, results, [1.0, 0.0], tail.range(), output);
            }
        });
    };
    let fill = |output: &mut [MaybeUninit<f32>]| {
        let planes = output.par_chunks_exact_mut(layout.rows * layout.columns);
        planes
            .enumerate()
            .for_each(|(index, output)| of_plane(index, output));
    };
    // SAFETY: all rows of all planes are written whole.
    unsafe { filled(shape.output_len(), fill) }
}

/// Computes the gradients of weights and bias, and of the input if `is_input_wanted`, from the
/// gradient `grad` of the output. A NaN or infinity in a plane of the input reaches the gradients
/// of all weights of its channel.
///
/// # Shapes
/// As [`depthwise_forward`]; `grad` is like its result.
///
/// # Panics
/// As [`depthwise_forward`].
pub fn depthwise_backward(
    isa: Isa,
    shape: &Depthwise,
    tail: Tail,
    saved: Saved<'_>,
    grad: &[f32],
    is_input_wanted: bool,
) -> Gradients {
    shape.check(tail);
    assert_eq!(saved.input.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(
        saved.weight.len(),
        shape.weight_len(),
        "weight of {shape:?}"
    );
    assert_eq!(grad.len(), shape.output_len(), "gradient of {shape:?}");
    assert!(
        tail == Tail::Linear || saved.output.len() == grad.len(),
        "output of {shape:?}"
    );
    let layout = Layout::of(isa, shape);
    let count = shape.kernel * shape.kernel;
    let input_len = if is_input_wanted {
        shape.input_len()
    } else {
        0
    };
    let mut input = vec![0.0; input_len];
    // The sums of each plane: those of the kernel's positions, then that of the bias.
    let mut sums = vec![0.0; shape.images * shape.channels * (count + 1)];
    let of_plane = |index: usize, sums: &mut [f32], input: Option<&mut [f32]>| {
        let plane = layout.rows * layout.columns;
        with_scratch(layout.grad_len + layout.source_len, |scratch| {
            let (grads, source) = scratch.split_at_mut(layout.grad_len);
            layout.spread(&grad[index * plane..][..plane], grads);
            if tail != Tail::Linear {
                layout.mask(isa, tail, &saved.output[index * plane..][..plane], grads);
            }
            layout.deal(isa, layout.plane(saved.input, index), source);
            let results = &grads[layout.lead..][..layout.results];
            multiply(isa, &layout.offsets, results, source, sums);
            if let Some(input) = input {
                let mut taps = [(0, 0.0); LARGEST * LARGEST];
                let taps = layout.taps(saved.weight, index % shape.channels, &mut taps);
                layout.turn_back(isa, taps, grads, input);
            }
        });
    };
    let of_planes = sums.par_chunks_exact_mut(count + 1).enumerate();
    if is_input_wanted {
        let planes = input.par_chunks_exact_mut(shape.height * shape.width);
        of_planes
            .zip(planes)
            .for_each(|((index, sums), input)| of_plane(index, sums, Some(input)));
    } else {
        of_planes.for_each(|(index, sums)| of_plane(index, sums, None));
    }
    let (weight, bias) = totals(shape, &sums);
    Gradients {
        input: is_input_wanted.then_some(input),
        weight,
        bias,
    }
}

/// Adds up the sums of all planes, `[image][channel][position]` with the bias behind the positions.
/// Returns the gradients of weights and bias.
fn totals(shape: &Depthwise, sums: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let count = shape.kernel * shape.kernel;
    // Images one after the other, so that the result doesn't depend on the number of threads.
    let total = |channel: usize, at: usize| {
        let of_images = sums[channel * (count + 1) + at..]
            .iter()
            .step_by(shape.channels * (count + 1));
        of_images.map(|sum| f64::from(*sum)).sum::<f64>() as f32
    };
    let weight = (0..shape.channels * count).map(|at| total(at / count, at % count));
    let bias = (0..shape.channels).map(|channel| total(channel, count));
    (weight.collect(), bias.collect())
}
