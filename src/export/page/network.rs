//! The layers of a network as steps of the page's engine, from its description, so that every
//! backbone is exported without code of its own. Batch norms are folded into convolutions.

use page_engine::{Conv, Function, Join, Linear, Pool, PoolKind, Step, Weights};
use safetensors::SafeTensors;

use crate::{
    architecture::{self, Activation, Groups, Kind, Layer, Shape},
    base::io::bytes::to_f32,
    config::{Model, Pooling},
    nn::networks::head::NORM_EPSILON,
};

/// Makes steps of layers.
pub(super) struct Steps<'a> {
    /// The weights of the network.
    pub(super) tensors: &'a SafeTensors<'a>,
    /// Whether kernels and matrices are stored in 16 bits a value.
    pub(super) half: bool,
}

/// A factor and an offset for each channel.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl Steps<'_> {
    /// Returns the steps of layers and the shape of their output, for input of the given shape.
    /// Dropout acts in training only.
    pub(super) fn of_layers(&self, layers: &[Layer], input: Shape) -> (Vec<Step>, Shape) {
        let (mut steps, mut shape, mut rest) = (Vec::new(), input, layers);
        while let [layer, behind @ ..] = rest {
            let output = layer.kind.output(shape);
            let output = output.expect("a checked configuration leaves features");
            rest = behind;
            let step = match (&layer.kind, behind) {
                (Kind::Conv(conv), [norm, behind @ ..])
                    if let Kind::BatchNorm { epsilon, .. } = norm.kind =>
                {
                    rest = behind;
                    let norm = self.batch_norm(&path_of(norm), epsilon);
                    Some(self.conv(&path_of(layer), conv, shape, Some(norm)))
                }
                _ => self.layer(layer, shape, output),
            };
            steps.extend(step);
            shape = output;
        }
        (steps, shape)
    }

    /// Returns the steps from features of the given shape to logits.
    pub(super) fn of_head(&self, model: &Model, features: Shape) -> Vec<Step> {
        let mut steps = match model.pooling {
            Pooling::Flatten => Vec::new(),
            Pooling::Average => vec![Step::GlobalAverage],
            Pooling::MaxAverage => vec![Step::Branches(
                Join::Concat,
                vec![vec![Step::GlobalMax], vec![Step::GlobalAverage]],
            )],
        };
        steps.push(Step::Reshape([model.pooling.width(features), 1, 1]));
        let norm = |index: usize| {
            let norm = || self.batch_norm(&format!("head.norms.{index}"), NORM_EPSILON);
            model.head_norm.then(|| norm().step())
        };
        steps.extend(norm(0));
        for index in 0..model.hidden.widths().len() {
            steps.push(self.linear(&format!("head.hidden.{index}")));
            steps.push(Step::Function(Function::Relu));
            steps.extend(norm(index + 1));
        }
        steps.push(self.linear("head.output"));
        steps
    }

    fn layer(&self, layer: &Layer, shape: Shape, output: Shape) -> Option<Step> {
        let path = path_of(layer);
        Some(match &layer.kind {
            Kind::Conv(conv) => self.conv(&path, conv, shape, None),
            Kind::BatchNorm { epsilon, .. } => self.batch_norm(&path, *epsilon).step(),
            Kind::LayerNorm { epsilon } => {
                let [scale, shift] = ["weight", "bias"]
                    .map(|name| Weights::full(self.values(&format!("{path}.{name}"))));
                Step::LayerNorm(*epsilon, scale, shift)
            }
            Kind::Scale => {
                let scale = self.values(&format!("{path}.scale"));
                let shift = Weights::full(vec![0.0; scale.len()]);
                Step::Affine(Weights::full(scale), shift)
            }
            Kind::Activation(function) => Step::Function(function_of(*function)),
            Kind::Pool(shaped) => Step::Pool(pool(*shaped, shape, output)),
            Kind::GlobalAverage => Step::GlobalAverage,
            Kind::Upsample => unreachable!("autoencoders aren't exported"),
            Kind::Branches(join, paths) => {
                let steps = paths.iter().map(|path| self.of_layers(path, shape).0);
                Step::Branches(join_of(*join), steps.collect())
            }
            Kind::DropPath(_) | Kind::Dropout(_) => return None,
            Kind::Tokens { .. } | Kind::Attention { .. } | Kind::ClassToken => {
                unreachable!("networks with attention are refused")
            }
        })
    }

    fn conv(
        &self,
        path: &str,
        conv: &architecture::Conv,
        shape: Shape,
        norm: Option<Affine>,
    ) -> Step {
        let mut weight = self.values(&format!("{path}.weight"));
        let mut bias = if conv.bias {
            self.values(&format!("{path}.bias"))
        } else {
            vec![0.0; conv.outputs]
        };
        if let Some(Affine { scale, shift }) = norm {
            let length = weight.len() / conv.outputs;
            for (kernel, scale) in weight.chunks_exact_mut(length).zip(&scale) {
                let scaled = |weight: &mut f32| *weight = (f64::from(*weight) * scale) as f32;
                kernel.iter_mut().for_each(scaled);
            }
            for (bias, (scale, shift)) in bias.iter_mut().zip(scale.iter().zip(&shift)) {
                *bias = (f64::from(*bias) * scale + shift) as f32;
            }
        }
        let padding = [0, 1].map(|axis| {
            let side = shape[axis + 1];
            conv.padding
                .of_side(axis, side, conv.kernel[axis], conv.stride)
        });
        Step::Conv(Conv {
            kernel: conv.kernel,
            stride: conv.stride,
            padding,
            is_depthwise: conv.groups == Groups::Depthwise,
            weight: self.stored(weight, conv.outputs),
            bias: Weights::full(bias),
        })
    }

    fn linear(&self, path: &str) -> Step {
        let bias = self.values(&format!("{path}.bias"));
        let weight = self.values(&format!("{path}.weight"));
        Step::Linear(Linear {
            weight: self.stored(weight, bias.len()),
            bias: Weights::full(bias),
        })
    }

    fn batch_norm(&self, path: &str, epsilon: f64) -> Affine {
        let [weight, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|name| self.values(&format!("{path}.{name}")));
        let scale: Vec<f64> = weight
            .iter()
            .zip(&variance)
            .map(|(weight, variance)| f64::from(*weight) / (f64::from(*variance) + epsilon).sqrt())
            .collect();
        let shift = bias
            .iter()
            .zip(mean.iter().zip(&scale))
            .map(|(bias, (mean, scale))| f64::from(*bias) - f64::from(*mean) * scale);
        Affine {
            shift: shift.collect(),
            scale,
        }
    }

    fn values(&self, name: &str) -> Vec<f32> {
        let tensor = self.tensors.tensor(name);
        to_f32(
            tensor
                .expect("a network has the weights of its layers")
                .data(),
        )
        .collect()
    }

    fn stored(&self, values: Vec<f32>, rows: usize) -> Weights {
        Weights {
            values,
            half_rows: if self.half { rows } else { 0 },
        }
    }
}

impl Affine {
    fn step(self) -> Step {
        let [scale, shift] = [self.scale, self.shift]
            .map(|values| Weights::full(values.iter().map(|value| *value as f32).collect()));
        Step::Affine(scale, shift)
    }
}

fn path_of(layer: &Layer) -> String {
    format!("backbone.{}", layer.name)
}

fn pool(pool: architecture::Pool, shape: Shape, [_, rows, columns]: Shape) -> Pool {
    Pool {
        kind: match pool.kind {
            architecture::PoolKind::Max => PoolKind::Max,
            architecture::PoolKind::Average => PoolKind::Average,
            architecture::PoolKind::AverageInside => PoolKind::AverageInside,
        },
        kernel: pool.kernel,
        stride: pool.stride,
        padding: [0, 1].map(|axis| {
            let side = shape[axis + 1];
            pool.padding.of_side(axis, side, pool.kernel, pool.stride)
        }),
        size: [rows, columns],
    }
}

fn join_of(join: architecture::Join) -> Join {
    match join {
        architecture::Join::Add => Join::Add,
        architecture::Join::Concat => Join::Concat,
        architecture::Join::Multiply => Join::Multiply,
    }
}

fn function_of(function: Activation) -> Function {
    match function {
        Activation::Relu => Function::Relu,
        Activation::Relu6 => Function::Relu6,
        Activation::LeakyRelu => Function::LeakyRelu,
        Activation::Elu => Function::Elu,
        Activation::Gelu => Function::Gelu,
        Activation::Silu => Function::Silu,
        Activation::HardSwish => Function::HardSwish,
        Activation::HardSigmoid => Function::HardSigmoid,
        Activation::Sigmoid => Function::Sigmoid,
        Activation::Tanh => Function::Tanh,
    }
}
