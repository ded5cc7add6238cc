//! Times the blocks of the small CNN, forward and backward, and the convolutions of VGG16 forward:
//! `cargo bench -p conv-block`. Reports the best of several runs each, on as many threads as rayon
//! uses (`RAYON_NUM_THREADS`).
#![expect(clippy::print_stdout, reason = "a table for a person")]

use std::{hint::black_box, time::Instant};

use conv_block::{
    Conv, Depthwise, Isa, Norm, NormSaved, Saved, Tail, backward, depthwise_backward,
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
    println!("| block | forward, ms | GFLOP/s | backward, ms |\n|---|---|---|---|");
    for kind in ["pool", "norm + pool", "relu"] {
        let mut all = [0.0; 2];
        for (inputs, outputs, side) in [(3, 32, 150), (32, 64, 75), (64, 128, 37), (128, 128, 18)] {
            let conv = Conv {
                images: 32,
                inputs,
                height: side,
                width: side,
                outputs,
                kernel: 3,
                stride: 1,
                padding: 1,
            };
            let best = block(isa, &conv, kind);
            all = [all[0] + best[0], all[1] + best[1]];
            let gflops = flops(&conv) / best[0] / 1e9;
            println!(
                "| {inputs} to {outputs} at {side}, {kind} | {:.1} | {gflops:.0} | {:.1} |",
                best[0] * 1e3,
                best[1] * 1e3
            );
        }
        println!(
            "| all, {kind} | {:.1} | | {:.1} |",
            all[0] * 1e3,
            all[1] * 1e3
        );
    }
    println!("| depthwise, batch 32 | forward, ms | backward, ms |\n|---|---|---|");
    for (channels, side, kernel, stride) in [
        (32, 112, 3, 1),
        (96, 112, 3, 2),
        (144, 56, 5, 2),
        (480, 14, 5, 1),
        (672, 7, 5, 1),
    ] {
        let padding = [[kernel / 2; 2]; 2];
        let [forward, backward] = depthwise(
            isa,
            &Depthwise {
                images: 32,
                channels,
                height: side,
                width: side,
                kernel,
                stride,
                padding,
            },
        );
        println!(
            "| {channels} at {side}, {kernel}x{kernel} by {stride} | {:.1} | {:.1} |",
            forward * 1e3,
            backward * 1e3
        );
    }
    for (images, side) in [(8, 224), (32, 150)] {
        let [direct, fastest] = vgg16(isa, images, side);
        println!(
            "VGG16 forward, {images} at {side}: {direct:.2} s, as networks that don't learn {fastest:.2} s"
        );
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
    let (input, weight, ones) = (
        values(conv.input_len()),
        values(conv.weight_len()),
        vec![1.0; conv.outputs],
    );
    let tail = if kind == "relu" {
        Tail::Relu
    } else {
        Tail::ReluPool
    };
    let (grad, is_input_wanted) = (values(conv.output_len(tail)), conv.inputs > 3);
    let norm = Norm {
        gamma: &ones,
        beta: &ones,
        epsilon: 1e-5,
    };
    let mut best = [f64::MAX; 2];
    for _ in 0..RUNS {
        let start = Instant::now();
        let seconds = if kind == "norm + pool" {
            let mut result = forward(isa, conv, Tail::Linear, &input, &weight, None).output;
            let (rows, columns) = conv.result_size();
            let shape = [conv.images, conv.outputs, rows, columns];
            let found = norm_forward(isa, shape, tail, &result, norm);
            let forward = start.elapsed().as_secs_f64();
            let (output, codes) = (&found.output, &found.codes);
            let saved = NormSaved {
                norm,
                output,
                codes,
                mean: &found.mean,
                variance: &found.variance,
            };
            let start = Instant::now();
            norm_backward(isa, shape, tail, saved, &mut grad.clone(), &mut result);
            let saved = Saved {
                input: &input,
                weight: &weight,
                output: &[],
                codes: &[],
            };
            black_box(backward(
                isa,
                conv,
                Tail::Linear,
                saved,
                &mut result,
                is_input_wanted,
            ));
            [forward, start.elapsed().as_secs_f64()]
        } else {
            let found = forward(isa, conv, tail, &input, &weight, Some(&ones));
            let forward = start.elapsed().as_secs_f64();
            let saved = Saved {
                input: &input,
                weight: &weight,
                output: &found.output,
                codes: &found.codes,
            };
            let start = Instant::now();
            black_box(backward(
                isa,
                conv,
                tail,
                saved,
                &mut grad.clone(),
                is_input_wanted,
            ));
            [forward, start.elapsed().as_secs_f64()]
        };
        best = [best[0].min(seconds[0]), best[1].min(seconds[1])];
    }
    best
}

/// Returns the seconds that the thirteen convolutions of VGG16 take with their ReLUs and pooling, by
/// [`forward`] and by [`infer`].
fn vgg16(isa: Isa, images: usize, side: usize) -> [f64; 2] {
    let layers = [
        (64, false),
        (64, true),
        (128, false),
        (128, true),
        (256, false),
        (256, false),
        (256, true),
    ];
    let layers = layers.into_iter().chain([
        (512, false),
        (512, false),
        (512, true),
        (512, false),
        (512, false),
        (512, true),
    ]);
    let (mut height, mut inputs, mut convs) = (side, 3, Vec::new());
    for (outputs, is_pooled) in layers {
        let conv = Conv {
            images,
            inputs,
            height,
            width: height,
            outputs,
            kernel: 3,
            stride: 1,
            padding: 1,
        };
        // As large as in training, so that nothing overflows.
        let scale = (2.0 / (9 * inputs) as f32).sqrt();
        let weight: Vec<f32> = values(conv.weight_len())
            .iter()
            .map(|value| value * scale)
            .collect();
        convs.push((
            conv,
            weight,
            if is_pooled {
                Tail::ReluPool
            } else {
                Tail::Relu
            },
        ));
        (inputs, height) = (outputs, if is_pooled { height / 2 } else { height });
    }
    let mut best = [f64::MAX; 2];
    for round in 0..6 {
        let mut x = values(images * 3 * side * side);
        let start = Instant::now();
        for (conv, weight, tail) in &convs {
            x = if round % 2 == 0 {
                forward(isa, conv, *tail, &x, weight, None).output
            } else {
                infer(isa, conv, *tail, &x, weight, None)
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
        best = [
            best[0].min(forward),
            best[1].min(start.elapsed().as_secs_f64()),
        ];
    }
    best
}
