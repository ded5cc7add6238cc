//! Runs any shape with any bits as numbers on every instruction set of the machine. Nothing may
//! panic, and the address sanitizer must find no access outside a buffer.
//! `cargo +nightly fuzz run shapes` in `crates/conv-block`.

#![no_main]

use conv_block::{
    Algorithm, Conv, Depthwise, Isa, Norm, NormSaved, Saved, Tail, backward, depthwise_backward,
    depthwise_forward, forward, infer, norm_backward, norm_forward,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [images, inputs, height, width, outputs, form, values @ ..] = data else {
        return;
    };
    let at_most = |byte: &u8, most: usize| usize::from(*byte) % most + 1;
    let conv = Conv {
        images: at_most(images, 4),
        inputs: at_most(inputs, 70),
        height: at_most(height, 24),
        width: at_most(width, 24),
        outputs: at_most(outputs, 70),
        kernel: if form & 1 == 0 { 1 } else { 3 },
        stride: usize::from(form >> 1 & 1) + 1,
        padding: usize::from(form >> 2 & 3),
        algorithm: [Algorithm::Direct, Algorithm::Fastest][usize::from(form >> 3 & 1)],
    };
    if !conv.is_supported() {
        return;
    }
    let tail = [Tail::Linear, Tail::Relu, Tail::ReluPool, Tail::Relu6][usize::from(form >> 4) % 4];
    let fill = |len: usize, shift: usize| -> Vec<f32> {
        let word = |i: usize| -> [u8; 4] {
            std::array::from_fn(|b| {
                *values
                    .get((i * 4 + b + shift) % values.len().max(1))
                    .unwrap_or(&1)
            })
        };
        (0..len).map(|i| f32::from_le_bytes(word(i))).collect()
    };
    let (input, weight) = (fill(conv.input_len(), 0), fill(conv.weight_len(), 1));
    let (gamma, beta) = (fill(conv.outputs, 2), fill(conv.outputs, 3));
    let grad = fill(conv.output_len(tail), 5);
    for isa in Isa::available() {
        let found = forward(isa, &conv, tail, &input, &weight, Some(&beta));
        infer(isa, &conv, tail, &input, &weight, Some(&beta));
        let saved = Saved {
            input: &input,
            weight: &weight,
            output: &found.output,
            codes: &found.codes,
        };
        backward(isa, &conv, tail, saved, &mut grad.clone(), true);
        let norm = Norm {
            gamma: &gamma,
            beta: &beta,
            epsilon: 1e-5,
        };
        let mut values = forward(isa, &conv, Tail::Linear, &input, &weight, None).output;
        let (rows, columns) = conv.result_size();
        let shape = [conv.images, conv.outputs, rows, columns];
        let found = norm_forward(isa, shape, tail, &values, norm);
        let saved = NormSaved {
            norm,
            codes: &found.codes,
            mean: &found.mean,
            variance: &found.variance,
            affine: &found.affine,
        };
        norm_backward(isa, shape, tail, saved, &grad, &mut values);
    }
    let side = |byte: &u8| [usize::from(byte & 3), usize::from(byte >> 2 & 3)];
    let (kernel, stride) = (usize::from(form >> 5) % 7 + 1, usize::from(form & 3) + 1);
    let Conv {
        images,
        inputs: channels,
        height,
        width,
        ..
    } = conv;
    let shape = Depthwise {
        images,
        channels,
        height,
        width,
        kernel,
        stride,
        padding: [side(form), side(outputs)],
    };
    if !shape.is_supported() || tail == Tail::ReluPool {
        return;
    }
    let (input, weight, grad) = (
        fill(shape.input_len(), 0),
        fill(shape.weight_len(), 1),
        fill(shape.output_len(), 5),
    );
    for isa in Isa::available() {
        let output = depthwise_forward(isa, &shape, tail, &input, &weight, None);
        let saved = Saved {
            input: &input,
            weight: &weight,
            output: &output,
            codes: &[],
        };
        depthwise_backward(isa, &shape, tail, saved, &grad, true);
    }
});
