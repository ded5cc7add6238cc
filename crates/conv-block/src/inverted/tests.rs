//! Inverted residuals compared with their layers one by one.

use super::*;
use crate::{Isa, activation::Activation, tests::values};

/// A layer's weights of ordinary size.
fn scaled(len: usize, terms: usize, seed: usize) -> Vec<f32> {
    let scale = 2.0 / (terms as f32).sqrt();
    values(len, seed).into_iter().map(|x| x * scale).collect()
}

fn apply(function: Activation, x: f64) -> f64 {
    match function {
        Activation::Linear => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Gelu => unreachable!("no inverted residual here has it"),
    }
}

/// A product of weights `[outputs, inputs]` and each pixel of `[inputs, pixels]`, and a function.
fn product(of: Weights<'_>, input: &[f64], function: Activation) -> Vec<f64> {
    let inputs = of.weight.len() / of.bias.len();
    let pixels = input.len() / inputs;
    let value = |at: usize| {
        let (output, pixel) = (at / pixels, at % pixels);
        let terms = (0..inputs).map(|channel| {
            f64::from(of.weight[output * inputs + channel]) * input[channel * pixels + pixel]
        });
        apply(function, f64::from(of.bias[output]) + terms.sum::<f64>())
    };
    (0..of.bias.len() * pixels).map(value).collect()
}

fn depthwise(
    shape: &InvertedResidual,
    of: Weights<'_>,
    input: &[f64],
    images: &Images,
) -> Vec<f64> {
    let ([height, width], [above, left]) = (images.size, images.padding.map(|[before, _]| before));
    let [rows, columns] = shape.result_size(images);
    let value = |at: usize| {
        let (channel, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
        let mut sum = f64::from(of.bias[channel]);
        for v in 0..shape.kernel {
            for u in 0..shape.kernel {
                let y = (row * shape.stride + v).wrapping_sub(above);
                let x = (column * shape.stride + u).wrapping_sub(left);
                if y < height && x < width {
                    let weight = of.weight[(channel * shape.kernel + v) * shape.kernel + u];
                    sum += f64::from(weight) * input[(channel * height + y) * width + x];
                }
            }
        }
        apply(shape.activation, sum)
    };
    (0..shape.expanded * rows * columns).map(value).collect()
}

/// Computes the block layer by layer in double precision.
fn expected(
    shape: &InvertedResidual,
    weights: &InvertedWeights<'_>,
    input: &[f32],
    images: &Images,
) -> Vec<f64> {
    let image_len = shape.inputs * images.size[0] * images.size[1];
    let of_image = |image: &[f32]| {
        let image: Vec<f64> = image.iter().map(|x| f64::from(*x)).collect();
        let expanded = match weights.expand {
            Some(expand) => product(expand, &image, shape.activation),
            None => image.clone(),
        };
        let mut found = depthwise(shape, weights.depthwise, &expanded, images);
        if let Some(gate) = &weights.gate {
            let pixels = found.len() / shape.expanded;
            let means: Vec<f64> = found
                .chunks_exact(pixels)
                .map(|plane| plane.iter().sum::<f64>() / pixels as f64)
                .collect();
            let reduced = product(gate.reduce, &means, gate.functions[0]);
            let factors = product(gate.expand, &reduced, gate.functions[1]);
            for (plane, factor) in found.chunks_exact_mut(pixels).zip(factors) {
                plane.iter_mut().for_each(|value| *value *= factor);
            }
        }
        let mut found = product(weights.project, &found, shape.tail);
        if shape.is_residual {
            found.iter_mut().zip(image).for_each(|(sum, x)| *sum += x);
        }
        found
    };
    input.chunks_exact(image_len).flat_map(of_image).collect()
}

/// A case: channels, size, kernel and stride, padding, functions.
struct Case {
    channels: [usize; 3],
    size: [usize; 2],
    window: [usize; 2],
    padding: [[usize; 2]; 2],
    functions: [Activation; 2],
    reduced: Option<usize>,
    count: usize,
}

/// A case without a gate, of [`Activation::Relu6`] alone.
fn plain(
    channels: [usize; 3],
    size: [usize; 2],
    window: [usize; 2],
    padding: [[usize; 2]; 2],
    count: usize,
) -> Case {
    Case {
        channels,
        size,
        window,
        padding,
        functions: [Activation::Relu6, Activation::Linear],
        reduced: None,
        count,
    }
}

fn cases() -> Vec<Case> {
    use Activation::{HardSwish, Linear, Relu, Silu};
    let (one, two) = ([[1; 2]; 2], [[2; 2]; 2]);
    let gated = |case: Case, function, reduced| Case {
        functions: [function, Linear],
        reduced: Some(reduced),
        ..case
    };
    let with = |case: Case, functions| Case { functions, ..case };
    vec![
        plain([16, 96, 16], [9, 14], [3, 1], one, 2),
        with(plain([5, 37, 11], [7, 11], [3, 2], one, 3), [Relu, Linear]),
        // TensorFlow's padding.
        plain([8, 24, 40], [8, 10], [3, 2], [[0, 1]; 2], 2),
        gated(plain([9, 27, 9], [6, 13], [5, 1], two, 2), Silu, 4),
        gated(
            plain([4, 33, 20], [9, 8], [5, 2], [[1, 2]; 2], 1),
            HardSwish,
            9,
        ),
        // Separable convolutions, of whole vectors and not.
        with(plain([32, 32, 24], [5, 6], [3, 1], one, 2), [Relu; 2]),
        with(plain([19, 19, 17], [11, 5], [3, 2], one, 2), [Relu, Silu]),
        // Few pixels, and windows that hardly meet the image.
        with(plain([3, 7, 3], [1, 1], [3, 1], one, 2), [Relu, Linear]),
        gated(plain([3, 18, 5], [2, 3], [3, 2], one, 1), Silu, 2),
        plain([6, 20, 7], [7, 9], [7, 1], [[0; 2], [3; 2]], 1),
        with(
            plain([2, 5, 34], [4, 25], [1, 1], [[0; 2]; 2], 1),
            [Relu; 2],
        ),
        // Several strips.
        plain([6, 96, 6], [61, 47], [3, 1], one, 1),
        with(plain([4, 120, 8], [97, 60], [5, 2], two, 1), [Relu, Linear]),
    ]
}

impl Case {
    fn shape(&self) -> InvertedResidual {
        let [inputs, expanded, outputs] = self.channels;
        let shape = InvertedResidual {
            inputs,
            expanded,
            outputs,
            kernel: self.window[0],
            stride: self.window[1],
            activation: self.functions[0],
            tail: self.functions[1],
            is_residual: false,
        };
        let keeps_size = shape.result_size(&self.images(1)) == self.size;
        InvertedResidual {
            is_residual: inputs == outputs && keeps_size,
            ..shape
        }
    }

    fn images(&self, count: usize) -> Images {
        Images {
            count,
            size: self.size,
            padding: self.padding,
        }
    }

    /// Calls `check` with the block's weights and input.
    fn with<T>(&self, check: impl FnOnce(InvertedWeights<'_>, &[f32]) -> T) -> T {
        let [inputs, expanded, outputs] = self.channels;
        let taps = self.window[0] * self.window[0];
        let reduced = self.reduced.unwrap_or(1);
        let layer = |outputs: usize, terms: usize, seed| {
            let bias = scaled(outputs, 4, seed + 1);
            (scaled(outputs * terms, terms, seed), bias)
        };
        let layers = [
            layer(expanded, inputs, 1),
            layer(expanded, taps, 3),
            layer(reduced, expanded, 5),
            layer(expanded, reduced, 7),
            layer(outputs, expanded, 9),
        ];
        let [expand, depthwise, reduce, widen, project] = layers
            .each_ref()
            .map(|(weight, bias)| Weights { weight, bias });
        let gate = GateWeights {
            reduce,
            expand: widen,
            functions: [Activation::Relu, Activation::Sigmoid],
        };
        let weights = InvertedWeights {
            expand: (inputs != expanded).then_some(expand),
            depthwise,
            gate: self.reduced.map(|_| gate),
            project,
        };
        let input = values(self.count * inputs * self.size[0] * self.size[1], 11);
        check(weights, &input)
    }
}

#[test]
fn results_are_those_of_the_layers_one_by_one() {
    for case in cases() {
        let shape = case.shape();
        assert!(shape.is_supported(&case.images(case.count)), "{shape:?}");
        case.with(|weights, input| {
            let expected = expected(&shape, &weights, input, &case.images(case.count));
            for isa in Isa::available() {
                let found =
                    PackedInverted::new(isa, shape, &weights).run(&case.images(case.count), input);
                assert_eq!(found.len(), expected.len(), "{shape:?}");
                for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert!(
                        (f64::from(*found) - expected).abs() < 2e-5 * expected.abs().max(1.0),
                        "{isa:?} {shape:?} [{at}]: {found}, not {expected}"
                    );
                }
            }
        });
    }
}

#[test]
fn results_are_the_same_for_any_number_of_threads_and_images() {
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads")
    };
    for case in cases() {
        let shape = case.shape();
        case.with(|weights, input| {
            let packed = PackedInverted::new(Isa::best(), shape, &weights);
            let all = pool(1).install(|| packed.run(&case.images(case.count), input));
            assert_eq!(
                all,
                pool(3).install(|| packed.run(&case.images(case.count), input))
            );
            let image_len = input.len() / case.count;
            let singly = input
                .chunks_exact(image_len)
                .flat_map(|image| packed.run(&case.images(1), image));
            assert_eq!(all, singly.collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_nan_in_the_input_reaches_the_output() {
    for case in cases() {
        let shape = case.shape();
        case.with(|weights, input| {
            let mut input = input.to_vec();
            input[0] = f32::NAN;
            for isa in Isa::available() {
                let found =
                    PackedInverted::new(isa, shape, &weights).run(&case.images(case.count), &input);
                assert!(
                    found.iter().any(|value| value.is_nan()),
                    "{isa:?} {shape:?}"
                );
            }
        });
    }
}

#[test]
fn shapes_that_the_kernels_lack_are_not_supported() {
    let (good, images) = (cases()[0].shape(), cases()[0].images(2));
    assert!(good.is_supported(&images));
    let bad = [
        InvertedResidual { kernel: 8, ..good },
        InvertedResidual { stride: 3, ..good },
        InvertedResidual { stride: 2, ..good },
        InvertedResidual {
            outputs: 17,
            ..good
        },
        InvertedResidual { inputs: 0, ..good },
        InvertedResidual {
            activation: Activation::Sigmoid,
            ..good
        },
    ];
    for shape in bad {
        assert!(!shape.is_supported(&images), "{shape:?}");
    }
    let bad = [
        Images {
            size: [0, 14],
            ..images
        },
        Images {
            padding: [[3, 0], [0, 0]],
            ..images
        },
        Images {
            padding: [[0; 2]; 2],
            ..images
        },
    ];
    for images in bad {
        assert!(!good.is_supported(&images), "{images:?}");
    }
}
