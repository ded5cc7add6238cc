//! Steps of a network that doesn't learn, with their weights prepared once: norms are folded into
//! convolutions, and inverted residuals found and packed for the kernel that computes them as one.

use std::sync::Arc;

use burn::tensor::Tensor;
use conv_block::{
    Activation, GateWeights, InvertedResidual, InvertedWeights, Isa, PackedInverted, Tail, Weights,
};

use super::{
    layers::Layer,
    patterns::{Inverted, Unit, function_of},
    steps::{Step, block_of, joined, summed},
};
use crate::{
    architecture::{Conv, Join},
    nn::cpu::{
        conv_op::{conv_block, folded},
        inference::{
            LayerNorm, NormedConv, activated, attended, inverted, is_for_inference, layer_normed,
            normed_conv, scaled,
        },
        norm::scale_and_shift,
    },
};

/// A step, or several as one.
#[derive(Debug)]
pub(super) enum Prepared<'a> {
    /// A step as it is.
    Step(&'a Step),
    /// A convolution.
    Conv(Box<Folded<'a>>),
    /// A norm by its running statistics: the factor and the offset of each channel, and a function.
    Norm(Arc<[Vec<f32>; 2]>, Activation),
    /// A norm by its running statistics and a 1x1 convolution behind it.
    NormedConv(Arc<NormedConv>),
    /// An inverted residual.
    Inverted {
        block: Arc<PackedInverted>,
        depthwise: &'a Conv,
        /// The same step by step, for sizes that the kernel doesn't support.
        plain: &'a [Step],
    },
    /// A layer norm.
    LayerNorm(Arc<LayerNorm>),
    /// Self-attention of so many heads.
    Attention(usize),
    /// A function of each value.
    Activation(Activation),
    /// The sum of paths, and a tail.
    Sum(Vec<Vec<Prepared<'a>>>, Tail),
    /// Paths side by side whose outputs are joined otherwise.
    Branches(Join, Vec<Vec<Prepared<'a>>>),
}

/// A convolution with its norm in its weights.
#[derive(Debug)]
pub(super) struct Folded<'a> {
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    shape: &'a Conv,
    tail: Tail,
}

/// Prepares steps. On devices whose tensors aren't in this process, and for modules that learn, the
/// steps stay as they are.
pub(super) fn prepare<'a>(steps: &'a [Step], modules: &[Layer]) -> Vec<Prepared<'a>> {
    let is_prepared = modules.iter().any(
        |layer| matches!(layer, Layer::Conv(conv) if is_for_inference(&conv.weight.val().device())),
    );
    if is_prepared {
        Preparation { modules }.all(steps)
    } else {
        steps.iter().map(Prepared::Step).collect()
    }
}

/// Runs prepared steps one after the other; `modules` are those they were prepared with.
///
/// # Shapes
/// `[batch, channels, height, width]` in and out.
pub(super) fn run(steps: &[Prepared<'_>], modules: &[Layer], x: Tensor<4>) -> Tensor<4> {
    steps.iter().fold(x, |x, step| step.run(modules, x))
}

impl Prepared<'_> {
    fn run(&self, modules: &[Layer], x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Step(step) => step.run(modules, x),
            Self::Conv(conv) => {
                let [_, _, height, width] = x.dims();
                let block = block_of(conv.shape, [height, width], conv.tail);
                conv_block(x, conv.weight.clone(), conv.bias.clone(), block)
            }
            Self::Inverted {
                block,
                depthwise,
                plain,
            } => {
                let [_, _, height, width] = x.dims();
                let padding = block_of(depthwise, [height, width], Tail::Linear).padding;
                inverted(&x, block, padding)
                    .unwrap_or_else(|| plain.iter().fold(x, |x, step| step.run(modules, x)))
            }
            Self::NormedConv(block) => normed_conv(x, block),
            Self::Norm(scales, function) => scaled(x, scales, *function),
            Self::LayerNorm(norm) => layer_normed(x, norm),
            Self::Attention(heads) => attended(x, *heads),
            Self::Activation(function) => activated(x, *function),
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

/// What steps are prepared from.
struct Preparation<'m> {
    modules: &'m [Layer],
}

impl Preparation<'_> {
    fn all<'a>(&self, steps: &'a [Step]) -> Vec<Prepared<'a>> {
        let mut found = Vec::new();
        let mut rest = steps;
        while let [first, behind @ ..] = rest {
            let (step, behind) = self
                .fused(rest)
                .or_else(|| self.scaled(rest))
                .unwrap_or_else(|| (self.single(first), behind));
            found.push(step);
            rest = behind;
        }
        found
    }

    /// Prepares the first of the steps together with others, if it can be, and returns the rest.
    fn fused<'a>(&self, steps: &'a [Step]) -> Option<(Prepared<'a>, &'a [Step])> {
        if let Some((parts, rest)) = Inverted::find(steps) {
            let plain = &steps[..steps.len() - rest.len()];
            return Some((self.inverted(&parts, false, plain), rest));
        }
        if let [Step::Norm(norm, before), rest @ ..] = steps
            && *before != Tail::ReluPool
            && let [Step::Conv { tail, .. }, ..] = rest
            && *tail != Tail::ReluPool
            && let Some((unit, _)) = Unit::take(rest)
            && unit.is_pointwise()
        {
            let [scale, shift] = self.scales(*norm);
            let (weight, bias) = self.values(&unit);
            let block = NormedConv {
                scales: [scale, shift],
                before: *before,
                weight,
                bias,
                tail: *tail,
            };
            return Some((Prepared::NormedConv(Arc::new(block)), &rest[1..]));
        }
        let [Step::Sum(paths, Tail::Linear), rest @ ..] = steps else {
            return None;
        };
        let [first, second] = &paths[..] else {
            return None;
        };
        let (parts, behind) = Inverted::find(first)?;
        let is_residual = matches!(behind, [] | [Step::DropPath(_)])
            && second.is_empty()
            && parts.project.function == Activation::Linear;
        is_residual.then(|| (self.inverted(&parts, true, &steps[..1]), rest))
    }

    /// Prepares a convolution with the scale behind it in its weights.
    fn scaled<'a>(&self, steps: &'a [Step]) -> Option<(Prepared<'a>, &'a [Step])> {
        let [
            Step::Conv {
                conv,
                norm,
                shape,
                tail: Tail::Linear,
            },
            Step::Module(scale),
            rest @ ..,
        ] = steps
        else {
            return None;
        };
        let Layer::Scale(scale) = &self.modules[*scale] else {
            return None;
        };
        let (weight, bias) = self.weights(*conv, *norm);
        let scale = scale.scale.val();
        let folded = Folded {
            weight: weight * scale.clone().reshape([-1, 1, 1, 1]),
            bias: bias.map(|bias| bias * scale),
            shape,
            tail: Tail::Linear,
        };
        Some((Prepared::Conv(Box::new(folded)), rest))
    }

    fn single<'a>(&self, step: &'a Step) -> Prepared<'a> {
        match step {
            Step::Conv {
                conv,
                norm,
                shape,
                tail,
            } => {
                let (weight, bias) = self.weights(*conv, *norm);
                Prepared::Conv(Box::new(Folded {
                    weight,
                    bias,
                    shape,
                    tail: *tail,
                }))
            }
            Step::Norm(norm, tail) => match tail {
                Tail::Linear => self.norm(*norm, Activation::Linear),
                Tail::Relu => self.norm(*norm, Activation::Relu),
                Tail::Relu6 => self.norm(*norm, Activation::Relu6),
                Tail::ReluPool => Prepared::Step(step),
            },
            Step::Activation(_) => match function_of(std::slice::from_ref(step)) {
                Some((function, _)) => Prepared::Activation(function),
                None => Prepared::Step(step),
            },
            Step::Sum(paths, tail) => {
                Prepared::Sum(paths.iter().map(|path| self.all(path)).collect(), *tail)
            }
            Step::Branches(join, paths) => {
                Prepared::Branches(*join, paths.iter().map(|path| self.all(path)).collect())
            }
            Step::Attention(heads) => Prepared::Attention(*heads),
            Step::Module(module) => match &self.modules[*module] {
                Layer::LayerNorm(norm) => Prepared::LayerNorm(Arc::new(LayerNorm {
                    scales: [&norm.gamma, &norm.beta].map(|param| values_of(param.val())),
                    epsilon: norm.epsilon,
                })),
                _ => Prepared::Step(step),
            },
            _ => Prepared::Step(step),
        }
    }

    fn inverted<'a>(
        &self,
        parts: &Inverted<'a>,
        is_residual: bool,
        plain: &'a [Step],
    ) -> Prepared<'a> {
        let values = |unit: &Unit<'_>| self.values(unit);
        let (expand, depthwise, project) = (
            parts.expand.as_ref().map(values),
            values(&parts.depthwise),
            values(&parts.project),
        );
        let gate = parts.gate.as_ref().map(|gate| {
            let functions = gate.each_ref().map(|unit| unit.function);
            (gate.each_ref().map(values), functions)
        });
        let gate = gate
            .as_ref()
            .map(|([reduce, expand], functions)| GateWeights {
                reduce: borrowed(reduce),
                expand: borrowed(expand),
                functions: *functions,
            });
        let expanded = parts.depthwise.shape.outputs;
        let shape = InvertedResidual {
            inputs: expand
                .as_ref()
                .map_or(expanded, |(weight, _)| weight.len() / expanded),
            expanded,
            outputs: parts.project.shape.outputs,
            kernel: parts.depthwise.shape.kernel[0],
            stride: parts.depthwise.shape.stride,
            activation: parts.depthwise.function,
            tail: parts.project.function,
            is_residual,
        };
        let weights = InvertedWeights {
            expand: expand.as_ref().map(borrowed),
            depthwise: borrowed(&depthwise),
            gate,
            project: borrowed(&project),
        };
        Prepared::Inverted {
            block: Arc::new(PackedInverted::new(Isa::best(), shape, &weights)),
            depthwise: parts.depthwise.shape,
            plain,
        }
    }

    fn norm<'a>(&self, norm: usize, function: Activation) -> Prepared<'a> {
        Prepared::Norm(Arc::new(self.scales(norm)), function)
    }

    /// Returns the factor and the offset of each channel that a norm is.
    fn scales(&self, norm: usize) -> [Vec<f32>; 2] {
        let Layer::BatchNorm(norm) = &self.modules[norm] else {
            unreachable!("the step was found for a batch norm")
        };
        let (scale, shift) = scale_and_shift(norm, &norm.gamma.val().device());
        [scale, shift].map(values_of)
    }

    /// Returns the weights of a convolution with its norm in them, and its bias.
    ///
    /// # Shapes
    /// `[outputs, inputs / groups, height, width]`, and `[outputs]`.
    fn weights(&self, conv: usize, norm: Option<usize>) -> (Tensor<4>, Option<Tensor<1>>) {
        let Layer::Conv(conv) = &self.modules[conv] else {
            unreachable!("the step was found for a convolution")
        };
        let weight = conv.weight.val();
        match norm.map(|norm| &self.modules[norm]) {
            Some(Layer::BatchNorm(norm)) => {
                let (weight, bias) = folded(weight, norm);
                (weight, Some(bias))
            }
            _ => (weight, conv.bias.as_ref().map(|bias| bias.val())),
        }
    }

    /// Returns the values of [`Self::weights`], with zeros for a missing bias.
    fn values(&self, unit: &Unit<'_>) -> (Vec<f32>, Vec<f32>) {
        let (weight, bias) = self.weights(unit.conv, unit.norm);
        let zeros = || vec![0.0; unit.shape.outputs];
        (values_of(weight), bias.map_or_else(zeros, values_of))
    }
}

/// Copies the values of a tensor in this process.
///
/// # Shapes
/// Any; the values come in row-major order.
fn values_of<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let values = tensor.into_data().try_to_vec();
    values.expect("weights in this process can be read")
}

fn borrowed((weight, bias): &(Vec<f32>, Vec<f32>)) -> Weights<'_> {
    Weights { weight, bias }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::{
        architecture::Architecture,
        config::{Model, Pooling, Weights as Source},
        nn::networks::{
            build,
            classifier::{Design, Output},
        },
    };

    /// Counts the inverted residuals of prepared steps.
    fn count(steps: &[Prepared<'_>]) -> usize {
        let of_step = |step: &Prepared<'_>| match step {
            Prepared::Inverted { .. } => 1,
            Prepared::Sum(paths, _) => paths.iter().map(|path| count(path)).sum(),
            Prepared::Branches(_, paths) => paths.iter().map(|path| count(path)).sum(),
            _ => 0,
        };
        steps.iter().map(of_step).sum()
    }

    #[test]
    fn prepared_networks_have_the_features_of_their_steps() {
        let device = Device::flex();
        for (name, blocks) in [
            ("mobilenet_v1", 13),
            ("mobilenet_v2", 17),
            ("mobilenet_v3_small", 11),
            ("mobilenet_v3_large", 15),
            ("efficientnet_b0", 16),
            ("efficientnet_lite0", 16),
            ("resnet18", 0),
            ("densenet121", 0),
            ("squeezenet1_1", 0),
            ("convnext_tiny", 0),
            ("dinov2_s", 0),
        ] {
            let [height, width] = if name == "dinov2_s" {
                [56, 98]
            } else {
                [64, 96]
            };
            let design = Design {
                model: Model {
                    architecture: Architecture::find(name).expect("known"),
                    weights: Some(Source::None),
                    pooling: Pooling::Average,
                    ..Model::default()
                },
                input: [3, height, width],
                num_classes: 2,
                output: Output::Softmax,
            };
            let model = build(&design, 1, &device);
            let len = 3 * 3 * height * width;
            let pixels: Vec<f32> = (0..len)
                .map(|at| ((at * 7919 + at % 37 * 31) % 251) as f32 / 125.0 - 1.0)
                .collect();
            let images =
                Tensor::<4>::from_data(TensorData::new(pixels, [3, 3, height, width]), &device);
            let (backbone, mut found, mut plain) = (model.backbone(), images.clone(), images);
            let mut inverted = 0;
            for group in 0..model.num_groups() {
                let prepared = backbone.prepared(group);
                inverted += count(prepared.steps());
                found = prepared.forward(found);
                plain = backbone.forward_step_by_step(group, plain);
            }
            assert_eq!(inverted, blocks, "{name}");
            assert_eq!(found.dims(), plain.dims(), "{name}");
            let (found, plain) = (values_of(found), values_of(plain));
            let most = plain.iter().copied().map(f32::abs).fold(0.0, f32::max);
            assert!(most > 1e-3, "{name}: {most}");
            for (found, plain) in found.iter().zip(&plain) {
                assert!(
                    (found - plain).abs() < 1e-4 * most,
                    "{name}: {found}, not {plain}"
                );
            }
        }
    }
}
