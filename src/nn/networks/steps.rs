//! The steps of a network, found in its description: a convolution, its norm, ReLU and 2x2
//! max-pooling are one step, which the CPU's kernels compute as one.

use burn::tensor::{
    Tensor,
    activation::{gelu, leaky_relu, relu, sigmoid, silu, tanh},
};
use conv_block::Tail;

use super::{head::average, layers::Layer};
use crate::{
    architecture::{self, Activation, Conv, Groups, Join, Kind, Pool},
    nn::cpu::{
        conv_op::{Block, conv_block, conv_norm_block},
        pool::{pad, pool},
    },
};

/// A step of a network. Indices count the network's modules.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A convolution, perhaps with batch norm, and a tail.
    Conv { conv: usize, norm: Option<usize>, shape: Conv, tail: Tail },
    /// Batch norm, layer norm or a scale by themselves, or dropout.
    Module(usize),
    /// Stochastic depth.
    DropPath(usize),
    /// A function of each value.
    Activation(Activation),
    /// A pool.
    Pool(Pool),
    /// The mean over all positions.
    GlobalAverage,
    /// Paths side by side.
    Branches(Join, Vec<Vec<Step>>),
}

/// Finds the steps of some layers; `next` is the index of their first module and becomes that
/// behind their last.
pub(super) fn find(layers: &[architecture::Layer], next: &mut usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = layers.iter().map(|layer| &layer.kind).peekable();
    while let Some(kind) = rest.next() {
        steps.push(match kind {
            Kind::Conv(shape) => {
                let conv = advance(next);
                let norm = rest.next_if(|kind| matches!(kind, Kind::BatchNorm { .. })).map(|_| advance(next));
                let is_relu = rest.next_if(|kind| **kind == Kind::Activation(Activation::Relu)).is_some();
                let is_pooled = is_relu && rest.next_if(|kind| **kind == Kind::Pool(Pool::HALVE)).is_some();
                let tail = match (is_relu, is_pooled) {
                    (_, true) => Tail::ReluPool,
                    (true, false) => Tail::Relu,
                    (false, false) => Tail::Linear,
                };
                Step::Conv { conv, norm, shape: *shape, tail }
            }
            Kind::BatchNorm { .. } | Kind::LayerNorm { .. } | Kind::Scale | Kind::Dropout(_) => Step::Module(advance(next)),
            Kind::DropPath(_) => Step::DropPath(advance(next)),
            Kind::Activation(function) => Step::Activation(*function),
            Kind::Pool(pool) => Step::Pool(*pool),
            Kind::GlobalAverage => Step::GlobalAverage,
            Kind::Branches(join, paths) => Step::Branches(*join, paths.iter().map(|path| find(path, next)).collect()),
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
pub(super) fn run(steps: &[Step], modules: &[Layer], x: Tensor<4>) -> Tensor<4> {
    steps.iter().fold(x, |x, step| step.run(modules, x))
}

impl Step {
    fn run(&self, modules: &[Layer], x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv { conv, norm, shape, tail } => {
                let Layer::Conv(conv) = &modules[*conv] else { unreachable!("the step was found for a convolution") };
                let (x, padding) = padded(x, shape);
                let groups = if shape.groups == Groups::Depthwise { shape.outputs } else { 1 };
                let block = Block { stride: shape.stride, padding, groups, tail: *tail };
                match norm.map(|norm| &modules[norm]) {
                    Some(Layer::BatchNorm(norm)) => conv_norm_block(x, conv.weight.val(), norm, block),
                    _ => conv_block(x, conv.weight.val(), conv.bias.as_ref().map(|bias| bias.val()), block),
                }
            }
            Self::Module(module) => match &modules[*module] {
                Layer::BatchNorm(norm) => norm.forward(x),
                Layer::LayerNorm(norm) => norm.forward(x),
                Layer::Scale(scale) => scale.forward(x),
                Layer::Dropout(dropout) => dropout.forward(x),
                Layer::Conv(_) => unreachable!("convolutions are steps of their own"),
            },
            Self::DropPath(module) => {
                let Layer::Dropout(dropout) = &modules[*module] else { unreachable!("the step was found for dropout") };
                let images = x.dims()[0];
                let kept = dropout.forward(Tensor::<4>::ones([images, 1, 1, 1], &x.device()));
                x * kept
            }
            Self::Activation(function) => activate(*function, x),
            Self::Pool(shape) => pool(x, *shape),
            Self::GlobalAverage => average(x),
            Self::Branches(join, paths) => {
                let outputs: Vec<_> = paths.iter().map(|path| run(path, modules, x.clone())).collect();
                match join {
                    Join::Concat => Tensor::cat(outputs, 1),
                    Join::Add => outputs.into_iter().reduce(|a, b| a + b).expect("a sum has paths"),
                    Join::Multiply => outputs.into_iter().reduce(|a, b| a * b).expect("a product has paths"),
                }
            }
        }
    }
}

/// Pads an image where its sides need more on one side than on the other, which no convolution does
/// itself; else returns the padding of each side.
fn padded(x: Tensor<4>, shape: &Conv) -> (Tensor<4>, [usize; 2]) {
    let [_, _, height, width] = x.dims();
    let rows = shape.padding.of_side(0, height, shape.kernel[0], shape.stride);
    let columns = shape.padding.of_side(1, width, shape.kernel[1], shape.stride);
    if rows[0] == rows[1] && columns[0] == columns[1] { (x, [rows[0], columns[0]]) } else { (pad(x, rows, columns), [0, 0]) }
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
