//! Gradients of a class's score, for the last steps of a network only: they are small, so that
//! plain loops do.

use crate::{
    forward::{self, Maps, combined, layer_norm, normal_share},
    model::{Conv, Function, Join, Linear, Output, Pool, PoolKind, Step},
};

impl Output {
    /// Returns the gradient of a class's score for the logits.
    pub(crate) fn score(self, logits: Maps, class: usize) -> Maps {
        let mut gradient = vec![0.0; logits.values.len()];
        match self {
            Self::Softmax => gradient[class] = 1.0,
            Self::Sigmoid => gradient[0] = if class == 1 { 1.0 } else { -1.0 },
        }
        Maps {
            values: gradient,
            ..logits
        }
    }
}

/// Returns the gradient for the input `x` of steps from that for their output.
pub(crate) fn run(steps: &[Step], x: Maps, gradient: Maps) -> Maps {
    let mut inputs = vec![x];
    for step in &steps[..steps.len().saturating_sub(1)] {
        let x = inputs.last().expect("the first is there").clone();
        inputs.push(step.run(x));
    }
    let each = steps.iter().zip(&inputs).rev();
    each.fold(gradient, |gradient, (step, x)| step.gradient(x, gradient))
}

impl Step {
    /// Returns the gradient for the input `x` from that for the output.
    fn gradient(&self, x: &Maps, gradient: Maps) -> Maps {
        let of_input = |values: Vec<f32>| Maps {
            shape: x.shape,
            values,
        };
        match self {
            Self::Conv(conv) => of_input(conv.gradient(x, &gradient)),
            Self::Affine(scale, _) => of_input(scaled(&gradient, &scale.values)),
            Self::LayerNorm(epsilon, scale, _) => {
                let gradient = scaled(&gradient, &scale.values);
                of_input(layer_norm_gradient(x, *epsilon, &gradient))
            }
            Self::Function(function) => {
                let pairs = x.values.iter().zip(&gradient.values);
                of_input(
                    pairs
                        .map(|(x, gradient)| function.slope(*x) * gradient)
                        .collect(),
                )
            }
            Self::Pool(pool) => of_input(pool.gradient(x, &gradient)),
            Self::GlobalAverage => {
                let planes = x.planes().zip(&gradient.values);
                let share = |(plane, gradient): (&[f32], &f32)| {
                    vec![gradient / plane.len() as f32; plane.len()]
                };
                of_input(planes.flat_map(share).collect())
            }
            Self::GlobalMax => {
                let mut values = vec![0.0; x.values.len()];
                let places = x.shape[1] * x.shape[2];
                for (channel, (plane, gradient)) in x.planes().zip(&gradient.values).enumerate() {
                    values[channel * places + most(plane.iter().copied())] = *gradient;
                }
                of_input(values)
            }
            Self::Reshape(_) => of_input(gradient.values),
            Self::Linear(linear) => of_input(linear.gradient(&gradient)),
            Self::Branches(join, paths) => branches(*join, paths, x, gradient),
        }
    }
}

/// Returns the gradient times the factor of each channel.
fn scaled(gradient: &Maps, scale: &[f32]) -> Vec<f32> {
    let planes = gradient.planes().zip(scale);
    planes
        .flat_map(|(plane, scale)| plane.iter().map(move |gradient| gradient * scale))
        .collect()
}

/// Returns the position of the largest value, the first of equal ones.
fn most(values: impl Iterator<Item = f32>) -> usize {
    let larger = |best: (usize, f32), (at, value)| {
        if value > best.1 { (at, value) } else { best }
    };
    values.enumerate().fold((0, f32::NEG_INFINITY), larger).0
}

impl Conv {
    fn gradient(&self, x: &Maps, gradient: &Maps) -> Vec<f32> {
        let [channels, height, width] = x.shape;
        let [_, rows, columns] = gradient.shape;
        let taps = self.kernel[0] * self.kernel[1];
        let [[above, _], [left, _]] = self.padding;
        let mut values = vec![0.0; x.values.len()];
        let inputs = if self.is_depthwise { 1 } else { channels };
        for (output, plane) in gradient.planes().enumerate() {
            let first = if self.is_depthwise { output } else { 0 };
            let kernels = &self.weight.values[output * inputs * taps..][..inputs * taps];
            for (at, gradient) in plane.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                debug_assert!(at < rows * columns);
                for tap in 0..taps {
                    let row = at / columns * self.stride + tap / self.kernel[1];
                    let column = at % columns * self.stride + tap % self.kernel[1];
                    let (row, column) = (row.wrapping_sub(above), column.wrapping_sub(left));
                    if row >= height || column >= width {
                        continue;
                    }
                    for input in 0..inputs {
                        let at = ((first + input) * height + row) * width + column;
                        values[at] += gradient * kernels[input * taps + tap];
                    }
                }
            }
        }
        values
    }
}

impl Linear {
    fn gradient(&self, gradient: &Maps) -> Vec<f32> {
        let width = self.weight.values.len() / self.bias.values.len().max(1);
        let mut values = vec![0.0; width];
        for (row, gradient) in self.weight.values.chunks_exact(width).zip(&gradient.values) {
            let pairs = values.iter_mut().zip(row);
            pairs.for_each(|(value, weight)| *value += weight * gradient);
        }
        values
    }
}

impl Pool {
    fn gradient(&self, x: &Maps, gradient: &Maps) -> Vec<f32> {
        let places = x.shape[1] * x.shape[2];
        let mut values = vec![0.0; x.values.len()];
        let planes = values.chunks_exact_mut(places).zip(x.planes());
        for ((values, plane), gradient) in planes.zip(gradient.planes()) {
            for ((row, column), gradient) in self.windows().zip(gradient) {
                let mut inside = self.inside(x.shape, row, column);
                if self.kind == PoolKind::Max {
                    let best = most(inside.clone().map(|at| plane[at]));
                    values[inside.nth(best).expect("a window reaches the image")] += gradient;
                } else {
                    let share = gradient / self.divisor(x.shape, row, column);
                    inside.for_each(|at| values[at] += share);
                }
            }
        }
        values
    }
}

impl Function {
    /// Returns the derivative.
    fn slope(self, x: f32) -> f32 {
        let sigmoid = || 1.0 / (1.0 + (-x).exp());
        let within = |least: f32, most: f32| f32::from(u8::from(x > least && x < most));
        match self {
            Self::Relu => within(0.0, f32::INFINITY),
            Self::Relu6 => within(0.0, 6.0),
            Self::LeakyRelu => 0.01 + 0.99 * within(0.0, f32::INFINITY),
            Self::Elu => x.min(0.0).exp(),
            Self::Gelu => {
                let density = (-0.5 * x * x).exp() / (2.0 * std::f32::consts::PI).sqrt();
                normal_share(x) + x * density
            }
            Self::Silu => sigmoid() * (1.0 + x * (1.0 - sigmoid())),
            Self::HardSwish => {
                within(-3.0, 3.0) * (2.0 * x + 3.0) / 6.0 + f32::from(u8::from(x >= 3.0))
            }
            Self::HardSigmoid => within(-3.0, 3.0) / 6.0,
            Self::Sigmoid => sigmoid() * (1.0 - sigmoid()),
            Self::Tanh => 1.0 - x.tanh().powi(2),
        }
    }
}

/// Returns the gradient for the input `x` of standardization over the channels of each position.
fn layer_norm_gradient(x: &Maps, epsilon: f64, gradient: &[f32]) -> Vec<f32> {
    let [channels, height, width] = x.shape;
    let places = height * width;
    let mut normal = x.clone();
    layer_norm(&mut normal, epsilon);
    let mut values = vec![0.0; gradient.len()];
    for place in 0..places {
        let at = |channel: usize| channel * places + place;
        let mean = |of: &dyn Fn(usize) -> f64| {
            (0..channels).map(|channel| of(at(channel))).sum::<f64>() / channels as f64
        };
        let center = mean(&|at| f64::from(x.values[at]));
        let variance = mean(&|at| (f64::from(x.values[at]) - center).powi(2));
        let slope = mean(&|at| f64::from(gradient[at]));
        let share = mean(&|at| f64::from(gradient[at] * normal.values[at]));
        for at in (0..channels).map(at) {
            let rest = f64::from(gradient[at]) - slope - f64::from(normal.values[at]) * share;
            values[at] = (rest / (variance + epsilon).sqrt()) as f32;
        }
    }
    values
}

/// Returns the gradient for the input `x` of paths side by side.
fn branches(join: Join, paths: &[Vec<Step>], x: &Maps, gradient: Maps) -> Maps {
    let through = |path: &Vec<Step>, gradient: Maps| run(path, x.clone(), gradient);
    let outputs = || paths.iter().map(|path| forward::run(path, x.clone()));
    let gradients: Vec<Maps> = match join {
        Join::Add => paths
            .iter()
            .map(|path| through(path, gradient.clone()))
            .collect(),
        Join::Concat => {
            let mut rest = gradient.values;
            let of_path = |(path, output): (&Vec<Step>, Maps)| {
                let behind = rest.split_off(output.values.len());
                let values = std::mem::replace(&mut rest, behind);
                through(path, Maps { values, ..output })
            };
            paths.iter().zip(outputs()).map(of_path).collect()
        }
        Join::Multiply => {
            let outputs: Vec<Maps> = outputs().collect();
            let of_path = |(index, path): (usize, &Vec<Step>)| {
                let others = outputs
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != index);
                let factors = std::iter::once(gradient.clone());
                let factors = factors.chain(others.map(|(_, output)| output.clone()));
                let product = combined(factors.collect(), |a, b| a * b);
                let shape = outputs[index].shape;
                let values = if shape == product.shape {
                    product.values
                } else {
                    product.planes().map(|plane| plane.iter().sum()).collect()
                };
                through(path, Maps { shape, values })
            };
            paths.iter().enumerate().map(of_path).collect()
        }
    };
    combined(gradients, |a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Weights;

    /// Values without a pattern from -2 to 2.
    fn values(len: usize, seed: usize) -> Vec<f32> {
        (0..len)
            .map(|at| ((at * 7919 + at * at * 31 + seed * 613) % 2003) as f32 / 500.75 - 2.0)
            .collect()
    }

    fn weights(len: usize, seed: usize) -> Weights {
        Weights::full(values(len, seed))
    }

    fn conv(kernel: [usize; 2], stride: usize, is_depthwise: bool) -> Step {
        let (outputs, inputs) = if is_depthwise { (3, 1) } else { (4, 3) };
        Step::Conv(Conv {
            kernel,
            stride,
            padding: [[0, kernel[0] - 1], [kernel[1] / 2, (kernel[1] - 1) / 2]],
            is_depthwise,
            weight: weights(outputs * inputs * kernel[0] * kernel[1], 1),
            bias: weights(outputs, 2),
        })
    }

    fn pool(kind: PoolKind) -> Step {
        Step::Pool(Pool {
            kind,
            kernel: 3,
            stride: 2,
            padding: [[1, 0], [1, 1]],
            size: [2, 3],
        })
    }

    /// The score that the gradient is of: a sum of the outputs with weights.
    fn score(steps: &[Step], x: &Maps) -> f64 {
        let found = forward::run(steps, x.clone());
        let factors = values(found.values.len(), 9);
        let pairs = found.values.iter().zip(&factors);
        pairs
            .map(|(value, factor)| f64::from(*value) * f64::from(*factor))
            .sum()
    }

    /// Steps of every kind.
    fn cases() -> Vec<Vec<Step>> {
        let functions = [
            Function::Relu,
            Function::Relu6,
            Function::LeakyRelu,
            Function::Elu,
            Function::Gelu,
            Function::Silu,
            Function::HardSwish,
            Function::HardSigmoid,
            Function::Sigmoid,
            Function::Tanh,
        ];
        let mut cases: Vec<Vec<Step>> = functions
            .map(|function| vec![Step::Function(function)])
            .into();
        cases.extend(
            [PoolKind::Max, PoolKind::Average, PoolKind::AverageInside]
                .map(|kind| vec![pool(kind)]),
        );
        let linear = Step::Linear(Linear {
            weight: weights(2 * 60, 3),
            bias: weights(2, 4),
        });
        let gate = vec![Step::GlobalAverage, Step::Function(Function::Sigmoid)];
        let paths = vec![vec![conv([3, 3], 1, false)], vec![conv([1, 3], 1, false)]];
        let alike = vec![vec![], vec![conv([2, 2], 1, true)]];
        cases.extend([
            vec![conv([3, 3], 1, false)],
            vec![conv([1, 7], 2, false), Step::Function(Function::Relu)],
            vec![conv([3, 3], 2, true)],
            vec![Step::Affine(weights(3, 1), weights(3, 2))],
            vec![Step::LayerNorm(1e-3, weights(3, 1), weights(3, 2))],
            vec![Step::GlobalMax],
            vec![Step::Reshape([60, 1, 1]), linear],
            vec![Step::Branches(Join::Multiply, vec![vec![], gate])],
            vec![Step::Branches(Join::Concat, paths)],
            vec![Step::Branches(Join::Add, alike.clone())],
            vec![Step::Branches(Join::Multiply, alike)],
        ]);
        cases
    }

    #[test]
    fn gradients_are_differences_of_the_score() {
        let x = Maps {
            shape: [3, 4, 5],
            values: values(60, 5),
        };
        for steps in &cases() {
            let output = forward::run(steps, x.clone());
            let gradient = Maps {
                values: values(output.values.len(), 9),
                ..output
            };
            let found = run(steps, x.clone(), gradient);
            for (at, found) in found.values.iter().enumerate() {
                let moved = |by: f32| {
                    let mut x = x.clone();
                    x.values[at] += by;
                    score(steps, &x)
                };
                let expected = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                let most = expected.abs().max(1.0);
                assert!(
                    (f64::from(*found) - expected).abs() < 0.01 * most,
                    "{steps:?}[{at}]: {found}, not {expected}"
                );
            }
        }
    }
}
