//! Times the blocks of the small CNN, forward and backward: `cargo bench -p conv-block`.
#![expect(clippy::print_stdout, reason = "a table for a person")]

use std::time::Instant;

use conv_block::{Conv, Isa, Saved, Tail, backward, forward};

fn main() {
    let isa = Isa::best();
    println!("{isa:?}, {} threads", rayon::current_num_threads());
    let (mut all_forward, mut all_backward) = (0.0, 0.0);
    for (inputs, outputs, side) in [(3, 32, 150), (32, 64, 75), (64, 128, 37), (128, 128, 18)] {
        let conv = Conv { images: 32, inputs, height: side, width: side, outputs, kernel: 3, stride: 1, padding: 1 };
        let values = |len: usize| (0..len).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 504.0).collect::<Vec<_>>();
        let (input, weight) = (values(conv.input_len()), values(conv.weight_len()));
        let flops = 2.0 * (conv.weight_len() * conv.images) as f64 * (conv.result_size().0 * conv.result_size().1) as f64;
        for tail in [Tail::ReluPool, Tail::Relu] {
            let (mut best_forward, mut best_backward) = (f64::MAX, f64::MAX);
            for _ in 0..15 {
                let start = Instant::now();
                let found = forward(isa, &conv, tail, &input, &weight, None);
                best_forward = best_forward.min(start.elapsed().as_secs_f64());
                let saved = Saved { input: &input, weight: &weight, output: &found.output, codes: &found.codes };
                let start = Instant::now();
                std::hint::black_box(backward(isa, &conv, tail, saved, &found.output, inputs > 3));
                best_backward = best_backward.min(start.elapsed().as_secs_f64());
            }
            if tail == Tail::ReluPool {
                all_forward += best_forward;
                all_backward += best_backward;
            }
            println!(
                "{inputs:>4} -> {outputs:>4} at {side:>3} {tail:?}: forward {:.1} ms ({:.0} GFLOP/s), backward {:.1} ms",
                best_forward * 1e3,
                flops / best_forward / 1e9,
                best_backward * 1e3
            );
        }
    }
    println!("all pooled: forward {:.1} ms, backward {:.1} ms", all_forward * 1e3, all_backward * 1e3);
}
