//! What a network's body is to the rest of the program: layer groups from input to output, and what other programs call their layers.

use burn::tensor::Tensor;

/// A layer's name and output shape, `[channels, height, width]`.
pub(in crate::nn) type LayerShape = (String, [usize; 3]);

/// A convolution (with its norm) by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::nn) struct LayerName {
    /// In this network, as `blocks.0.1`; its parameters are under `conv` and `norm`.
    pub(in crate::nn) ours: String,
    /// In files that others wrote, where there are any.
    pub(in crate::nn) elsewhere: Option<Elsewhere>,
}

/// What others call a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::nn) struct Elsewhere {
    /// torchvision and timm, after `features.`.
    pub(in crate::nn) torch: String,
    /// Its batch norm there.
    pub(in crate::nn) torch_norm: Option<String>,
    /// Keras, where it has this network.
    pub(in crate::nn) keras: Option<String>,
}

/// What a backbone is to the rest of the program. Its parameters lie in a field `blocks`, one element a layer group.
pub(in crate::nn) trait Groups {
    /// How many layer groups there are.
    fn num_groups(&self) -> usize;

    /// One group, counted from the input.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` in and out.
    fn forward_group(&self, index: usize, x: Tensor<4>) -> Tensor<4>;

    /// The layers for pictures of `[channels, height, width]`, the last with the shape of the features.
    fn layers(&self, input: [usize; 3]) -> Vec<LayerShape>;

    /// The convolutions by their names.
    fn names(&self) -> Vec<LayerName>;
}
