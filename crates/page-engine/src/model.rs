//! What a page needs of a trained network: how images are prepared, and the steps from there to the
//! logits, with their weights.

use serde::{Deserialize, Serialize};

/// A trained network for images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Number of channels of the input: 1 or 3.
    pub channels: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// How images are brought to that size.
    pub fit: Fit,
    /// Filter for resizing.
    pub filter: Filter,
    /// Normalization of levels.
    pub normalize: Normalize,
    /// The steps from the input to the logits.
    pub steps: Vec<Step>,
    /// Number of steps to the values that Grad-CAM weighs.
    pub map_after: usize,
    /// What the logits mean.
    pub output: Output,
    /// Divisor of the logits.
    pub temperature: f64,
}

/// How images are brought to the network's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fit {
    /// To its height and width, whatever the ratio of sides.
    Stretch,
    /// As a whole, with black around it.
    Pad,
    /// The middle of the image, as large as possible.
    Crop,
}

/// A filter for resizing, as Pillow has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// The mean of the pixels that are merged.
    Box,
    /// A triangle.
    Bilinear,
    /// A sharper bilinear.
    Hamming,
    /// Cubic interpolation.
    Bicubic,
    /// A windowed sinc of radius 3.
    Lanczos,
}

/// Normalization of levels of 0 to 255.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalize {
    /// Standardization by the image's own statistics, before the channels.
    pub own: Option<Own>,
    /// Each channel of the input.
    pub channels: Vec<Channel>,
}

/// Standardization of an image by its own mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Own {
    /// Factor on the levels.
    pub rescale: f32,
    /// Whether the standard deviation, with this value added, divides.
    pub deviation: Option<f64>,
}

/// A channel of the input: `scale * level + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// The channel of the image, red first.
    pub plane: usize,
    /// Factor on the level.
    pub scale: f32,
    /// Value added.
    pub offset: f32,
}

/// A step of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// A convolution.
    Conv(Conv),
    /// A factor and an offset for each channel.
    Affine(Weights, Weights),
    /// Standardization over the channels of each position, with this value added to the variance,
    /// then a factor and an offset for each channel.
    LayerNorm(f64, Weights, Weights),
    /// A function of each value.
    Function(Function),
    /// Max or average pooling.
    Pool(Pool),
    /// The mean of each channel.
    GlobalAverage,
    /// The largest value of each channel.
    GlobalMax,
    /// The same values as maps of another shape: channels, height and width.
    Reshape([usize; 3]),
    /// Sums of all values, each with weights of its own.
    Linear(Linear),
    /// Paths with the same input, and how their outputs are joined.
    Branches(Join, Vec<Vec<Step>>),
}

/// A convolution with a bias.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Step of the kernel.
    pub stride: usize,
    /// Zeros above and below, left and right.
    pub padding: [[usize; 2]; 2],
    /// Whether each channel has a kernel of its own, instead of all together.
    pub is_depthwise: bool,
    /// The kernels, `[outputs, inputs, height, width]`, with 1 for `inputs` if it is depthwise.
    pub weight: Weights,
    /// Value added to each output channel.
    pub bias: Weights,
}

/// A linear layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Weights,
    /// Value added to each output.
    pub bias: Weights,
}

/// A pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The operation on a window.
    pub kind: PoolKind,
    /// Height and width of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// How far windows reach beyond the edges: above and below, left and right.
    pub padding: [[usize; 2]; 2],
    /// Height and width of the output.
    pub size: [usize; 2],
}

/// The operation of a pool on a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolKind {
    /// The largest value inside the image.
    Max,
    /// The mean, values of the padding counted as zeros.
    Average,
    /// The mean of the values inside the image.
    AverageInside,
}

/// A function of each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` above 0, `0.01 * x` below.
    LeakyRelu,
    /// `x` above 0, `exp(x) - 1` below.
    Elu,
    /// Half of `x * (1 + erf(x / sqrt(2)))`.
    Gelu,
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `x * relu6(x + 3) / 6`.
    HardSwish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
}

/// How the outputs of paths are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Join {
    /// Their sum.
    Add,
    /// Their channels, one path after the other.
    Concat,
    /// Their product; a single row and column is repeated.
    Multiply,
}

/// What the logits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// One logit for each class.
    Softmax,
    /// The logit of the second of two classes.
    Sigmoid,
}

/// Weights of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Weights {
    /// The values.
    pub values: Vec<f32>,
    /// Number of rows that are stored in 16 bits a value, each with a factor of its own; 0 to store
    /// all as float32.
    pub half_rows: usize,
}

impl Weights {
    /// Returns weights that are stored as float32.
    pub fn full(values: Vec<f32>) -> Self {
        Self {
            values,
            half_rows: 0,
        }
    }
}

/// Weights as bytes.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Factor on the whole numbers of each row; empty for float32.
    scales: Vec<f32>,
    /// Numbers of 16 or 32 bits, least significant byte first.
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

impl From<Weights> for Stored {
    fn from(Weights { values, half_rows }: Weights) -> Self {
        if half_rows == 0 || values.is_empty() {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            return Self {
                scales: Vec::new(),
                bytes: bytes.collect(),
            };
        }
        let rows = values.chunks_exact(values.len() / half_rows);
        let scale_of = |row: &[f32]| {
            let most = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            (most / f32::from(i16::MAX)).max(f32::MIN_POSITIVE)
        };
        let scales: Vec<f32> = rows.clone().map(scale_of).collect();
        let bytes = rows.zip(&scales).flat_map(|(row, scale)| {
            row.iter()
                .flat_map(move |value| ((value / scale).round() as i16).to_le_bytes())
        });
        Self {
            bytes: bytes.collect(),
            scales,
        }
    }
}

impl From<Stored> for Weights {
    fn from(Stored { scales, bytes }: Stored) -> Self {
        let half_rows = scales.len();
        if half_rows == 0 {
            let values = bytes.as_chunks().0.iter().copied();
            return Self::full(values.map(f32::from_le_bytes).collect());
        }
        let row_len = (bytes.len() / 2 / half_rows).max(1);
        let rows = bytes.as_chunks().0.chunks_exact(row_len).zip(&scales);
        let values = rows.flat_map(|(row, scale)| {
            row.iter()
                .map(move |value| f32::from(i16::from_le_bytes(*value)) * scale)
        });
        Self {
            values: values.collect(),
            half_rows,
        }
    }
}

impl Model {
    /// Returns the model as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("memory takes any number of bytes")
    }

    /// Reads a model from its bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

impl Output {
    /// Returns the probability of each class.
    pub(crate) fn probabilities(self, logits: &[f32], temperature: f64) -> Vec<f32> {
        let warm = logits.iter().map(|logit| f64::from(*logit) / temperature);
        match self {
            Self::Softmax => {
                let most = warm.clone().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = warm.map(|logit| (logit - most).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.iter().map(|power| (power / sum) as f32).collect()
            }
            Self::Sigmoid => warm
                .flat_map(|logit| [logit.exp(), (-logit).exp()])
                .map(|power| (1.0 / (1.0 + power)) as f32)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_any_range_are_kept_to_sixteen_bits_of_the_largest() {
        let values: Vec<f32> = (0..60)
            .map(|at: i16| f32::from(at * 37 % 23 - 11) * 1e-30f32.powi(i32::from(at / 20)) * 7e4)
            .collect();
        let weights = Weights {
            values: values.clone(),
            half_rows: 3,
        };
        let found: Weights = Stored::from(weights).into();
        for (index, (found, value)) in found.values.iter().zip(&values).enumerate() {
            let most = values[index / 20 * 20..][..20]
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            assert!(
                (found - value).abs() <= most / 65_000.0,
                "{index}: {found}, not {value}"
            );
        }
        let full = Weights::full(values);
        assert_eq!(Weights::from(Stored::from(full.clone())), full);
    }

    #[test]
    fn probabilities_are_those_of_a_softmax_and_a_sigmoid() {
        let found = Output::Softmax.probabilities(&[1000.0, 1001.0], 2.0);
        let expected = 1.0 / (1.0 + 0.5f32.exp());
        assert!((found[0] - expected).abs() < 1e-7 && (found[1] + expected - 1.0).abs() < 1e-7);
        let found = Output::Sigmoid.probabilities(&[1.0], 2.0);
        assert!((found[0] - expected).abs() < 1e-7 && (found[1] + expected - 1.0).abs() < 1e-7);
        assert_eq!(Output::Sigmoid.probabilities(&[-2000.0], 1.0), [1.0, 0.0]);
    }
}
