//! Times the blocks of the small CNN, forward and backward, and the convolutions of VGG16 forward:
//! `cargo bench -p conv-block`. Reports the best of several runs each, on as many threads as rayon
//! uses (`RAYON_NUM_THREADS`).
#![expect(clippy::print_stdout, reason = "a table for a person")]

use std::{hint::black_box, time::Instant};

use conv_block::{
    Algorithm, Conv, Depthwise, Isa, Norm, NormSaved, Saved, Tail, backward, depthwise_backward,
    depthwise_forward, forward, infer, norm_backward, norm_forward,
};

const RUNS: usize = 12;

fn main() {
    // As the program does.
    heap::keep_large_blocks();
    let isa = Isa::best();
    println!(
        "{isa:?}, {} threads, batch 32",
        rayon::current_num_threads()
    );
    time_blocks(isa);
    time_depthwise(isa);
    for (images, side) in [(8, 224), (32, 150)] {
        let [direct, fastest] = vgg16(isa, images, side);
        println!(
            "VGG16 forward, {images} at {side}: {direct:.2} s, \
             as networks that don't learn {fastest:.2} s"
        );
    }
}

/// A convolution 3x3 that keeps the size of its square images.
fn same(images: usize, inputs: usize, outputs: usize, side: usize) -> Conv {
    Conv {
        images,
        inputs,
        height: side,
        width: side,
        outputs,
        kernel: 3,
        stride: 1,
        padding: 1,
        algorithm: Algorithm::Direct,
    }
}

fn time_blocks(isa: Isa) {
    println!("| block | forward, ms | GFLOP/s | backward, ms |\n|---|---|---|---|");
    for kind in ["pool", "norm + pool", "relu"] {
        let mut all = [0.0; 2];
        for (inputs, outputs, side) in [(3, 32, 150), (32, 64, 75), (64, 128, 37), (128, 128, 18)] {
            let conv = same(32, inputs, outputs, side);
            let [forward, backward] = block(isa, &conv, kind).map(|seconds| seconds * 1e3);
            all = [all[0] + forward, all[1] + backward];
            let gflops = flops(&conv) / forward / 1e6;
            let layer = format!("{inputs} to {outputs} at {side}");
            println!("| {layer}, {kind} | {forward:.1} | {gflops:.0} | {backward:.1} |");
        }
        let [forward, backward] = all;
        println!("| all, {kind} | {forward:.1} | | {backward:.1} |");
    }
}

fn time_depthwise(isa: Isa) {
    println!("| depthwise, batch 32 | forward, ms | backward, ms |\n|---|---|---|");
    for (channels, side, kernel, stride) in [
        (32, 112, 3, 1),
        (96, 112, 3, 2),
        (144, 56, 5, 2),
        (480, 14, 5, 1),
        (672, 7, 5, 1),
    ] {
        let shape = Depthwise {
            images: 32,
            channels,
            height: side,
            width: side,
            kernel,
            stride,
            padding: [[kernel / 2; 2]; 2],
        };
        let [forward, backward] = depthwise(isa, &shape).map(|seconds| seconds * 1e3);
        let layer = format!("{channels} at {side}, {kernel}x{kernel} by {stride}");
        println!("| {layer} | {forward:.1} | {backward:.1} |");
    }
}

/// Values between -1 and 1.
fn values(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 504.0)
        .collect()
}

fn flops(conv: &Conv) -> f64 {
    let (rows, columns) = conv.result_size();
    2.0 * (conv.weight_len() * conv.images * rows * columns) as f64
}

/// Returns the seconds of a forward and of a backward pass.
fn block(isa: Isa, conv: &Conv, kind: &str) -> [f64; 2] {
    let (input, weight) = (values(conv.input_len()), values(conv.weight_len()));
    let pass = match kind {
        "norm + pool" => normed_pass,
        "relu" => |isa, conv: &Conv, input: &[f32], weight: &[f32]| {
            plain_pass(isa, conv, Tail::Relu, input, weight)
        },
        _ => |isa, conv: &Conv, input: &[f32], weight: &[f32]| {
            plain_pass(isa, conv, Tail::ReluPool, input, weight)
        },
    };
    let mut best = [f64::MAX; 2];
    for _ in 0..RUNS {
        let seconds = pass(isa, conv, &input, &weight);
        best = [best[0].min(seconds[0]), best[1].min(seconds[1])];
    }
    best
}

fn plain_pass(isa: Isa, conv: &Conv, tail: Tail, input: &[f32], weight: &[f32]) -> [f64; 2] {
    let (mut grad, bias) = (values(conv.output_len(tail)), vec![1.0; conv.outputs]);
    let start = Instant::now();
    let found = forward(isa, conv, tail, input, weight, Some(&bias));
    let forward = start.elapsed().as_secs_f64();
    let saved = Saved {
        input,
        weight,
        output: &found.output,
        codes: &found.codes,
    };
    let start = Instant::now();
    black_box(backward(isa, conv, tail, saved, &mut grad, conv.inputs > 3));
    [forward, start.elapsed().as_secs_f64()]
}

fn normed_pass(isa: Isa, conv: &Conv, input: &[f32], weight: &[f32]) -> [f64; 2] {
    let (tail, ones) = (Tail::ReluPool, vec![1.0; conv.outputs]);
    let grad = values(conv.output_len(tail));
    let norm = Norm {
        gamma: &ones,
        beta: &ones,
        epsilon: 1e-5,
    };
    let (rows, columns) = conv.result_size();
    let shape = [conv.images, conv.outputs, rows, columns];
    let start = Instant::now();
    let mut result = forward(isa, conv, Tail::Linear, input, weight, None).output;
    let found = norm_forward(isa, shape, tail, &result, norm);
    let forward = start.elapsed().as_secs_f64();
    let saved = NormSaved {
        norm,
        codes: &found.codes,
        mean: &found.mean,
        variance: &found.variance,
        affine: &found.affine,
    };
    let start = Instant::now();
    norm_backward(isa, shape, tail, saved, &grad, &mut result);
    let saved = Saved {
        input,
        weight,
        output: &[],
        codes: &[],
    };
    black_box(backward(
        isa,
        conv,
        Tail::Linear,
        saved,
        &mut result,
        conv.inputs > 3,
    ));
    [forward, start.elapsed().as_secs_f64()]
}

/// Returns the seconds that the thirteen convolutions of VGG16 take with their ReLUs and pooling,
/// by [`forward`] and by [`infer`].
fn vgg16(isa: Isa, images: usize, side: usize) -> [f64; 2] {
    let stages = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)];
    let (mut height, mut inputs, mut convs) = (side, 3, Vec::new());
    for (outputs, count) in stages {
        for index in 1..=count {
            let conv = same(images, inputs, outputs, height);
            // As large as in training, so that nothing overflows.
            let scale = (2.0 / (9 * inputs) as f32).sqrt();
            let weight = values(conv.weight_len());
            let weight: Vec<f32> = weight.iter().map(|value| value * scale).collect();
            let is_last = index == count;
            let tail = if is_last { Tail::ReluPool } else { Tail::Relu };
            convs.push((conv, weight, tail));
            inputs = outputs;
        }
        height /= 2;
    }
    let mut best = [f64::MAX; 2];
    for round in 0..6 {
        let mut x = values(images * 3 * side * side);
        let start = Instant::now();
        for (conv, weight, tail) in &convs {
            let fastest = Conv {
                algorithm: Algorithm::Fastest,
                ..*conv
            };
            x = if round % 2 == 0 {
                forward(isa, conv, *tail, &x, weight, None).output
            } else {
                infer(isa, &fastest, *tail, &x, weight, None)
            };
        }
        let best = &mut best[round % 2];
        *best = best.min(start.elapsed().as_secs_f64());
        black_box(x);
    }
    best
}

/// Returns the seconds of a forward and of a backward pass of a depthwise convolution with ReLU6.
fn depthwise(isa: Isa, shape: &Depthwise) -> [f64; 2] {
    let (input, weight) = (values(shape.input_len()), values(shape.weight_len()));
    let grad = values(shape.output_len());
    let mut best = [f64::MAX; 2];
    for _ in 0..RUNS {
        let start = Instant::now();
        let output = depthwise_forward(isa, shape, Tail::Relu6, &input, &weight, None);
        let forward = start.elapsed().as_secs_f64();
        let saved = Saved {
            input: &input,
            weight: &weight,
            output: &output,
            codes: &[],
        };
        let start = Instant::now();
        black_box(depthwise_backward(
            isa,
            shape,
            Tail::Relu6,
            saved,
            &grad,
            true,
        ));
        let backward = start.elapsed().as_secs_f64();
        best = [best[0].min(forward), best[1].min(backward)];
    }
    best
}
