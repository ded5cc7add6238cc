//! The steps of a network, found in its description: a convolution, its norm, ReLU and 2x2
//! max-pooling are one step, which the CPU's kernels compute as one.

use burn::tensor::{
    Tensor,
    activation::{gelu, leaky_relu, relu, sigmoid, silu, tanh},
};
use conv_block::Tail;

use super::{
    head::average,
    layers::{Layer, attention},
};
use crate::{
    architecture::{self, Activation, Conv, Fused, Groups, Join, Kind, Pool},
    nn::cpu::{
        block::Block,
        conv_op::{conv_block, conv_norm_block},
        norm::norm_block,
        pool::pool,
        sum::sum,
    },
};

/// A step of a network. Indices count the network's modules.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A convolution, perhaps with batch norm, and a tail.
    Conv {
        conv: usize,
        norm: Option<usize>,
        shape: Conv,
        tail: Tail,
    },
    /// Batch norm by itself, and a tail.
    Norm(usize, Tail),
    /// Layer norm, a scale, tokens or dropout.
    Module(usize),
    /// Stochastic depth.
    DropPath(usize),
    /// A function of each value.
    Activation(Activation),
    /// A pool.
    Pool(Pool),
    /// The mean over all positions.
    GlobalAverage,
    /// Self-attention of so many heads.
    Attention(usize),
    /// The class token alone.
    ClassToken,
    /// Each row and each column twice.
    Upsample,
    /// The sum of paths, and a tail.
    Sum(Vec<Vec<Step>>, Tail),
    /// Paths side by side whose outputs are joined otherwise.
    Branches(Join, Vec<Vec<Step>>),
}

/// Finds the steps of some layers; `next` is the index of their first module and becomes that
/// behind their last.
pub(super) fn find(layers: &[architecture::Layer], next: &mut usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = layers;
    while let [first, behind @ ..] = rest {
        let fused = Fused::of(&first.kind, behind.iter().map(|layer| &layer.kind));
        rest = &behind[fused.count()..];
        let tail = match fused {
            Fused { pool: true, .. } => Tail::ReluPool,
            Fused { relu6: true, .. } => Tail::Relu6,
            Fused { relu: true, .. } => Tail::Relu,
            _ => Tail::Linear,
        };
        steps.push(match &first.kind {
            Kind::Conv(shape) => {
                let conv = advance(next);
                Step::Conv {
                    conv,
                    norm: fused.norm.then(|| advance(next)),
                    shape: *shape,
                    tail,
                }
            }
            Kind::BatchNorm { .. } => Step::Norm(advance(next), tail),
            Kind::LayerNorm { .. } | Kind::Scale | Kind::Tokens { .. } | Kind::Dropout(_) => {
                Step::Module(advance(next))
            }
            Kind::DropPath(_) => Step::DropPath(advance(next)),
            Kind::Activation(function) => Step::Activation(*function),
            Kind::Pool(pool) => Step::Pool(*pool),
            Kind::GlobalAverage => Step::GlobalAverage,
            Kind::Attention { heads } => Step::Attention(*heads),
            Kind::ClassToken => Step::ClassToken,
            Kind::Upsample => Step::Upsample,
            Kind::Branches(join, paths) => {
                let paths = paths.iter().map(|path| find(path, next)).collect();
                if *join == Join::Add {
                    let tail = match rest.first().map(|layer| &layer.kind) {
                        Some(Kind::Activation(Activation::Relu)) => Tail::Relu,
                        Some(Kind::Activation(Activation::Relu6)) => Tail::Relu6,
                        _ => Tail::Linear,
                    };
                    rest = &rest[usize::from(tail != Tail::Linear)..];
                    Step::Sum(paths, tail)
                } else {
                    Step::Branches(*join, paths)
                }
            }
        });
    }
    steps
}

/// Returns the index of a module and moves on to the next.
fn advance(next: &mut usize) -> usize {
    *next += 1;
    *next - 1
}

/// Runs steps one after the other.
///
/// # Shapes
/// `[batch, channels, height, width]` in and out.
fn run(steps: &[Step], modules: &[Layer], x: Tensor<4>) -> Tensor<4> {
    steps.iter().fold(x, |x, step| step.run(modules, x))
}

impl Step {
    /// Runs the step.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub(super) fn run(&self, modules: &[Layer], x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv {
                conv,
                norm,
                shape,
                tail,
            } => {
                let Layer::Conv(conv) = &modules[*conv] else {
                    unreachable!("the step was found for a convolution")
                };
                let [_, _, height, width] = x.dims();
                let block = block_of(shape, [height, width], *tail);
                match norm.map(|norm| &modules[norm]) {
                    Some(Layer::BatchNorm(norm)) => {
                        conv_norm_block(x, conv.weight.val(), norm, block)
                    }
                    _ => conv_block(
                        x,
                        conv.weight.val(),
                        conv.bias.as_ref().map(|bias| bias.val()),
                        block,
                    ),
                }
            }
            Self::Norm(norm, tail) => {
                let Layer::BatchNorm(norm) = &modules[*norm] else {
                    unreachable!("the step was found for a batch norm")
                };
                norm_block(x, norm, *tail)
            }
            Self::Module(module) => run_module(&modules[*module], x),
            Self::DropPath(module) => {
                let Layer::Dropout(dropout) = &modules[*module] else {
                    unreachable!("the step was found for dropout")
                };
                let images = x.dims()[0];
                let kept = dropout.forward(Tensor::<4>::ones([images, 1, 1, 1], &x.device()));
                x * kept
            }
            Self::Activation(function) => activate(*function, x),
            Self::Pool(shape) => pool(x, *shape),
            Self::GlobalAverage => average(x),
            Self::Attention(heads) => attention(x, *heads),
            Self::ClassToken => x.narrow(2, 0, 1),
            Self::Upsample => upsampled(x),
            Self::Sum(paths, tail) => {
                let outputs = paths.iter().map(|path| run(path, modules, x.clone()));
                summed(outputs.collect(), *tail)
            }
            Self::Branches(join, paths) => {
                let outputs = paths.iter().map(|path| run(path, modules, x.clone()));
                joined(*join, outputs.collect())
            }
        }
    }
}

/// Runs a layer that is a step by itself.
///
/// # Shapes
/// `[batch, channels, height, width]` in and out.
fn run_module(module: &Layer, x: Tensor<4>) -> Tensor<4> {
    match module {
        Layer::LayerNorm(norm) => norm.forward(x),
        Layer::Scale(scale) => scale.forward(x),
        Layer::Tokens(tokens) => tokens.forward(x),
        Layer::Dropout(dropout) => dropout.forward(x),
        Layer::Conv(_) | Layer::BatchNorm(_) => {
            unreachable!("convolutions and batch norms are steps of their own")
        }
    }
}

/// Returns the hyperparameters of a convolution of images of `size`, and of what follows it.
pub(super) fn block_of(conv: &Conv, size: [usize; 2], tail: Tail) -> Block {
    let (kernel, stride) = (conv.kernel, conv.stride);
    let padding = [0, 1].map(|axis| {
        let side = size[axis];
        conv.padding.of_side(axis, side, kernel[axis], stride)
    });
    let groups = if conv.groups == Groups::Depthwise {
        conv.outputs
    } else {
        1
    };
    Block {
        stride,
        padding,
        groups,
        tail,
    }
}

/// Repeats each row and each column.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, 2 * height, 2 * width]`.
fn upsampled(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let maps = batch * channels;
    x.reshape([maps, height, 1, width, 1])
        .expand([maps, height, 2, width, 2])
        .reshape([batch, channels, 2 * height, 2 * width])
}

/// Returns the sum of the outputs of two paths or more after a tail.
///
/// # Shapes
/// `[batch, channels, height, width]` each, and out.
pub(super) fn summed(mut outputs: Vec<Tensor<4>>, tail: Tail) -> Tensor<4> {
    let last = outputs.pop();
    let others = outputs.into_iter().reduce(|a, b| sum(a, b, Tail::Linear));
    let (others, last) = others.zip(last).expect("a sum has two paths or more");
    sum(others, last, tail)
}

/// Joins the outputs of paths to one tensor.
///
/// # Shapes
/// Each output is `[batch, channels, height, width]`; returns the same, with the channels of all
/// outputs for [`Join::Concat`].
pub(super) fn joined(join: Join, outputs: Vec<Tensor<4>>) -> Tensor<4> {
    let reduced = match join {
        Join::Concat => return Tensor::cat(outputs, 1),
        Join::Add => outputs.into_iter().reduce(|a, b| a + b),
        Join::Multiply => outputs.into_iter().reduce(|a, b| a * b),
    };
    reduced.expect("a sum or product has paths")
}

/// Applies a function to each value.
///
/// # Shapes
/// `[batch, channels, height, width]` in and out.
pub(super) fn activate(function: Activation, x: Tensor<4>) -> Tensor<4> {
    let hard_sigmoid = |x: Tensor<4>| (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match function {
        Activation::Relu => relu(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu => leaky_relu(x, 0.01),
        // Where x is above 0 the exponential may be infinite, and must not reach the sum.
        Activation::Elu => relu(x.clone()) + (x.clamp_max(0.0).exp() - 1.0),
        Activation::Gelu => gelu(x),
        Activation::Silu => silu(x),
        Activation::HardSwish => x.clone() * hard_sigmoid(x),
        Activation::HardSigmoid => hard_sigmoid(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => tanh(x),
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Device, TensorData},
    };

    use super::*;
    use crate::{
        architecture::{Network, Padding, PoolKind, Shape},
        nn::networks::layers,
    };

    #[test]
    fn activations_are_their_formulas() {
        let relu6 = |x: f64| x.clamp(0.0, 6.0);
        // Shares of the normal distribution below a value.
        let share = |x: f64| {
            let above = [
                (0.0, 0.5),
                (0.5, 0.691_462_461_3),
                (1.0, 0.841_344_746_1),
                (3.0, 0.998_650_101_9),
                (20.0, 1.0),
            ];
            let (_, share) = above
                .into_iter()
                .find(|(value, _)| *value == x.abs())
                .expect("one of the values below");
            if x < 0.0 { 1.0 - share } else { share }
        };
        let formulas: [(Activation, &dyn Fn(f64) -> f64); 10] = [
            (Activation::Relu, &|x| x.max(0.0)),
            (Activation::Relu6, &relu6),
            (Activation::LeakyRelu, &|x| {
                if x > 0.0 { x } else { 0.01 * x }
            }),
            (Activation::Elu, &|x| {
                if x > 0.0 { x } else { x.exp() - 1.0 }
            }),
            (Activation::Gelu, &|x| x * share(x)),
            (Activation::Silu, &|x| x / (1.0 + (-x).exp())),
            (Activation::HardSwish, &|x| x * relu6(x + 3.0) / 6.0),
            (Activation::HardSigmoid, &|x| relu6(x + 3.0) / 6.0),
            (Activation::Sigmoid, &|x| 1.0 / (1.0 + (-x).exp())),
            (Activation::Tanh, &f64::tanh),
        ];
        let values = [-20.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 20.0];
        for (function, formula) in formulas {
            let x = Tensor::<1>::from_floats(values.map(|x| x as f32), &Device::flex())
                .reshape([1, 1, 3, 3]);
            let found = activate(function, x)
                .into_data()
                .try_to_vec::<f32>()
                .expect("floats");
            for (x, found) in values.into_iter().zip(found) {
                let expected = formula(x);
                assert!(
                    (f64::from(found) - expected).abs() < 2e-6 * expected.abs().max(1.0),
                    "{function:?} of {x}: {found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn upsampling_repeats_rows_and_columns_and_its_gradient_is_their_sum() {
        let device = Device::flex().autodiff();
        let x = Tensor::<4>::from_data([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]], &device);
        let x = x.require_grad();
        let out = upsampled(x.clone());
        assert_eq!(out.dims(), [1, 1, 4, 6]);
        let read = |x: Tensor<4>| x.into_data().try_to_vec::<f32>().expect("floats");
        let (above, below) = (
            [1.0, 1.0, 2.0, 2.0, 3.0, 3.0],
            [4.0, 4.0, 5.0, 5.0, 6.0, 6.0],
        );
        assert_eq!(read(out.clone()), [above, above, below, below].concat());
        let places: Vec<f32> = (0..24).map(|place| place as f32).collect();
        let places = Tensor::from_data(TensorData::new(places, [1, 1, 4, 6]), &device);
        let gradients = (out * places).sum().backward();
        let gradient = x.grad(&gradients).expect("tracked");
        assert_eq!(read(gradient), [14.0, 22.0, 30.0, 62.0, 70.0, 78.0]);
    }

    /// Values without a pattern from -1 to 1.
    fn values(count: usize) -> Vec<f32> {
        (0..count)
            .map(|at| ((at * 7919 + at * at * 31) % 251) as f32 / 125.0 - 1.0)
            .collect()
    }

    /// Calls `at` with each window of an image: its channel-independent place in the output, and
    /// the places inside the image with their places in the kernel.
    fn windows(
        size: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> Vec<Vec<([usize; 2], [usize; 2])>> {
        let sides = [0, 1].map(|axis| {
            (
                size[axis],
                padding.of_side(axis, size[axis], kernel, stride),
            )
        });
        let starts = |(side, [before, after]): (usize, [usize; 2])| {
            (0..=(side + before + after - kernel) / stride)
                .map(move |at| (at * stride) as isize - before as isize)
        };
        let inside = |start: isize, side: usize| {
            (0..kernel).filter_map(move |at| {
                Some((
                    usize::try_from(start + at as isize)
                        .ok()
                        .filter(|place| *place < side)?,
                    at,
                ))
            })
        };
        let mut found = Vec::new();
        for row in starts(sides[0]) {
            for column in starts(sides[1]) {
                let rows: Vec<_> = inside(row, size[0]).collect();
                let places = rows
                    .iter()
                    .flat_map(|(y, v)| inside(column, size[1]).map(|(x, u)| ([*y, x], [*v, u])));
                found.push(places.collect());
            }
        }
        found
    }

    fn ran(
        kind: Kind,
        weight: Option<Vec<f32>>,
        [channels, height, width]: Shape,
        device: &Device,
    ) -> (Vec<usize>, Vec<f32>) {
        let layer = architecture::Layer {
            name: "blocks.0.0.layer".to_owned(),
            foreign_names: architecture::ForeignNames::default(),
            entry: Some(1),
            kind,
        };
        let network = Network {
            inputs: channels,
            groups: vec![vec![layer]],
        };
        let mut modules = layers::create(&network, device);
        if let (Some(Layer::Conv(conv)), Some(weight)) = (modules.first_mut(), weight) {
            let shape = conv.weight.val().dims();
            conv.weight =
                Param::from_tensor(Tensor::from_data(TensorData::new(weight, shape), device));
        }
        let x = Tensor::from_data(
            TensorData::new(
                values(channels * height * width),
                [1, channels, height, width],
            ),
            device,
        );
        let out = run(&find(&network.groups[0], &mut 0), &modules, x);
        let dims = out.dims().to_vec();
        (dims, out.into_data().try_to_vec().expect("floats"))
    }

    fn assert_close(found: &[f32], expected: &[f64], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-4,
                "{what}: {found}, not {expected}"
            );
        }
    }

    #[test]
    fn convolutions_of_every_kernel_stride_and_padding_are_sums_over_windows() {
        let input = [2, 11, 8];
        let x = values(2 * 11 * 8);
        for device in [Device::flex(), Device::flex().autodiff()] {
            for (kernel, stride) in
                (1..=7).flat_map(|kernel| [1, 2, 3].map(|stride| (kernel, stride)))
            {
                for (padding, groups) in [
                    (Padding::Same, Groups::One),
                    (Padding::Valid, Groups::One),
                    (Padding::Same, Groups::Depthwise),
                ] {
                    let outputs = if groups == Groups::One { 3 } else { 2 };
                    let conv = Conv {
                        stride,
                        padding,
                        groups,
                        ..Conv::new(outputs, kernel)
                    };
                    let [_, inputs, ..] = conv.weight_shape(2);
                    let weight = values(outputs * inputs * kernel * kernel);
                    let mut expected = Vec::new();
                    for output in 0..outputs {
                        for window in windows([11, 8], kernel, stride, padding) {
                            let one =
                                |channel: usize, ([y, x_at], [v, u]): ([usize; 2], [usize; 2])| {
                                    let plane = if groups == Groups::One {
                                        channel
                                    } else {
                                        output
                                    };
                                    let of_kernel = weight
                                        [((output * inputs + channel) * kernel + v) * kernel + u];
                                    f64::from(x[(plane * 11 + y) * 8 + x_at]) * f64::from(of_kernel)
                                };
                            expected.push(
                                (0..inputs)
                                    .flat_map(|channel| {
                                        window.iter().map(move |place| (channel, *place))
                                    })
                                    .map(|(c, p)| one(c, p))
                                    .sum(),
                            );
                        }
                    }
                    let what = format!("{conv:?}");
                    let (dims, found) = ran(Kind::Conv(conv), Some(weight), input, &device);
                    assert_close(&found, &expected, &what);
                    let [rows, columns] = conv.output([11, 8]).expect("large enough");
                    assert_eq!(dims, [1, outputs, rows, columns], "{what}");
                }
            }
        }
    }

    #[test]
    fn pools_of_every_window_take_what_lies_inside() {
        let x = values(2 * 11 * 8);
        for device in [Device::flex(), Device::flex().autodiff()] {
            for (kernel, stride) in [
                (1, 1),
                (1, 2),
                (2, 1),
                (2, 2),
                (2, 3),
                (3, 2),
                (4, 4),
                (5, 1),
                (8, 8),
            ] {
                for (kind, padding) in [PoolKind::Max, PoolKind::AverageInside]
                    .iter()
                    .flat_map(|kind| [Padding::Same, Padding::Valid].map(|p| (*kind, p)))
                {
                    let mut expected = Vec::new();
                    for plane in 0..2 {
                        for window in windows([11, 8], kernel, stride, padding) {
                            let inside: Vec<_> = window
                                .iter()
                                .map(|([y, x_at], _)| f64::from(x[(plane * 11 + y) * 8 + x_at]))
                                .collect();
                            expected.push(match kind {
                                PoolKind::Max => inside.iter().copied().fold(f64::MIN, f64::max),
                                _ => inside.iter().sum::<f64>() / inside.len() as f64,
                            });
                        }
                    }
                    let pool = Pool {
                        kind,
                        kernel,
                        stride,
                        padding,
                        ceil: false,
                    };
                    assert_close(
                        &ran(Kind::Pool(pool), None, [2, 11, 8], &device).1,
                        &expected,
                        &format!("{pool:?}"),
                    );
                }
            }
        }
    }
}
