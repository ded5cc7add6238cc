//! The layers of a backbone that have parameters or act in training only.

use burn::{
    module::{Initializer, Module, Param},
    nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig},
    tensor::{Device, Tensor, TensorData, activation::softmax},
};

use crate::architecture::{Conv, Kind, Network};

/// A layer of a backbone.
#[derive(Module, Debug)]
pub(super) enum Layer {
    /// A convolution.
    Conv(Convolution),
    /// Batch norm.
    BatchNorm(BatchNorm),
    /// Layer norm.
    LayerNorm(LayerNorm),
    /// A factor for each channel.
    Scale(Scale),
    /// A class token and position embeddings.
    Tokens(Tokens),
    /// Dropout of values, or of whole images (stochastic depth).
    Dropout(Dropout),
}

/// The parameters of a convolution.
#[derive(Module, Debug)]
pub(super) struct Convolution {
    /// Kernel, `[outputs, inputs, height, width]`.
    pub(super) weight: Param<Tensor<4>>,
    /// Bias, `[outputs]`.
    pub(super) bias: Option<Param<Tensor<1>>>,
}

/// Layer norm over the channels of each position.
#[derive(Module, Debug)]
pub(super) struct LayerNorm {
    pub(super) gamma: Param<Tensor<1>>,
    pub(super) beta: Param<Tensor<1>>,
    pub(super) epsilon: f64,
}

/// A learned factor for each channel.
#[derive(Module, Debug)]
pub(super) struct Scale {
    pub(super) scale: Param<Tensor<1>>,
}

/// A class token and embeddings of the positions of it and of patches, under timm's names.
#[derive(Module, Debug)]
pub(super) struct Tokens {
    /// `[1, 1, channels]`.
    cls_token: Param<Tensor<3>>,
    /// `[1, 1 + rows * columns, channels]`, the class token's first.
    pos_embed: Param<Tensor<3>>,
    /// Rows and columns of patches that have an embedding.
    #[module(skip)]
    grid: [usize; 2],
}

/// Creates the layers of a network with zero kernels, biases, tokens and embeddings; norms start as
/// the identity, scales at 1. In the order of [`Network::modules`].
pub(super) fn create(network: &Network, device: &Device) -> Vec<Layer> {
    let create = |(layer, inputs): (&crate::architecture::Layer, usize)| match &layer.kind {
        Kind::Conv(conv) => Layer::Conv(Convolution::new(conv, inputs, device)),
        Kind::BatchNorm { epsilon, momentum } => Layer::BatchNorm(
            BatchNormConfig::new(inputs)
                .with_epsilon(*epsilon)
                .with_momentum(*momentum)
                .init(device),
        ),
        Kind::LayerNorm { epsilon } => Layer::LayerNorm(LayerNorm {
            gamma: Initializer::Ones.init([inputs], device),
            beta: Initializer::Zeros.init([inputs], device),
            epsilon: *epsilon,
        }),
        Kind::Scale => Layer::Scale(Scale {
            scale: Initializer::Ones.init([inputs], device),
        }),
        Kind::Tokens { grid } => Layer::Tokens(Tokens {
            cls_token: Initializer::Zeros.init([1, 1, inputs], device),
            pos_embed: Initializer::Zeros.init([1, 1 + grid[0] * grid[1], inputs], device),
            grid: *grid,
        }),
        Kind::DropPath(probability) | Kind::Dropout(probability) => {
            Layer::Dropout(DropoutConfig::new(*probability).init())
        }
        other => unreachable!("{other:?} is not one of the network's modules"),
    };
    network.modules().into_iter().map(create).collect()
}

impl Convolution {
    fn new(conv: &Conv, inputs: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Zeros.init(conv.weight_shape(inputs), device),
            bias: conv
                .bias
                .then(|| Initializer::Zeros.init([conv.outputs], device)),
        }
    }
}

impl LayerNorm {
    /// Brings the channels of each position to mean 0 and variance 1, then scales and shifts them.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = x.dims()[1];
        let centered = x.clone() - x.mean_dim(1);
        let variance = centered.clone().square().mean_dim(1);
        let affine = |param: &Param<Tensor<1>>| param.val().reshape([1, channels, 1, 1]);
        centered / (variance + self.epsilon).sqrt() * affine(&self.gamma) + affine(&self.beta)
    }
}

impl Scale {
    /// Multiplies each channel by its factor.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = x.dims()[1];
        x * self.scale.val().reshape([1, channels, 1, 1])
    }
}

impl Tokens {
    /// Puts the class token before the patches of each image, and adds the embeddings of their
    /// positions.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, channels, 1 + height * width, 1]`.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let (class, embeddings) = (self.cls_token.val(), self.pos_embed.val());
        let added = added(class, embeddings, self.grid, [height, width]);
        let first = added.clone().narrow(2, 0, 1).repeat_dim(0, batch);
        let rest = added.narrow(2, 1, height * width);
        let patches = x.reshape([batch, channels, height * width, 1]);
        Tensor::cat(vec![first, patches + rest], 2)
    }
}

/// Returns what is added to patches behind an empty place for the class token: that token, and the
/// embeddings of all positions. Those of patches, learned for `grid` rows and columns, are
/// resampled to `size` as by timm's `resample_abs_pos_embed`: bicubically, with antialiasing.
///
/// # Shapes
/// `[1, 1, channels]` and `[1, 1 + rows * columns, channels]` of the grid to `[1, channels, 1 +
/// rows * columns, 1]` of the size.
pub fn added(
    class: Tensor<3>,
    embeddings: Tensor<3>,
    grid: [usize; 2],
    size: [usize; 2],
) -> Tensor<4> {
    let [_, count, channels] = embeddings.dims();
    let device = embeddings.device();
    let matrix = |axis: usize| {
        let shape = [size[axis], grid[axis]];
        Tensor::<2>::from_data(TensorData::new(weights(shape), shape), &device)
    };
    let first = class + embeddings.clone().narrow(1, 0, 1);
    let mut patches = embeddings.narrow(1, 1, count - 1);
    if grid != size {
        let columns = patches.reshape([grid[0], grid[1] * channels]);
        let columns = matrix(0).matmul(columns);
        let columns: Tensor<3> = columns.reshape([size[0], grid[1], channels]);
        patches =
            matrix(1)
                .unsqueeze::<3>()
                .matmul(columns)
                .reshape([1, size[0] * size[1], channels]);
    }
    Tensor::cat(vec![first, patches], 1)
        .swap_dims(1, 2)
        .unsqueeze_dim(3)
}

/// Returns the weight of each old position in each new one, `[new, old]`, by the bicubic filter,
/// which is as much wider as the new positions are fewer.
fn weights([new, old]: [usize; 2]) -> Vec<f32> {
    let scale = old as f64 / new as f64;
    let bicubic = |x: f64| match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    };
    let row = |at: usize| {
        let center = (at as f64 + 0.5) * scale;
        let each = (0..old).map(|at| bicubic((at as f64 + 0.5 - center) / scale.max(1.0)));
        let row: Vec<f64> = each.collect();
        let sum: f64 = row.iter().sum();
        row.into_iter().map(move |weight| (weight / sum) as f32)
    };
    (0..new).flat_map(row).collect()
}

/// Lets each position attend to all: returns the mean of the values, weighted by the softmax of the
/// products of its query and their keys, for each head.
///
/// # Shapes
/// `[batch, 3 * channels, height, width]`, the queries, keys and values of all heads, to `[batch,
/// channels, height, width]`.
pub(super) fn attention(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let (channels, positions) = (channels / 3, height * width);
    let of_head = channels / heads;
    let [queries, keys, values] = [0, 1, 2].map(|part| {
        let part = x.clone().narrow(1, part * channels, channels);
        part.reshape([batch, heads, of_head, positions])
    });
    let products = queries.swap_dims(2, 3).matmul(keys) / (of_head as f64).sqrt();
    let mean = values.matmul(softmax(products, 3).swap_dims(2, 3));
    mean.reshape([batch, channels, height, width])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `F.interpolate(torch.eye(old).reshape(old, 1, 1, old), (1, new), mode="bicubic",
    /// antialias=True)[:, 0, 0].T` of torch 2.15.
    #[test]
    fn weights_of_resampled_embeddings_are_those_of_torch() {
        let more = [
            [1.0755, -0.0755, 0.0],
            [0.6493, 0.3955, -0.0448],
            [0.0, 1.0, 0.0],
            [-0.0448, 0.3955, 0.6493],
            [0.0, -0.0755, 1.0755],
        ];
        let fewer = [
            [0.5846, 0.4462, 0.0, -0.0308, 0.0],
            [-0.0372, 0.2465, 0.5814, 0.2465, -0.0372],
            [0.0, -0.0308, 0.0, 0.4462, 0.5846],
        ];
        for (sizes, expected) in [
            ([5, 3], more.as_flattened()),
            ([3, 5], fewer.as_flattened()),
        ] {
            let found = weights(sizes);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
            }
        }
    }
}
