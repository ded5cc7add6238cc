//! The inverted residual of MobileNet and EfficientNet as one operation, for networks that don't
//! learn: a 1x1 convolution to more channels, a depthwise one, a gate, a 1x1 one to few channels.
//!
//! As three layers it writes and reads six times as many values as go in and out, and memory is
//! what it waits for. Here a task computes a strip of rows of one image: a vector or two of
//! expanded channels at a time, which stay in the first-level cache until the depthwise convolution
//! has read them; of that the strip is kept, in the second-level cache, for the last convolution.

mod gate;
mod kernels;
mod weights;

use std::mem::MaybeUninit;

use rayon::prelude::*;

use self::{gate::Gate, kernels::run_strip, weights::Product};
use crate::{
    activation::Activation,
    scratch::{SharedMut, filled, with_scratch},
    simd::Isa,
};

/// Number of values of a strip, expanded and depthwise, that fit the caches.
const STRIP_LEN: usize = 128 * 1024;

/// The shape of an inverted residual, without that of its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvertedResidual {
    /// Number of input channels.
    pub inputs: usize,
    /// Number of channels of the depthwise convolution.
    pub expanded: usize,
    /// Number of output channels.
    pub outputs: usize,
    /// Rows and columns of the depthwise kernel, 1 to 7.
    pub kernel: usize,
    /// Its step, 1 or 2.
    pub stride: usize,
    /// What follows the first two convolutions.
    pub activation: Activation,
    /// What follows the last convolution.
    pub tail: Activation,
    /// Whether the input is added to the result.
    pub is_residual: bool,
}

/// The images that a block takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    /// Number of images in the batch.
    pub count: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// Zeros above and below, and left and right of what the depthwise convolution takes, less
    /// than its kernel each.
    pub padding: [[usize; 2]; 2],
}

/// A 1x1 convolution's weights `[outputs, inputs]` and bias `[outputs]`, or a depthwise one's
/// `[channels, kernel, kernel]` and `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// The weights.
    pub weight: &'a [f32],
    /// The bias.
    pub bias: &'a [f32],
}

/// A gate (squeeze-excite): two dense layers of the channels' means, each followed by a function.
#[derive(Clone, Copy, Debug)]
pub struct GateWeights<'a> {
    /// To fewer channels.
    pub reduce: Weights<'a>,
    /// Back to all channels.
    pub expand: Weights<'a>,
    /// What follows them.
    pub functions: [Activation; 2],
}

/// The weights of an inverted residual.
#[derive(Clone, Copy, Debug)]
pub struct InvertedWeights<'a> {
    /// The first convolution, unless the block begins with the depthwise one.
    pub expand: Option<Weights<'a>>,
    /// The depthwise convolution.
    pub depthwise: Weights<'a>,
    /// The gate, if there is one.
    pub gate: Option<GateWeights<'a>>,
    /// The last convolution.
    pub project: Weights<'a>,
}

/// An inverted residual with its weights in the order of the kernels.
#[derive(Clone, Debug)]
pub struct PackedInverted {
    isa: Isa,
    shape: InvertedResidual,
    expand: Option<Product>,
    /// `[vector of channels][row][column][channel]`, and `[channel]`.
    depthwise: [Vec<f32>; 2],
    gate: Option<Gate>,
    project: Product,
}

impl InvertedResidual {
    /// Whether the kernels support this shape.
    pub fn is_supported(&self, images: &Images) -> bool {
        let fits = |axis: usize| {
            let (side, [before, after]) = (images.size[axis], images.padding[axis]);
            (1..=1 << 16).contains(&side)
                && before.max(after) < self.kernel
                && side + before + after >= self.kernel
        };
        (1..=7).contains(&self.kernel)
            && matches!(self.stride, 1 | 2)
            && self.inputs * self.expanded * self.outputs > 0
            // Functions of the padding, which is zero, must be zero.
            && !matches!(self.activation, Activation::Sigmoid | Activation::HardSigmoid)
            && fits(0)
            && fits(1)
            && (!self.is_residual
                || self.inputs == self.outputs && self.result_size(images) == images.size)
    }

    /// Returns the rows and columns of the result.
    pub fn result_size(&self, images: &Images) -> [usize; 2] {
        [0, 1].map(|axis| {
            let [before, after] = images.padding[axis];
            (images.size[axis] + before + after - self.kernel) / self.stride + 1
        })
    }
}

impl PackedInverted {
    /// Brings the weights into the order of the kernels.
    ///
    /// # Panics
    /// Panics if a slice has another length than the shape says.
    pub fn new(isa: Isa, shape: InvertedResidual, weights: &InvertedWeights<'_>) -> Self {
        assert!(weights.expand.is_some() || shape.inputs == shape.expanded);
        let channels = shape.expanded;
        let expand = weights.expand;
        Self {
            isa,
            shape,
            expand: expand.map(|it| Product::new(isa, it, [channels, shape.inputs])),
            depthwise: weights::depthwise(isa, weights.depthwise, channels, shape.kernel),
            gate: weights
                .gate
                .map(|gate| Gate::new(gate, channels.next_multiple_of(isa.lanes()), channels)),
            project: Product::new(isa, weights.project, [shape.outputs, channels]),
        }
    }

    /// Returns the block's shape.
    pub fn shape(&self) -> &InvertedResidual {
        &self.shape
    }

    /// Computes the output.
    ///
    /// # Shapes
    /// `input` `[images, inputs, height, width]` to `[images, outputs, rows, columns]`.
    ///
    /// # Panics
    /// Panics if the shape is not supported (see [`InvertedResidual::is_supported`]) or the input
    /// isn't as long as it says.
    pub fn run(&self, images: &Images, input: &[f32]) -> Vec<f32> {
        let shape = &self.shape;
        assert!(shape.is_supported(images), "{shape:?} of {images:?}");
        let image_len = shape.inputs * images.size[0] * images.size[1];
        assert_eq!(
            input.len(),
            images.count * image_len,
            "{shape:?} of {images:?}"
        );
        let plan = Plan::new(self, images);
        let [rows, columns] = plan.result;
        let result_len = shape.outputs * rows * columns;
        let fill = |out: &mut [MaybeUninit<f32>]| {
            let out = SharedMut::new(out);
            let tasks = images.count * plan.strips;
            (0..tasks).into_par_iter().for_each(|task| {
                let (image, index) = (task / plan.strips, task % plan.strips);
                let strip = Strip {
                    block: self,
                    plan: &plan,
                    input: &input[image * image_len..][..image_len],
                    rows: [index, index + 1].map(|at| at * rows / plan.strips),
                    out_start: image * result_len,
                    out,
                };
                with_scratch(plan.memory(self), |memory| {
                    run_strip(self.isa, &strip, memory)
                });
            });
        };
        // SAFETY: the strips cover all rows, and each stores its rows of every output.
        unsafe { filled(images.count * result_len, fill) }
    }

    /// Returns the number of vectors of expanded channels.
    fn num_vectors(&self) -> usize {
        self.shape.expanded.div_ceil(self.isa.lanes())
    }
}

/// How images of one size are divided, and where pixels lie in a strip's memory.
struct Plan {
    size: [usize; 2],
    padding: [[usize; 2]; 2],
    result: [usize; 2],
    /// Number of strips of an image.
    strips: usize,
    /// Expanded pixels, with padding, from one row to the next.
    pitch: usize,
    /// Expanded pixels of the largest strip, and its depthwise ones.
    expanded: usize,
    results: usize,
    /// Where the pixels of an image's rows lie among the expanded pixels of its first row.
    places: Vec<u32>,
}

impl Plan {
    fn new(block: &PackedInverted, images: &Images) -> Self {
        let Images { size, padding, .. } = *images;
        let (shape, lanes) = (&block.shape, block.isa.lanes());
        let result @ [rows, columns] = shape.result_size(images);
        let [left, right] = padding[1];
        let pitch = size[1] + left + right;
        let per_row = 2 * lanes * pitch * shape.stride + block.num_vectors() * lanes * columns;
        // The gate needs the mean of the whole image.
        let strips = if block.gate.is_some() {
            1
        } else {
            (rows * per_row).div_ceil(STRIP_LEN).min(rows)
        };
        let strip_rows = rows.div_ceil(strips);
        let expanded_rows = (strip_rows - 1) * shape.stride + shape.kernel;
        let places = (0..size[0].min(expanded_rows) * size[1])
            .map(|pixel| (pixel / size[1] * pitch + pixel % size[1] + left) as u32)
            .collect();
        Self {
            size,
            padding,
            result,
            strips,
            pitch,
            expanded: expanded_rows * pitch,
            results: strip_rows * columns,
            places,
        }
    }

    /// Returns the number of values that a strip works on.
    fn memory(&self, block: &PackedInverted) -> usize {
        block.isa.lanes() * (2 * self.expanded + block.num_vectors() * self.results)
    }
}

/// Some rows of the result of one image.
struct Strip<'a> {
    block: &'a PackedInverted,
    plan: &'a Plan,
    /// The image, `[inputs, height, width]`.
    input: &'a [f32],
    /// First row of the result, and the one behind the last.
    rows: [usize; 2],
    /// Where the image's result begins.
    out_start: usize,
    out: SharedMut<MaybeUninit<f32>>,
}

#[cfg(test)]
mod tests;
