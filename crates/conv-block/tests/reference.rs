//! Forward and all gradients against plain loops in `f64`, over random shapes and every instruction set of the machine.

use conv_block::{Conv, DEAD, Gradients, Isa, Saved, Tail, backward, forward};
use proptest::prelude::*;

/// Numbers that look random and are the same each time.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Index of the value under tap `(row, column)` of result `(y, x)`, if it lies in the picture.
fn tap(conv: &Conv, y: usize, x: usize, row: usize, column: usize) -> Option<usize> {
    let y = (y * conv.stride + row).checked_sub(conv.padding).filter(|y| *y < conv.height)?;
    let x = (x * conv.stride + column).checked_sub(conv.padding).filter(|x| *x < conv.width)?;
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
                                    let result = ((image * conv.outputs + output) * rows + y) * columns + x;
                                    let at = (image * conv.inputs + input) * conv.height * conv.width + at;
                                    visit(result, at, ((output * conv.inputs + input) * conv.kernel + row) * conv.kernel + column);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Each value close to the true one, as measured by the largest of them.
fn assert_close(what: &str, ours: &[f32], truth: &[f64]) {
    assert_eq!(ours.len(), truth.len(), "{what}");
    let scale = truth.iter().fold(1e-3, |largest: f64, value| largest.max(value.abs()));
    for (index, (ours, truth)) in ours.iter().zip(truth).enumerate() {
        assert!((f64::from(*ours) - truth).abs() <= 1e-5 * scale, "{what}[{index}]: {ours} instead of {truth}, scale {scale}");
    }
}

fn check(isa: Isa, conv: &Conv, tail: Tail, seed: u64) {
    let input = numbers(conv.input_len(), seed);
    let weight = numbers(conv.weight_len(), seed + 1);
    let bias = numbers(conv.outputs, seed + 2);
    let found = forward(isa, conv, tail, &input, &weight, Some(&bias));

    let (rows, columns) = conv.result_size();
    let plane = rows * columns;
    let mut result: Vec<f64> = (0..conv.images * conv.outputs * plane).map(|i| f64::from(bias[i / plane % conv.outputs])).collect();
    visit(conv, |r, i, w| result[r] += f64::from(input[i]) * f64::from(weight[w]));
    let out_grad = numbers(found.output.len(), seed + 3);
    let mut result_grad = vec![0.0; result.len()];
    let (out_rows, out_columns) = conv.output_size(tail);
    let mut output = vec![0.0; found.output.len()];
    for (index, output) in output.iter_mut().enumerate() {
        let (image, y, x) = (index / (out_rows * out_columns), index / out_columns % out_rows, index % out_columns);
        let grad = f64::from(out_grad[index]);
        let at = |y, x| image * plane + y * columns + x;
        match tail {
            Tail::Linear => (*output, result_grad[at(y, x)]) = (result[at(y, x)], grad),
            Tail::Relu => {
                *output = result[at(y, x)].max(0.0);
                // What is close to zero may round to either side: the gradient follows the output.
                result_grad[at(y, x)] = if found.output[index] > 0.0 { grad } else { 0.0 };
            }
            Tail::ReluPool => {
                let cell = [at(2 * y, 2 * x), at(2 * y, 2 * x + 1), at(2 * y + 1, 2 * x), at(2 * y + 1, 2 * x + 1)];
                *output = cell.iter().fold(0.0, |largest: f64, at| largest.max(result[*at]));
                let code = found.codes[index];
                assert!(code <= DEAD);
                if code < DEAD {
                    // Near ties may round to either: the place is right if its value is the largest, but for rounding.
                    assert!((result[cell[usize::from(code)]] - *output).abs() < 1e-4, "{code} in {cell:?}");
                    result_grad[cell[usize::from(code)]] = grad;
                } else {
                    assert!(found.output[index] == 0.0 && *output < 1e-4);
                }
            }
        }
    }
    assert_close("output", &found.output, &output);

    let mut input_grad = vec![0.0; input.len()];
    let mut weight_grad = vec![0.0; weight.len()];
    visit(conv, |r, i, w| {
        input_grad[i] += result_grad[r] * f64::from(weight[w]);
        weight_grad[w] += result_grad[r] * f64::from(input[i]);
    });
    let mut bias_grad = vec![0.0; conv.outputs];
    for (index, grad) in result_grad.iter().enumerate() {
        bias_grad[index / plane % conv.outputs] += grad;
    }
    let saved = Saved { input: &input, weight: &weight, output: &found.output, codes: &found.codes };
    let Gradients { input, weight, bias } = backward(isa, conv, tail, saved, &out_grad, true);
    assert_close("weight gradient", &weight, &weight_grad);
    assert_close("bias gradient", &bias, &bias_grad);
    assert_close("input gradient", &input.unwrap_or_default(), &input_grad);
    let without = backward(isa, conv, tail, saved, &out_grad, false);
    assert_eq!((without.input, without.weight, without.bias), (None, weight, bias));
}

fn convs() -> impl Strategy<Value = Conv> {
    let channels = || prop_oneof![1..8usize, 8..40usize, 1..71usize];
    (1..4usize, channels(), 1..20usize, 1..20usize, channels(), prop_oneof![Just(1usize), Just(3)], 1..3usize, 0..3usize)
        .prop_map(|(images, inputs, height, width, outputs, kernel, stride, padding)| Conv {
            images,
            inputs,
            height,
            width,
            outputs,
            kernel,
            stride,
            padding,
        })
        .prop_filter("a kernel larger than the picture", Conv::is_supported)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 3 } else { 300 }, ..ProptestConfig::default() })]
    #[test]
    fn equals_plain_loops_on_every_instruction_set(
        conv in convs(),
        tail in prop_oneof![Just(Tail::Linear), Just(Tail::Relu), Just(Tail::ReluPool)],
        seed in 0..1000u64,
    ) {
        for isa in Isa::available() {
            check(isa, &conv, tail, seed);
        }
    }
}
