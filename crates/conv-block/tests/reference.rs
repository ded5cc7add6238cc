//! Compares forward passes and all gradients with plain loops in `f64`, over random shapes and
//! every instruction set of the machine.

mod common;

use common::numbers;
use conv_block::{
    Algorithm, Conv, DEAD, Forward, Gradients, Isa, Norm, NormForward, NormGradients, NormSaved,
    Saved, Tail, backward, forward, norm_backward, norm_forward,
};
use proptest::prelude::*;

/// Index of the value that the kernel's position `(row, column)` meets for result `(y, x)`, if it
/// lies in the image.
fn tap(conv: &Conv, y: usize, x: usize, row: usize, column: usize) -> Option<usize> {
    let y = (y * conv.stride + row)
        .checked_sub(conv.padding)
        .filter(|y| *y < conv.height)?;
    let x = (x * conv.stride + column)
        .checked_sub(conv.padding)
        .filter(|x| *x < conv.width)?;
    Some(y * conv.width + x)
}

/// Calls `visit(result, input, weight)` for every product of the convolution.
fn visit(conv: &Conv, mut visit: impl FnMut(usize, usize, usize)) {
    let (rows, columns) = conv.result_size();
    for image in 0..conv.images {
        for output in 0..conv.outputs {
            for input in 0..conv.inputs {
                for y in 0..rows {
                    for x in 0..columns {
                        for row in 0..conv.kernel {
                            for column in 0..conv.kernel {
                                if let Some(at) = tap(conv, y, x, row, column) {
                                    let result =
                                        ((image * conv.outputs + output) * rows + y) * columns + x;
                                    let at =
                                        (image * conv.inputs + input) * conv.height * conv.width
                                            + at;
                                    visit(
                                        result,
                                        at,
                                        ((output * conv.inputs + input) * conv.kernel + row)
                                            * conv.kernel
                                            + column,
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Asserts that each value is close to the true one, relative to the largest of them.
fn assert_close(what: &str, ours: &[f32], truth: &[f64]) {
    assert_eq!(ours.len(), truth.len(), "{what}");
    let scale = truth
        .iter()
        .fold(1e-3, |largest: f64, value| largest.max(value.abs()));
    for (index, (ours, truth)) in ours.iter().zip(truth).enumerate() {
        assert!(
            (f64::from(*ours) - truth).abs() <= 1e-5 * scale,
            "{what}[{index}]: {ours} instead of {truth}, scale {scale}"
        );
    }
}

/// Asserts that each sum is close to the true one, relative to the sum of absolute terms: terms
/// that cancel leave a small sum, not a small rounding error.
fn assert_sums_close(what: &str, ours: &[f32], truth: &[f64], sizes: &[f64]) {
    assert_eq!([ours.len(), sizes.len()], [truth.len(); 2], "{what}");
    let scale = sizes
        .iter()
        .fold(1e-3, |largest: f64, size| largest.max(*size));
    for (index, (ours, truth)) in ours.iter().zip(truth).enumerate() {
        assert!(
            (f64::from(*ours) - truth).abs() <= 1e-6 * scale,
            "{what}[{index}]: {ours} instead of {truth}, sizes up to {scale}"
        );
    }
}

/// Returns the output, and the gradient of `result`, the values before the tail. Where rounding may
/// decide, as for a value close to zero, the gradient follows the output under test.
fn after_tail(
    conv: &Conv,
    tail: Tail,
    result: &[f64],
    found: &Forward,
    out_grad: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    let (rows, columns) = conv.result_size();
    let (out_rows, out_columns) = conv.output_size(tail);
    let mut output = vec![0.0; found.output.len()];
    let mut result_grad = vec![0.0; result.len()];
    for (index, output) in output.iter_mut().enumerate() {
        let image = index / (out_rows * out_columns);
        let (y, x) = (index / out_columns % out_rows, index % out_columns);
        let at = |y, x| image * rows * columns + y * columns + x;
        let ours = found.output[index];
        let (value, source) = match tail {
            Tail::Linear => (result[at(y, x)], Some(at(y, x))),
            Tail::Relu => (result[at(y, x)].max(0.0), (ours > 0.0).then_some(at(y, x))),
            Tail::Relu6 => (
                result[at(y, x)].clamp(0.0, 6.0),
                (ours > 0.0 && ours < 6.0).then_some(at(y, x)),
            ),
            Tail::ReluPool => {
                let (y, x) = (2 * y, 2 * x);
                let cell = [at(y, x), at(y, x + 1), at(y + 1, x), at(y + 1, x + 1)];
                let source = found.codes[index];
                after_pooling(cell, result, source, ours)
            }
        };
        *output = value;
        if let Some(source) = source {
            result_grad[source] = f64::from(out_grad[index]);
        }
    }
    (output, result_grad)
}

/// Returns the largest value of a cell, and its position if it isn't dead.
fn after_pooling(cell: [usize; 4], result: &[f64], code: u8, ours: f32) -> (f64, Option<usize>) {
    let largest = cell
        .iter()
        .fold(0.0, |largest: f64, at| largest.max(result[*at]));
    assert!(code <= DEAD);
    if code == DEAD {
        assert!(ours == 0.0 && largest < 1e-4);
        return (largest, None);
    }
    // Of nearly equal values either may be found: the position is right if its value is the largest
    // within rounding.
    let source = cell[usize::from(code)];
    assert!(
        (result[source] - largest).abs() < 1e-4,
        "{code} in {cell:?}"
    );
    (largest, Some(source))
}

fn check(isa: Isa, conv: &Conv, tail: Tail, seed: u64) {
    let input = numbers(conv.input_len(), seed);
    let weight = numbers(conv.weight_len(), seed + 1);
    let bias = numbers(conv.outputs, seed + 2);
    let found = forward(isa, conv, tail, &input, &weight, Some(&bias));

    let (rows, columns) = conv.result_size();
    let plane = rows * columns;
    let mut result: Vec<f64> = (0..conv.images * conv.outputs * plane)
        .map(|i| f64::from(bias[i / plane % conv.outputs]))
        .collect();
    visit(conv, |r, i, w| {
        result[r] += f64::from(input[i]) * f64::from(weight[w])
    });
    let out_grad = numbers(found.output.len(), seed + 3);
    let (output, result_grad) = after_tail(conv, tail, &result, &found, &out_grad);
    assert_close("output", &found.output, &output);

    let mut input_grad = vec![0.0; input.len()];
    let (mut weight_grad, mut weight_sizes) = (vec![0.0; weight.len()], vec![0.0; weight.len()]);
    visit(conv, |r, i, w| {
        input_grad[i] += result_grad[r] * f64::from(weight[w]);
        weight_grad[w] += result_grad[r] * f64::from(input[i]);
        weight_sizes[w] += (result_grad[r] * f64::from(input[i])).abs();
    });
    let (mut bias_grad, mut bias_sizes) = (vec![0.0; conv.outputs], vec![0.0; conv.outputs]);
    for (index, grad) in result_grad.iter().enumerate() {
        bias_grad[index / plane % conv.outputs] += grad;
        bias_sizes[index / plane % conv.outputs] += grad.abs();
    }
    let saved = Saved {
        input: &input,
        weight: &weight,
        output: &found.output,
        codes: &found.codes,
    };
    let Gradients {
        input,
        weight,
        bias,
    } = backward(isa, conv, tail, saved, &mut out_grad.clone(), true);
    assert_sums_close("weight gradient", &weight, &weight_grad, &weight_sizes);
    assert_sums_close("bias gradient", &bias, &bias_grad, &bias_sizes);
    assert_close("input gradient", &input.unwrap_or_default(), &input_grad);
    let without = backward(isa, conv, tail, saved, &mut out_grad.clone(), false);
    assert_eq!(
        (without.input, without.weight, without.bias),
        (None, weight, bias)
    );
}

/// Computes a block with norm in `f64`. Which value of a cell is the maximum, and which cells are
/// inactive, is taken from the result under test, so that the function is smooth.
fn norm_truth(
    conv: &Conv,
    tail: Tail,
    [input, weight, gamma, beta]: [&[f64]; 4],
    found: &[f32],
    codes: &[u8],
) -> Vec<f64> {
    let (rows, columns) = conv.result_size();
    let plane = rows * columns;
    let mut result = vec![0.0; conv.images * conv.outputs * plane];
    visit(conv, |r, i, w| result[r] += input[i] * weight[w]);
    let count = (conv.images * plane) as f64;
    let channel = |index: usize| index / plane % conv.outputs;
    let (mut mean, mut variance) = (vec![0.0; conv.outputs], vec![0.0; conv.outputs]);
    result
        .iter()
        .enumerate()
        .for_each(|(index, value)| mean[channel(index)] += value / count);
    result.iter().enumerate().for_each(|(index, value)| {
        variance[channel(index)] += (value - mean[channel(index)]).powi(2) / count
    });
    for (index, value) in result.iter_mut().enumerate() {
        let c = channel(index);
        *value = (*value - mean[c]) / (variance[c] + EPSILON).sqrt() * gamma[c] + beta[c];
    }
    let (out_rows, out_columns) = conv.output_size(tail);
    let pick = |index: usize| {
        let (image, y, x) = (
            index / (out_rows * out_columns),
            index / out_columns % out_rows,
            index % out_columns,
        );
        match tail {
            Tail::Linear => result[index],
            Tail::Relu if found[index] > 0.0 => result[index],
            Tail::ReluPool if codes[index] < DEAD => {
                let code = usize::from(codes[index]);
                result[image * plane + (2 * y + code / 2) * columns + 2 * x + code % 2]
            }
            Tail::Relu6 if found[index] >= 6.0 => 6.0,
            Tail::Relu6 if found[index] > 0.0 => result[index],
            Tail::Relu | Tail::Relu6 | Tail::ReluPool => 0.0,
        }
    };
    (0..found.len()).map(pick).collect()
}

const EPSILON: f64 = 1e-3;

/// Returns the result of a convolution and of the norm behind it.
fn norm_block(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    input: &[f32],
    weight: &[f32],
    norm: Norm<'_>,
) -> (Vec<f32>, NormForward) {
    let result = forward(isa, conv, Tail::Linear, input, weight, None).output;
    let found = norm_forward(isa, shape_of(conv), tail, &result, norm);
    (result, found)
}

/// Returns the gradients of a convolution and of the norm behind it.
fn norm_block_backward(
    isa: Isa,
    conv: &Conv,
    tail: Tail,
    [input, weight, result]: [&[f32]; 3],
    (norm, found): (Norm<'_>, &NormForward),
    out_grad: &[f32],
) -> (Gradients, NormGradients) {
    let saved = NormSaved {
        norm,
        codes: &found.codes,
        mean: &found.mean,
        variance: &found.variance,
        affine: &found.affine,
    };
    let mut result = result.to_vec();
    let norm_grads = norm_backward(isa, shape_of(conv), tail, saved, out_grad, &mut result);
    let saved = Saved {
        input,
        weight,
        output: &[],
        codes: &[],
    };
    (
        backward(isa, conv, Tail::Linear, saved, &mut result, true),
        norm_grads,
    )
}

/// Returns the shape of a convolution's result.
fn shape_of(conv: &Conv) -> [usize; 4] {
    let (rows, columns) = conv.result_size();
    [conv.images, conv.outputs, rows, columns]
}

fn check_norm(isa: Isa, conv: &Conv, tail: Tail, seed: u64) {
    let lengths = [
        conv.input_len(),
        conv.weight_len(),
        conv.outputs,
        conv.outputs,
    ];
    let tensors: [Vec<f32>; 4] = std::array::from_fn(|i| numbers(lengths[i], seed + i as u64));
    let [input, weight, gamma, beta] = &tensors;
    let norm = Norm {
        gamma,
        beta,
        epsilon: EPSILON,
    };
    let (result, found) = norm_block(isa, conv, tail, input, weight, norm);
    let wide: [Vec<f64>; 4] =
        std::array::from_fn(|i| tensors[i].iter().map(|value| f64::from(*value)).collect());
    let truth = |wide: &[Vec<f64>; 4]| {
        let tensors = std::array::from_fn(|i| wide[i].as_slice());
        norm_truth(conv, tail, tensors, &found.output, &found.codes)
    };
    let out = truth(&wide);
    // The norm amplifies the rounding errors of a channel with little variance.
    let least = found
        .variance
        .iter()
        .fold(1.0, |least: f32, value| least.min(*value));
    for (index, (ours, truth)) in found.output.iter().zip(&out).enumerate() {
        let allowed = 2e-5 / (f64::from(least) + EPSILON).sqrt();
        assert!(
            (f64::from(*ours) - truth).abs() < allowed,
            "output[{index}]: {ours} instead of {truth}"
        );
    }
    let out_grad = numbers(out.len(), seed + 4);
    let tensors = [input.as_slice(), weight, &result];
    let (grads, norm_grads) =
        norm_block_backward(isa, conv, tail, tensors, (norm, &found), &out_grad);
    let grads = [
        grads.input.unwrap_or_default(),
        grads.weight,
        norm_grads.gamma,
        norm_grads.beta,
    ];
    let loss = |wide: &[Vec<f64>; 4]| {
        let out = truth(wide);
        let products = out.iter().zip(&out_grad);
        products.map(|(out, grad)| out * f64::from(*grad)).sum()
    };
    // The gradients of gain and offset are sums over all places of a channel. By chance such a sum
    // is small where there is one channel; its rounding error is that of what was added.
    let (rows, columns) = conv.result_size();
    let places = conv.images * rows * columns;
    check_slopes(&grads, [1, 1, places, places], wide, loss, seed as usize);
}

/// Compares gradients with the slopes of `loss` in a few places of each tensor. Each gradient is a
/// sum of at least so many `terms`.
fn check_slopes(
    grads: &[Vec<f32>; 4],
    terms: [usize; 4],
    tensors: [Vec<f64>; 4],
    loss: impl Fn(&[Vec<f64>; 4]) -> f64,
    seed: usize,
) {
    let mut moved = tensors;
    for (tensor, (ours, terms)) in grads.iter().zip(terms).enumerate() {
        // A hundredth of what a sum of independent terms has.
        let least = 1e-2 * (terms as f32).sqrt();
        let scale = ours
            .iter()
            .fold(least, |largest: f32, value| largest.max(value.abs()));
        for step in 0..if cfg!(miri) { 1 } else { 4 } {
            let at = (seed * 7 + step * 1013) % ours.len();
            let value = moved[tensor][at];
            moved[tensor][at] = value + 1e-5;
            let above = loss(&moved);
            moved[tensor][at] = value - 1e-5;
            let slope = (above - loss(&moved)) / 2e-5;
            moved[tensor][at] = value;
            assert!(
                (slope - f64::from(ours[at])).abs() < 1e-4 * f64::from(scale),
                "tensor {tensor}[{at}]: {} instead of {slope}",
                ours[at]
            );
        }
    }
}

fn convs() -> impl Strategy<Value = Conv> {
    // Miri is ten thousand times slower.
    let channels = || {
        if cfg!(miri) {
            prop_oneof![1..3usize, 1..3usize, 8..10usize]
        } else {
            prop_oneof![1..8usize, 8..40usize, 1..71usize]
        }
    };
    let side = || if cfg!(miri) { 1..5usize } else { 1..20usize };
    (
        1..4usize,
        channels(),
        side(),
        side(),
        channels(),
        prop_oneof![2 => Just(1usize), 3 => Just(3), 1 => Just(5), 1 => Just(7)],
        1..3usize,
        0..3usize,
    )
        .prop_map(
            |(images, inputs, height, width, outputs, kernel, stride, padding)| Conv {
                images,
                inputs,
                height,
                width,
                outputs,
                kernel,
                stride,
                padding,
                algorithm: Algorithm::Direct,
            },
        )
        .prop_filter("a kernel larger than the image", Conv::is_supported)
}

fn tails() -> impl Strategy<Value = Tail> {
    prop_oneof![
        Just(Tail::Linear),
        Just(Tail::Relu),
        Just(Tail::Relu6),
        Just(Tail::ReluPool)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 300 }))]
    #[test]
    fn equals_plain_loops_on_every_instruction_set(
        conv in convs(),
        tail in tails(),
        seed in 0..1000u64,
    ) {
        for isa in Isa::available() {
            check(isa, &conv, tail, seed);
        }
    }

    #[test]
    fn a_norm_has_the_slopes_of_the_true_function(
        // The statistics of a handful of values have unbounded slopes.
        conv in convs()
            .prop_filter("too few values", |conv| {
                let (rows, columns) = conv.result_size();
                conv.images * rows * columns > if cfg!(miri) { 5 } else { 20 }
            })
            // A norm cancels the scale of a single weight, and its slope is rounding error only.
            .prop_filter("one weight a channel", |conv| conv.inputs * conv.kernel > 1),
        tail in tails(),
        seed in 0..1000u64,
    ) {
        let conv = Conv { outputs: conv.outputs.min(9), inputs: conv.inputs.min(20), ..conv };
        for isa in Isa::available() {
            check_norm(isa, &conv, tail, seed);
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
        images: 9,
        inputs: 5,
        height: 31,
        width: 23,
        outputs: 33,
        kernel: 3,
        stride: 1,
        padding: 1,
        algorithm: Algorithm::Direct,
    };
    let (input, weight) = (numbers(conv.input_len(), 1), numbers(conv.weight_len(), 2));
    let ones = vec![1.0; conv.outputs];
    let norm = Norm {
        gamma: &ones,
        beta: &ones,
        epsilon: EPSILON,
    };
    for tail in [Tail::Linear, Tail::Relu, Tail::Relu6, Tail::ReluPool] {
        let run = || {
            let isa = Isa::best();
            let plain = forward(isa, &conv, tail, &input, &weight, None);
            let saved = Saved {
                input: &input,
                weight: &weight,
                output: &plain.output,
                codes: &plain.codes,
            };
            let plain_grads = backward(isa, &conv, tail, saved, &mut plain.output.clone(), true);
            let (result, normed) = norm_block(isa, &conv, tail, &input, &weight, norm);
            let normed_grads = norm_block_backward(
                isa,
                &conv,
                tail,
                [&input, &weight, &result],
                (norm, &normed),
                &normed.output,
            );
            (plain, plain_grads, normed, normed_grads)
        };
        let with = |threads| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads")
                .install(run)
        };
        let one = with(1);
        assert_eq!(one, with(2));
        assert_eq!(one, with(8));
    }
}

/// Passes one 2x4 image through a 1x1 kernel of weight 1, so that the given values are pooled.
fn pool(isa: Isa, image: [[f32; 4]; 2]) -> (Vec<f32>, Vec<u8>) {
    let conv = Conv {
        images: 1,
        inputs: 1,
        height: 2,
        width: 4,
        outputs: 1,
        kernel: 1,
        stride: 1,
        padding: 0,
        algorithm: Algorithm::Direct,
    };
    let found = forward(
        isa,
        &conv,
        Tail::ReluPool,
        image.as_flattened(),
        &[1.0],
        None,
    );
    (found.output, found.codes)
}

#[test]
fn the_first_of_equals_wins_and_a_cell_without_a_positive_value_is_dead() {
    for isa in Isa::available() {
        assert_eq!(
            pool(isa, [[1.0, 1.0, -1.0, 2.0], [1.0, 1.0, 2.0, 1.0]]),
            (vec![1.0, 2.0], vec![0, 1])
        );
        assert_eq!(
            pool(isa, [[0.0, 0.0, -1.0, -2.0], [0.0, 3.0, -2.0, -1.0]]),
            (vec![3.0, 0.0], vec![3, DEAD])
        );
        assert_eq!(
            pool(isa, [[0.0, -0.0, 1.0, 2.0], [0.0, 0.0, 4.0, 3.0]]),
            (vec![0.0, 4.0], vec![DEAD, 2])
        );
    }
}

#[test]
fn what_is_not_a_number_is_passed_on() {
    for isa in Isa::available() {
        let (output, codes) = pool(
            isa,
            [
                [1.0, f32::NAN, f32::INFINITY, 1.0],
                [5.0, 2.0, f32::NEG_INFINITY, 2.0],
            ],
        );
        assert!(output[0].is_nan() && codes[0] == 1, "{output:?} {codes:?}");
        assert!(
            output[1] == f32::INFINITY && codes[1] == 0,
            "{output:?} {codes:?}"
        );
        let conv = Conv {
            images: 1,
            inputs: 1,
            height: 5,
            width: 4,
            outputs: 2,
            kernel: 3,
            stride: 1,
            padding: 1,
            algorithm: Algorithm::Direct,
        };
        let mut input = vec![1.0; 20];
        input[0] = f32::NAN;
        for tail in [Tail::Linear, Tail::Relu, Tail::Relu6, Tail::ReluPool] {
            let found = forward(isa, &conv, tail, &input, &[1.0; 18], None).output;
            assert!(
                found[0].is_nan() && found.iter().any(|value| value.is_finite()),
                "{tail:?} {found:?}"
            );
        }
    }
}
