//! Compares depthwise convolutions and their gradients with plain loops in `f64`, over random
//! shapes and every instruction set of the machine.

mod common;

use conv_block::{Depthwise, Gradients, Isa, Saved, Tail, depthwise_backward, depthwise_forward};
use proptest::prelude::*;

/// Numbers in -3..3, so that both bends of ReLU6 are met.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    common::numbers(len, seed)
        .into_iter()
        .map(|number| 3.0 * number)
        .collect()
}

/// Calls `visit(result, input, weight)` for every product of the convolution.
fn visit(shape: &Depthwise, mut visit: impl FnMut(usize, usize, usize)) {
    let (rows, columns) = shape.result_size();
    let Depthwise {
        kernel,
        stride,
        height,
        width,
        padding,
        ..
    } = *shape;
    let place = |at: usize, tap: usize, before: usize, side: usize| {
        (at * stride + tap)
            .checked_sub(before)
            .filter(|place| *place < side)
    };
    for plane in 0..shape.images * shape.channels {
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            for (row, column) in
                (0..kernel).flat_map(|row| (0..kernel).map(move |column| (row, column)))
            {
                let at = (
                    place(y, row, padding[0][0], height),
                    place(x, column, padding[1][0], width),
                );
                if let (Some(top), Some(left)) = at {
                    let weight = (plane % shape.channels * kernel + row) * kernel + column;
                    visit(
                        (plane * rows + y) * columns + x,
                        (plane * height + top) * width + left,
                        weight,
                    );
                }
            }
        }
    }
}

/// Asserts that each sum is close to the true one, relative to the largest sum of absolute terms:
/// terms that cancel leave a small sum, not a small rounding error.
fn assert_close(what: &str, ours: &[f32], truth: &[[f64; 2]]) {
    assert_eq!(ours.len(), truth.len(), "{what}");
    let scale = truth
        .iter()
        .fold(1e-3, |largest: f64, [_, size]| largest.max(*size));
    for (index, (ours, [truth, _])) in ours.iter().zip(truth).enumerate() {
        assert!(
            (f64::from(*ours) - truth).abs() <= 1e-6 * scale,
            "{what}[{index}]: {ours} instead of {truth}, sizes up to {scale}"
        );
    }
}

/// Adds a term to a sum and to the size of its terms.
fn add(to: &mut [f64; 2], term: f64) {
    to[0] += term;
    to[1] += term.abs();
}

fn check(isa: Isa, shape: &Depthwise, tail: Tail, seed: u64) {
    let (input, weight, bias) = (
        numbers(shape.input_len(), seed),
        numbers(shape.weight_len(), seed + 1),
        numbers(shape.channels, seed + 2),
    );
    let output = depthwise_forward(isa, shape, tail, &input, &weight, Some(&bias));
    let (rows, columns) = shape.result_size();
    let channel = |result: usize| result / (rows * columns) % shape.channels;
    let mut sums = vec![[0.0; 2]; shape.output_len()];
    sums.iter_mut()
        .enumerate()
        .for_each(|(at, sum)| add(sum, f64::from(bias[channel(at)])));
    visit(shape, |r, i, w| {
        add(&mut sums[r], f64::from(input[i]) * f64::from(weight[w]))
    });
    let (least, most) = match tail {
        Tail::Relu6 => (0.0, 6.0),
        Tail::Relu => (0.0, f64::INFINITY),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let expected: Vec<_> = sums
        .iter()
        .map(|[sum, size]| [sum.clamp(least, most), *size])
        .collect();
    assert_close("output", &output, &expected);

    let grad = numbers(output.len(), seed + 3);
    // A value close to a bend may round to either side; the gradient follows the output.
    let passes = |r: usize| f64::from(output[r]) > least && f64::from(output[r]) < most;
    let of_result = |r: usize| if passes(r) { f64::from(grad[r]) } else { 0.0 };
    let (mut of_input, mut of_weight) = (vec![[0.0; 2]; input.len()], vec![[0.0; 2]; weight.len()]);
    let mut of_bias = vec![[0.0; 2]; bias.len()];
    visit(shape, |r, i, w| {
        add(&mut of_input[i], of_result(r) * f64::from(weight[w]));
        add(&mut of_weight[w], of_result(r) * f64::from(input[i]));
    });
    (0..output.len()).for_each(|r| add(&mut of_bias[channel(r)], of_result(r)));
    let saved = Saved {
        input: &input,
        weight: &weight,
        output: &output,
        codes: &[],
    };
    let found = depthwise_backward(isa, shape, tail, saved, &grad, true);
    assert_close("weight gradient", &found.weight, &of_weight);
    assert_close("bias gradient", &found.bias, &of_bias);
    assert_close(
        "input gradient",
        found.input.as_deref().unwrap_or_default(),
        &of_input,
    );
    let without = depthwise_backward(isa, shape, tail, saved, &grad, false);
    assert_eq!(
        without,
        Gradients {
            input: None,
            ..found
        }
    );
}

fn shapes() -> impl Strategy<Value = Depthwise> {
    // Miri is ten thousand times slower.
    let side = || if cfg!(miri) { 1..6usize } else { 1..40usize };
    let padding = || [[0..4usize, 0..4usize], [0..4usize, 0..4usize]];
    (
        1..3usize,
        1..5usize,
        side(),
        side(),
        1..8usize,
        1..4usize,
        padding(),
    )
        .prop_map(
            |(images, channels, height, width, kernel, stride, padding)| Depthwise {
                images,
                channels,
                height,
                width,
                kernel,
                stride,
                padding,
            },
        )
        .prop_filter("a kernel larger than the image", Depthwise::is_supported)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 300 }))]
    #[test]
    fn equals_plain_loops_on_every_instruction_set(
        shape in shapes(),
        tail in prop_oneof![Just(Tail::Linear), Just(Tail::Relu), Just(Tail::Relu6)],
        seed in 0..1000u64,
    ) {
        for isa in Isa::available() {
            check(isa, &shape, tail, seed);
        }
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "idle threads of three pools keep Miri busy without end"
)]
fn the_bytes_are_the_same_for_any_number_of_threads() {
    let shape = Depthwise {
        images: 9,
        channels: 5,
        height: 31,
        width: 23,
        kernel: 3,
        stride: 2,
        padding: [[0, 1], [1, 1]],
    };
    let (input, weight) = (
        numbers(shape.input_len(), 1),
        numbers(shape.weight_len(), 2),
    );
    let run = || {
        let output = depthwise_forward(Isa::best(), &shape, Tail::Relu6, &input, &weight, None);
        let saved = Saved {
            input: &input,
            weight: &weight,
            output: &output,
            codes: &[],
        };
        let grads = depthwise_backward(Isa::best(), &shape, Tail::Relu6, saved, &output, true);
        (output, grads)
    };
    let with = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads")
            .install(run)
    };
    assert_eq!(with(1), with(2));
    assert_eq!(with(1), with(8));
}

#[test]
fn what_is_not_a_number_is_passed_on() {
    let shape = Depthwise {
        images: 1,
        channels: 1,
        height: 5,
        width: 4,
        kernel: 3,
        stride: 1,
        padding: [[1, 1], [1, 1]],
    };
    let mut input = vec![1.0; 20];
    input[0] = f32::NAN;
    for isa in Isa::available() {
        for tail in [Tail::Linear, Tail::Relu, Tail::Relu6] {
            let found = depthwise_forward(isa, &shape, tail, &input, &[1.0; 9], None);
            let not_numbers: Vec<_> = (0..20).filter(|at| found[*at].is_nan()).collect();
            assert_eq!(not_numbers, [0, 1, 4, 5], "{tail:?}");
        }
    }
}
