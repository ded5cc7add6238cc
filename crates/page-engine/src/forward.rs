//! Runs the steps of a network for one image.

use conv_block::{Activation, Algorithm, Depthwise, Isa, Tail, activate, depthwise_forward, infer};

use crate::model::{Conv, Function, Join, Linear, Pool, PoolKind, Step};

/// Values of one image between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// The values, channel by channel and row by row.
    pub values: Vec<f32>,
}

/// Runs steps one after the other.
pub(crate) fn run(steps: &[Step], x: Maps) -> Maps {
    let (mut x, mut rest) = (x, steps);
    while let [step, behind @ ..] = rest {
        (x, rest) = match step {
            Step::Conv(conv) => {
                let (tail, count) = tail_of(conv, behind);
                (conv.run(x, tail), &behind[count..])
            }
            _ => (step.run(x), behind),
        };
    }
    x
}

/// Returns what the kernels can do together with a convolution, and how many steps that is.
fn tail_of(conv: &Conv, behind: &[Step]) -> (Tail, usize) {
    match behind {
        [Step::Function(Function::Relu), Step::Pool(pool), ..]
            if pool.is_half() && !conv.is_depthwise =>
        {
            (Tail::ReluPool, 2)
        }
        [Step::Function(Function::Relu), ..] => (Tail::Relu, 1),
        [Step::Function(Function::Relu6), ..] => (Tail::Relu6, 1),
        _ => (Tail::Linear, 0),
    }
}

impl Step {
    /// Runs the step alone.
    pub(crate) fn run(&self, mut x: Maps) -> Maps {
        match self {
            Self::Conv(conv) => conv.run(x, Tail::Linear),
            Self::Affine(scale, shift) => {
                let planes = x.planes_mut().zip(&scale.values).zip(&shift.values);
                for ((plane, scale), shift) in planes {
                    plane.iter_mut().for_each(|x| *x = *x * scale + shift);
                }
                x
            }
            Self::LayerNorm(epsilon, scale, shift) => {
                layer_norm(&mut x, *epsilon);
                Self::Affine(scale.clone(), shift.clone()).run(x)
            }
            Self::Function(function) => {
                function.apply(&mut x.values);
                x
            }
            Self::Pool(pool) => pool.run(&x),
            Self::GlobalAverage => {
                x.reduced(|plane| plane.iter().sum::<f32>() / plane.len() as f32)
            }
            Self::GlobalMax => {
                x.reduced(|plane| plane.iter().copied().fold(f32::NEG_INFINITY, f32::max))
            }
            Self::Reshape(shape) => Maps { shape: *shape, ..x },
            Self::Linear(linear) => linear.run(&x),
            Self::Branches(join, paths) => {
                let outputs = paths.iter().map(|path| run(path, x.clone())).collect();
                join.of(outputs)
            }
        }
    }
}

impl Maps {
    /// Returns the planes of the channels.
    pub(crate) fn planes(&self) -> impl DoubleEndedIterator<Item = &[f32]> {
        let [_, height, width] = self.shape;
        self.values.chunks_exact((height * width).max(1))
    }

    fn planes_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let [_, height, width] = self.shape;
        self.values.chunks_exact_mut((height * width).max(1))
    }

    /// Returns one value for each channel.
    fn reduced(&self, of: impl Fn(&[f32]) -> f32) -> Self {
        Self {
            shape: [self.shape[0], 1, 1],
            values: self.planes().map(of).collect(),
        }
    }

    /// Surrounds each channel with zeros.
    fn padded(&self, [[above, below], [left, right]]: [[usize; 2]; 2]) -> Self {
        let [channels, height, width] = self.shape;
        let (rows, columns) = (above + height + below, left + width + right);
        let mut values = vec![0.0; channels * rows * columns];
        for (plane, out) in self.planes().zip(values.chunks_exact_mut(rows * columns)) {
            let lines = plane.chunks_exact(width);
            for (line, out) in lines.zip(out[above * columns..].chunks_exact_mut(columns)) {
                out[left..left + width].copy_from_slice(line);
            }
        }
        Self {
            shape: [channels, rows, columns],
            values,
        }
    }
}

impl Conv {
    /// Runs the convolution and the tail.
    fn run(&self, x: Maps, tail: Tail) -> Maps {
        if self.is_depthwise {
            return self.run_depthwise(&x, tail);
        }
        let [[above, below], [left, right]] = self.padding;
        let is_even = [below, left, right] == [above; 3];
        if is_even && let Some(shape) = self.supported(&x, above) {
            return self.infer(&shape, &x, tail);
        }
        let x = x.padded(self.padding);
        if let Some(shape) = self.supported(&x, 0) {
            return self.infer(&shape, &x, tail);
        }
        // For all other shapes: the values below each tap of the kernel as channels, and a 1x1
        // convolution of them.
        let x = self.windows(&x);
        let shape = conv_block::Conv {
            kernel: 1,
            stride: 1,
            ..self.shape(&x, 0)
        };
        self.infer(&shape, &x, tail)
    }

    fn shape(&self, x: &Maps, padding: usize) -> conv_block::Conv {
        let [inputs, height, width] = x.shape;
        conv_block::Conv {
            images: 1,
            inputs,
            height,
            width,
            outputs: self.bias.values.len(),
            kernel: self.kernel[0],
            stride: self.stride,
            padding,
            algorithm: Algorithm::Fastest,
        }
    }

    /// Returns the shape for the kernels, if they support it.
    fn supported(&self, x: &Maps, padding: usize) -> Option<conv_block::Conv> {
        let shape = self.shape(x, padding);
        (self.kernel[0] == self.kernel[1] && shape.is_supported()).then_some(shape)
    }

    fn infer(&self, shape: &conv_block::Conv, x: &Maps, tail: Tail) -> Maps {
        let (rows, columns) = shape.output_size(tail);
        let (weight, bias) = (&self.weight.values, Some(&self.bias.values[..]));
        Maps {
            shape: [shape.outputs, rows, columns],
            values: infer(Isa::best(), shape, tail, &x.values, weight, bias),
        }
    }

    fn run_depthwise(&self, x: &Maps, tail: Tail) -> Maps {
        let [channels, height, width] = x.shape;
        let shape = Depthwise {
            images: 1,
            channels,
            height,
            width,
            kernel: self.kernel[0],
            stride: self.stride,
            padding: self.padding,
        };
        let (rows, columns) = shape.result_size();
        let (weight, bias) = (&self.weight.values, Some(&self.bias.values[..]));
        Maps {
            shape: [channels, rows, columns],
            values: depthwise_forward(Isa::best(), &shape, tail, &x.values, weight, bias),
        }
    }

    /// Returns the values below each tap of the kernel as channels.
    fn windows(&self, x: &Maps) -> Maps {
        let [channels, height, width] = x.shape;
        let side = |side: usize, kernel: usize| (side - kernel) / self.stride + 1;
        let [kernel_rows, kernel_columns] = self.kernel;
        let (rows, columns) = (side(height, kernel_rows), side(width, kernel_columns));
        let taps = kernel_rows * kernel_columns;
        let mut values = Vec::with_capacity(channels * taps * rows * columns);
        for plane in x.planes() {
            for (tap, row) in (0..taps).flat_map(|tap| (0..rows).map(move |row| (tap, row))) {
                let top = row * self.stride + tap / kernel_columns;
                let line = &plane[top * width + tap % kernel_columns..];
                values.extend(line.iter().step_by(self.stride).take(columns));
            }
        }
        Maps {
            shape: [channels * taps, rows, columns],
            values,
        }
    }
}

impl Linear {
    fn run(&self, x: &Maps) -> Maps {
        let rows = self.weight.values.chunks_exact(x.values.len());
        let outputs = rows.zip(&self.bias.values);
        let values: Vec<f32> = outputs
            .map(|(row, bias)| dot(row, &x.values) + bias)
            .collect();
        Maps {
            shape: [values.len(), 1, 1],
            values,
        }
    }
}

/// Returns the sum of products, with the lanes of a few vectors summed apart.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

impl Pool {
    /// Whether it is 2x2 max-pooling, which can be computed with a convolution.
    fn is_half(&self) -> bool {
        let is_square = (self.kind, self.kernel, self.stride) == (PoolKind::Max, 2, 2);
        is_square && self.padding == [[0; 2]; 2]
    }

    fn run(&self, x: &Maps) -> Maps {
        let [rows, columns] = self.size;
        let mut values = Vec::with_capacity(x.shape[0] * rows * columns);
        for plane in x.planes() {
            for (row, column) in self.windows() {
                let inside = self.inside(x.shape, row, column).map(|at| plane[at]);
                values.push(match self.kind {
                    PoolKind::Max => inside.fold(f32::NEG_INFINITY, f32::max),
                    _ => inside.sum::<f32>() / self.divisor(x.shape, row, column),
                });
            }
        }
        Maps {
            shape: [x.shape[0], rows, columns],
            values,
        }
    }

    /// Lists the row and column of each window.
    pub(crate) fn windows(&self) -> impl Iterator<Item = (usize, usize)> {
        let [rows, columns] = self.size;
        (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
    }

    /// Lists the positions of a window that lie inside a plane.
    pub(crate) fn inside(
        &self,
        [_, height, width]: [usize; 3],
        row: usize,
        column: usize,
    ) -> impl Iterator<Item = usize> + Clone {
        let rows = self.reach(0, row, height, 0);
        let columns = self.reach(1, column, width, 0);
        rows.flat_map(move |row| columns.clone().map(move |column| row * width + column))
    }

    /// Returns the number of values that the sum of a window is divided by. With padding counted,
    /// what a last window reaches beyond it isn't.
    pub(crate) fn divisor(&self, [_, height, width]: [usize; 3], row: usize, column: usize) -> f32 {
        let counts = usize::from(self.kind == PoolKind::Average);
        let rows = self.reach(0, row, height, counts);
        let columns = self.reach(1, column, width, counts);
        (rows.len() * columns.len()) as f32
    }

    /// Returns the positions of a window along an axis, those in the padding included if `counts`
    /// is 1, and shifted by its size then.
    fn reach(&self, axis: usize, at: usize, side: usize, counts: usize) -> std::ops::Range<usize> {
        let [before, after] = self.padding[axis];
        let start = at * self.stride;
        let (least, most) = (before * (1 - counts), before + side + after * counts);
        let range = start.max(least)..(start + self.kernel).min(most);
        range.start - least..range.end - least
    }
}

impl Function {
    /// Applies the function to all values.
    fn apply(self, values: &mut [f32]) {
        let function = match self {
            Self::Relu => Activation::Relu,
            Self::Relu6 => Activation::Relu6,
            Self::Silu => Activation::Silu,
            Self::HardSwish => Activation::HardSwish,
            Self::Sigmoid => Activation::Sigmoid,
            Self::HardSigmoid => Activation::HardSigmoid,
            Self::LeakyRelu => return each(values, |x| if x < 0.0 { 0.01 * x } else { x }),
            Self::Elu => return each(values, |x| if x < 0.0 { x.exp_m1() } else { x }),
            Self::Gelu => return each(values, |x| x * normal_share(x)),
            Self::Tanh => return each(values, f32::tanh),
        };
        activate(Isa::best(), function, values);
    }
}

/// Returns the share of a standard normal distribution that is below `x`.
pub(crate) fn normal_share(x: f32) -> f32 {
    0.5 * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
    values
        .iter_mut()
        .for_each(|value| *value = function(*value));
}

/// Standardizes the channels of each position.
pub(crate) fn layer_norm(x: &mut Maps, epsilon: f64) {
    let [channels, height, width] = x.shape;
    let places = height * width;
    let mut sums = vec![0.0f64; places];
    for plane in x.planes() {
        sums.iter_mut()
            .zip(plane)
            .for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let means: Vec<f64> = sums.iter().map(|sum| sum / channels as f64).collect();
    let mut squares = vec![0.0f64; places];
    for plane in x.planes() {
        let pairs = plane.iter().zip(&means);
        squares
            .iter_mut()
            .zip(pairs)
            .for_each(|(sum, (x, mean))| *sum += (f64::from(*x) - mean).powi(2));
    }
    let deviation = |sum: &f64| (sum / channels as f64 + epsilon).sqrt();
    let deviations: Vec<f64> = squares.iter().map(deviation).collect();
    for plane in x.planes_mut() {
        let each = plane.iter_mut().zip(means.iter().zip(&deviations));
        each.for_each(|(x, (mean, deviation))| *x = ((f64::from(*x) - mean) / deviation) as f32);
    }
}

impl Join {
    fn of(self, outputs: Vec<Maps>) -> Maps {
        match self {
            Self::Concat => {
                let channels = outputs.iter().map(|output| output.shape[0]).sum();
                let [_, height, width] = outputs[0].shape;
                Maps {
                    shape: [channels, height, width],
                    values: outputs
                        .into_iter()
                        .flat_map(|output| output.values)
                        .collect(),
                }
            }
            Self::Add => combined(outputs, |a, b| a + b),
            Self::Multiply => combined(outputs, |a, b| a * b),
        }
    }
}

/// Joins outputs value by value, where a single row and column is repeated.
pub(crate) fn combined(outputs: Vec<Maps>, join: impl Fn(f32, f32) -> f32) -> Maps {
    let mut outputs = outputs.into_iter();
    let mut first = outputs.next().expect("branches have paths");
    for output in outputs {
        let repeats = output.shape[1..] == [1; 2];
        for (plane, other) in first.planes_mut().zip(output.planes()) {
            for (at, x) in plane.iter_mut().enumerate() {
                *x = join(*x, other[if repeats { 0 } else { at }]);
            }
        }
    }
    first
}
